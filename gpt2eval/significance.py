"""Tests of two systems on the same samples: is a difference more than chance?

Every test here is paired where the data are. What each is for, with formulas and references, is in
docs/statistics.md. numpy is all it needs; random numbers come from generators that are passed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import combinations
from math import comb, exp, inf, isfinite, lgamma, log, log1p, sqrt
from statistics import NormalDist, fmean, stdev
from typing import TYPE_CHECKING, Any

import numpy as np

from gpt2eval.stats import LEVEL, RESAMPLES, exact_in_float32

if TYPE_CHECKING:
    from numpy.typing import NDArray

ALPHA = 1 - LEVEL
POWER = 0.8
RARE = 10  # arrangements as large as the one observed: with fewer, p is known to a third at best
TOSSES = 1 << 21  # of a block of draws, 16 MiB

# Sums that are equal on paper differ in the last bits with the order in which they are taken.
ROUNDING = 1e-10


# ---- permutations -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Exchange:
    """Two paired systems as a function of what they exchange.

    moves      [units, k], what the baseline gains when a unit changes sides
    statistic  sums of moves [..., k] -> the difference between the systems afterwards [...]
    size       of the numbers in the statistic, for the tolerance of rounding
    """

    moves: NDArray[np.float64]
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    size: float


@dataclass(frozen=True, slots=True)
class Permutation:
    """A p-value from `arrangements` exchanges: all that there are (`exact`), or drawn ones."""

    p: float
    arrangements: int
    exact: bool


def sign_flip(differences: NDArray[np.float64]) -> Exchange:
    """The sum of paired differences, the sign of each being a coin toss (Fisher 1935).

    differences  [units], candidate less baseline: of log-likelihoods, say, or of seeds
    """
    total = differences.sum()

    def statistic(moved: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(total - 2 * moved[..., 0])

    return Exchange(differences[:, None], statistic, float(np.abs(differences).sum()))


def swap(
    baseline: NDArray[np.float64],
    candidate: NDArray[np.float64],
    value: Callable[[NDArray[np.float64]], NDArray[np.float64]],
) -> Exchange:
    """The difference in a metric of sums, units changing sides at random (Noreen 1989; Riezler and
    Maxwell 2005): approximate randomisation, as sacrebleu's `paired_ar` has it.

    baseline, candidate  [units, k], statistics of the same units
    value                vectorised function of the sums [..., k]
    """
    ours, theirs = candidate.sum(axis=0), baseline.sum(axis=0)

    def statistic(moved: NDArray[np.float64]) -> NDArray[np.float64]:
        with np.errstate(all="ignore"):
            return np.asarray(value(ours - moved) - value(theirs + moved))

    with np.errstate(all="ignore"):
        size = float(np.abs(value(ours)) + np.abs(value(theirs)))
    return Exchange(candidate - baseline, statistic, size)


def permute(
    exchange: Exchange, rng: np.random.Generator, resamples: int = RESAMPLES
) -> Permutation:
    """Two-sided p of an exchange: the share of arrangements whose difference is as large."""
    (found,) = permute_all([exchange], lambda: rng, resamples)
    return found


def permute_all(
    exchanges: Sequence[Exchange],
    fresh: Callable[[], np.random.Generator],
    resamples: int = RESAMPLES,
    most: int | None = None,
) -> list[Permutation]:
    """`permute` for many: what is tossed depends on how many units there are, so it is shared.

    All 2^m arrangements are taken where the m units that differ allow no more than `resamples`.
    Otherwise so many are drawn, and p = (as large + 1) / (resamples + 1), which is never 0 and
    holds its level (Davison and Hinkley 1997, 4.2). Where fewer than RARE of them are as large,
    drawing goes on to `most`, so that a small p can be told from a smaller one.

    Args:
        exchanges: what is tested.
        fresh: gives the generator that each number of units begins with, in the same state.
        resamples: how many arrangements are drawn of each.
        most: how many are drawn where p is small; None: no more.
    """
    found: dict[int, Permutation] = {}
    drawn: dict[int, list[int]] = {}
    for number, exchange in enumerate(exchanges):
        differing = exchange.moves[exchange.moves.any(axis=1)]
        if len(differing) < resamples.bit_length():  # 2^units <= resamples
            found[number] = _enumerate(exchange, differing)
        else:
            drawn.setdefault(len(exchange.moves), []).append(number)
    for numbers in drawn.values():
        counts = _draw(
            [exchanges[number] for number in numbers], fresh(), resamples, most or resamples
        )
        for number, (count, arrangements) in zip(numbers, counts, strict=True):
            p = (count + 1) / (arrangements + 1)
            found[number] = Permutation(p, arrangements, exact=False)
    return [found[number] for number in range(len(exchanges))]


def _enumerate(exchange: Exchange, differing: NDArray[np.float64]) -> Permutation:
    arrangements = 2 ** len(differing)
    number = np.arange(arrangements)[:, None]
    sides = (number >> np.arange(len(differing))) & 1
    count = _as_large(exchange, sides.astype(np.float64) @ differing, _limit(exchange))
    return Permutation(count / arrangements, arrangements, exact=True)


def _draw(
    exchanges: Sequence[Exchange], rng: np.random.Generator, resamples: int, most: int
) -> list[tuple[int, int]]:
    """How many arrangements are as large, and of how many, for exchanges of equally many units."""
    counts = _count(exchanges, rng, resamples)
    rare = [number for number, count in enumerate(counts) if count < RARE]
    more = _count([exchanges[number] for number in rare], rng, most - resamples)
    found = [(count, resamples) for count in counts]
    for number, count in zip(rare, more, strict=True):
        found[number] = (counts[number] + count, most)
    return found


def _count(exchanges: Sequence[Exchange], rng: np.random.Generator, resamples: int) -> list[int]:
    if not exchanges:
        return []
    products = _Products([exchange.moves for exchange in exchanges])
    limits = [_limit(exchange) for exchange in exchanges]
    counts = [0] * len(exchanges)
    for tossed in _tosses(len(exchanges[0].moves), rng, resamples):
        for number, (exchange, moved) in enumerate(
            zip(exchanges, products.of(tossed), strict=True)
        ):
            counts[number] += _as_large(exchange, moved, limits[number])
    return counts


class _Products:
    """Tosses [rows, units] times moves [units, k] of many exchanges, each different column once.

    Many are alike: two systems that were given the same references differ in their own lengths
    alone, and of a length follow most counts of n-grams. Sums of whole numbers below 2^24 are
    exact in float32, which is multiplied twice as fast; the last bits of others may depend on what
    stands beside them, and a count does not depend on those, see ROUNDING.
    """

    def __init__(self, moves: Sequence[NDArray[np.float64]]) -> None:
        columns: dict[bytes, NDArray[np.float64]] = {}
        names = [[column.tobytes() for column in each.T] for each in moves]
        for each, called in zip(moves, names, strict=True):
            columns |= zip(called, each.T, strict=True)
        exact = [name for name, each in columns.items() if exact_in_float32(each, len(each))]
        rest = [name for name in columns if name not in set(exact)]
        self._whole = _side_by_side(columns, exact, np.float32, len(moves[0]))
        self._real = _side_by_side(columns, rest, np.float64, len(moves[0]))
        place = {name: number for number, name in enumerate([*exact, *rest])}
        self._places = [[place[name] for name in called] for called in names]

    def of(self, tossed: NDArray[np.uint8]) -> Iterator[NDArray[np.float64]]:
        """[rows, k] of each exchange; a column lies in one piece, as metrics read them."""
        parts = [part for part in (self._whole, self._real) if part.shape[1]]
        products = [part.T @ tossed.astype(part.dtype).T for part in parts]
        # Side by side in the wider type, of which whole numbers are as exact.
        together = np.vstack(products, dtype=np.float64)
        for places in self._places:
            yield together[places].T


def _side_by_side(
    columns: Mapping[bytes, NDArray[np.float64]], names: Sequence[bytes], kind: Any, units: int
) -> NDArray[Any]:
    chosen = [columns[name].astype(kind) for name in names]
    return np.stack(chosen, axis=1) if chosen else np.zeros((units, 0), kind)


def _limit(exchange: Exchange) -> float:
    """The size of the difference observed, less what rounding may take away."""
    nothing = np.zeros(exchange.moves.shape[1])
    return abs(float(exchange.statistic(nothing))) - ROUNDING * exchange.size


def _as_large(exchange: Exchange, moved: NDArray[np.float64], limit: float) -> int:
    """How many differences are as large as the one observed; one that is no number counts."""
    return int((~(np.abs(exchange.statistic(moved)) < limit)).sum())


def _tosses(units: int, rng: np.random.Generator, resamples: int) -> Iterator[NDArray[np.uint8]]:
    """Blocks [rows, units] of fair coins, 0 and 1, `resamples` rows in all."""
    width = -(-units // 8)
    block = max(1, TOSSES // units)
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        packed = np.frombuffer(rng.bytes(rows * width), np.uint8).reshape(rows, width)
        yield np.unpackbits(packed, axis=1, count=units)


def permute_seeds(baseline: Sequence[float], candidate: Sequence[float]) -> Permutation | None:
    """Exact two-sided p of a difference in means, over all ways to deal the values out anew.

    None where there are more than RESAMPLES ways: then there are seeds enough for `welch`.
    """
    values, n = np.array([*baseline, *candidate]), len(candidate)
    ways = comb(len(values), n)
    if ways > RESAMPLES:
        return None
    chosen = np.array(list(combinations(range(len(values)), n)))
    means = values[chosen].mean(axis=1)
    others = (values.sum() - n * means) / len(baseline)
    differences = np.abs(means - others)
    limit = abs(fmean(candidate) - fmean(baseline)) - ROUNDING * np.abs(values).max()
    return Permutation(float((differences >= limit).mean()), ways, exact=True)


# ---- proportions --------------------------------------------------------------------------------


def mcnemar(wins: int, losses: int) -> float:
    """Exact two-sided p of McNemar's test (1947): a fair coin for each sample that one gets right.

    Args:
        wins: samples that only the candidate gets right.
        losses: samples that only the baseline gets right; wins + losses > 0.
    """
    return min(1.0, 2 * _at_most(min(wins, losses), wins + losses, 0.5))


def tango(wins: int, losses: int, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Interval of the difference of two paired proportions (Tango 1998), by inverting its score.

    It keeps its level where few samples differ, and has a width where none does.

    Args:
        wins: samples that only the candidate gets right.
        losses: samples that only the baseline gets right.
        n: all samples, > 0.
        level: share of such intervals that hold the truth.
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    centre = (wins - losses) / n
    return (
        _solve(lambda difference: _tango_score(wins, losses, n, difference) - z, -1.0, centre),
        _solve(lambda difference: _tango_score(wins, losses, n, difference) + z, centre, 1.0),
    )


def _tango_score(wins: int, losses: int, n: int, difference: float) -> float:
    """How many standard errors the observed difference lies above the one supposed; it falls."""
    # The likeliest share of losses, were the difference true: root of a quadratic.
    half = ((2 * n - wins + losses) * difference - wins - losses) / 2
    rest = 2 * n * losses * difference * (1 - difference)
    share = (sqrt(max(half * half + rest, 0.0)) - half) / (2 * n)
    variance = n * (2 * share + difference * (1 - difference))
    above = wins - losses - n * difference
    return above / sqrt(variance) if variance > 1e-300 else inf * above if above else 0.0


@lru_cache(maxsize=4096)
def smallest_of_discordant(discordant: int) -> float | None:
    """Smallest share of wins less losses among so many that `mcnemar` shows with POWER at ALPHA.

    None where it could show nothing: five samples or fewer, were they all wins.
    """
    if discordant == 0 or mcnemar(discordant, 0) >= ALPHA:
        return None
    wins = discordant // 2
    while mcnemar(wins, discordant - wins) >= ALPHA or 2 * wins < discordant:
        wins += 1

    def power(share: float) -> float:
        return 1 - _at_most(wins - 1, discordant, share) - POWER

    return 2 * _solve(power, 0.5, 1.0) - 1


def _at_most(count: int, n: int, share: float) -> float:
    """P(X <= count), X binomial."""
    return 1.0 if count >= n else beta_share(n - count, count + 1, 1 - share)


# ---- means --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MeanTest:
    """Student's t on a difference of means, over seeds.

    p and the bounds are None where nothing varies; `smallest` is the difference that so many seeds
    show with POWER at ALPHA.
    """

    difference: float
    low: float | None
    high: float | None
    p: float | None
    smallest: float | None
    df: float


def paired_t(
    baseline: Sequence[float], candidate: Sequence[float], level: float = LEVEL
) -> MeanTest:
    """Student's t (1908) on the differences of two pairs or more."""
    differences = [b - a for a, b in zip(baseline, candidate, strict=True)]
    n, error = len(differences), stdev(differences) / sqrt(len(differences))
    return _mean_test(fmean(differences), error, n - 1, level, [*baseline, *candidate])


def welch(baseline: Sequence[float], candidate: Sequence[float], level: float = LEVEL) -> MeanTest:
    """Welch's t (1947) on two samples of two values or more, whose spreads may differ."""
    parts = [stdev(values) ** 2 / len(values) for values in (baseline, candidate)]
    total = sum(parts)
    spread = sum(
        part**2 / (len(values) - 1)
        for part, values in zip(parts, (baseline, candidate), strict=True)
    )
    df = total**2 / spread if spread else 1.0
    difference = fmean(candidate) - fmean(baseline)
    return _mean_test(difference, sqrt(total), df, level, [*baseline, *candidate])


def _mean_test(
    difference: float, error: float, df: float, level: float, values: Sequence[float]
) -> MeanTest:
    if error <= ROUNDING * max(map(abs, values)):  # 0.53 - 0.5 is not 0.55 - 0.52
        return MeanTest(difference, None, None, None, None, df)
    half = student_quantile((1 + level) / 2, df) * error
    detectable = student_quantile(1 - ALPHA / 2, df) + student_quantile(POWER, df)
    p = student_tails(difference / error, df)
    return MeanTest(difference, difference - half, difference + half, p, detectable * error, df)


def smallest_of_error(error: float) -> float:
    """Smallest difference that a test with this standard error shows with POWER at ALPHA."""
    normal = NormalDist()
    return (normal.inv_cdf(1 - ALPHA / 2) + normal.inv_cdf(POWER)) * error


def seeds_needed(difference: float, spread: float, *, paired: bool) -> int | None:
    """Seeds of each variant for which a t-test shows `difference` with POWER at ALPHA.

    spread  standard deviation of the differences of pairs, or of the seeds of one variant
    None where there is no difference, or a thousand would not do.
    """
    if not (isfinite(difference) and isfinite(spread)) or difference == 0:
        return None
    for n in range(2, 1001):
        df, error = (n - 1, spread / sqrt(n)) if paired else (2 * n - 2, spread * sqrt(2 / n))
        quantiles = student_quantile(1 - ALPHA / 2, df) + student_quantile(POWER, df)
        if abs(difference) >= quantiles * error:
            return n
    return None


# ---- many tests ---------------------------------------------------------------------------------


def holm(p: Sequence[float]) -> list[float]:
    """Corrected p-values: none of the true hypotheses is refused but with chance alpha (1979)."""
    order = sorted(range(len(p)), key=p.__getitem__)
    corrected, largest = [0.0] * len(p), 0.0
    for rank, number in enumerate(order):
        largest = max(largest, min(1.0, (len(p) - rank) * p[number]))
        corrected[number] = largest
    return corrected


def benjamini_hochberg(p: Sequence[float]) -> list[float]:
    """Corrected p-values: of what is refused, a share alpha at most is true on average (1995)."""
    order = sorted(range(len(p)), key=p.__getitem__, reverse=True)
    corrected, least = [0.0] * len(p), 1.0
    for rank, number in enumerate(order):
        least = min(least, p[number] * len(p) / (len(p) - rank))
        corrected[number] = least
    return corrected


def uncorrected(p: Sequence[float]) -> list[float]:
    """The p-values as they are."""
    return list(p)


CORRECTIONS: dict[str, Callable[[Sequence[float]], list[float]]] = {
    "holm": holm,
    "bh": benjamini_hochberg,
    "none": uncorrected,
}


# ---- distributions ------------------------------------------------------------------------------


def student_tails(t: float, df: float) -> float:
    """P(|T| >= |t|), T Student's with `df` degrees of freedom."""
    return beta_share(df / 2, 0.5, df / (df + t * t))


@cache
def student_quantile(level: float, df: float) -> float:
    """The t below which a share `level` >= 0.5 lies."""
    high = 1.0
    while 1 - student_tails(high, df) / 2 < level:
        high *= 2
    return _solve(lambda t: 1 - student_tails(t, df) / 2 - level, 0.0, high)


def beta_share(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function I_x(a, b), a and b > 0.

    By its continued fraction (Abramowitz and Stegun 26.5.8), evaluated by Lentz's method.
    """
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - beta_share(b, a, 1 - x)
    front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x)) / a
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1))
    fraction = d
    for m in range(1, 100_000):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / (1 + term * d)
            c = 1 + term / c
            fraction *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return front * fraction


def _solve(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a monotone function crosses zero, by halving; an end of the range if it does not."""
    rising = function(high) > function(low)
    for _ in range(60):
        middle = (low + high) / 2
        if (function(middle) < 0) == rising:
            low = middle
        else:
            high = middle
    return (low + high) / 2
