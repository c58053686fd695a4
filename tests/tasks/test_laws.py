"""Laws of the numbers of every task: what the best, the worst and a guess must give."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
import pytest

from gpt2eval.data import load
from gpt2eval.task import Metric
from gpt2eval.types import Generate, Request, Response, Sample, Score
from tests.metrics.answers import generated, picked, scored
from tests.test_task import BUNDLED, PROTOCOLS

# What a model that is always right and certain gets, by unit and direction.
BEST = {
    ("fraction", True): 1.0,
    ("fraction", False): 0.0,
    ("points", True): 100.0,
    ("perplexity", False): 1.0,
    ("bits", False): 0.0,
}


@cache
def samples(name: str) -> tuple[Sample, ...]:
    """The bundled samples of task@protocol."""
    _, protocol = PROTOCOLS[name]
    return tuple(protocol.samples(load(protocol.dataset, "bundled").rows))


def is_choice(name: str) -> bool:
    return "choices" in samples(name)[0].fields


CHOICES = [name for name in BUNDLED if is_choice(name)]


def perfect(sample: Sample, requests: Sequence[Request]) -> list[Response]:
    """The right choice, the reference, or certainty about every token."""
    if "choices" in sample.fields:
        return [*picked(len(sample.fields["choices"]), sample.fields["gold"], len(requests))]
    return [
        generated(sample.references[0]) if isinstance(r, Generate) else scored([0.0], [True])
        for r in requests
    ]


def value(metric: Metric, answers: Iterator[tuple[Sample, list[Response]]]) -> float:
    rows = [
        metric.stats(sample, responses)
        for sample, responses in answers
        if metric.member is None or metric.member(sample)
    ]
    return float(metric.value(np.sum(rows, axis=0)))


def has_samples(metric: Metric, name: str) -> bool:
    return metric.member is None or any(map(metric.member, samples(name)))


def test_some_tasks_are_of_choices_and_some_are_not() -> None:
    assert 0 < len(CHOICES) < len(BUNDLED)


@pytest.mark.parametrize("name", BUNDLED)
def test_perfect_answers_give_the_best_score(name: str) -> None:
    _, protocol = PROTOCOLS[name]
    for metric in protocol.metrics:
        if has_samples(metric, name):
            answers = ((s, perfect(s, protocol.requests(s))) for s in samples(name))
            best = BEST[metric.unit, metric.higher_is_better]
            # Bits and perplexity of a text are of a sum, and that is zero.
            assert value(metric, answers) == pytest.approx(best, abs=1e-9), metric.name


@pytest.mark.parametrize("name", CHOICES)
def test_labels_are_in_range(name: str) -> None:
    for sample in samples(name):
        choices, gold = sample.fields["choices"], sample.fields["gold"]
        assert isinstance(gold, int)
        assert 0 <= gold < len(choices) >= 2
        assert all(choices)
        assert len(set(choices)) == len(choices)
        assert sample.references == (choices[gold],)


@pytest.mark.parametrize("name", CHOICES)
def test_every_choice_is_asked_about_alike(name: str) -> None:
    _, protocol = PROTOCOLS[name]
    for sample in samples(name):
        choices = sample.fields["choices"]
        requests = [r for r in protocol.requests(sample) if isinstance(r, Score)]
        assert len(requests) in (len(choices), 2 * len(choices))
        assert len(set(requests)) == len(requests)
        texts = [request.context + request.continuation for request in requests]
        for text, choice in zip(texts, choices * 2, strict=False):
            assert choice in text


@pytest.mark.parametrize("name", CHOICES)
def test_wrong_answers_give_the_worst_accuracy(name: str) -> None:
    _, protocol = PROTOCOLS[name]
    for metric in protocol.metrics:
        if metric.interval == "wilson" and has_samples(metric, name):
            answers = (
                (
                    s,
                    picked(
                        len(s.fields["choices"]),
                        (s.fields["gold"] + 1) % len(s.fields["choices"]),
                        len(protocol.requests(s)),
                    ),
                )
                for s in samples(name)
            )
            assert value(metric, answers) == 0.0, metric.name


@pytest.mark.parametrize("name", CHOICES)
def test_answers_at_random_give_the_chance_level(name: str) -> None:
    """Random log-probabilities, many times; a choice's length must not help it."""
    (_, protocol), rng = PROTOCOLS[name], np.random.default_rng(0)
    metric = next(m for m in protocol.metrics if m.name in ("accuracy", "accuracy_pmi"))
    right, expected = [], []
    for sample in samples(name):
        count, asked = len(sample.fields["choices"]), len(protocol.requests(sample))
        for _ in range(6000 // len(samples(name))):
            responses = [scored([float(x)]) for x in -rng.gamma(2, 1, asked)]
            right.append(metric.stats(sample, responses)[0])
            expected.append(1 / count)
    error = (np.mean(np.multiply(expected, 1 - np.array(expected))) / len(right)) ** 0.5
    assert abs(np.mean(right) - np.mean(expected)) < 4 * error


@pytest.mark.parametrize("name", CHOICES)
def test_gold_is_not_always_in_one_place(name: str) -> None:
    """Ties go to the first choice, so that a set whose gold is always first would reward them."""
    places = {sample.fields["gold"] for sample in samples(name)}
    # In BLiMP the good sentence comes first, in lm-eval as here.
    assert len(places) > 1 or name.startswith("blimp")
