"""Generate: how a text ends, and that sampling depends on the seed and the request alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from gpt2eval.errors import ModelError
from gpt2eval.runner import answer
from gpt2eval.runner import generate as runner
from gpt2eval.types import Generate, Generated
from tests.checkpoints import PASSAGE

PROMPT = "The lighthouse keeper counted"
SAMPLED = {"temperature": 1.0}


def write(model: Any, *requests: Generate, **options: Any) -> list[Generated]:
    """Responses in the order of the requests, each answered once."""
    found = list(answer(model, requests, **options))
    assert sorted(item.number for item in found) == list(range(len(requests)))
    by_number = sorted(found, key=lambda item: item.number)
    return [item.response for item in by_number]  # type: ignore[misc]


def plain_greedy(model: Any, prompt: Sequence[int], count: int) -> list[int]:
    """Greedy decoding that reads everything again for every token."""
    tokens = list(prompt)
    with torch.inference_mode():
        for _ in range(count):
            logits = model.logits(model.hidden([tokens])[-1:])
            tokens.append(int(logits.argmax()))
            if tokens[-1] == model.eos_id:
                break
    return tokens[len(prompt) :]


@pytest.fixture
def never_ending(tiny_model: Any) -> Any:
    """The tiny model without a way to write `<|endoftext|>`."""
    return replace(tiny_model, eos_id=-1)


# ---- ends ---------------------------------------------------------------------------------------


def test_length(never_ending: Any) -> None:
    (found,) = write(never_ending, Generate(PROMPT, 7))
    expected = plain_greedy(never_ending, never_ending.encode([PROMPT])[0], 7)
    assert found.tokens.tolist() == expected
    assert found.stopped == "length"
    assert found.text == never_ending.decode(expected)
    assert found.truncated == 0


def test_end_of_text(tiny_model: Any) -> None:
    """Any token may be the last: here the fourth that the model writes."""
    tokens = plain_greedy(replace(tiny_model, eos_id=-1), tiny_model.encode([PROMPT])[0], 20)
    end = next(place for place in range(3, 20) if tokens[place] not in tokens[:place])
    (found,) = write(replace(tiny_model, eos_id=tokens[end]), Generate(PROMPT, 20))
    assert found.stopped == "eos"
    assert found.tokens.tolist() == tokens[: end + 1]
    assert found.text == tiny_model.decode(tokens[:end])


def test_every_stop_string(never_ending: Any) -> None:
    """Cut at its first occurrence wherever it begins or ends in a token."""
    (free,) = write(never_ending, Generate(PROMPT, 12))
    texts = [never_ending.decode(free.tokens[: n + 1].tolist()) for n in range(12)]
    stops = {
        free.text[begin:end]
        for begin in range(len(free.text))
        for end in range(begin + 1, min(begin + 9, len(free.text)) + 1)
    }
    stops = {stop for stop in stops if "\ufffd" not in stop}
    spanning = [s for s in stops if all(s not in never_ending.decode([t]) for t in free.tokens)]
    assert spanning
    asked = sorted(stops)
    for stop, found in zip(
        asked, write(never_ending, *(Generate(PROMPT, 12, (stop,)) for stop in asked)), strict=True
    ):
        needed = next(n for n, text in enumerate(texts) if stop in text) + 1
        assert found.stopped == "stop"
        assert found.text == texts[needed - 1][: texts[needed - 1].find(stop)]
        assert found.tokens.tolist() == free.tokens[:needed].tolist()


def test_first_of_several_stop_strings(never_ending: Any) -> None:
    (free,) = write(never_ending, Generate(PROMPT, 12))
    late, early = free.text[6:9], free.text[2:4]
    (found,) = write(never_ending, Generate(PROMPT, 12, (late, "no such text", early)))
    assert found.text == free.text[: free.text.find(early)]


def test_stop_strings_that_end_in_one_token(never_ending: Any) -> None:
    """The one that begins first counts, however the task lists them."""
    (free,) = write(never_ending, Generate(PROMPT, 12))
    texts = [never_ending.decode(free.tokens[: n + 1].tolist()) for n in range(12)]
    place = next(
        len(before)
        for before, text in pairwise(texts)
        if len(text) >= len(before) + 2 and text.startswith(before)
    )
    early, late = free.text[: place + 1], free.text[place - 1 : place + 2]
    assert free.text.find(late) == place - 1 > 0
    for stops in ((early, late), (late, early)):
        (found,) = write(never_ending, Generate(PROMPT, 12, stops))
        assert found.text == ""


def test_stop_string_in_the_prompt_is_no_end(never_ending: Any) -> None:
    (free,) = write(never_ending, Generate(f"{PROMPT}\x07", 5))
    (found,) = write(never_ending, Generate(f"{PROMPT}\x07", 5, ("\x07",)))
    assert found.tokens.tolist() == free.tokens.tolist()
    assert found.stopped == "length"


def test_more_tokens_than_the_model_has(never_ending: Any) -> None:
    """Prompt and answer share the positions; the loss is counted."""
    size = never_ending.n_ctx
    short, long = write(never_ending, Generate(PROMPT, 1000), Generate(PASSAGE, 1000))
    prompt, passage = never_ending.encode([PROMPT, PASSAGE])
    assert short.truncated == 0
    assert len(short.tokens) == size - len(prompt)
    assert long.truncated == len(passage) - size // 2 > 0
    assert long.tokens.tolist() == plain_greedy(never_ending, passage[-size // 2 :], size // 2)


def test_long_prompt_keeps_its_end(never_ending: Any) -> None:
    (found,) = write(never_ending, Generate(PASSAGE, 10))
    passage = never_ending.encode([PASSAGE])[0]
    room = never_ending.n_ctx - 10
    assert found.truncated == len(passage) - room
    assert found.tokens.tolist() == plain_greedy(never_ending, passage[-room:], 10)


def test_empty_prompt(never_ending: Any) -> None:
    (found,) = write(never_ending, Generate("", 5))
    assert found.tokens.tolist() == plain_greedy(never_ending, [never_ending.prefix_id], 5)
    assert found.truncated == 0


def test_log_probabilities_are_those_of_the_model(never_ending: Any) -> None:
    """Whatever the temperature, and without the cut."""
    (found,) = write(never_ending, Generate(PROMPT, 9, temperature=2.0, top_k=5))
    prompt = never_ending.encode([PROMPT])[0]
    with torch.inference_mode():
        tokens = [*prompt, *found.tokens.tolist()]
        logits = never_ending.logits(never_ending.hidden([tokens[:-1]])[len(prompt) - 1 :])
        expected = logits.log_softmax(-1)[range(9), found.tokens.tolist()]
    assert found.logprobs.tolist() == pytest.approx(expected.tolist(), abs=1e-4)


def test_not_a_number_is_an_error(tiny_model: Any) -> None:
    broken = replace(tiny_model, head=torch.full_like(tiny_model.head, torch.nan))
    with pytest.raises(ModelError, match=r"not finite.*in the output of the head; check the t"):
        write(broken, Generate(PROMPT, 3))


# ---- batches ------------------------------------------------------------------------------------


def mixed(**options: Any) -> list[Generate]:
    """Prompts and lengths of all kinds, so that rows end one by one."""
    return [
        Generate(PASSAGE[17 * n : 17 * n + 5 * (1 + n % 7)], 1 + (n * 5) % 23, **options)
        for n in range(15)
    ]


def test_rows_end_on_their_own(tiny_model: Any) -> None:
    requests = mixed(stop=("\n", "e "))
    alone = [write(tiny_model, request)[0] for request in requests]
    together = write(tiny_model, *requests)
    assert [len(item.tokens) for item in alone] != [len(alone[0].tokens)] * len(alone)
    for request, one, other in zip(requests, alone, together, strict=True):
        assert one.tokens.tolist() == other.tokens.tolist()
        assert (one.text, one.stopped) == (other.text, other.stopped)
        assert np.abs(one.logprobs - other.logprobs).max() < 1e-4
        prompt = tiny_model.encode([request.prompt])[0]
        expected = plain_greedy(tiny_model, prompt, request.max_new_tokens)
        assert other.tokens.tolist() == expected[: len(other.tokens)]


@pytest.mark.parametrize("options", [SAMPLED, {"temperature": 0.7, "top_k": 40, "top_p": 0.9}])
def test_sampling_does_not_depend_on_the_batch(tiny_model: Any, options: Any) -> None:
    requests = mixed(**options)
    expected = [item.tokens.tolist() for item in write(tiny_model, *requests, seed=3, batch_size=1)]
    for size in (4, None):
        found = write(tiny_model, *requests, seed=3, batch_size=size)
        assert [item.tokens.tolist() for item in found] == expected
    found = write(tiny_model, *requests[::-1], seed=3)[::-1]
    assert [item.tokens.tolist() for item in found] == expected
    assert [item.tokens.tolist() for item in write(tiny_model, *requests, seed=4)] != expected


def test_requests_are_sampled_apart(never_ending: Any) -> None:
    """Two prompts do not draw the same random numbers; the same request is one text."""
    one, same, other = write(
        never_ending,
        Generate(PROMPT, 20, **SAMPLED),
        Generate(PROMPT, 20, **SAMPLED),
        Generate(PROMPT, 21, **SAMPLED),
    )
    assert one.tokens.tolist() == same.tokens.tolist()
    assert one.tokens.tolist() != other.tokens[:20].tolist()


@pytest.mark.parametrize("options", [{}, SAMPLED])
def test_out_of_memory_changes_nothing(
    tiny_model: Any, monkeypatch: pytest.MonkeyPatch, options: Any
) -> None:
    """Not even the sampled texts, although some had been begun."""
    requests = mixed(**options)
    expected = [item.tokens.tolist() for item in write(tiny_model, *requests)]
    kind = type(tiny_model.transformer)
    original, steps = kind.forward, [0]

    def forward(self: Any, ids: torch.Tensor, *rest: Any) -> torch.Tensor:
        steps[0] += 1
        if len(ids) > 2 and steps[0] % 4 == 0:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(self, ids, *rest)

    monkeypatch.setattr(kind, "forward", forward)
    assert [item.tokens.tolist() for item in write(tiny_model, *requests)] == expected


@pytest.mark.parametrize("options", [{}, SAMPLED])
def test_shared_beginning_changes_nothing(
    never_ending: Any, monkeypatch: pytest.MonkeyPatch, options: Any
) -> None:
    beginning = PASSAGE[:40]
    ends = ("", " a", " and the bell", " the", " the ships were counted")
    requests = [Generate(beginning + end, 4 + 3 * n, **options) for n, end in enumerate(ends)]
    prompts = never_ending.encode([request.prompt for request in requests])
    assert runner._shared_beginning(prompts) >= runner.SHARED_BEGINNING
    shared = write(never_ending, *requests)
    monkeypatch.setattr(runner, "SHARED_BEGINNING", 10**9)
    assert runner._shared_beginning(prompts) == 0
    for one, other in zip(shared, write(never_ending, *requests), strict=True):
        assert one.tokens.tolist() == other.tokens.tolist()
        assert np.abs(one.logprobs - other.logprobs).max() < 1e-4


@pytest.mark.parametrize(
    ("prompts", "expected"),
    [
        ([[1, 2, 3]], 0),
        ([[1, 2, 3], [1, 2, 3]], 2),  # one token is left to read
        ([[1, 2, 3], [1, 2]], 1),
        ([[1, 2, 3, 4], [1, 2, 9, 4], [1, 2, 3, 5]], 2),
        ([[1], [1, 2]], 0),
        ([[2, 1], [1, 1]], 0),
    ],
)
def test_length_of_a_shared_beginning(
    monkeypatch: pytest.MonkeyPatch, prompts: list[list[int]], expected: int
) -> None:
    monkeypatch.setattr(runner, "SHARED_BEGINNING", 1)
    assert runner._shared_beginning(prompts) == expected


# ---- the distribution ---------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
def test_top_1_is_greedy(never_ending: Any, temperature: float) -> None:
    greedy, sampled = write(
        never_ending, Generate(PROMPT, 20), Generate(PROMPT, 20, temperature=temperature, top_k=1)
    )
    assert greedy.tokens.tolist() == sampled.tokens.tolist()


@pytest.mark.oracle
@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7])
@pytest.mark.parametrize("top_k", [0, 1, 2, 40, 5000])
@pytest.mark.parametrize("top_p", [1.0, 0.9, 0.3, 1e-6])
def test_candidates_are_those_of_transformers(temperature: float, top_k: int, top_p: float) -> None:
    from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    logits = torch.randn(6, 300, generator=torch.Generator().manual_seed(0)) * 3
    warpers = [TemperatureLogitsWarper(temperature)]
    warpers += [TopKLogitsWarper(top_k)] if top_k else []
    warpers += [TopPLogitsWarper(top_p)] if top_p < 1 else []
    expected = logits
    for warper in warpers:
        expected = warper(None, expected)
    tokens, kept = runner._candidates(logits, Generate("", 1, (), temperature, top_k, top_p))
    probabilities = torch.zeros(6, 300, dtype=torch.float64).scatter(1, tokens, kept)
    probabilities /= probabilities.sum(-1, keepdim=True)
    assert ((probabilities > 0) == (expected > -torch.inf)).all()
    assert torch.allclose(probabilities, expected.double().softmax(-1), atol=1e-6)


@pytest.mark.parametrize(
    "options", [{}, {"top_k": 5}, {"top_p": 0.8}, {"temperature": 0.6, "top_k": 6, "top_p": 0.9}]
)
def test_frequencies_are_the_probabilities(options: dict[str, Any]) -> None:
    draws = 4000
    logits = torch.tensor([[2.0, 0.5, 1.5, 0.0, 1.0, -0.5, 0.7, 0.9]])
    jobs = []
    for number in range(draws):
        request = Generate(f"{number}", 1, **{**SAMPLED, **options})
        jobs.append(runner.Job(request, [0], [0], 1, 0, runner._random(request, seed=5)))
    chosen = runner._choose(logits.expand(draws, -1), jobs)
    tokens, kept = runner._candidates(logits, jobs[0].request)
    expected = torch.zeros(1, 8, dtype=torch.float64).scatter(1, tokens, kept)[0].numpy()
    expected /= expected.sum()
    counts = np.bincount(chosen.numpy(), minlength=8)
    assert counts[expected == 0].sum() == 0
    possible = expected > 0
    assert chisquare(counts[possible], draws * expected[possible]).pvalue > 0.001
