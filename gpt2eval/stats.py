"""Intervals: from the statistics of the samples to an Estimate.

A metric is a function of summed statistics, so one bootstrap serves all metrics: draw samples with
replacement, sum their statistics, take the value. Samples that belong together (the sentences of a
document) are drawn together. Random numbers come from the generator that is passed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil, floor, sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from gpt2eval.errors import DataError, TaskError
from gpt2eval.types import Estimate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gpt2eval.task import Metric

    Rows = NDArray[np.float64] | Sequence[Sequence[float]]

RESAMPLES = 10_000
CORPUS_RESAMPLES = 1_000  # of a metric that is computed anew from all samples each time
LEVEL = 0.95
CELLS = 1 << 18  # of a block of draws; it stays in the cache of the processor
FEW_UNITS = 5  # fewer than these that differ from the others say too little when drawn again


def estimate(
    metric: Metric,
    statistics: Rows,
    groups: Sequence[str],
    rng: np.random.Generator,
) -> Estimate:
    """The metric's value over all samples, with its 95% interval.

    Proportions (`interval="wilson"`) have Wilson's interval as long as each sample stands alone;
    everything else is resampled. Shares whose units are nearly all 0 or nearly all 1 cannot be:
    where all agree, so does every resample, and the interval would be a point. They have Wilson's
    interval with as many samples as there are units, which holds whatever the samples of a unit
    have in common, and is too wide where that is little. A perplexity too large for a float64 is
    `inf`, in the value and in the bounds. Pass a fresh generator for each metric, so that the seed
    in `method` is all it takes to draw the interval again.

    Args:
        metric: what is estimated.
        statistics: [samples, k], a row for each scored sample; rows of any length for a metric over
            the `corpus`.
        groups: [samples], `Sample.group`; an empty one stands alone.
        rng: source of the resamples.

    Raises:
        DataError: there is no sample.
        TaskError: the metric says it is a share, and has not two statistics.
    """
    (found,) = estimate_all([(metric, statistics, groups)], lambda: rng)
    return found


def estimate_all(
    questions: Sequence[tuple[Metric, Rows, Sequence[str]]],
    fresh: Callable[[], np.random.Generator],
) -> list[Estimate]:
    """`estimate` for several metrics: the same numbers to the last bit, for a fraction of the work.

    What is drawn depends on the generator and on how many units there are, so metrics with equally
    many share the draws, which take most of the time.

    Args:
        questions: (metric, statistics, groups) of each.
        fresh: gives the generator each of them begins with, in the same state every time.
    """
    sums: dict[int, _Sums] = {}
    by_size: dict[int, list[int]] = {}
    for number, (metric, statistics, groups) in enumerate(questions):
        if len(statistics) == 0:
            raise DataError(f"metric {metric.name!r}: no sample was scored, so there is no value")
        if not metric.corpus:
            table = np.asarray(statistics, dtype=np.float64)
            sums[number] = _Sums(metric, table, sum_groups(table, groups))
            if sums[number].resampled:
                by_size.setdefault(len(sums[number].measured), []).append(number)
    drawn: dict[int, NDArray[np.float64]] = {}
    for numbers in by_size.values():
        found = resample([sums[number].measured for number in numbers], fresh())
        drawn |= zip(numbers, found, strict=True)
    seed = _seed(fresh())
    return [
        _estimate_sums(sums[number], drawn.get(number), seed)
        if number in sums
        else _estimate_corpus(metric, statistics, groups, fresh())
        for number, (metric, statistics, groups) in enumerate(questions)
    ]


@dataclass(frozen=True, slots=True)
class _Sums:
    """A metric of sums, and what it is estimated from: samples [n, k] and units [units, k]."""

    metric: Metric
    table: NDArray[np.float64]
    units: NDArray[np.float64]

    @property
    def kind(self) -> str:
        """What is drawn."""
        return "sample" if len(self.units) == len(self.table) else "group"

    @property
    def wilson(self) -> bool:
        """Whether it is a proportion of samples that stand alone."""
        return self.metric.interval == "wilson" and self.kind == "sample"

    @property
    def measured(self) -> NDArray[np.float64]:
        """The units that hold something.

        A text too short to be measured adds nothing, and a resample of nothing but such would be
        0/0.
        """
        return self.units[self.units.any(axis=1)]

    @property
    def obstacle(self) -> str:
        """What keeps the units from being resampled; empty where nothing does."""
        count = len(self.measured)
        if count < 2:
            return f"{'one' if count else 'no'} {self.kind} cannot be resampled"
        finite = np.isfinite(self.measured).all()
        return "" if finite else "a sample's statistics are not finite"

    @property
    def resampled(self) -> bool:
        """Whether its interval is a bootstrap."""
        return not self.wilson and not self.obstacle and not self.extreme

    @property
    def extreme(self) -> str:
        """Where nearly all units of a share lie, "0" or "1"; empty where they do not."""
        if self.metric.interval not in ("wilson", "share") or self.obstacle:
            return ""
        if self.table.shape[1] != 2:
            raise TaskError(
                f"metric {self.metric.name!r} has {self.table.shape[1]} statistics a sample;"
                f" expected two, a number and its weight, for interval={self.metric.interval!r}"
            )
        part, whole = self.measured.T
        alike, where = max((int((part == 0).sum()), "0"), (int((part == whole).sum()), "1"))
        most = 2 * alike > len(part) and len(part) - alike < FEW_UNITS
        return where if most else ""

    @property
    def effective(self) -> float:
        """How many units of equal weight say as much about a share, each with one voice.

        The variance of the weighted mean of votes is p (1 - p) / effective (Kish 1965).
        """
        weights = self.measured[:, 1]
        return float(weights.sum() ** 2 / (weights**2).sum())


def _estimate_sums(sums: _Sums, drawn: NDArray[np.float64] | None, seed: str) -> Estimate:
    metric, total = sums.metric, sums.table.sum(axis=0)
    low: float | None = None
    high: float | None = None
    with np.errstate(all="ignore"):
        value = float(metric.value(total))
        if drawn is not None:
            low, high = percentiles(metric.value(drawn), LEVEL)
            method = (
                f"{LEVEL:.0%} percentile bootstrap over {len(sums.measured)} {sums.kind}s,"
                f" {RESAMPLES} resamples, seed {seed}"
            )
        elif sums.wilson:
            low, high = wilson(float(total[0]), len(sums.table))
            method = f"{LEVEL:.0%} Wilson score interval over {len(sums.table)} samples"
        elif sums.extreme:
            low, high = wilson(value * sums.effective, sums.effective)
            method = (
                f"{LEVEL:.0%} Wilson score interval over {sums.effective:.4g} effective"
                f" {sums.kind}s: of {len(sums.measured)} so many are {sums.extreme} that resamples"
                " are too alike"
            )
        else:
            method = f"no interval: {sums.obstacle}"
    denominator = len(sums.table) if metric.count is None else total[metric.count]
    return _estimate(metric, value, (low, high, method), len(sums.table), denominator)


def _estimate_corpus(
    metric: Metric, statistics: Rows, groups: Sequence[str], rng: np.random.Generator
) -> Estimate:
    rows = [np.asarray(row, dtype=np.float64) for row in statistics]
    with np.errstate(all="ignore"):
        values = metric.value(rows)  # one number, or one a seed
        value = float(np.mean(values))
        interval = (
            (None, None, _spread(values))
            if metric.interval == "seeds"
            else _corpus_interval(metric, rows, groups, rng)
        )
    return _estimate(metric, value, interval, len(rows), len(rows))


def _estimate(
    metric: Metric,
    value: float,
    interval: tuple[float | None, float | None, str],
    n: int,
    denominator: float,
) -> Estimate:
    low, high, method = interval
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
        note=_few(n, metric) if n < metric.enough else "",
    )


def _few(n: int, metric: Metric) -> str:
    return f"{n} {metric.per} say little; it is meant for {metric.enough} or more"


def _spread(values: NDArray[np.float64]) -> str:
    """How far the values of several seeds lie apart: that is no interval, and says so."""
    return (
        f"no interval: texts drawn twice would repeat each other; mean over {len(values)} seeds,"
        f" whose standard deviation is {values.std(ddof=1):.2g}"
    )


def _corpus_interval(
    metric: Metric,
    rows: Sequence[NDArray[np.float64]],
    groups: Sequence[str],
    rng: np.random.Generator,
) -> tuple[float | None, float | None, str]:
    """Low, high, and how they were found; for a metric of the rows, not of their sum."""
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
    if values[0] == values[-1]:
        return None, None, f"no interval: all resamples of the {len(units)} {kind}s agree"
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
    (sums,) = resample([units], rng, resamples)
    return percentiles(value(sums), level)


def resample(
    systems: Sequence[NDArray[np.float64]], rng: np.random.Generator, resamples: int = RESAMPLES
) -> list[NDArray[np.float64]]:
    """Sums of as many units as there are, drawn with replacement: [resamples, k] of each system.

    systems  [units, k] each, k may differ; all of them see the same draws
    """
    n = len(systems[0])
    sums = [np.empty((resamples, units.shape[1])) for units in systems]
    whole = [number for number, units in enumerate(systems) if exact_in_float32(units, n)]
    nothing = np.zeros((n, 0), np.float32)
    together = np.hstack([nothing, *(systems[number].astype(np.float32) for number in whole)])
    ends = np.cumsum([systems[number].shape[1] for number in whole])[:-1]
    for rows, drawn in draws(n, rng, resamples):
        # One product a system: side by side in one matrix the last bits would depend on the others.
        for number, units in enumerate(systems):
            if number not in whole:
                sums[number][rows] = drawn @ units
        if whole:  # but sums of whole numbers have no last bits
            parts = np.split(drawn.astype(np.float32) @ together, ends, axis=1)
            for number, part in zip(whole, parts, strict=True):
                sums[number][rows] = part
    return sums


def draws(
    n: int, rng: np.random.Generator, resamples: int = RESAMPLES
) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """How often each of n units is in a resample: some resamples at a time, [rows, n]."""
    block = max(1, CELLS // n)
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        # How often each unit was drawn, times its statistics: n numbers are read in order, where
        # gathering the drawn rows would copy n * k numbers from all over memory.
        cells = rng.integers(0, n, size=(rows, n)) + n * np.arange(rows)[:, None]
        drawn = np.bincount(cells.ravel(), minlength=rows * n).reshape(rows, n)
        yield slice(start, start + rows), drawn.astype(np.float64)


def exact_in_float32(numbers: NDArray[np.float64], most: float) -> bool:
    """Whether sums of these numbers are exact in float32, `most` of the largest at most."""
    whole = bool((numbers == np.rint(numbers)).all())
    return whole and bool(most * np.abs(numbers).max(initial=0) < 1 << 24)


def percentiles(values: NDArray[np.float64], level: float) -> tuple[float, float]:
    """The bounds between which a share `level` of the values lies, both of them values."""
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


def wilson(right: float, n: float, level: float = LEVEL) -> tuple[float, float]:
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
