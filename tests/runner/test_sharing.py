"""Bundles: every text is there, sees itself only, and gets the numbers it gets alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gpt2eval.runner import answer, sharing
from gpt2eval.runner.sharing import bundle
from gpt2eval.types import Score
from tests.checkpoints import PASSAGE


@pytest.fixture(autouse=True, scope="module")
def eager() -> Any:
    """Share every single token, so that short texts do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sharing, "WORTH_IT", 1)
        yield


TEXTS = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=12), min_size=1, max_size=12)
WIDE = 10**6  # attention costs nothing: whatever can be shared is


@given(TEXTS, st.sampled_from([1, 8, 64, WIDE]))
def test_every_text_can_be_read_from_its_path(texts: list[list[int]], width: int) -> None:
    bundles = list(bundle(list(enumerate(texts)), lambda item: item[1], width))
    found = {}
    for one in bundles:
        assert len(one.tokens) == len(one.positions) == sum(one.fresh)
        for (number, _), path in zip(one.items, one.paths, strict=True):
            found[number] = [one.tokens[place] for place in path]
            assert [one.positions[place] for place in path] == list(range(len(path)))
    assert found == dict(enumerate(texts))


@given(TEXTS)
def test_a_token_sees_its_own_text_only(texts: list[list[int]]) -> None:
    for one in bundle(texts, list, WIDE):
        size = len(one.tokens)
        expected = np.eye(size + 2, dtype=bool)
        for path in one.paths:
            for depth, place in enumerate(path):
                expected[place, path[: depth + 1]] = True
        assert (one.mask(size + 2) == expected).all()
        assert one.mask(size).sum(1).tolist() == [place + 1 for place in one.positions]


def test_what_begins_alike_is_there_once() -> None:
    context = list(range(100, 150))
    endings = [[*context, n, n + 1] for n in range(4)]
    (one,) = bundle(endings, list, 768)
    assert len(one.tokens) == 50 + 4 * 2
    assert one.branches


def test_alone_where_sharing_does_not_pay() -> None:
    """A few common tokens are cheaper to read again than a wide mask is."""
    texts = [[1, 2, *range(1000 * n, 1000 * n + 500)] for n in range(1, 4)]
    assert [len(one.items) for one in bundle(texts, list, 64)] == [1, 1, 1]


@pytest.mark.parametrize("batch_size", [None, 1])
def test_shared_contexts_change_nothing(tiny_model: Any, batch_size: int | None) -> None:
    """Endings of one context, texts that part in the middle, one that is another's beginning."""
    half = PASSAGE[:60]
    requests = [
        *(Score(half, ending) for ending in (" ships", " the ships were", " a", " bells rang")),
        *(Score(f"{half} and", ending) for ending in (" so on", " ships")),
        Score(half[:30], half[30:]),
        Score("Nothing like it", " at all"),
    ]
    together = {a.number: a for a in answer(tiny_model, requests, batch_size=batch_size)}
    alone = [next(answer(tiny_model, [request])) for request in requests]
    assert sum(a.tokens for a in together.values()) < 0.6 * sum(a.tokens for a in alone)
    for number, one in enumerate(alone):
        found: Any = together[number].response
        expected: Any = one.response
        assert found.tokens.tolist() == expected.tokens.tolist()
        assert found.greedy.tolist() == expected.greedy.tolist()
        assert found.context.tolist() == expected.context.tolist()
        assert np.abs(found.logprobs - expected.logprobs).max() < 1e-4


@torch.inference_mode()
def test_a_mask_is_the_text_alone(tiny_model: Any) -> None:
    """The states of a bundle are those of its texts."""
    ids = tiny_model.encode([PASSAGE])[0][:40]
    texts = [ids[:30], [*ids[:20], 5, 6, 7], [*ids[:20], 5, 9]]
    (one,) = bundle(texts, list, WIDE)
    width = len(one.tokens) + 3
    mask = torch.from_numpy(one.mask(width))[None, None]
    states = tiny_model.hidden(
        [one.tokens + [0] * 3],
        tiny_model.transformer.causal(mask),
        positions=[one.positions + [0] * 3],
    )
    assert torch.isfinite(states).all()
    for text, path in zip(one.items, one.paths, strict=True):
        assert (states[path] - tiny_model.hidden([text])).abs().max() < 1e-4
