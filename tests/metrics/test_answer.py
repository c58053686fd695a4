"""Short answers: numbers worked out by hand. Held against lm-eval in tests/oracles."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt2eval import metrics
from gpt2eval.errors import DataError, TaskError
from gpt2eval.metrics.answer import answer_overlap
from gpt2eval.stats import CORPUS_RESAMPLES, estimate
from gpt2eval.task import Metric
from gpt2eval.types import Estimate, Generated
from tests.metrics.answers import generated, sample, scored


def one(metric: Metric, text: str, *golds: str) -> float:
    right, count = metric.stats(sample(*golds), [generated(text)])
    assert count == 1
    return float(right)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Cat, sat!", "cat sat"),
        ("a.n", ""),  # punctuation goes first, and makes an article
        ("theatre another", "theatre another"),
        ("  an  \t apple\n", "apple"),
        ("don't", "dont"),
        ("«Ünter» – the end", "«ünter» – end"),  # only ASCII marks are punctuation
    ],
)
def test_normalize(text: str, expected: str) -> None:
    assert metrics.normalize_answer(text) == expected


def test_overlap() -> None:
    # 2 words in common, of 3 and of 4: precision 2/3, recall 1/2
    assert answer_overlap("red red cat", "red cat on mats") == pytest.approx(4 / 7)
    assert answer_overlap("dog", "cat") == 0
    assert answer_overlap("", "the") == 1  # neither has a word
    assert answer_overlap("", "cat") == 0


@given(st.text(), st.text())
def test_overlap_is_a_share_and_symmetric(ours: str, theirs: str) -> None:
    found = answer_overlap(ours, theirs)
    assert 0 <= found <= 1
    assert found == answer_overlap(theirs, ours)
    assert answer_overlap(ours, ours) == 1


def test_golds() -> None:
    exact, official = metrics.exact_match(), metrics.exact_match(leave_one_out=True)
    assert one(exact, "The cat.", "dog", "cat") == 1
    assert one(exact, "cats", "dog", "cat") == 0
    # Left out in turn: without "cat" nothing is right, without either other gold "cat" is.
    assert one(official, "cat", "cat", "dog", "cow") == pytest.approx(2 / 3)
    assert one(official, "cat", "cat") == 1
    f1 = metrics.answer_f1(leave_one_out=True)
    # against "red cat", "cat", "dog": 2/3, 1, 0; the best of the others: 1, 2/3, 1
    assert one(f1, "cat", "red cat", "cat", "dog") == pytest.approx((1 + 2 / 3 + 1) / 3)
    assert one(metrics.answer_f1(), "cat", "red cat", "cat", "dog") == 1


def test_signatures_tell_the_variants_apart() -> None:
    def lower(text: str) -> str:
        return text.lower()

    variants = [
        metrics.exact_match(),
        metrics.exact_match(leave_one_out=True),
        metrics.exact_match(normalize=lower),
    ]
    assert len({metric.signature for metric in variants}) == 3
    assert one(variants[2], "The Cat", "the cat") == 1
    assert one(variants[2], "Cat", "the cat") == 0


def test_no_gold_is_named() -> None:
    with pytest.raises(DataError, match="sample 's' has no gold answer"):
        metrics.answer_f1().stats(sample(), [generated("cat")])


# ---- confidence ---------------------------------------------------------------------------------


def written(text: str, *logprobs: float) -> Generated:
    return replace(generated(text), logprobs=np.asarray(logprobs, np.float32))


def confident(fraction: float, *answers: tuple[bool, float]) -> float:
    metric = metrics.confident_match(fraction)
    rows = [
        np.array(metric.stats(sample("cat"), [written("cat" if right else "dog", logprob, -0.5)]))
        for right, logprob in answers
    ]
    return float(metric.value(rows))


def test_the_surest_answers() -> None:
    answers = [(True, -1.0), (False, -2.0), (True, -3.0), (False, -4.0)]
    assert confident(0.25, *answers) == 1
    assert confident(0.5, *answers) == 0.5
    assert confident(0.75, *answers) == pytest.approx(2 / 3)
    assert confident(1.0, *answers) == 0.5
    assert confident(0.01, *answers) == 1  # rounded up to one


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([-1.0, -2.0, -3.0])), min_size=1))
def test_order_does_not_matter(answers: list[tuple[bool, float]]) -> None:
    for fraction in (0.1, 0.5, 1.0):
        value = confident(fraction, *answers)
        assert value == pytest.approx(confident(fraction, *reversed(answers)))
    assert confident(1.0, *answers) == pytest.approx(np.mean([right for right, _ in answers]))


def test_a_baseline_has_no_confidence() -> None:
    with pytest.raises(TaskError, match="no confidence"):
        metrics.confident_match(0.1).stats(sample("cat"), [generated("cat")])
    with pytest.raises(TaskError, match="one Generate request"):
        metrics.confident_match(0.1).stats(sample("cat"), [scored([-1.0])])


def test_interval_over_the_corpus() -> None:
    metric = metrics.confident_match(0.5)
    rng = np.random.default_rng(0)
    rows = np.column_stack([rng.random(200) < 0.4, -rng.gamma(2, 2, 200)]).astype(float)

    def run(seed: int, groups: list[str]) -> Estimate:
        return estimate(metric, rows, groups, np.random.default_rng(seed))

    alone = run(1, [""] * 200)
    assert alone == run(1, [""] * 200)
    assert alone.low is not None
    assert alone.high is not None
    assert alone.low < alone.value < alone.high
    assert f"{CORPUS_RESAMPLES} resamples, seed 1" in alone.method
    assert alone.denominator == "200 questions"
    # A share of 100 of 200: the width is near that of a proportion of a hundred.
    assert 0.1 < alone.high - alone.low < 0.3
    assert "over 4 groups" in run(1, [str(i % 4) for i in range(200)]).method
    assert run(1, ["one"] * 200).low is None
    rows[:, 0] = 0
    never = run(1, [""] * 200)
    assert (never.value, never.low) == (0, None)
    assert never.method == "no interval: all resamples of the 200 samples agree"
