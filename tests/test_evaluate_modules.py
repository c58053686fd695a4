"""Our numbers as modules of Hugging Face `evaluate`, loaded from the package, without a network."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

import gpt2eval
from gpt2eval import evaluate_modules
from gpt2eval.errors import DataError, UsageError

evaluate = pytest.importorskip("evaluate")
pytestmark = pytest.mark.filterwarnings("ignore")  # those of evaluate and its dependencies

TEXTS = ["The old river runs to the sea.", "Été: a short text", "The old river runs to the sea."]


def test_perplexities_are_those_of_transformers(tiny_checkpoint: Path) -> None:
    import torch
    from transformers import AutoTokenizer, GPT2LMHeadModel

    module = evaluate.load(evaluate_modules.path("perplexity"))
    found = module.compute(predictions=TEXTS, model_id=str(tiny_checkpoint), device="cpu")
    tokenizer = AutoTokenizer.from_pretrained(tiny_checkpoint)
    model = GPT2LMHeadModel.from_pretrained(tiny_checkpoint).eval()
    end = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    nats, tokens = [], []
    for text in TEXTS:
        ids = torch.tensor([[end, *tokenizer(text)["input_ids"]]])
        with torch.no_grad():
            nats.append(float(model(ids, labels=ids).loss) * (ids.shape[1] - 1))
        tokens.append(ids.shape[1] - 1)
    each = [math.exp(n / t) for n, t in zip(nats, tokens, strict=True)]
    assert found["perplexities"] == pytest.approx(each, rel=1e-4)
    assert found["mean_perplexity"] == pytest.approx(sum(each) / 3, rel=1e-4)
    assert found["token_perplexity"] == pytest.approx(math.exp(sum(nats) / sum(tokens)), rel=1e-4)
    words = sum(len(text.split()) for text in TEXTS)
    assert found["word_perplexity"] == pytest.approx(math.exp(sum(nats) / words), rel=1e-4)
    size = sum(len(text.encode()) for text in TEXTS)
    assert found["bits_per_byte"] == pytest.approx(sum(nats) / size / math.log(2), rel=1e-4)


@pytest.mark.parametrize("protocol", ["openai", "openai-last-token", "openai-stopwords"])
def test_lambada_is_the_number_of_a_run(tmp_path: Path, protocol: str) -> None:
    from gpt2eval.data import read_jsonl

    path = Path(gpt2eval.__file__).parent / "samples/lambada/lambada_test.jsonl"
    passages = [row["text"] for row in read_jsonl([path], "text")]
    module = evaluate.load(evaluate_modules.path("lambada"))
    found = module.compute(predictions=passages, model_id="demo-base", protocol=protocol)
    (run,) = gpt2eval.run(
        models="demo-base", tasks=f"lambada@{protocol}", data="bundled", output=str(tmp_path)
    )
    expected = {name: estimate.value for name, estimate in run.metrics.items()}
    assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("texts", [["a", ""], []])
def test_nothing_has_no_perplexity(tiny_checkpoint: Path, texts: list[str]) -> None:
    module = evaluate.load(evaluate_modules.path("perplexity"))
    with pytest.raises((DataError, ValueError)):
        module.compute(predictions=texts, model_id=str(tiny_checkpoint))


def test_modules_have_names() -> None:
    for name in evaluate_modules.MODULES:
        assert (Path(evaluate_modules.path(name)) / f"{name}.py").is_file()
    with pytest.raises(UsageError, match=r"no evaluate module 'bleu'; there are lambada, perpl"):
        evaluate_modules.path("bleu")
