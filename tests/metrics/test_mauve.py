"""MAUVE: that of its authors' package, over the seeds, and where there is no value."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from gpt2eval import metrics
from gpt2eval.errors import TaskError
from gpt2eval.stats import estimate
from gpt2eval.types import Embedded, Sample
from tests.metrics.answers import generated

METRIC = metrics.mauve()
SAMPLE = Sample("1", {})


def embedded(vector: object) -> Embedded:
    return Embedded(np.asarray(vector, np.float32), np.zeros(1, np.int32))


def rows(shift: float, n: int = 60) -> list[list[float]]:
    rng = np.random.default_rng(1)
    return [
        list(
            METRIC.stats(
                SAMPLE,
                [generated("a"), embedded(rng.normal(shift, 1, 8)), embedded(rng.normal(0, 1, 8))],
            )
        )
        for _ in range(n)
    ]


def test_statistics_are_the_two_vectors() -> None:
    stats = METRIC.stats(SAMPLE, [generated("a"), embedded([0.1, -2]), embedded([1e-7, 3])])
    assert np.asarray(json.loads(json.dumps(stats)), np.float32).tolist() == [
        float(np.float32(x)) for x in (0.1, -2, 1e-7, 3)
    ]
    with pytest.raises(TaskError, match=r"needs two Embed requests a sample.*; it got 1"):
        METRIC.stats(SAMPLE, [generated("a"), embedded([1])])
    with pytest.raises(ValueError, match="expected two vectors a sample"):
        METRIC.value([[1.0, 2.0, 3.0]])


def test_value_is_the_mean_over_seeds(capfd: pytest.CaptureFixture[str]) -> None:
    package = pytest.importorskip("mauve")
    table = rows(1.0)
    both = np.asarray(table, np.float32)
    expected = [
        package.compute_mauve(p_features=both[:, :8], q_features=both[:, 8:], seed=seed).mauve
        for seed in range(25, 30)
    ]
    capfd.readouterr()
    found = estimate(METRIC, table, [""] * 60, np.random.default_rng(0))
    assert capfd.readouterr().err == ""
    assert found.value == pytest.approx(np.mean(expected), rel=1e-12)
    assert len(set(expected)) > 1
    assert (found.low, found.high, found.n) == (None, None, 60)
    assert f"standard deviation is {np.std(expected, ddof=1):.2g}" in found.method
    assert found.signature == (
        f"mauve-text:{version('mauve-text')}|faiss:{version('faiss-cpu')}|clusters:n/10|scaling:5"
        "|pca:0.9|seeds:25-29"
    )


def test_sets_that_are_alike_and_sets_that_are_not() -> None:
    pytest.importorskip("mauve")
    near, far = (float(METRIC.value(rows(shift)).mean()) for shift in (0.0, 3.0))
    assert near > 0.8 > 0.1 > far
    same = [[*row[:8], *row[:8]] for row in rows(0.0)]
    assert METRIC.value(same).tolist() == pytest.approx([1.0] * 5)


@pytest.mark.parametrize(("n", "told"), [(60, True), (1000, False)])
def test_few_texts_are_told(n: int, told: bool) -> None:
    pytest.importorskip("mauve")
    table = rows(1.0, n)
    found = estimate(METRIC, table, [""] * n, np.random.default_rng(0))
    assert (found.note == f"{n} texts say little; it is meant for 1000 or more") is told
    assert bool(found.note) is told


def test_a_single_text_has_no_value() -> None:
    assert np.isnan(METRIC.value(rows(0.0, 1))).all()


def test_the_package_is_loaded_for_a_value_only() -> None:
    """It is under another licence, and brings torch where torch is."""
    source = Path(metrics.__file__).parent.parent
    naming = [p for p in source.rglob("*.py") if "from mauve import" in p.read_text("utf-8")]
    assert [path.name for path in naming] == ["mauve.py"]
    (line,) = [x for x in naming[0].read_text("utf-8").splitlines() if "from mauve import" in x]
    assert line.startswith("    ")
