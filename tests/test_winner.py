"""The best of many, held against normal theory, against single tests, and against known truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, optimize, stats

from gpt2eval.winner import choose
from tests.simulation import choice_of_answers, choice_of_documents, repeated_choices


def mean(sums: np.ndarray) -> np.ndarray:
    return np.asarray(sums[..., 0] / sums[..., 1])


def systems(values: np.ndarray) -> list[np.ndarray]:
    """[systems, units] as statistics."""
    return [np.stack([row, np.ones_like(row)], axis=1) for row in values]


def dunnett(others: int, level: float = 0.95) -> float:
    """Critical value of the largest of so many standard normals, correlated by a half, one-sided.

    With z the error of the system that all are compared with, the others are independent.
    """

    def below(limit: float) -> float:
        return integrate.quad(
            lambda z: stats.norm.cdf(np.sqrt(2) * limit + z) ** others * stats.norm.pdf(z), -8, 8
        )[0]

    return float(optimize.brentq(lambda limit: below(limit) - level, 0, 6))


def test_the_oracle_gives_the_printed_table() -> None:
    """Dunnett 1955, table 1a, infinitely many degrees of freedom."""
    printed = {1: 1.64, 2: 1.92, 3: 2.06, 4: 2.16, 9: 2.42}
    for others, value in printed.items():
        assert dunnett(others) == pytest.approx(value, abs=0.012)


@pytest.mark.parametrize("count", [2, 5, 10])
def test_a_set_has_the_limits_of_hsus_tables(count: int) -> None:
    """Independent systems with equal errors: a system goes where Dunnett's critical value says."""
    rng = np.random.default_rng(5)
    n = 2000
    noise = rng.normal(size=(count, n))
    noise = (noise - noise.mean(axis=1, keepdims=True)) / noise.std(axis=1, keepdims=True)
    error = np.sqrt(2 / n)
    limit = dunnett(count - 1)
    for factor, inside in ((0.9, True), (1.1, False)):
        values = noise.copy()
        values[0] += factor * limit * error  # the best; all others lie equally far behind
        found = choose(systems(values), mean, np.random.default_rng(0), resamples=20_000)
        assert found.best == 0
        assert [number in found.members() for number in range(1, count)] == [inside] * (count - 1)


def test_two_systems_are_one_paired_test() -> None:
    rng = np.random.default_rng(1)
    ours = rng.normal(size=400)
    theirs = ours + rng.normal(0.02, 0.3, size=400)
    found = choose(systems(np.stack([ours, theirs])), mean, rng, resamples=20_000)
    expected = stats.ttest_rel(theirs, ours, alternative="greater").pvalue
    assert 0.02 < expected < 0.5
    assert found.p[0] == pytest.approx(expected, abs=0.015)


def test_an_interval_of_two_is_no_wider_than_bonferronis() -> None:
    rng = np.random.default_rng(2)
    values = rng.normal(size=(2, 500))
    found = choose(systems(values), mean, rng)
    best = values[found.best]
    error = best.std(ddof=1) / np.sqrt(500)
    assert found.high == pytest.approx(best.mean() + 1.96 * error, abs=0.15 * error)
    below = (best.mean() - found.low) / error
    assert stats.norm.isf(0.025) - 0.1 < below < stats.norm.isf(0.0125) + 0.1


def test_equal_systems_are_all_members() -> None:
    values = np.tile(np.random.default_rng(0).normal(size=50), (3, 1))
    found = choose(systems(values), mean, np.random.default_rng(0))
    assert found.members() == [0, 1, 2]
    assert found.p.tolist() == [1, 1, 1]
    assert found.low < values[0].mean() < found.high


def test_better_on_every_unit_by_the_same_is_certain() -> None:
    values = np.random.default_rng(0).normal(size=50)
    found = choose(systems(np.stack([values, values + 0.25])), mean, np.random.default_rng(0))
    assert found.members() == [1]


def test_what_is_not_finite_is_out_of_the_competition() -> None:
    values = np.random.default_rng(0).normal(size=(3, 50))
    values[1, 7] = np.inf
    found = choose(systems(values), mean, np.random.default_rng(0))
    assert found.best != 1
    assert found.p[1] == 0
    with pytest.raises(ValueError, match="no system has a finite score"):
        choose(systems(np.full((2, 9), np.nan)), mean, np.random.default_rng(0))


def test_the_order_of_systems_does_not_matter() -> None:
    values = np.random.default_rng(3).normal(size=(4, 80))
    one = choose(systems(values), mean, np.random.default_rng(0))
    other = choose(systems(values[::-1]), mean, np.random.default_rng(0))
    assert other.p[::-1] == pytest.approx(one.p)
    assert (one.low, one.high, one.corrected) == pytest.approx(
        (other.low, other.high, other.corrected)
    )


@pytest.mark.parametrize("make", [choice_of_answers, choice_of_documents])
def test_truth_is_covered_and_the_bias_of_the_maximum_goes(make) -> None:
    """Ten equal systems: the worst there is for whoever believes the largest number."""
    found = repeated_choices(make, 200)
    assert found.covered >= 0.90
    assert found.interval >= 0.91
    assert found.naive > 8 * found.error, "the maximum is too good"
    assert abs(found.corrected) < found.naive / 4
