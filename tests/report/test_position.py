"""Loss by position in context."""

from __future__ import annotations

import numpy as np
import pytest

from gpt2eval.report.position import loss_by_position
from gpt2eval.types import Record


def record(name: str, logprobs: list[float], context: list[list[int]]) -> Record:
    response = {"type": "scored", "logprobs": logprobs, "context": context}
    return Record(name, name, {}, [response])


def test_bins_hold_the_mean_of_their_tokens() -> None:
    # Loss equal to the context length makes the mean of a bin the middle of the bin.
    length = 64
    records = [
        record(f"d{i}", [-float(c) for c in range(1, length)], [[1, length - 1]]) for i in range(12)
    ]
    curve = loss_by_position(records)
    assert curve is not None
    assert curve.first.tolist() == [1, 2, 3, 5, 9, 17, 33]
    assert curve.last.tolist() == [1, 2, 4, 8, 16, 32, 63]
    np.testing.assert_allclose(curve.mean, (curve.first + curve.last) / 2)
    np.testing.assert_allclose(curve.error, 0)
    assert curve.tokens.tolist() == [12, 12, 24, 48, 96, 192, 372]
    assert curve.clusters == "12 documents"


def test_no_point_lies_beyond_the_longest_context() -> None:
    """A full window of 1,024 tokens ends in the bin of its own, not in one that begins there."""
    curve = loss_by_position([record(f"d{i}", [-1.0] * 1024, [[1, 1024]]) for i in range(12)])
    assert curve is not None
    assert (curve.first[-1], curve.last[-1], curve.tokens[-1]) == (513, 1024, 12 * 512)
    assert curve.centre[-1] < 1024


def test_error_is_that_of_the_mean_between_documents() -> None:
    rng = np.random.default_rng(0)
    means = rng.normal(3, 0.5, 40)
    records = [record(f"d{i}", [-mean] * 63, [[1, 63]]) for i, mean in enumerate(means)]
    curve = loss_by_position(records)
    assert curve is not None
    np.testing.assert_allclose(curve.error, means.std(ddof=1) / np.sqrt(40))


def test_few_documents_fall_back_to_windows() -> None:
    curve = loss_by_position([record("book", [-1.0] * 126, [[1, 63], [1, 63]])])
    assert curve is not None
    assert curve.clusters == "2 windows"


@pytest.mark.parametrize(
    "records",
    [
        [],
        [record("short", [-1.0, -2.0], [[80, 2]])],
        [Record("text", "", {}, [{"type": "generated", "text": "x"}])],
    ],
)
def test_short_or_generated_responses_make_no_curve(records: list[Record]) -> None:
    assert loss_by_position(records) is None
