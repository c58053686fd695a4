"""Variety of texts: by hand, and against nltk and scipy."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt2eval import metrics
from gpt2eval.errors import TaskError
from gpt2eval.metrics.diversity import loops
from gpt2eval.stats import estimate
from gpt2eval.task import Metric
from tests.metrics.answers import generated, sample

CORPUS = [metrics.distinct(1), metrics.distinct(2), metrics.self_bleu(), metrics.zipf()]
WORDS = st.sampled_from(["the", "The", "cat", "sat", "on", "é", "x"])
TEXTS = st.lists(st.lists(WORDS, max_size=12).map(" ".join), min_size=2, max_size=8)


def value(metric: Metric, texts: Sequence[str]) -> float:
    rows = [np.array(metric.stats(sample(), [generated(text)])) for text in texts]
    return float(metric.value(rows))


def test_distinct() -> None:
    texts = ["a b a", "b a b", "a"]
    assert value(metrics.distinct(1), texts) == 2 / 7
    assert value(metrics.distinct(2), texts) == 2 / 4  # "a b" and "b a", of four
    assert value(metrics.distinct(1), ["a A", "ä a."]) == 1
    assert math.isnan(value(metrics.distinct(2), ["a", ""]))


@given(TEXTS)
def test_self_bleu_is_that_of_nltk(texts: list[str]) -> None:
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

    smooth = SmoothingFunction().method1
    split = [text.split() for text in texts]
    expected = []
    for number, words in enumerate(split):
        others = split[:number] + split[number + 1 :]
        expected.append(
            float(sentence_bleu(others, words, smoothing_function=smooth)) if words else 0.0
        )
    assert value(metrics.self_bleu(), texts) == pytest.approx(np.mean(expected), abs=1e-9)


def test_self_bleu_by_hand() -> None:
    assert value(metrics.self_bleu(), ["the cat sat on it"] * 2) == pytest.approx(1)
    assert value(metrics.self_bleu(), ["a b c d", "e f g h"]) == 0
    assert math.isnan(value(metrics.self_bleu(), ["alone"]))


@given(st.lists(st.integers(0, 40), min_size=3, max_size=200))
def test_zipf_is_the_slope_of_scipy(numbers: list[int]) -> None:
    from scipy.stats import linregress

    counts = sorted(Counter(numbers).values(), reverse=True)
    found = value(metrics.zipf(), [" ".join(f"w{n}" for n in numbers)])
    if len(counts) < 2:
        assert math.isnan(found)
        return
    line = linregress(np.log(np.arange(1, len(counts) + 1)), np.log(counts))
    assert found == pytest.approx(-line.slope, abs=1e-9)


@pytest.mark.parametrize("metric", CORPUS, ids=lambda m: m.name)
@given(texts=TEXTS, seed=st.integers(0, 3))
def test_order_of_texts_does_not_matter(metric: Metric, texts: list[str], seed: int) -> None:
    shuffled = [texts[i] for i in np.random.default_rng(seed).permutation(len(texts))]
    assert value(metric, shuffled) == pytest.approx(value(metric, texts), nan_ok=True)


@pytest.mark.parametrize("metric", CORPUS, ids=lambda m: m.name)
def test_records_are_enough_and_there_is_no_interval(metric: Metric) -> None:
    """Words as numbers survive JSON, and come out of rows of any length."""
    import json

    texts = ["the cat sat on the mat", "the dog", "a cat sat on the mat and slept"]
    rows = [list(metric.stats(sample(), [generated(text)])) for text in texts]
    kept = json.loads(json.dumps(rows))
    assert kept == rows
    found = estimate(metric, kept, [""] * 3, np.random.default_rng(0))
    assert found.value == value(metric, texts)
    assert found.low is found.high is None
    assert found.method.startswith("no interval")
    assert found.denominator == "3 texts"


def test_repetition() -> None:
    metric = metrics.repetition(2)
    # 5 bigrams, of which "a b" and "b a" come again
    assert metric.stats(sample(), [generated("a b a b a c")]) == (pytest.approx(2 / 5), 1)
    assert metric.stats(sample(), [generated("a")]) == (0, 0)
    rows = np.array([metric.stats(sample(), [generated(text)]) for text in ("a a a", "b", "a b")])
    assert metric.value(rows.sum(axis=0)) == pytest.approx((1 / 2 + 0) / 2)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I am I am I am", True),
        ("so it goes on and on and on", False),
        ("so it goes on and on and on and", True),  # "on and" three times
        ("no no", False),
        ("no no no", True),
        ("no no no yes", False),
        ("", False),
    ],
)
def test_loops(text: str, expected: bool) -> None:
    assert loops(text.split()) is expected


@given(st.lists(WORDS, min_size=1, max_size=6), st.lists(WORDS, max_size=6))
def test_what_is_said_three_times_is_a_loop(phrase: list[str], before: list[str]) -> None:
    assert loops(before + 3 * phrase)


# ---- log-probabilities of what was written -----------------------------------------------------


def test_written_perplexity_needs_tokens() -> None:
    with pytest.raises(TaskError, match="needs tokens that the model wrote"):
        metrics.written_perplexity().stats(sample(), [generated("text of a baseline")])
