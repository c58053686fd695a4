"""Loss by position in context."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from scipy import stats

from gpt2eval.report.plots import draw_positions
from gpt2eval.report.position import _t, loss_by_position
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


def test_one_document_falls_back_to_windows() -> None:
    curve = loss_by_position([record("book", [-1.0] * 126, [[1, 63], [1, 63]])])
    assert curve is not None
    assert curve.clusters == "2 windows"
    assert np.isnan(curve.half).all()
    curve = loss_by_position([record("book", [-1.0] * 189, [[1, 63]] * 3)])
    assert curve is not None
    assert curve.clusters == "3 windows"
    np.testing.assert_allclose(curve.half, 0, atol=1e-9)


def test_the_band_of_few_documents_is_that_of_student() -> None:
    """Three documents of two windows each: what scipy says of three means, not of six windows."""
    rng = np.random.default_rng(1)
    means = rng.normal(3, 0.5, 3)
    records = [record(f"d{i}", [-mean] * 126, [[1, 63]] * 2) for i, mean in enumerate(means)]
    curve = loss_by_position(records)
    assert curve is not None
    assert curve.clusters == "3 documents"
    low, high = stats.t.interval(0.95, 2, means.mean(), stats.sem(means))
    np.testing.assert_allclose(curve.half, (high - low) / 2, rtol=0.01)


def test_students_quantile_agrees_with_scipy() -> None:
    freedom = np.arange(2, 500)
    np.testing.assert_allclose(_t(freedom), stats.t.ppf(0.975, freedom), rtol=0.01)


def test_a_bin_that_few_have_a_token_in_has_no_band() -> None:
    """Windows that slide: only the first begins at nothing."""
    runs = [[1, 64], *[[33, 32]] * 9]
    curve = loss_by_position([record("book", [-1.0] * (64 + 9 * 32), runs)])
    assert curve is not None
    assert curve.counts.tolist() == [1] * 6 + [10]
    assert np.isnan(curve.half).tolist() == [True] * 6 + [False]


def test_an_interval_that_stands_alone_is_a_bar() -> None:
    rng = np.random.default_rng(0)
    runs = [[1, 64], *[[33, 32]] * 9]
    curve = loss_by_position([record("book", list(-rng.gamma(2, 1, 64 + 9 * 32)), runs)])
    assert curve is not None
    ax = Figure().subplots()
    draw_positions(ax, {"a": curve}, {"a": 0})
    (bars,) = [each for each in ax.collections if isinstance(each, LineCollection)]
    (bar,) = bars.get_segments()
    assert bar[:, 0].tolist() == [curve.centre[-1]] * 2
    np.testing.assert_allclose(bar[:, 1].mean(), curve.mean[-1])
    np.testing.assert_allclose(np.ptp(bar[:, 1]), 2 * curve.half[-1])


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
