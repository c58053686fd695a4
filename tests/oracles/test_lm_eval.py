"""Our numbers against lm-evaluation-harness itself, run on the same checkpoint and text."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.oracles import lm_eval_oracle, word_nll
from tests.oracles.conftest import Run
from tests.oracles.lm_eval_oracle import LmEvalResult

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.filterwarnings("ignore"),  # those of lm-eval and its dependencies
]

# task@protocol -> the oracle, its file, our metric -> lm-eval's metric
CASES: dict[str, tuple[Callable[..., LmEvalResult], str, dict[str, str]]] = {
    "wikitext2@lm-eval": (
        lm_eval_oracle.wikitext,
        "wikitext2/wiki.test.raw",
        {name: name for name in ("word_perplexity", "byte_perplexity", "bits_per_byte")},
    ),
    "lambada@openai": (
        lm_eval_oracle.lambada_openai,
        "lambada/lambada_test.jsonl",
        {"perplexity": "perplexity", "accuracy": "acc"},
    ),
    "lambada@standard": (
        lm_eval_oracle.lambada_standard,
        "lambada/lambada_test_plain_text.txt",
        {"perplexity": "perplexity", "accuracy": "acc"},
    ),
}

Oracle = Callable[..., LmEvalResult]


@pytest.fixture(scope="session")
def lm_eval(tmp_path_factory: pytest.TempPathFactory) -> Oracle:
    """lm-eval's result for one of CASES; the same arguments run once."""
    done: dict[Any, LmEvalResult] = {}

    def get(task: str, checkpoint: Path, data: Path, **options: Any) -> LmEvalResult:
        key = (task, checkpoint, data, *sorted(options.items()))
        if key not in done:
            function, file, _ = CASES[task]
            scratch = tmp_path_factory.mktemp("lm_eval")
            done[key] = function(checkpoint, data / file, scratch, **options)
        return done[key]

    return get


def close(expected: Any) -> Any:
    """Log-probabilities of a sample: lm-eval adds up hundreds of float32 values in float32."""
    return pytest.approx(expected, abs=1e-4, rel=1e-6)


def assert_same(run: Run, oracle: LmEvalResult, task: str) -> None:
    """Every sample and every metric."""
    assert run.logprobs() == close(oracle.logprobs)
    for ours, theirs in CASES[task][2].items():
        tolerance = 0 if ours == "accuracy" else 1e-5
        expected = pytest.approx(oracle.metrics[theirs], rel=tolerance, abs=0)
        assert run.value(ours) == expected, ours


@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize("task", CASES)
def test_same_as_lm_eval(
    task: str,
    batch_size: int,
    checkpoint: Path,
    toy_data: Path,
    evaluate: Callable[..., Run],
    lm_eval: Oracle,
) -> None:
    """Each checkpoint, our batches of 1 and 4."""
    run = evaluate(checkpoint, task, toy_data, batch_size=batch_size)
    assert_same(run, lm_eval(task, checkpoint, toy_data), task)


@pytest.mark.parametrize("task", ["wikitext2@lm-eval", "lambada@openai"])
def test_same_with_gpt2_tokenizer(
    task: str,
    gpt2_checkpoint: Path,
    shared_data: Path,
    evaluate: Callable[..., Run],
    lm_eval: Oracle,
) -> None:
    """The first samples of the authentic files, with GPT-2's vocabulary and 1,024 positions."""
    limit = 1 if task.startswith("wikitext2") else 24
    run = evaluate(gpt2_checkpoint, task, shared_data, limit_first=limit)
    assert_same(run, lm_eval(task, gpt2_checkpoint, shared_data, limit=limit), task)


@pytest.mark.parametrize("task", ["lambada@openai", "lambada@standard"])
def test_greedy_flags_are_those_of_lm_eval(
    task: str,
    checkpoint_of: Callable[[str], Path],
    toy_data: Path,
    evaluate: Callable[..., Run],
    lm_eval: Oracle,
) -> None:
    """Per passage, on a model that gets some words right and some wrong."""
    checkpoint = checkpoint_of("trained")
    flags = lm_eval(task, checkpoint, toy_data).greedy
    assert 0 < sum(flags) < len(flags), "no test of anything: all right, or all wrong"
    responses = evaluate(checkpoint, task, toy_data).responses()
    assert ["0" not in response["greedy"] for response in responses] == flags


# ---- the oracle itself --------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize("name", ["random", "trained"])
@pytest.mark.parametrize("task", CASES)
def test_lm_eval_agrees_with_transformers(
    task: str,
    name: str,
    batch_size: int,
    checkpoint_of: Callable[[str], Path],
    toy_data: Path,
    lm_eval: Oracle,
) -> None:
    """lm-eval's windows, token cut and truncation are what `word_nll` says they are."""
    checkpoint = checkpoint_of(name)
    oracle = lm_eval(task, checkpoint, toy_data, batch_size=batch_size)
    model, tokenizer = word_nll.load(checkpoint)
    if task.startswith("wikitext2"):
        from lm_eval.tasks.wikitext.preprocess_wikitext import wikitext_detokenizer

        texts = [wikitext_detokenizer(document) for document in oracle.documents]
        assert oracle.logprobs == close(
            [sum(word_nll.rolling(model, tokenizer, text)) for text in texts]
        )
        return
    for document, logprob, greedy in zip(
        oracle.documents, oracle.logprobs, oracle.greedy, strict=True
    ):
        context, _, word = document["text"].rpartition(" ")
        tokens = word_nll.continuation(model, tokenizer, context, f" {word}")
        assert sum(score for score, _ in tokens) == close(logprob)
        assert all(flag for _, flag in tokens) == greedy


def test_pages_of_a_small_file(toy_data: Path) -> None:
    """A formula that looks like a heading makes a page; the break before a heading is dropped."""
    text = (toy_data / "wikitext2/wiki.test.raw").read_bytes().decode()
    pages = lm_eval_oracle.wikitext_pages(text)
    assert [page.split("\n")[0] for page in pages] == [
        " = Harbour of Saltmere = ",
        " = Zürich weather bell = ",
        " = 2 volts and a current I = ",
        " = Lark ( board game ) = ",
    ]
    assert " \n" + "\n".join(pages) == text


def test_page_counts(shared_data: Path, gpt2_checkpoint: Path) -> None:
    """The official test file. 1,290,527 is what published lm-eval results were divided by.

    Issue 806 of lm-evaluation-harness gives both perplexities of one model in full precision; the
    ratio of their logarithms, times the words, is the number of bytes.
    """
    from lm_eval.tasks.wikitext import preprocess_wikitext

    text = (shared_data / "wikitext2/wiki.test.raw").read_bytes().decode()
    documents = [{"page": page} for page in lm_eval_oracle.wikitext_pages(text)]
    counts = [preprocess_wikitext.process_results(document, [0.0]) for document in documents]
    _, tokenizer = word_nll.load(gpt2_checkpoint)
    assert len(documents) == 62
    assert sum(count["word_perplexity"][1] for count in counts) == 241_335
    assert sum(count["byte_perplexity"][1] for count in counts) == 1_290_527
    detokenized = map(preprocess_wikitext.wikitext_detokenizer, documents)
    assert sum(len(tokenizer.encode(page)) for page in detokenized) == 272_031


def test_last_words(shared_data: Path, gpt2_checkpoint: Path) -> None:
    """Last words of more than one token, and that they never share a token with their context."""
    _, tokenizer = word_nll.load(gpt2_checkpoint)
    openai = (shared_data / "lambada/lambada_test.jsonl").read_text("utf-8").split("\n")
    standard = (shared_data / "lambada/lambada_test_plain_text.txt").read_text("utf-8").split("\n")
    for lines, expected in (
        ([json.loads(line)["text"] for line in openai if line], 1_143),
        ([line for line in standard if line], 2_334),
    ):
        assert len(lines) == 5_153
        words = [f" {line.rpartition(' ')[2]}" for line in lines]
        assert sum(len(tokenizer.encode(word)) > 1 for word in words) == expected
