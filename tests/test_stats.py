from __future__ import annotations

from dataclasses import replace
from math import inf, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats as scipy_stats

from gpt2eval.errors import DataError, TaskError
from gpt2eval.metrics import accuracy, perplexity
from gpt2eval.stats import (
    CELLS,
    bootstrap,
    estimate,
    estimate_all,
    exact_in_float32,
    resample,
    sum_groups,
    wilson,
)
from gpt2eval.task import Metric
from gpt2eval.types import Estimate

Floats = NDArray[np.float64]

PERPLEXITY = perplexity("word_perplexity", "words", lambda sample: 1.0)
ACCURACY = accuracy(per="passages")


def mean(sums: Floats) -> Floats:
    return np.asarray(sums[..., 0] / sums[..., 1])


def rows(n: int, seed: int = 0) -> Floats:
    """Statistics of n samples: a gamma-distributed nll, and between 1 and 9 words."""
    rng = np.random.default_rng(seed)
    return np.column_stack([rng.gamma(2, 2, n), rng.integers(1, 10, n)]).astype(np.float64)


def run(metric: Metric, statistics: Floats, groups: list[str] | None = None) -> Estimate:
    groups = [""] * len(statistics) if groups is None else groups
    return estimate(metric, statistics, groups, np.random.default_rng(7))


@pytest.mark.parametrize("level", [0.9, 0.95])
def test_bootstrap_agrees_with_scipy(level: float) -> None:
    statistics = rows(200)
    result = scipy_stats.bootstrap(
        (statistics[:, 0], statistics[:, 1]),
        lambda nll, words, axis: nll.sum(axis) / words.sum(axis),
        paired=True,
        n_resamples=20_000,
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    low, high = bootstrap(statistics, mean, np.random.default_rng(2), 20_000, level=level)
    width = result.high - result.low
    assert low == pytest.approx(result.low, abs=0.03 * width)
    assert high == pytest.approx(result.high, abs=0.03 * width)


def test_bootstrap_bounds_are_the_outer_resamples() -> None:
    # two units, 0 and 1: the sum of a resample is 0, 1 or 2, with chances 1/4, 1/2, 1/4
    def total(sums: Floats) -> Floats:
        return sums[..., 0]

    statistics = np.array([[0.0], [1.0]])
    assert bootstrap(statistics, total, np.random.default_rng(0)) == (0.0, 2.0)
    assert bootstrap(statistics, total, np.random.default_rng(0), level=0.3) == (1.0, 1.0)


def test_bootstrap_of_groups_draws_whole_groups() -> None:
    # four copies of each row carry no more information than one
    once = rows(40)
    copies, names = np.repeat(once, 4, axis=0), [f"g{i // 4}" for i in range(160)]
    alone = bootstrap(once, mean, np.random.default_rng(3))
    grouped = bootstrap(copies, mean, np.random.default_rng(3), groups=names)
    low, high = bootstrap(copies, mean, np.random.default_rng(3))
    assert grouped == pytest.approx(alone)
    assert high - low == pytest.approx((alone[1] - alone[0]) / 2, rel=0.1)


def test_the_same_seed_draws_the_same_interval() -> None:
    first, again, other = (
        bootstrap(rows(30), mean, np.random.default_rng(seed)) for seed in (5, 5, 6)
    )
    assert first == again != other


def test_bootstrap_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(11)
    inside = 0
    for _ in range(200):
        statistics = np.column_stack([rng.exponential(3, 80), np.ones(80)])
        low, high = bootstrap(statistics, mean, rng, resamples=400)
        inside += low <= 3 <= high
    assert 0.89 <= inside / 200 <= 0.99


def test_sum_groups_keeps_the_order_and_leaves_the_nameless_alone() -> None:
    statistics = np.array([[1.0], [2.0], [4.0], [8.0], [16.0]])
    sums = sum_groups(statistics, ["b", "", "a", "", "b"])
    assert sums.tolist() == [[17.0], [2.0], [4.0], [8.0]]


@given(n=st.integers(1, 10_000), share=st.floats(0, 1), level=st.sampled_from([0.9, 0.95, 0.99]))
def test_wilson_agrees_with_scipy(n: int, share: float, level: float) -> None:
    right = round(share * n)
    expected = scipy_stats.binomtest(right, n).proportion_ci(level, method="wilson")
    low, high = wilson(right, n, level)
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert 0 <= low <= right / n <= high <= 1


def test_estimate_of_single_samples() -> None:
    result = run(PERPLEXITY, rows(50))
    assert result.value == pytest.approx(np.exp(rows(50)[:, 0].sum() / rows(50)[:, 1].sum()))
    assert result.method == "95% percentile bootstrap over 50 samples, 10000 resamples, seed 7"
    assert (result.n, result.level, result.unit) == (50, 0.95, "perplexity")
    assert result.denominator == f"{rows(50)[:, 1].sum():.0f} words"
    assert result.low is not None
    assert result.high is not None
    assert result.low < result.value < result.high


def test_estimate_of_groups() -> None:
    result = run(PERPLEXITY, rows(6), ["a", "a", "b", "b", "", ""])
    assert result.method == "95% percentile bootstrap over 4 groups, 10000 resamples, seed 7"
    assert result.n == 6


def test_method_says_how_the_generator_was_spawned() -> None:
    rng = np.random.default_rng(7).spawn(3)[2]
    assert estimate(PERPLEXITY, rows(5), [""] * 5, rng).method.endswith("seed 7 spawn [2]")


def test_estimate_of_a_proportion() -> None:
    right = np.array([[1.0, 1.0]] * 3 + [[0.0, 1.0]] * 7)
    alone = run(ACCURACY, right)
    assert (alone.low, alone.high) == wilson(3, 10)
    assert alone.method == "95% Wilson score interval over 10 samples"
    assert alone.denominator == "10 passages"
    assert run(ACCURACY, right, [str(i) for i in range(10)]) == alone
    # Wilson's formula holds for independent samples only
    grouped = run(ACCURACY, right, list("abcabccbad"))
    assert grouped.method.startswith("95% percentile bootstrap over 4 groups")
    assert grouped.value == alone.value


@pytest.mark.parametrize(
    ("groups", "kind"), [(["a", "a"], "group"), ([""], "sample"), (["a"], "sample")]
)
def test_one_unit_has_no_interval(groups: list[str], kind: str) -> None:
    result = run(PERPLEXITY, rows(len(groups)), groups)
    assert result.low is result.high is None
    assert result.method == f"no interval: one {kind} cannot be resampled"


def test_samples_without_anything_to_measure_are_not_resampled() -> None:
    """Texts too short to be measured, say: a resample of nothing else would be 0/0."""
    empty = np.zeros((40, 2))
    result = run(PERPLEXITY, np.vstack([rows(3), empty]))
    alone = run(PERPLEXITY, rows(3))
    assert (result.low, result.high, result.method) == (alone.low, alone.high, alone.method)
    assert result.low is not None
    assert result.n == 43
    nothing = run(PERPLEXITY, empty)
    assert np.isnan(nothing.value)
    assert nothing.low is nothing.high is None
    assert nothing.method == "no interval: no sample cannot be resampled"


def test_a_ruined_model_has_an_infinite_value_and_bounds() -> None:
    result = run(PERPLEXITY, np.array([[1e6, 1.0], [2e6, 1.0], [3e6, 1.0]]))
    assert (result.value, result.low, result.high) == (inf, inf, inf)


def test_infinite_statistics_cannot_be_resampled() -> None:
    result = run(PERPLEXITY, np.array([[inf, 1.0], [log(2), 1.0]]))
    assert result.value == inf
    assert result.low is result.high is None
    assert result.method == "no interval: a sample's statistics are not finite"


def test_no_sample_is_an_error() -> None:
    with pytest.raises(DataError, match="'word_perplexity': no sample was scored"):
        run(PERPLEXITY, np.zeros((0, 2)))


def test_metrics_asked_together_get_what_each_gets_alone() -> None:
    # to the last bit: other units, other numbers of statistics, some without a resample between
    wide = replace(PERPLEXITY, value=lambda sums: sums[..., 0] / sums[..., 4])
    thirds, alone = [f"{i // 3}" for i in range(40)], [""] * 40
    right = np.column_stack([np.arange(40) % 3 == 0, np.ones(40)]).astype(np.float64)
    questions = [
        (PERPLEXITY, rows(40, 1), thirds),
        (PERPLEXITY, rows(40, 2), alone),
        (ACCURACY, right, alone),
        (wide, np.random.default_rng(3).random((40, 5)), thirds),
        (ACCURACY, right, thirds),
        (PERPLEXITY, rows(25, 4), alone[:25]),
        (PERPLEXITY, rows(1, 5), [""]),
        (PERPLEXITY, np.array([[1.0, 2.0], [inf, 1.0]]), ["", ""]),
    ]
    together = estimate_all(questions, lambda: np.random.default_rng(9))
    assert together == [estimate(*each, np.random.default_rng(9)) for each in questions]
    assert [each.low is None for each in together] == [False] * 6 + [True] * 2


def test_resampled_sums_are_those_of_the_drawn_units() -> None:
    systems = [np.random.default_rng(k).random((17, k)) for k in (1, 2, 7)]
    found = resample(systems, np.random.default_rng(3), 50)
    for units, sums in zip(systems, found, strict=True):
        rng = np.random.default_rng(3)
        expected = [units[rng.integers(0, 17, size=17)].sum(axis=0) for _ in range(50)]
        np.testing.assert_allclose(sums, expected, rtol=1e-12)


# ---- shares at the ends -------------------------------------------------------------------------


SHARE = replace(PERPLEXITY, value=mean, unit="fraction", interval="share")


@pytest.mark.parametrize("width", [1, 2, 10])
def test_sums_of_whole_numbers_are_exact_whatever_stands_beside_them(width: int) -> None:
    """They are taken in float32, all systems at once."""
    rng = np.random.default_rng(1)
    whole = [rng.integers(-500, 500, size=(301, width)).astype(float) for _ in range(3)]
    systems = [whole[0], rng.normal(size=(301, 2)), *whole[1:], 1e6 * whole[0]]
    assert [exact_in_float32(units, 301) for units in systems] == [True, False, True, True, False]
    together = resample(systems, np.random.default_rng(0), 500)
    drawn = np.random.default_rng(0)
    block = max(1, CELLS // 301)
    for start in range(0, 500, block):
        picked = drawn.integers(0, 301, size=(min(block, 500 - start), 301))
        for units, sums in zip(systems, together, strict=True):
            expected = units[picked].sum(axis=1)
            exact = (units == np.rint(units)).all()
            np.testing.assert_allclose(
                sums[start : start + len(picked)], expected, rtol=0 if exact else 1e-9, atol=1e-9
            )


def test_groups_that_all_agree_have_an_interval() -> None:
    # ten groups of three, all of them wrong: the interval of ten samples, not of thirty
    groups = [f"g{i // 3}" for i in range(30)]
    wrong, right = np.tile([0.0, 1.0], (30, 1)), np.ones((30, 2))
    none, every = run(ACCURACY, wrong, groups), run(ACCURACY, right, groups)
    assert (none.value, none.low, none.high) == (0, *wilson(0, 10))
    assert (every.value, every.low, every.high) == (1, *wilson(10, 10))
    assert none.method == (
        "95% Wilson score interval over 10 effective groups: of 10 so many are 0 that resamples are"
        " too alike"
    )
    assert every.method == none.method.replace(" are 0 ", " are 1 ")


def test_unequal_groups_that_agree_count_for_less() -> None:
    # the variance of a mean of votes weighted 8, 1, 1 is that of 100 / 66 equal votes
    groups = ["a"] * 8 + ["b", "c"]
    result = run(ACCURACY, np.tile([0.0, 1.0], (10, 1)), groups)
    assert (result.low, result.high) == wilson(0, 100 / 66)
    assert "over 1.515 effective groups: of 3 " in result.method


@pytest.mark.parametrize("end", [0.0, 1.0])
@pytest.mark.parametrize("differ", [0, 4, 5])
def test_few_units_that_differ_are_not_resampled(end: float, differ: int) -> None:
    numbers = [0.3] * differ + [end] * (40 - differ)
    result = run(SHARE, np.column_stack([numbers, np.ones(40)]))
    if differ == 5:
        assert result.method.startswith("95% percentile bootstrap over 40 samples")
    else:
        assert (result.low, result.high) == pytest.approx(wilson(sum(numbers), 40))


def test_few_units_that_are_all_mixed_are_resampled() -> None:
    result = run(SHARE, np.array([[1.0, 3.0], [2.0, 4.0], [1.0, 2.0]]))
    assert result.method.startswith("95% percentile bootstrap over 3 samples")


def test_a_share_has_two_statistics() -> None:
    with pytest.raises(TaskError, match=r"'word_perplexity' has 3 statistics.*interval='share'"):
        run(SHARE, np.ones((4, 3)))


def test_what_is_no_share_is_resampled_whatever_it_is() -> None:
    result = run(PERPLEXITY, np.tile([0.0, 1.0], (40, 1)))
    assert (result.value, result.low, result.high) == (1, 1, 1)
    assert result.method.startswith("95% percentile bootstrap")


@pytest.mark.parametrize("together", [0.05, 0.3, 1.0])
@pytest.mark.parametrize("share", [0.005, 0.98])
def test_intervals_of_rare_shares_cover_the_truth(
    share: float, together: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thirty groups of 1 to 19 samples that agree more or less; together: their correlation.

    A bootstrap covers the truth in a third of the cases at worst.
    """
    from gpt2eval import stats

    monkeypatch.setattr(stats, "RESAMPLES", 200)
    rng, covered, naive = np.random.default_rng(5), [], []
    for _ in range(300):
        sizes, spread = rng.integers(1, 20, 30), 1 / together - 1
        chances = (
            rng.beta(share * spread, (1 - share) * spread, 30) if spread else rng.random(30) < share
        )
        right = rng.binomial(sizes, chances)
        rows = [
            [float(n < k), 1.0] for size, k in zip(sizes, right, strict=True) for n in range(size)
        ]
        groups = [f"g{number}" for number, size in enumerate(sizes) for _ in range(size)]
        found = estimate(ACCURACY, rows, groups, rng)
        assert found.low is not None
        assert found.high is not None
        covered.append(found.low <= share <= found.high)
        low, high = bootstrap(np.array(rows), mean, rng, 200, groups)
        naive.append(low <= share <= high)
    assert np.mean(covered) > 0.92
    assert np.mean(naive) < np.mean(covered)
