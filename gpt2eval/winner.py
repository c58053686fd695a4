"""The best of many systems on the same units: which may be the best, and how good it is.

The system with the best score is one that had luck as well, the more so the more there are. What
is said here holds after the choice: docs/statistics.md says why, and how often it failed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import floor, sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from gpt2eval.stats import LEVEL, draws

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

RESAMPLES = 2_000  # a set changes with no more: p is known to half a point where it decides
ROUNDING = 1e-12  # relative to the scores: what is closer is equal


@dataclass(frozen=True, slots=True)
class Choice:
    """What can be said of systems after the best of them was chosen; the scores, higher is better.

    scores      of each system on all units
    best        number of the system with the highest
    p           of each, that no other is better: small where another certainly is
    corrected   expected score of what is chosen, on units that did not choose
    low, high   interval of the true score of `best`, valid although it was chosen
    """

    scores: Floats
    best: int
    p: Floats
    corrected: float
    low: float
    high: float

    def members(self, level: float = LEVEL) -> list[int]:
        """The confidence set: it holds the truly best system with this probability, or more."""
        return [number for number, p in enumerate(self.p) if p > 1 - level]


def choose(
    systems: Sequence[Floats],
    score: Callable[[Floats], Floats],
    rng: np.random.Generator,
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Choice:
    """The best system, and what its choice leaves uncertain.

    A system stays in the set unless another is better by more than the largest of all differences
    to it is by chance (multiple comparisons with the best, Hsu 1981, with max-t of the paired
    bootstrap in place of a table). Whatever is true, only the comparisons of the truly best system
    can put it out, so that one set holds for any number of systems. Systems whose score is not
    finite in every resample are out of the competition.

    Args:
        systems: [units, k] of each, with the same units in the same order; two units or more.
        score: vectorised function of sums [..., k]; higher is better.
        rng: source of the resamples.
        resamples: how many.
        level: of the interval.
    """
    n = len(systems[0])
    with np.errstate(all="ignore"):
        scores = np.array([float(score(units.sum(axis=0))) for units in systems])
        drawn, outside = _resampled(systems, score, rng, resamples)
    able = np.isfinite(scores) & np.isfinite(drawn).all(axis=0)
    if not able.any():
        raise ValueError("no system has a finite score in every resample")
    rivals = np.flatnonzero(able)
    within, held = drawn[:, rivals], scores[rivals]
    inflation = sqrt(n / (n - 1))  # a resample varies less than a sample, by this factor
    p = np.zeros(len(systems))
    for position, number in enumerate(rivals):
        p[number] = _no_other_is_better(position, within, held, inflation)
    best = int(rivals[held.argmax()])
    errors = within.std(axis=0, ddof=1) * inflation
    error = float(drawn[:, best].std(ddof=1) * inflation)
    varies = errors > ROUNDING * np.abs(held)
    luck = np.zeros(1)
    if varies.any():
        luck = ((within - held)[:, varies] / errors[varies]).max(axis=1)
    tail = (1 - level) / 2
    chosen = rivals[within.argmax(axis=1)]
    unseen = outside[np.arange(resamples), chosen]
    return Choice(
        scores,
        best,
        p,
        corrected=float(unseen[np.isfinite(unseen)].mean()),
        low=float(scores[best]) - _upper(luck, tail) * inflation * error,
        high=float(scores[best]) + NormalDist().inv_cdf(1 - tail) * error,
    )


def _resampled(
    systems: Sequence[Floats],
    score: Callable[[Floats], Floats],
    rng: np.random.Generator,
    resamples: int,
) -> tuple[Floats, Floats]:
    """Scores [resamples, systems] on resamples, and on the units that each left out."""
    inside, outside = (np.empty((resamples, len(systems))) for _ in range(2))
    side_by_side = np.hstack(systems)  # [units, systems * k]
    for rows, drawn in draws(len(side_by_side), rng, resamples):
        for weights, out in ((drawn, inside), ((drawn == 0).astype(np.float64), outside)):
            sums = weights @ side_by_side
            out[rows] = score(sums.reshape(len(sums), len(systems), -1))
    return inside, outside


def _no_other_is_better(number: int, drawn: Floats, scores: Floats, inflation: float) -> float:
    """p-value: how often chance alone makes some other as much better than this one as one is."""
    ahead = np.delete(scores - scores[number], number)
    by_chance = np.delete(drawn - drawn[:, [number]], number, axis=1) - ahead
    if not len(ahead):
        return 1.0
    errors = by_chance.std(axis=0, ddof=1) * inflation
    varies = errors > ROUNDING * max(abs(float(scores[number])), ROUNDING)
    if (ahead[~varies] > ROUNDING * abs(float(scores[number]))).any():
        return 0.0  # better on every unit by the same
    if not varies.any():
        return 1.0
    largest = (ahead[varies] / errors[varies]).max()
    chance = (by_chance[:, varies] / errors[varies]).max(axis=1) * inflation
    return float((1 + (chance >= largest).sum()) / (1 + len(chance)))


def _upper(values: Floats, tail: float) -> float:
    """What a share `tail` of the values exceeds."""
    ordered = np.sort(values)
    return float(ordered[min(len(ordered) - 1, floor((1 - tail) * (len(ordered) + 1)))])
