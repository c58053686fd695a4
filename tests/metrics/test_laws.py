"""Laws that every metric obeys, whatever it measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from gpt2eval import metrics
from gpt2eval.metrics.choice import NAMES
from gpt2eval.stats import estimate
from gpt2eval.task import Metric
from gpt2eval.types import Response, Sample
from tests.metrics.answers import generated, sample, scored

LIKELIHOOD = [
    metrics.perplexity("word_perplexity", "words", lambda s: float(s.fields["words"])),
    metrics.bits("bits_per_word", "words", lambda s: float(s.fields["words"])),
    metrics.token_perplexity(),
    metrics.sample_perplexity(),
    metrics.sample_perplexity("last_token_perplexity", tokens="last"),
    metrics.scorer_perplexity(),
    metrics.accuracy(),
    metrics.accuracy("last_token_accuracy", tokens="last"),
    metrics.accuracy("accuracy_excluding", excluding=True),
]
TEXT = [
    metrics.bleu(),
    metrics.chrf(),
    *metrics.rouge(stemmer=False),
    *metrics.rouge(stemmer=True),
    metrics.rouge_average(stemmer=False),
    metrics.rouge_average(stemmer=True),
]
CHOICE = [
    *(metrics.choice_accuracy(by) for by in NAMES),
    metrics.f1_macro(4),
    metrics.calibration_error(),
    metrics.macro(metrics.choice_accuracy(), lambda s: float(s.fields["size"]), "parts"),
]
ANSWERS = [
    metrics.exact_match(),
    metrics.exact_match("exact_match_official", leave_one_out=True),
    metrics.answer_f1(),
    metrics.answer_f1("f1_official", leave_one_out=True),
]
WRITTEN = [metrics.written_perplexity(), metrics.repetition(2), metrics.degenerate()]
EVERY = [*LIKELIHOOD, *CHOICE, *TEXT, *ANSWERS, *WRITTEN]
Answer = tuple[Sample, Sequence[Response]]


def likelihoods() -> list[Answer]:
    rng = np.random.default_rng(0)
    return [
        (
            sample(words=int(n)),
            [scored(list(-rng.gamma(2, 1, n)), list(rng.random(n) < 0.8), weights=[0.5] * n)],
        )
        for n in rng.integers(1, 6, 40).tolist()
    ]


def texts() -> list[Answer]:
    """Half-right texts of many lengths, one of them empty.

    Together they match in n-grams of every order: where an order has no match at all, BLEU's
    smoothing depends on the size of the corpus, and doubling the data does move it.
    """
    rng = np.random.default_rng(0)
    words = ["the", "cat", "sat", "on", "a", "mat", "and", "dogs", "were", "running", "over"]
    answers: list[Answer] = []
    for length in [0, *rng.integers(1, 20, 39)]:
        gold = rng.choice(words, 15)
        kept = rng.random(15) < 0.8
        text = np.where(kept, gold, rng.choice(words, 15))[:length]
        answers.append((sample(" ".join(gold)), [generated(" ".join(text))]))
    return answers


def choices() -> list[Answer]:
    """Four choices each, also scored without context; the right one tends to be likelier."""
    rng = np.random.default_rng(0)
    answers: list[Answer] = []
    for number, gold in enumerate(rng.integers(0, 4, 40).tolist()):
        lengths = rng.integers(1, 5, 4).tolist()
        scores = [
            scored(list(-rng.gamma(2, 1 - 0.6 * (place == gold), lengths[place % 4])))
            for place in range(8)
        ]
        texts = tuple("é" * length + "e" for length in lengths)
        size = 10 + 20 * (number >= 10)
        answers.append((sample(choices=texts, gold=gold, size=size), scores))
    return answers


def short_answers() -> list[Answer]:
    """Answers of one to three words, some of them right, against one to three golds."""
    rng = np.random.default_rng(0)
    words = ["one", "the two", "Three!", "a cat"]

    def phrase() -> str:
        return " ".join(rng.choice(words, rng.integers(1, 4)))

    return [
        (sample(*(phrase() for _ in range(1 + number % 3))), [generated(phrase())])
        for number in range(40)
    ]


def written() -> list[Answer]:
    """Texts of few different words, a third of them looping, each token with its probability."""
    rng = np.random.default_rng(0)
    answers: list[Answer] = []
    for number in range(40):
        text = " ".join(rng.choice(["on", "and"], rng.integers(1, 9)))
        looping = generated(f"{text} so so so" if number % 3 == 0 else f"{text} end")
        logprobs = -rng.gamma(2, 1, len(looping.text.split()))
        answers.append((sample(), [replace(looping, logprobs=logprobs.astype(np.float32))]))
    return answers


def answers_to(metric: Metric) -> list[Answer]:
    kinds = [
        (LIKELIHOOD, likelihoods),
        (CHOICE, choices),
        (TEXT, texts),
        (ANSWERS, short_answers),
        (WRITTEN, written),
    ]
    return next(make() for kind, make in kinds if metric in kind)


def rows(metric: Metric) -> NDArray[np.float64]:
    return np.array([metric.stats(*answer) for answer in answers_to(metric)], dtype=np.float64)


every_metric = pytest.mark.parametrize("metric", EVERY, ids=lambda m: m.name)


def test_every_factory_is_under_the_laws() -> None:
    prepare_text = {
        "first_sentence",
        "first_sentences",
        "normalize_answer",
        "split_sentences",
        "text_of",
    }
    # No sums: laws of their own, in tests of their own.
    over_the_corpus = {"confident_match", "distinct", "evaluated", "mauve", "self_bleu", "zipf"}
    # `part` makes no statistics of its own.
    factories = set(metrics.__all__) - prepare_text - over_the_corpus - {"part"}
    made_by = {metric.stats.__qualname__.split(".")[0] for metric in EVERY}
    shared = {
        "_metric": {"bleu", "chrf", "rouge", "rouge_average"},
        "_answer": {"answer_f1", "exact_match"},
    }
    assert set().union(*(shared.get(name, {name}) for name in made_by)) == factories


def test_names_are_unique() -> None:
    for kind in ([*LIKELIHOOD, *TEXT, *ANSWERS, *WRITTEN], CHOICE):
        # Both have an `accuracy`; no task takes both.
        names = [metric.name for metric in kind]
        assert len(set(names)) == len(names)


@every_metric
def test_statistics_are_finite_floats_of_one_length(metric: Metric) -> None:
    statistics = [metric.stats(*answer) for answer in answers_to(metric)]
    assert len({len(row) for row in statistics}) == 1
    assert {type(number) for row in statistics for number in row} == {float}
    assert np.isfinite(statistics).all()


@every_metric
def test_order_of_samples_does_not_matter(metric: Metric) -> None:
    statistics = rows(metric)
    shuffled = np.random.default_rng(1).permutation(statistics)
    assert metric.value(shuffled.sum(axis=0)) == pytest.approx(metric.value(statistics.sum(axis=0)))


@every_metric
def test_shards_merge_by_adding(metric: Metric) -> None:
    statistics = rows(metric)
    merged = np.sum([shard.sum(axis=0) for shard in np.array_split(statistics, 7)], axis=0)
    assert metric.value(merged) == pytest.approx(metric.value(statistics.sum(axis=0)))


@every_metric
def test_the_same_data_twice_has_the_same_value(metric: Metric) -> None:
    sums = rows(metric).sum(axis=0)
    assert metric.value(2 * sums) == pytest.approx(metric.value(sums))


@every_metric
def test_value_takes_leading_axes(metric: Metric) -> None:
    stacked = rows(metric).reshape(2, 4, 5, -1).sum(axis=2)
    values = metric.value(stacked)
    assert values.shape == (2, 4)
    one_by_one = [[metric.value(sums) for sums in row] for row in stacked]
    np.testing.assert_allclose(values, one_by_one, rtol=1e-12)


@every_metric
def test_value_leaves_the_sums_alone(metric: Metric) -> None:
    sums = rows(metric).sum(axis=0)
    sums.flags.writeable = False
    metric.value(sums)


@every_metric
@pytest.mark.parametrize("size", [1, 4])
def test_interval_holds_the_value_and_repeats(metric: Metric, size: int) -> None:
    statistics = rows(metric)
    groups = [f"document {i // size}" for i in range(len(statistics))]
    first, again = (
        estimate(metric, statistics, groups, np.random.default_rng(3)) for _ in range(2)
    )
    assert first == again
    assert first.low is not None
    assert first.high is not None
    assert first.low < first.value < first.high
    assert first.denominator.endswith(f" {metric.per}")
