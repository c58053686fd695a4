"""Responses and samples made by hand, for tests that need no model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gpt2eval.types import Generated, Sample, Scored


def scored(
    logprobs: Sequence[float],
    greedy: Sequence[bool] = (),
    greedy_excluding: Sequence[bool] = (),
    weights: Sequence[float] = (),
) -> Scored:
    """A Scored; what is not given is not greedy, and of weight 1."""
    n = len(logprobs)
    return Scored(
        tokens=np.zeros(n, np.int32),
        logprobs=np.asarray(logprobs, np.float32),
        greedy=np.asarray(greedy or [False] * n, np.bool_),
        context=np.zeros(n, np.int32),
        weights=np.asarray(weights or [1.0] * n, np.float64),
        greedy_excluding=np.asarray(greedy_excluding or greedy or [False] * n, np.bool_),
    )


def generated(prediction: str) -> Generated:
    """A Generated whose scored part is `prediction`."""
    return Generated(
        text=prediction,
        tokens=np.zeros(0, np.int32),
        logprobs=np.zeros(0, np.float32),
        stopped="eos",
        prediction=prediction,
    )


def sample(*references: str, **fields: object) -> Sample:
    """A sample with these references and fields."""
    return Sample(id="s", fields=fields, references=references)


def picked(count: int, choice: int, asked: int = 0) -> list[Scored]:
    """Responses to `asked` requests about `count` choices, one of which is much the likeliest.

    The requests after the first `count` are those without context; there all choices are alike.
    """
    return [scored([-1.0 if place == choice else -99.0]) for place in range(count)] + [
        scored([-5.0]) for _ in range(count, asked)
    ]
