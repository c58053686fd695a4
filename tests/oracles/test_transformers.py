"""Our log-probabilities and our decoding against transformers' own model, loss and `generate`."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import pytest
import torch

from gpt2eval.data import load
from gpt2eval.task import Protocol, discover, select
from gpt2eval.types import Generate, Rolling, Score
from tests.data.directory import ARTICLES, LAMBADA
from tests.oracles import hf_docs, word_nll
from tests.oracles.conftest import ROOT, Run, contexts

pytestmark = [pytest.mark.oracle, pytest.mark.filterwarnings("ignore::UserWarning")]

TRANSLATIONS = (
    "wmt14_fr_en@paper",
    "wmt14_en_fr@paper",
    "multi30k_fr_en@paper",
    "multi30k_en_fr@paper",
)


def protocol(name: str) -> Protocol:
    """A protocol of ours by `task@protocol`."""
    ((_, found),) = select(name, discover(ROOT / "tasks"))
    return found


def requests(name: str, data: Path) -> list[Any]:
    """What a protocol asks the model, in the order of the data file."""
    found = protocol(name)
    samples = found.samples(load(found.dataset, data).rows)
    return [request for sample in samples for request in found.requests(sample)]


# ---- language modelling -------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize("stride", [1024, 512])
def test_perplexity_guide(
    stride: int,
    batch_size: int,
    checkpoint: Path,
    toy_data: Path,
    evaluate: Callable[..., Run],
) -> None:
    """A model shorter than the stride moves by its own length."""
    run = evaluate(checkpoint, f"wikitext2@hf-docs-{stride}", toy_data, batch_size=batch_size)
    model, tokenizer = word_nll.load(checkpoint)
    text = hf_docs.joined_rows(toy_data / "wikitext2/wiki.test.raw")
    step = min(stride, model.config.n_positions)
    expected = hf_docs.perplexity(model, tokenizer.encode(text), step)
    assert run.value("token_perplexity") == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("stride", [1024, 512])
def test_perplexity_guide_at_full_length(
    stride: int, checkpoint_of: Callable[[str], Path], long_data: Path, evaluate: Callable[..., Run]
) -> None:
    """1,024 positions, a text of several windows, so that 512 overlaps and its weights matter."""
    checkpoint = checkpoint_of("long")
    run = evaluate(checkpoint, f"wikitext2@hf-docs-{stride}", long_data)
    model, tokenizer = word_nll.load(checkpoint)
    tokens = tokenizer.encode(hf_docs.joined_rows(long_data / "wikitext2/wiki.test.raw"))
    assert len(tokens) > 3 * 1024
    expected = hf_docs.perplexity(model, tokens, stride)
    assert run.value("token_perplexity") == pytest.approx(expected, rel=3e-6)
    if stride < 1024:
        unweighted = math.exp(-sum(run.logprobs()) / sum(len(r["tokens"]) for r in run.responses()))
        assert unweighted != pytest.approx(expected, rel=1e-5), "the weights make no difference"


def test_paper_windows(checkpoint: Path, toy_data: Path, evaluate: Callable[..., Run]) -> None:
    """Every token once, with nearly a full window before it, and the probability it has there."""
    run = evaluate(checkpoint, "wikitext2@paper", toy_data)
    model, tokenizer = word_nll.load(checkpoint)
    size, responses = model.config.n_positions, run.responses()
    tokens = [token for response in responses for token in response["tokens"]]
    logprobs = [logprob for response in responses for logprob in response["logprobs"]]
    before = [count for response in responses for count in contexts(response)]
    assert tokens == tokenizer.encode(tokenizer.decode(tokens))

    stream = [tokenizer.eos_token_id, *tokens]
    assert all(
        min(place, size - 32) <= count <= min(place, size) for place, count in enumerate(before, 1)
    )
    for place in range(0, len(tokens), 7):  # one pass each: a sample is enough
        window = stream[place + 1 - before[place] : place + 2]
        ((expected, _),) = word_nll.scored(model, window, 1)
        assert logprobs[place] == pytest.approx(expected, abs=1e-4)

    text = (toy_data / "wikitext2/wiki.test.tokens").read_bytes().decode()
    units = len(text.split()) + text.count("\n")
    expected = math.exp(-sum(logprobs) / units)
    assert run.value("word_perplexity") == pytest.approx(expected, rel=1e-5)


# ---- LAMBADA ------------------------------------------------------------------------------------


def test_last_token(checkpoint: Path, toy_data: Path, evaluate: Callable[..., Run]) -> None:
    """The last token of each passage, given all that fits before it."""
    run = evaluate(checkpoint, "lambada@openai-last-token", toy_data)
    model, tokenizer = word_nll.load(checkpoint)
    logprobs, right = [], []
    for text in LAMBADA:
        context, _, word = text.rpartition(" ")
        *_, (logprob, greedy) = word_nll.continuation(model, tokenizer, context, f" {word}")
        logprobs.append(logprob)
        right.append(greedy)
    assert [r["logprobs"][-1] for r in run.responses()] == pytest.approx(logprobs, abs=1e-4)
    assert run.value("accuracy") == sum(right) / len(right)
    expected = math.exp(-sum(logprobs) / len(logprobs))
    assert run.value("perplexity") == pytest.approx(expected, rel=1e-5)


def test_stop_words(checkpoint: Path, toy_data: Path, evaluate: Callable[..., Run]) -> None:
    """Stop words are out of the competition at the first token of the word, and only there."""
    name = "lambada@openai-stopwords"
    run = evaluate(checkpoint, name, toy_data)
    model, tokenizer = word_nll.load(checkpoint)
    asked: list[Score] = requests(name, toy_data)
    excluded = set(asked[0].exclude)
    banned = [
        token
        for token in range(len(tokenizer))
        if tokenizer.decode([token]).strip().lower() in excluded
    ]
    assert banned
    firsts, right = [], []
    for request in asked:
        window, scored = word_nll.window_of(model, tokenizer, request.context, request.continuation)
        with torch.inference_mode():
            logits = model(torch.tensor([window[:-1]])).logits[0, -scored:].clone()
            logits[0, banned] = -torch.inf
        flags = (logits.argmax(-1) == torch.tensor(window[-scored:])).tolist()
        firsts.append(flags[0])
        right.append(all(flags))
    assert run.value("accuracy") == sum(right) / len(right)
    ours = [r.get("greedy_excluding", r["greedy"]) for r in run.responses()]
    assert [flags[0] == "1" for flags in ours] == firsts


# ---- decoding -----------------------------------------------------------------------------------


def assert_greedy(
    request: Generate, responses: Sequence[dict[str, Any]], model: Any, tokenizer: Any
) -> None:
    """Token by token what `generate` writes, ended at the first stop string or `<|endoftext|>`."""
    size = model.config.n_positions
    room = max(size - request.max_new_tokens, size // 2)
    prompt = tokenizer.encode(request.prompt)[-room:]
    limit = min(request.max_new_tokens, size - len(prompt))
    expected = word_nll.greedy(model, prompt, limit)
    for response in responses:
        ours = response["tokens"]
        assert ours == expected[: len(ours)], request.prompt
        scores = word_nll.scored(model, [*prompt, *ours], len(ours))
        assert response["logprobs"] == pytest.approx([score for score, _ in scores], abs=1e-4)

        written, before = tokenizer.decode(ours), tokenizer.decode(ours[:-1])
        assert not any(stop in before for stop in request.stop)
        if response["stopped"] == "stop":
            stop = min(written.find(stop) for stop in request.stop if stop in written)
            assert response["text"] == written[:stop]
        elif response["stopped"] == "eos":
            assert ours == expected
            assert ours[-1] == tokenizer.eos_token_id
            assert response["text"] == before
        else:
            assert response["stopped"] == "length"
            assert ours == expected
            assert len(ours) == limit
            assert response["text"] == written


GREEDY = [
    *product(["trained"], ["xsum@tldr-greedy", "cnn_dailymail@tldr-greedy", *TRANSLATIONS]),
    *product(["long", "demo-base"], ["xsum@tldr-greedy", "wmt14_fr_en@paper"]),
]


@pytest.mark.parametrize(("name", "task"), GREEDY)
def test_greedy_decoding(
    name: str,
    task: str,
    checkpoint_of: Callable[[str], Path],
    toy_data: Path,
    evaluate: Callable[..., Run],
) -> None:
    """Alone and in batches of prompts of different lengths, each is continued the same."""
    checkpoint = checkpoint_of(name)
    runs = [evaluate(checkpoint, task, toy_data, batch_size=size) for size in (1, 8)]
    model, tokenizer = word_nll.load(checkpoint)
    asked = requests(task, toy_data)
    for request, *responses in zip(asked, *(run.responses() for run in runs), strict=True):
        assert_greedy(request, responses, model, tokenizer)


@pytest.mark.parametrize("task", ["xsum@tldr-greedy", "cnn_dailymail@tldr-greedy"])
def test_summaries_are_asked_for_as_in_the_paper(task: str, toy_data: Path) -> None:
    """Article, a new line, `TL;DR:`, 100 tokens."""
    assert requests(task, toy_data) == [
        Generate(f"{article}\nTL;DR:", 100) for article, _ in ARTICLES
    ]


@pytest.mark.parametrize("batch_size", [1, 8])
def test_two_likeliest_tokens(
    batch_size: int,
    checkpoint_of: Callable[[str], Path],
    toy_data: Path,
    evaluate: Callable[..., Run],
) -> None:
    """Top-k sampling with k = 2: one of the two, at its probability without any cut."""
    checkpoint = checkpoint_of("trained")
    run = evaluate(checkpoint, "cnn_dailymail@tldr", toy_data, batch_size=batch_size)
    model, tokenizer = word_nll.load(checkpoint)
    second = 0
    for request, response in zip(
        requests("cnn_dailymail@tldr", toy_data), run.responses(), strict=True
    ):
        prompt = tokenizer.encode(request.prompt)[-(model.config.n_positions - 100) :]
        ours = response["tokens"]
        with torch.inference_mode():
            logits = model(torch.tensor([[*prompt, *ours[:-1]]])).logits[0, len(prompt) - 1 :]
        ranks = [(row > row[token]).sum().item() for row, token in zip(logits, ours, strict=True)]
        assert set(ranks) <= {0, 1}
        second += sum(ranks)
        expected = logits.log_softmax(-1)[range(len(ours)), ours].tolist()
        assert response["logprobs"] == pytest.approx(expected, abs=1e-4)
    assert second, "never the second token: this was greedy decoding"


def test_sampling_does_not_depend_on_the_batch(
    checkpoint_of: Callable[[str], Path], toy_data: Path, evaluate: Callable[..., Run]
) -> None:
    """The same seed writes the same texts one by one and eight at a time."""
    checkpoint = checkpoint_of("trained")
    one, eight = (
        evaluate(checkpoint, "cnn_dailymail@tldr", toy_data, batch_size=size).responses()
        for size in (1, 8)
    )
    assert [r["tokens"] for r in one] == [r["tokens"] for r in eight]


# ---- counts on the authentic files --------------------------------------------------------------


def test_wikitext_counts(shared_data: Path, gpt2_checkpoint: Path) -> None:
    """Documents, words, bytes and tokens of the official test set, as our protocols see it."""
    _, tokenizer = word_nll.load(gpt2_checkpoint)
    lm_eval = protocol("wikitext2@lm-eval")
    samples = list(lm_eval.samples(load(lm_eval.dataset, shared_data).rows))
    asked = [request for sample in samples for request in lm_eval.requests(sample)]
    assert len(samples) == 62
    assert sum(sample.fields["words"] for sample in samples) == 241_335
    assert sum(sample.fields["bytes"] for sample in samples) == 1_290_527
    assert sum(len(tokenizer.encode(request.text)) for request in asked) == 272_031

    asked = requests("wikitext2@hf-docs-512", shared_data)
    assert len({request.text for request in asked}) == 1
    assert asked[0].text == hf_docs.joined_rows(shared_data / "wikitext2/wiki.test.raw")
    assert len(tokenizer.encode(asked[0].text)) == 287_644
    assert_covered(asked)

    paper = protocol("wikitext2@paper")
    samples = list(paper.samples(load(paper.dataset, shared_data).rows))
    assert sum(sample.fields["words+eos"] for sample in samples) == 245_569
    assert_covered([request for sample in samples for request in paper.requests(sample)])


def assert_covered(asked: list[Rolling]) -> None:
    """Requests over one stream take up all of it, each character once."""
    assert asked[0].start == 0
    assert asked[-1].end == len(asked[-1].text)
    assert all(one.end == other.start for one, other in pairwise(asked))


@pytest.mark.parametrize(
    ("task", "expected"), [("lambada@openai", 1_143), ("lambada@standard", 2_334)]
)
def test_lambada_counts(task: str, expected: int, shared_data: Path, gpt2_checkpoint: Path) -> None:
    """Last words of more than one token."""
    _, tokenizer = word_nll.load(gpt2_checkpoint)
    words = [request.continuation for request in requests(task, shared_data)]
    assert len(words) == 5_153
    assert sum(len(tokenizer.encode(word)) > 1 for word in words) == expected


@pytest.mark.parametrize("task", ["wmt14_fr_en@paper", "wmt14_en_fr@paper"])
def test_newstest_counts(task: str, shared_data: Path) -> None:
    """The full newstest2014, 3,003 segments."""
    assert len(requests(task, shared_data)) == 3_003


def test_shared_lambada_is_read_letter_by_letter(shared_data: Path) -> None:
    """Context and last word together are the passage."""
    lines = (shared_data / "lambada/lambada_test.jsonl").read_text("utf-8").split("\n")
    passages = [json.loads(line)["text"] for line in lines if line]
    asked = requests("lambada@openai", shared_data)
    assert [request.context + request.continuation for request in asked] == passages
