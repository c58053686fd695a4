"""Pair -> Comparison: the test that its statistics allow, interval, p and effect size."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import inf, isfinite, sqrt
from typing import TYPE_CHECKING

import numpy as np

from gpt2eval.compare.family import Tested
from gpt2eval.compare.pairs import Pair
from gpt2eval.compare.settings import Settings
from gpt2eval.significance import (
    ALPHA,
    ROUNDING,
    Exchange,
    Permutation,
    mcnemar,
    permute_all,
    sign_flip,
    smallest_of_discordant,
    smallest_of_error,
    swap,
    tango,
)
from gpt2eval.stats import RESAMPLES, percentiles, resample
from gpt2eval.types import Comparison

if TYPE_CHECKING:
    from numpy.typing import NDArray

FEW_UNITS = 20  # fewer, and a 95 % interval holds the truth some 90 % of the time


def judge(task: str, pairs: Sequence[Pair], settings: Settings, draws: int) -> list[Tested]:
    """The comparisons of pairs; what is drawn is shared by all with equally many units."""

    def fresh() -> np.random.Generator:
        return np.random.default_rng(settings.seed)

    drawing = {n: pair for n, pair in enumerate(pairs) if not pair.obstacle and not pair.mcnemar}
    moving = {n: _exchange(pair) for n, pair in drawing.items() if not pair.equal}
    tossed = permute_all(list(moving.values()), fresh, most=draws)
    permutations = dict(zip(moving, tossed, strict=True))
    drawn = _bootstrap(drawing.values(), fresh)
    found = []
    for number, pair in enumerate(pairs):
        if pair.obstacle:
            verdict = _Verdict(f"no test: {pair.obstacle}")
        elif pair.mcnemar:
            verdict = _by_discordant(pair, settings)
        else:
            sums = drawn[id(pair.ours)], drawn[id(pair.theirs)]
            verdict = _by_resampling(pair, sums, permutations.get(number), settings)
        found.append(_tested(task, pair, verdict, settings))
    return found


def _exchange(pair: Pair) -> Exchange:
    """Log-likelihoods are exchanged as they are: so a perplexity of any size has its p-value."""
    differences = pair.differences
    if pair.function.kind == "likelihood" and differences is not None:
        return sign_flip(differences)
    return swap(pair.ours, pair.theirs, pair.function.value)


def _bootstrap(
    pairs: Iterable[Pair], fresh: Callable[[], np.random.Generator]
) -> dict[int, NDArray[np.float64]]:
    """Resampled sums [RESAMPLES, k] by the identity of the units, each system drawn once."""
    systems = {id(units): units for pair in pairs for units in (pair.ours, pair.theirs)}
    by_size: dict[int, list[int]] = {}
    for key, units in systems.items():
        by_size.setdefault(len(units), []).append(key)
    drawn: dict[int, NDArray[np.float64]] = {}
    for keys in by_size.values():
        drawn |= zip(keys, resample([systems[key] for key in keys], fresh()), strict=True)
    return drawn


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What a test says of a pair, as in Comparison."""

    test: str
    low: float | None = None
    high: float | None = None
    p: float | None = None
    effect: float | None = None
    effect_name: str = ""
    smallest: float | None = None
    notes: tuple[str, ...] = ()


def _by_discordant(pair: Pair, settings: Settings) -> _Verdict:
    """Right or wrong: only samples on which the two differ speak."""
    wins, _, losses = _tally(pair)
    discordant = wins + losses
    low, high = tango(wins, losses, pair.n, settings.level)
    interval = "interval: Tango's score method"
    name = "Cohen's g"
    if discordant == 0:
        test = f"no test: both are right on the same samples; {interval}"
        return _Verdict(test, low, high, effect_name=name)
    smallest = smallest_of_discordant(discordant)
    few = f"{discordant} samples differ; fewer than 6 cannot give a p below {ALPHA:.2g}"
    return _Verdict(
        f"exact McNemar test over {discordant:,} samples that differ; {interval}",
        low,
        high,
        mcnemar(wins, losses),
        wins / discordant - 0.5,
        name,
        None if smallest is None else smallest * discordant / pair.n,
        (few,) if smallest is None else (),
    )


def _by_resampling(
    pair: Pair,
    sums: tuple[NDArray[np.float64], NDArray[np.float64]],
    permutation: Permutation | None,
    settings: Settings,
) -> _Verdict:
    """A metric of sums: permutation for p, bootstrap for the interval."""
    units, seed = len(pair.ours), settings.seed
    with np.errstate(all="ignore"):
        differences = pair.function.value(sums[1]) - pair.function.value(sums[0])
        error = float(np.std(differences, ddof=1))
    bounds: tuple[float | None, float | None] = percentiles(differences, settings.level)
    interval = f"interval: paired bootstrap, {RESAMPLES} resamples, seed {seed}"
    if np.isnan(differences).any():
        bounds, interval = (None, None), "no interval: a resample has no value"
    size = sum(map(abs, _values(pair)))
    if permutation is None:
        test = f"no test: both have the same statistics on every {pair.unit}; {interval}"
        return _Verdict(test, *bounds, effect_name="d_z")
    if pair.function.kind == "likelihood" and pair.differences is not None:
        test = "sign-flip permutation test of log-likelihoods"
    else:
        test = "randomisation test"
    over = f"over {units:,} {pair.unit}s"
    notes = []
    if permutation.exact:
        test = f"exact {test} {over}, all {permutation.arrangements} arrangements"
        least = 2 / permutation.arrangements
        if least >= ALPHA:
            notes.append(f"p cannot be below {least:.3g}: too few {pair.unit}s differ")
    else:
        # Noreen's name for a randomisation test that draws instead of taking all arrangements.
        approximate = "" if test.startswith("sign") else "approximate "
        test = f"{approximate}{test} {over}, {permutation.arrangements} draws, seed {seed}"
    if units < FEW_UNITS:
        notes.append(f"{units} {pair.unit}s: the interval is rough")
    return _Verdict(
        f"{test}; {interval}",
        *bounds,
        permutation.p,
        _standardised(pair, error),
        "d_z",
        smallest_of_error(error) if ROUNDING * size < error < inf else None,
        tuple(notes),
    )


def _standardised(pair: Pair, error: float) -> float | None:
    """Difference by the standard deviation of units' differences, positive for the better one."""
    baseline, candidate = _values(pair)
    if (differences := pair.differences) is not None:
        mean, spread = float(differences.mean()), float(np.std(differences, ddof=1))
        if spread <= ROUNDING * max(np.abs(pair.ours).max(), np.abs(pair.theirs).max()):
            return None
    else:
        # The error of a mean of n units is their spread by sqrt(n); the bootstrap's, by sqrt(n-1).
        mean, spread = candidate - baseline, error * sqrt(len(pair.ours) - 1)
    if not isfinite(mean) or not isfinite(spread) or spread == 0:
        return None
    return mean / spread if pair.estimate.higher_is_better else -mean / spread


def _values(pair: Pair) -> tuple[float, float]:
    """The metric of both, over the compared samples."""
    with np.errstate(all="ignore"):
        ours, theirs = pair.ours.sum(axis=0), pair.theirs.sum(axis=0)
        return float(pair.function.value(ours)), float(pair.function.value(theirs))


def _tally(pair: Pair) -> tuple[int, int, int]:
    """Units on which the candidate is better, equal and worse, each by its own value."""
    differences = pair.differences
    if differences is None:
        with np.errstate(all="ignore"):
            differences = pair.function.value(pair.theirs) - pair.function.value(pair.ours)
    if not pair.estimate.higher_is_better:
        differences = -differences
    wins, losses = int((differences > 0).sum()), int((differences < 0).sum())
    return wins, len(pair.ours) - wins - losses, losses


def _tested(task: str, pair: Pair, verdict: _Verdict, settings: Settings) -> Tested:
    if pair.function.kind == "untested":
        baseline, candidate = (estimate.value for estimate in pair.estimates)
        wins = ties = losses = units = 0
    else:
        baseline, candidate = _values(pair)
        wins, ties, losses = _tally(pair)
        units = len(pair.ours)
    comparison = Comparison(
        task=task,
        metric=pair.metric,
        baseline=pair.baseline,
        candidate=pair.candidate,
        unit=pair.estimate.unit,
        higher_is_better=pair.estimate.higher_is_better,
        baseline_value=baseline,
        candidate_value=candidate,
        difference=candidate - baseline,
        low=verdict.low,
        high=verdict.high,
        level=settings.level,
        test=verdict.test,
        p=verdict.p,
        p_corrected=None,
        correction="none",
        effect=verdict.effect,
        effect_name=verdict.effect_name,
        smallest=verdict.smallest,
        n=pair.n,
        units=units,
        wins=wins,
        ties=ties,
        losses=losses,
        part=pair.estimate.part,
        note="; ".join((*pair.notes, *verdict.notes)),
    )
    if verdict.p is None or (pair.estimate.part and not settings.metrics):
        return comparison, None
    return comparison, _made_of(pair)


def _made_of(pair: Pair) -> object:
    """Word and byte perplexity and bits are one test where they come of the same likelihoods."""
    if pair.function.kind == "likelihood" and (differences := pair.differences) is not None:
        return pair.candidate, hashlib.sha256(differences.tobytes()).digest()
    return pair.candidate, pair.metric
