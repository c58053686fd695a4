"""Tests of significance, held against scipy and sacrebleu, and against truths that are known."""

from __future__ import annotations

from collections.abc import Callable
from math import comb, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.significance import PairedTest, _compute_p_value
from scipy import optimize, stats

from gpt2eval import significance as sig
from gpt2eval.metrics.bleu import _bleu, _chrf
from gpt2eval.metrics.likelihood import _exp_ratio, _ratio
from gpt2eval.stats import resample
from tests import simulation


def fresh() -> np.random.Generator:
    return np.random.default_rng(0)


# ---- distributions, against scipy ---------------------------------------------------------------


@given(st.floats(0.5, 500), st.floats(0.5, 500), st.floats(0, 1))
def test_beta_share_is_scipys(a: float, b: float, x: float) -> None:
    assert sig.beta_share(a, b, x) == pytest.approx(stats.beta.cdf(x, a, b), rel=1e-9, abs=1e-13)


@pytest.mark.parametrize("df", [1, 2.4, 9, 200])
def test_students_t_is_scipys(df: float) -> None:
    for t in (0.0, 0.3, -2.5, 40.0):
        assert sig.student_tails(t, df) == pytest.approx(2 * stats.t.sf(abs(t), df), rel=1e-10)
    for level in (0.5, 0.8, 0.975, 0.9995):
        expected = stats.t.ppf(level, df)
        assert sig.student_quantile(level, df) == pytest.approx(expected, rel=1e-9, abs=1e-12)


# ---- proportions --------------------------------------------------------------------------------


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_the_exact_binomial_test(wins: int, losses: int) -> None:
    if wins + losses:
        expected = stats.binomtest(wins, wins + losses).pvalue
        assert sig.mcnemar(wins, losses) == pytest.approx(expected, rel=1e-9)


def test_mcnemar_of_many_samples() -> None:
    assert sig.mcnemar(5000, 5200) == pytest.approx(stats.binomtest(5000, 10200).pvalue, rel=1e-8)


def score_by_likelihood(wins: int, losses: int, n: int, difference: float) -> float:
    """Tango's score from its definition: the likeliest share of losses is searched, not solved."""

    def minus(share: float) -> float:
        cells = ((wins, share + difference), (losses, share), (n - wins - losses, rest(share)))
        return -sum(count * log(max(p, 1e-300)) for count, p in cells if count)

    def rest(share: float) -> float:
        return 1 - 2 * share - difference

    low, high = max(0.0, -difference), (1 - difference) / 2
    found = optimize.minimize_scalar(minus, bounds=(low, high), options={"xatol": 1e-12})
    share = found.x
    return (wins - losses - n * difference) / (n * (2 * share + difference - difference**2)) ** 0.5


@pytest.mark.parametrize(
    ("wins", "losses", "n", "level"), [(30, 12, 200, 0.95), (3, 9, 40, 0.9), (7, 0, 25, 0.95)]
)
def test_tango_inverts_its_score(wins: int, losses: int, n: int, level: float) -> None:
    low, high = sig.tango(wins, losses, n, level)
    z = stats.norm.ppf((1 + level) / 2)
    assert score_by_likelihood(wins, losses, n, low) == pytest.approx(z, abs=1e-4)
    assert score_by_likelihood(wins, losses, n, high) == pytest.approx(-z, abs=1e-4)


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 50))
def test_tango_is_an_interval_and_has_no_favourite(wins: int, losses: int, ties: int) -> None:
    if n := wins + losses + ties:
        low, high = sig.tango(wins, losses, n)
        assert -1 <= low <= (wins - losses) / n <= high <= 1
        assert low < high
        assert sig.tango(losses, wins, n) == pytest.approx((-high, -low), abs=1e-9)


def test_tango_has_a_width_where_nothing_differs() -> None:
    z2 = stats.norm.ppf(0.975) ** 2
    bound = z2 / (100 + z2)
    assert sig.tango(0, 0, 100) == pytest.approx((-bound, bound))


def test_five_samples_that_differ_can_show_nothing() -> None:
    assert sig.mcnemar(5, 0) > 0.05 > sig.mcnemar(6, 0)
    assert sig.smallest_of_discordant(5) is None
    found = sig.smallest_of_discordant(6)
    assert found is not None
    assert ((1 + found) / 2) ** 6 == pytest.approx(0.8)  # six wins of six


def test_smallest_difference_has_its_power() -> None:
    smallest = sig.smallest_of_discordant(100)
    assert smallest is not None
    critical = next(w for w in range(50, 101) if stats.binomtest(w, 100).pvalue < 0.05)
    assert stats.binom.sf(critical - 1, 100, (1 + smallest) / 2) == pytest.approx(0.8)


def test_paired_finds_what_unpaired_misses() -> None:
    """Figures of lm-evaluation-harness#3868: 220 samples, unpaired p 0.080, McNemar 0.008.

    The counts are not published there; these are some that give both figures.
    """
    n, ours, theirs, wins, losses = 220, 143, 160, 27, 10
    assert theirs - ours == wins - losses
    assert round(simulation.unpaired_p(ours, theirs, n), 3) == 0.080
    assert round(sig.mcnemar(wins, losses), 3) == 0.008
    low, _ = sig.tango(wins, losses, n)
    assert low > 0


# ---- permutations -------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 7, 13])
def test_few_sign_flips_are_all_taken(n: int) -> None:
    values = np.random.default_rng(n).normal(0.4, 1, n)
    expected = stats.permutation_test(
        (values,), np.sum, permutation_type="samples", n_resamples=np.inf
    ).pvalue
    found = sig.permute(sig.sign_flip(values), fresh())
    assert found == sig.Permutation(pytest.approx(expected), 2**n, exact=True)


def test_many_sign_flips_are_drawn() -> None:
    values = np.random.default_rng(1).normal(0.1, 1, 500)
    found = sig.permute(sig.sign_flip(values), fresh())
    assert (found.arrangements, found.exact) == (10_000, False)
    assert found.p == pytest.approx(stats.ttest_1samp(values, 0).pvalue, abs=0.01)


def test_a_drawn_p_is_never_zero_and_a_small_one_is_drawn_on() -> None:
    values = np.full(50, 1.0)
    assert sig.permute(sig.sign_flip(values), fresh()).p == 1 / 10_001
    (found,) = sig.permute_all([sig.sign_flip(values)], fresh, 1000, 30_000)
    assert found == sig.Permutation(1 / 30_001, 30_000, exact=False)


def test_units_that_are_equal_leave_an_exact_test() -> None:
    values = np.zeros(1000)
    values[:3] = 1, 2, 3
    assert sig.permute(sig.sign_flip(values), fresh()) == sig.Permutation(0.25, 8, exact=True)


def test_ties_count_whatever_the_order_of_the_sum() -> None:
    """0.1 + 0.2 + 0.3 and 0.3 + 0.2 + 0.1 are not the same float64."""
    values = np.array([0.1, 0.2, 0.3] * 4)
    expected = 2 / 2**12
    assert sig.permute(sig.sign_flip(values), fresh()).p == expected


def test_tests_that_share_their_draws_are_what_they_are_alone() -> None:
    rng = np.random.default_rng(5)
    exchanges = [sig.sign_flip(rng.normal(0.1, 1, size)) for size in (40, 40, 25, 6)]
    exchanges.append(sig.swap(rng.random((40, 2)), rng.random((40, 2)), _ratio))
    together = sig.permute_all(exchanges, fresh, 2000)
    assert together == [sig.permute(one, fresh(), 2000) for one in exchanges]


def test_columns_that_are_alike_are_multiplied_once_and_count_as_before() -> None:
    """Counts of n-grams, whole and alike, beside losses, which are neither."""
    rng = np.random.default_rng(3)
    length = rng.integers(-4, 5, size=(200, 1)).astype(float)
    counts = np.hstack([length, length, rng.integers(-3, 4, size=(200, 2)), np.zeros((200, 1))])
    losses = rng.normal(0.02, 0.2, size=(200, 1))
    weights = np.array([1.0, 0.5, 2.0, -1.0, 3.0])
    exchanges = [
        sig.Exchange(counts, lambda moved: moved @ weights - 40, 100.0),
        sig.sign_flip(losses[:, 0]),
        sig.Exchange(np.hstack([losses, length]), lambda moved: moved.sum(axis=-1) - 3, 100.0),
    ]

    def fresh() -> np.random.Generator:
        return np.random.default_rng(0)

    found = sig.permute_all(exchanges, fresh, 2000)
    tossed = np.vstack(list(sig._tosses(200, fresh(), 2000))).astype(float)
    for exchange, permutation in zip(exchanges, found, strict=True):
        statistic = np.abs(exchange.statistic(tossed @ exchange.moves))
        observed = abs(exchange.statistic(np.zeros(exchange.moves.shape[1])))
        count = int((statistic >= observed - 1e-10 * exchange.size).sum())
        assert permutation.p == (count + 1) / 2001


def test_swapping_losses_is_flipping_signs() -> None:
    """With equal denominators perplexity is a monotone function of what sign flips sum."""
    ours, theirs = simulation.documents(np.random.default_rng(2), 40, 0.03)
    flipped = sig.permute(sig.sign_flip(theirs[:, 0] - ours[:, 0]), fresh())
    swapped = sig.permute(sig.swap(ours, theirs, _exp_ratio), fresh())
    assert flipped == swapped
    assert 1e-3 < flipped.p < 1


def test_a_perplexity_without_a_number_never_counts_as_evidence() -> None:
    ours = np.full((40, 2), (1e6, 1.0))
    found = sig.permute(sig.swap(ours, ours * [2, 1], _exp_ratio), fresh(), 500)
    assert found.p == 1  # inf - inf, every time
    finite = sig.permute(sig.sign_flip(ours[:, 0]), fresh(), 500)
    assert finite.p == 1 / 501


# ---- sacrebleu's own paired tests ---------------------------------------------------------------

WORDS = "the a cat dog house runs sees green old small river under over and with goes".split()


def outputs(n: int = 60) -> tuple[list[str], list[str], list[str]]:
    """References, and two systems that garble a third and a quarter of the words."""
    rng = np.random.default_rng(11)
    references = [" ".join(rng.choice(WORDS, int(rng.integers(6, 20)))) for _ in range(n)]

    def garbled(share: float) -> list[str]:
        return [
            " ".join(w if rng.random() > share else str(rng.choice(WORDS)) for w in text.split())
            for text in references
        ]

    return references, garbled(0.33), garbled(0.25)


Case = tuple[type, Callable[[np.ndarray], np.ndarray]]
CASES: list[Case] = [(BLEU, _bleu), (CHRF, _chrf)]


def statistics(scorer: type, texts: list[str], references: list[str]) -> np.ndarray:
    return np.array(scorer()._extract_corpus_statistics(texts, [references]), dtype=np.float64)


def sacrebleu_p(scorer: type, kind: str, trials: int) -> float:
    references, ours, theirs = outputs()
    test = PairedTest(
        [("a", ours), ("b", theirs)],
        {scorer.__name__: scorer(references=[references])},
        None,
        kind,
        trials,
    )
    _, scores = test()
    (results,) = (rows for name, rows in scores.items() if name != "System")
    return float(results[1].p_value)


@pytest.mark.oracle
@pytest.mark.parametrize(("scorer", "value"), CASES)
def test_randomisation_is_sacrebleus_with_the_same_swaps(
    scorer: type, value: Callable[[np.ndarray], np.ndarray]
) -> None:
    """Its draws, its seed: every difference the same, and so p, but for ties and float32."""
    references, ours, theirs = outputs()
    a, b = (statistics(scorer, texts, references) for texts in (ours, theirs))
    exchange = sig.swap(a, b, value)
    kept = np.random.default_rng(12345).integers(2, size=(2000, len(a)), dtype=bool)
    differences = np.abs(exchange.statistic((~kept).astype(float) @ exchange.moves))
    observed = abs(float(exchange.statistic(np.zeros(a.shape[1]))))
    p = float(((differences > observed + 1e-9).sum() + 1) / 2001)
    assert p == pytest.approx(sacrebleu_p(scorer, "ar", 2000), abs=1e-12)
    assert 0.001 < p < 0.9


@pytest.mark.oracle
@pytest.mark.parametrize(("scorer", "value"), CASES)
def test_randomisation_agrees_with_sacrebleu_by_its_own_draws(
    scorer: type, value: Callable[[np.ndarray], np.ndarray]
) -> None:
    references, ours, theirs = outputs()
    a, b = (statistics(scorer, texts, references) for texts in (ours, theirs))
    p = sig.permute(sig.swap(a, b, value), fresh()).p
    error = (p * (1 - p) * (1 / 10_000 + 1 / 4000)) ** 0.5
    assert p == pytest.approx(sacrebleu_p(scorer, "ar", 4000), abs=4 * error)


@pytest.mark.oracle
@pytest.mark.parametrize(("scorer", "value"), CASES)
def test_bootstrap_agrees_with_sacrebleus_paired_one(
    scorer: type, value: Callable[[np.ndarray], np.ndarray]
) -> None:
    """sacrebleu makes a p of the resampled differences; made of ours, it is the same."""
    references, ours, theirs = outputs()
    a, b = (statistics(scorer, texts, references) for texts in (ours, theirs))
    sums = resample([a, b], fresh(), 4000)
    differences = np.abs(value(sums[1]) - value(sums[0]))
    observed = abs(float(value(b.sum(axis=0)) - value(a.sum(axis=0))))
    p = _compute_p_value(differences - differences.mean(), observed)
    assert p == pytest.approx(sacrebleu_p(scorer, "bs", 4000), abs=4 * (p / 2000) ** 0.5)


# ---- means --------------------------------------------------------------------------------------

OURS, THEIRS = [31.2, 30.8, 31.9, 31.1, 30.2], [30.1, 30.4, 30.9, 29.8]


def test_welch_is_scipys() -> None:
    found, expected = sig.welch(OURS, THEIRS), stats.ttest_ind(THEIRS, OURS, equal_var=False)
    interval = expected.confidence_interval(0.95)
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.df == pytest.approx(expected.df)


def test_paired_t_is_scipys() -> None:
    found, expected = sig.paired_t([1.0] * 5, OURS), stats.ttest_rel(OURS, [1.0] * 5)
    interval = expected.confidence_interval(0.95)
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


def test_seeds_that_do_not_vary_have_no_p() -> None:
    assert sig.welch([1.0, 1.0], [2.0, 2.0]) == sig.MeanTest(1.0, None, None, None, None, 1.0)
    assert sig.paired_t([0.5, 0.52, 0.54], [0.53, 0.55, 0.57]).p is None  # but for rounding


def test_permuted_seeds_are_scipys() -> None:
    found = sig.permute_seeds(OURS, THEIRS)
    expected = stats.permutation_test(
        (OURS, THEIRS),
        lambda a, b, axis: np.abs(a.mean(axis) - b.mean(axis)),
        alternative="greater",
        n_resamples=np.inf,
        vectorized=True,
    )
    assert found == sig.Permutation(pytest.approx(expected.pvalue), comb(9, 4), exact=True)
    assert sig.permute_seeds([0.0] * 10, [1.0] * 10) is None


def test_seeds_needed() -> None:
    for paired in (False, True):
        n = sig.seeds_needed(1.0, 1.0, paired=paired)
        assert n is not None
        error = n**-0.5 if paired else (2 / n) ** 0.5
        df = n - 1 if paired else 2 * n - 2
        power = stats.nct.sf(stats.t.ppf(0.975, df), df, 1 / error)
        assert 0.77 < power < 0.87
    assert sig.seeds_needed(0.0, 1.0, paired=True) is None
    assert sig.seeds_needed(1e-6, 1.0, paired=True) is None


# ---- many tests ---------------------------------------------------------------------------------

PS = st.lists(st.floats(0, 1), min_size=1, max_size=12)


@given(PS)
def test_benjamini_hochberg_is_scipys(p: list[float]) -> None:
    assert sig.benjamini_hochberg(p) == pytest.approx(list(stats.false_discovery_control(p)))


@given(PS)
def test_holm_is_its_definition(p: list[float]) -> None:
    """The step-down rule at every level: refused are the smallest, until one is too large."""
    corrected = sig.holm(p)
    for alpha in (0.01, 0.05, 0.3):
        refused, order = set(), np.argsort(p, kind="stable")
        for rank, number in enumerate(order):
            if p[number] * (len(p) - rank) > alpha:
                break
            refused.add(int(number))
        assert {i for i, c in enumerate(corrected) if c <= alpha} >= refused
        assert all(p[i] in {p[j] for j in refused} for i, c in enumerate(corrected) if c <= alpha)
    assert all(a >= b for a, b in zip(corrected, p, strict=True))


# ---- by simulation ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("exact McNemar, 200 samples, 40 differ", 0.015, 0.055),
        ("sign flips, 30 documents", 0.03, 0.07),
        ("sign flips, 8 documents (exact)", 0.025, 0.07),
        ("randomisation, 50 texts", 0.03, 0.07),
        ("Welch's t, 5 seeds", 0.02, 0.065),
        ("paired t, 5 seeds", 0.03, 0.07),
        ("exact permutation, 5 seeds, skewed", 0.03, 0.065),
        ("gate, drop as large as the margin", 0.03, 0.07),
    ],
)
def test_false_positives(name: str, low: float, high: float) -> None:
    assert low < simulation.rate(simulation.FALSE_POSITIVES[name], 1000) < high


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("Tango, 50 samples", 0.93, 0.985),
        ("Tango, 200 samples", 0.93, 0.975),
        ("paired bootstrap, 62 documents", 0.91, 0.965),
    ],
)
def test_coverage(name: str, low: float, high: float) -> None:
    assert low < simulation.rate(simulation.COVERAGE[name], 1000) < high


def test_the_simulation_sees_a_test_that_is_wrong() -> None:
    """An unpaired test of paired data refuses far too seldom, and an interval too narrow misses."""
    name = "unpaired z-test, the same samples"
    assert simulation.rate(simulation.FALSE_POSITIVES[name], 1000) < 0.02

    def narrow(rng: np.random.Generator) -> bool:
        low, high = sig.tango(*simulation.discordant(rng, 200, 0.08, 0.04), 200, 0.8)
        return low <= 0.04 <= high

    assert simulation.rate(narrow, 1000) < 0.85
