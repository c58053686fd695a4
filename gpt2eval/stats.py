"""Intervals: from the statistics of the samples to an Estimate.

A metric is a function of summed statistics, so one bootstrap serves all metrics: draw samples with
replacement, sum their statistics, take the value. Samples that belong together (the sentences of a
document) are drawn together. Random numbers come from the generator that is passed in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil, floor, sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from gpt2eval.errors import DataError
from gpt2eval.types import Estimate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gpt2eval.task import Metric

RESAMPLES = 10_000
LEVEL = 0.95


def estimate(
    metric: Metric,
    statistics: NDArray[np.float64],
    groups: Sequence[str],
    rng: np.random.Generator,
) -> Estimate:
    """The metric's value over all samples, with its 95% interval.

    Proportions (`interval="wilson"`) have Wilson's interval as long as each sample stands alone;
    everything else is resampled. A perplexity too large for a float64 is `inf`, in the value and in
    the bounds. Pass a fresh generator for each metric, so that the seed in `method` is all it takes
    to draw the interval again.

    Args:
        metric: what is estimated.
        statistics: [samples, k], a row for each scored sample.
        groups: [samples], `Sample.group`; an empty one stands alone.
        rng: source of the resamples.

    Raises:
        DataError: there is no sample.
    """
    (found,) = estimate_all([(metric, statistics, groups)], lambda: rng)
    return found


def estimate_all(
    questions: Sequence[tuple[Metric, NDArray[np.float64], Sequence[str]]],
    fresh: Callable[[], np.random.Generator],
) -> list[Estimate]:
    """`estimate` for several metrics: the same numbers to the last bit, for a fraction of the work.

    What is drawn depends on the generator and on how many units there are, so metrics with equally
    many share the draws, which take most of the time.

    Args:
        questions: (metric, statistics, groups) of each.
        fresh: gives the generator each of them begins with, in the same state every time.
    """
    units = []
    for metric, statistics, groups in questions:
        if len(statistics) == 0:
            raise DataError(f"metric {metric.name!r}: no sample was scored, so there is no value")
        units.append(sum_groups(statistics, groups))
    by_size: dict[int, list[int]] = {}
    for number, ((metric, statistics, _), each) in enumerate(zip(questions, units, strict=True)):
        if not _uses_wilson(metric, statistics, each) and not _why_no_interval(statistics, each):
            by_size.setdefault(len(each), []).append(number)
    sums: dict[int, NDArray[np.float64]] = {}
    for numbers in by_size.values():
        drawn = resample([units[number] for number in numbers], fresh())
        sums |= zip(numbers, drawn, strict=True)
    seed = _seed(fresh())
    return [
        _estimate(metric, statistics, each, sums.get(number), seed)
        for number, ((metric, statistics, _), each) in enumerate(zip(questions, units, strict=True))
    ]


def _estimate(
    metric: Metric,
    statistics: NDArray[np.float64],
    units: NDArray[np.float64],
    resampled: NDArray[np.float64] | None,
    seed: str,
) -> Estimate:
    n = len(statistics)
    sums = statistics.sum(axis=0)
    denominator = n if metric.count is None else sums[metric.count]
    low: float | None
    high: float | None
    with np.errstate(all="ignore"):
        value = float(metric.value(sums))
        if resampled is not None:
            low, high = _percentiles(metric.value(resampled), LEVEL)
            method = (
                f"{LEVEL:.0%} percentile bootstrap over {len(units)} {_kind(statistics, units)}s,"
                f" {RESAMPLES} resamples, seed {seed}"
            )
        elif _uses_wilson(metric, statistics, units):
            low, high = wilson(float(statistics[:, 0].sum()), n)
            method = f"{LEVEL:.0%} Wilson score interval over {n} samples"
        else:
            low = high = None
            method = f"no interval: {_why_no_interval(statistics, units)}"
    return Estimate(
        value=value,
        low=low,
        high=high,
        level=LEVEL,
        method=method,
        n=n,
        unit=metric.unit,
        denominator=f"{denominator:.12g} {metric.per}",
        higher_is_better=metric.higher_is_better,
        signature=metric.signature,
        part=metric.part,
    )


def _uses_wilson(
    metric: Metric, statistics: NDArray[np.float64], units: NDArray[np.float64]
) -> bool:
    return metric.interval == "wilson" and len(units) == len(statistics)


def _why_no_interval(statistics: NDArray[np.float64], units: NDArray[np.float64]) -> str:
    """What keeps the units from being resampled; empty where nothing does."""
    if len(units) == 1:
        return f"one {_kind(statistics, units)} cannot be resampled"
    return "" if np.isfinite(units).all() else "a sample's statistics are not finite"


def _kind(statistics: NDArray[np.float64], units: NDArray[np.float64]) -> str:
    return "sample" if len(units) == len(statistics) else "group"


def bootstrap(
    statistics: NDArray[np.float64],
    value: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
    groups: Sequence[str] | None = None,
    level: float = LEVEL,
) -> tuple[float, float]:
    """Percentile interval of `value`, which maps sums [..., k] to [...] (Efron 1979).

    The bounds are values of actual resamples, the outer ones where the percentile falls between
    two; interpolation would make nan of two infinite perplexities. To compare two systems, put
    their statistics side by side ([samples, 2k]) and let `value` be the difference.

    Args:
        statistics: [samples, k], finite.
        value: vectorised function of the sums.
        rng: advanced by resamples * units draws.
        resamples: how many times to draw as many units as there are.
        groups: [samples]; given, whole groups are the units that are drawn.
        level: share of the resamples that lie inside.
    """
    units = statistics if groups is None else sum_groups(statistics, groups)
    (sums,) = resample([units], rng, resamples)
    return _percentiles(value(sums), level)


def resample(
    systems: Sequence[NDArray[np.float64]], rng: np.random.Generator, resamples: int = RESAMPLES
) -> list[NDArray[np.float64]]:
    """Sums of as many units as there are, drawn with replacement: [resamples, k] of each system.

    systems  [units, k] each, k may differ; all of them see the same draws
    """
    n = len(systems[0])
    sums = [np.empty((resamples, units.shape[1])) for units in systems]
    for row in range(resamples):
        # How often each unit was drawn, times its statistics: n numbers are read in order, where
        # gathering the drawn rows would copy n * k numbers from all over memory.
        drawn = np.bincount(rng.integers(0, n, size=n), minlength=n).astype(np.float64)
        # One product a system: side by side in one matrix the last bits would depend on the others.
        for units, out in zip(systems, sums, strict=True):
            out[row] = drawn @ units
    return sums


def _percentiles(values: NDArray[np.float64], level: float) -> tuple[float, float]:
    values = np.sort(values)
    tail = (1 - level) / 2 * (len(values) - 1)
    return float(values[floor(tail)]), float(values[ceil(len(values) - 1 - tail)])


def sum_groups(statistics: NDArray[np.float64], groups: Sequence[str]) -> NDArray[np.float64]:
    """[samples, k] to [units, k]: a row for each group, and for each sample with an empty group.

    Units keep the order in which they first appear, so that a seed gives the same interval however
    the groups are called.
    """
    unit_of: dict[str | int, int] = {}
    index = [unit_of.setdefault(group or i, len(unit_of)) for i, group in enumerate(groups)]
    sums = np.zeros((len(unit_of), statistics.shape[1]))
    np.add.at(sums, index, statistics)
    return sums


def wilson(right: float, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Interval of a proportion, `right` of n > 0 (Wilson 1927), without continuity correction."""
    z2 = NormalDist().inv_cdf((1 + level) / 2) ** 2
    share = right / n
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    # At the ends the bound is the share itself; rounding must not push it inside.
    return (0.0 if right == 0 else centre - half), (1.0 if right == n else centre + half)


def _seed(rng: np.random.Generator) -> str:
    """What the generator was made from, as one would pass it to `default_rng`."""
    source = rng.bit_generator.seed_seq
    if not isinstance(source, np.random.SeedSequence):
        return "unknown"
    spawned = f" spawn {list(source.spawn_key)}" if source.spawn_key else ""
    return f"{source.entropy}{spawned}"
