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
CORPUS_RESAMPLES = 1_000  # of a metric that is computed anew from all samples each time
LEVEL = 0.95


def estimate(
    metric: Metric,
    statistics: NDArray[np.float64] | Sequence[Sequence[float]],
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
        statistics: [samples, k], a row for each scored sample; rows of any length for a metric over
            the `corpus`.
        groups: [samples], `Sample.group`; an empty one stands alone.
        rng: source of the resamples.

    Raises:
        DataError: there is no sample.
    """
    n = len(statistics)
    if n == 0:
        raise DataError(f"metric {metric.name!r}: no sample was scored, so there is no value")
    with np.errstate(all="ignore"):
        if metric.corpus:
            rows = [np.asarray(row, dtype=np.float64) for row in statistics]
            denominator: float = n
            value = float(metric.value(rows))
            low, high, method = _corpus_interval(metric, rows, groups, rng)
        else:
            table = np.asarray(statistics, dtype=np.float64)
            sums = table.sum(axis=0)
            denominator = n if metric.count is None else sums[metric.count]
            value = float(metric.value(sums))
            low, high, method = _interval(metric, table, groups, rng)
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


def _interval(
    metric: Metric,
    statistics: NDArray[np.float64],
    groups: Sequence[str],
    rng: np.random.Generator,
) -> tuple[float | None, float | None, str]:
    """Low, high, and how they were found or why there are none."""
    n = len(statistics)
    units = sum_groups(statistics, groups)
    if metric.interval == "wilson" and len(units) == n:
        low, high = wilson(float(statistics[:, 0].sum()), n)
        return low, high, f"{LEVEL:.0%} Wilson score interval over {n} samples"
    kind = "sample" if len(units) == n else "group"
    # A text too short to be measured adds nothing, and a resample of nothing but such would be 0/0.
    units = units[units.any(axis=1)]
    if len(units) < 2:
        return (
            None,
            None,
            f"no interval: {'one' if len(units) else 'no'} {kind} cannot be resampled",
        )
    if not np.isfinite(units).all():
        return None, None, "no interval: a sample's statistics are not finite"
    low, high = bootstrap(units, metric.value, rng)
    return (
        low,
        high,
        f"{LEVEL:.0%} percentile bootstrap over {len(units)} {kind}s, {RESAMPLES} resamples, "
        f"seed {_seed(rng)}",
    )


def _corpus_interval(
    metric: Metric,
    rows: Sequence[NDArray[np.float64]],
    groups: Sequence[str],
    rng: np.random.Generator,
) -> tuple[float | None, float | None, str]:
    """As `_interval`, for a metric that needs the rows themselves and not their sum."""
    if metric.interval == "none":
        return None, None, "no interval: texts drawn twice would repeat each other"
    unit_of: dict[str | int, list[int]] = {}
    for i, group in enumerate(groups):
        unit_of.setdefault(group or i, []).append(i)
    units = list(unit_of.values())
    kind = "sample" if len(units) == len(rows) else "group"
    if len(units) == 1:
        return None, None, f"no interval: one {kind} cannot be resampled"
    values = []
    for _ in range(CORPUS_RESAMPLES):
        drawn = rng.integers(0, len(units), size=len(units))
        values.append(float(metric.value([rows[i] for unit in drawn for i in units[unit]])))
    values.sort()
    tail = (1 - LEVEL) / 2 * (CORPUS_RESAMPLES - 1)
    return (
        values[floor(tail)],
        values[ceil(CORPUS_RESAMPLES - 1 - tail)],
        f"{LEVEL:.0%} percentile bootstrap over {len(units)} {kind}s, {CORPUS_RESAMPLES} resamples,"
        f" seed {_seed(rng)}",
    )


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
    n = len(units)
    sums = np.empty((resamples, units.shape[1]))
    for row in sums:
        # How often each unit was drawn, times its statistics: n numbers are read in order, where
        # gathering the drawn rows would copy n * k numbers from all over memory.
        row[:] = np.bincount(rng.integers(0, n, size=n), minlength=n) @ units
    values = np.sort(value(sums))
    tail = (1 - level) / 2 * (resamples - 1)
    return float(values[floor(tail)]), float(values[ceil(resamples - 1 - tail)])


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
