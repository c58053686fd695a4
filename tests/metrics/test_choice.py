from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt2eval.errors import DataError, TaskError
from gpt2eval.metrics import calibration_error, choice_accuracy, f1_macro, macro, part
from gpt2eval.metrics.choice import NAMES, choice_scores
from gpt2eval.stats import estimate
from gpt2eval.task import Metric
from gpt2eval.types import Response, Sample
from tests.metrics.answers import generated, picked, sample, scored

every_score = pytest.mark.parametrize("by", NAMES)


def value(metric: Metric, *answers: tuple[Sample, Sequence[Response]]) -> float:
    return float(metric.value(np.sum([metric.stats(*answer) for answer in answers], axis=0)))


# One choice wins by each score: the sum, per character, per byte, per token, less the prior.
CHOICES = ("a", "abcdefgh", "éé", "abcdef", "abc")
RESPONSES = [
    scored([-2.0]),  # highest sum
    scored([-4.0]),  # -0.5 a character, the highest
    scored([-1.5, -1.5]),  # -1.5 a character, -0.75 a byte
    scored([-1.0] * 4),  # -1 a token, the highest
    scored([-3.0]),
]
PRIORS = [scored([x]) for x in (-1.0, -3.0, -2.0, -3.0, -9.0)]


@pytest.mark.parametrize(
    ("by", "scores", "best"),
    [
        ("sum", [-2, -4, -3, -4, -3], 0),
        ("characters", [-2, -0.5, -1.5, -4 / 6, -1], 1),
        ("bytes", [-2, -0.5, -0.75, -4 / 6, -1], 1),
        ("tokens", [-2, -4, -1.5, -1, -3], 3),
        ("pmi", [-1, -1, -1, -1, 6], 4),
    ],
)
def test_scores(by: NAMES, scores: list[float], best: int) -> None:
    for gold in range(5):
        item = sample(choices=CHOICES, gold=gold)
        assert choice_scores(item, [*RESPONSES, *PRIORS], by).tolist() == pytest.approx(scores)
        metric = choice_accuracy(by)
        assert metric.stats(item, [*RESPONSES, *PRIORS]) == (float(gold == best), 1.0)
        assert f"scores:{by}" in metric.signature


def test_a_name_of_its_own() -> None:
    metric = choice_accuracy("tokens", "replies", "hits_at_1_mean")
    assert (metric.name, metric.per) == ("hits_at_1_mean", "replies")
    assert metric.signature == choice_accuracy("tokens").signature


def test_characters_and_bytes_differ() -> None:
    item = sample(choices=("ééé", "abcd"), gold=0)
    answers = [scored([-3.0]), scored([-2.5])]
    assert choice_accuracy("characters").stats(item, answers)[0] == 0
    assert choice_accuracy("bytes").stats(item, answers)[0] == 1


@every_score
def test_first_of_equals_wins(by: NAMES) -> None:
    responses = [scored([-1.0])] * 6
    for gold, right in ((0, 1.0), (1, 0.0), (2, 0.0)):
        item = sample(choices=("x", "y", "z"), gold=gold)
        assert choice_accuracy(by).stats(item, responses)[0] == right


@every_score
@pytest.mark.parametrize("gold", [-1, 2, "0", None, 1.0])
def test_gold_out_of_range_is_an_error(by: NAMES, gold: object) -> None:
    with pytest.raises(DataError, match=r"sample 's': gold label .*; expected a whole number"):
        choice_accuracy(by).stats(sample(choices=("x", "y"), gold=gold), picked(2, 0, 4))


@pytest.mark.parametrize(
    ("by", "count"), [("sum", 1), ("sum", 3), ("sum", 5), ("pmi", 2), ("pmi", 3)]
)
def test_responses_must_fit_the_choices(by: NAMES, count: int) -> None:
    with pytest.raises(TaskError, match=f"{count} responses for 2 choices, scored by {by}"):
        choice_accuracy(by).stats(sample(choices=("x", "y"), gold=0), [scored([-1.0])] * count)


def test_only_scored_responses() -> None:
    with pytest.raises(TaskError, match="needs Score or Rolling requests"):
        choice_accuracy().stats(sample(choices=("x", "y"), gold=0), [generated("x")] * 2)


def test_a_choice_without_tokens_is_an_error() -> None:
    with pytest.raises(DataError, match="no tokens to score"):
        choice_accuracy().stats(sample(choices=("x", ""), gold=0), [scored([-1.0]), scored([])])


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30))
def test_f1_is_that_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    from sklearn.metrics import f1_score

    answers = [(sample(choices=tuple("wxyz"), gold=g), picked(4, chosen)) for g, chosen in pairs]
    gold, chosen = zip(*pairs, strict=True)
    expected = f1_score(gold, chosen, average="macro", zero_division=0)
    assert value(f1_macro(4), *answers) == pytest.approx(expected)


def test_f1_needs_the_same_labels_everywhere() -> None:
    with pytest.raises(TaskError, match="2 choices; f1_macro is of 3 labels"):
        f1_macro(3).stats(sample(choices=("x", "y"), gold=0), picked(2, 0))


def test_calibration_error_by_hand() -> None:
    """Two bins of ten: 0.8 three times, twice right; 0.6 once, wrong."""

    def answer(confidence: float, right: bool) -> tuple[Sample, list[Response]]:
        logprobs = np.log([confidence, 1 - confidence])
        item = sample(choices=("x", "y"), gold=0 if right else 1)
        return item, [scored([float(x)]) for x in logprobs]

    answers = [answer(0.79, True), answer(0.79, True), answer(0.79, False), answer(0.59, False)]
    expected = 3 / 4 * abs(0.79 - 2 / 3) + 1 / 4 * 0.59
    assert value(calibration_error(bins=10), *answers) == pytest.approx(expected, rel=1e-6)


@given(st.integers(0, 2**32 - 1))
def test_calibration_error_of_a_model_that_means_what_it_says(seed: int) -> None:
    """Right as often as it claims: the error goes to zero with the samples."""
    rng = np.random.default_rng(seed)
    metric = calibration_error()
    sums = np.zeros(45)
    for confidence in rng.uniform(0.5, 1.0, 3000):
        gold = int(rng.random() > confidence)
        item = sample(choices=("x", "y"), gold=gold)
        answers = [scored([float(np.log(p))]) for p in (confidence, 1 - confidence)]
        sums += metric.stats(item, answers)
    assert metric.value(sums) < 0.06


def test_certainty_falls_into_the_last_bin() -> None:
    stats = calibration_error(bins=4).stats(sample(choices=("x", "y"), gold=0), picked(2, 0))
    assert stats[:4] == [0, 0, 0, 1]


# ---- parts --------------------------------------------------------------------------------------


def of(place: str) -> tuple[Sample, Sequence[Response]]:
    """A sample of a part and whether it is right, as in "a+"."""
    fields = {"choices": ("x", "y"), "gold": 0, "place": place[0]}
    return sample(**fields), picked(2, 0 if place[1] == "+" else 1)


def test_part_is_the_metric_over_its_members() -> None:
    metric = part(choice_accuracy(), "a", lambda s: s.fields["place"] == "a")
    assert (metric.name, metric.part) == ("accuracy/a", "a")
    assert metric.member is not None
    rows = [metric.stats(*of(p)) for p in ("a+", "a-", "b+") if metric.member(of(p)[0])]
    found = estimate(metric, np.array(rows), ["", ""], np.random.default_rng(0))
    assert (found.value, found.n, found.part) == (0.5, 2, "a")
    assert found.denominator == "2 questions"


def test_macro_is_the_mean_of_the_parts() -> None:
    """Three of four right in one, one of two in the other: not four of six."""
    places = ["a+", "a+", "a+", "a-", "b+", "b-"]
    metric = macro(choice_accuracy(), lambda s: {"a": 4.0, "b": 2.0}[s.fields["place"]], "places")
    assert value(metric, *map(of, places)) == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert metric.name == "accuracy_macro"
    rows = np.array([metric.stats(*of(place)) for place in places])
    found = estimate(metric, rows, [""] * 6, np.random.default_rng(0))
    assert found.denominator == "2 places"
