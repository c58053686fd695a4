"""Laws of the numbers of every task: what the best, the worst and a guess must give."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from gpt2eval.data import load
from gpt2eval.task import Metric
from gpt2eval.types import Embed, Embedded, Generate, Request, Response, Sample, Score
from tests.metrics.answers import generated, picked, scored
from tests.test_task import BUNDLED, PROTOCOLS

# What a model that is always right and certain gets, by unit and direction.
BEST = {
    ("fraction", True): 1.0,
    ("fraction", False): 0.0,
    ("points", True): 100.0,
    ("perplexity", False): 1.0,
    ("perplexity", None): 1.0,  # of what a model wrote: certain, though that is not better
    ("bits", False): 0.0,
}

# Accuracies that the length of a choice does not help.
UNBIASED = {"accuracy", "accuracy_pmi", "hits_at_1"}

# How varied texts are: no answer is right, so none is best.
VARIETY = {"seq_rep_4", "degenerate", "distinct_1", "distinct_2", "distinct_3", "self_bleu", "zipf"}


@cache
def samples(name: str) -> tuple[Sample, ...]:
    """The bundled samples of task@protocol."""
    _, protocol = PROTOCOLS[name]
    return tuple(protocol.samples(load(protocol.dataset, "bundled").rows))


def is_choice(name: str) -> bool:
    _, protocol = PROTOCOLS[name]
    return any("|ties:first" in metric.signature for metric in protocol.metrics)


CHOICES = [name for name in BUNDLED if is_choice(name)]


def perfect(name: str, sample: Sample) -> list[Response]:
    """The right choice, the reference, or certainty about every token; a followup is answered."""
    _, protocol = PROTOCOLS[name]
    asked = protocol.requests(sample)
    if name in CHOICES:
        return [*picked(len(sample.fields["choices"]), sample.fields["gold"], len(asked))]
    responses = [certain(sample, request) for request in asked]
    more = protocol.followup(sample, responses) if protocol.followup else ()
    return [*responses, *(certain(sample, request) for request in more)]


def certain(sample: Sample, request: Request) -> Response:
    if isinstance(request, Generate):
        return replace(generated(sample.references[0]), logprobs=np.zeros(1, np.float32))
    if isinstance(request, Embed):
        rng = np.random.default_rng(list(request.text.encode()))
        return Embedded(rng.normal(size=8).astype(np.float32), np.zeros(1, np.int32))
    return scored([0.0], [True])


def value(metric: Metric, answers: Iterator[tuple[Sample, Sequence[Response]]]) -> float:
    for module in metric.needs:
        pytest.importorskip(module)
    rows = [
        np.asarray(metric.stats(sample, responses))
        for sample, responses in answers
        if metric.member is None or metric.member(sample)
    ]
    return float(np.mean(metric.value(rows if metric.corpus else np.sum(rows, axis=0))))


def has_samples(metric: Metric, name: str) -> bool:
    return metric.member is None or any(map(metric.member, samples(name)))


def test_some_tasks_are_of_choices_and_some_are_not() -> None:
    assert 0 < len(CHOICES) < len(BUNDLED)


@pytest.mark.parametrize("name", BUNDLED)
def test_perfect_answers_give_the_best_score(name: str) -> None:
    _, protocol = PROTOCOLS[name]
    for metric in protocol.metrics:
        if has_samples(metric, name) and metric.name not in VARIETY:
            answers = ((s, perfect(name, s)) for s in samples(name))
            best = BEST[metric.unit, metric.higher_is_better]
            # Bits and perplexity of a text are of a sum, and that is zero.
            assert value(metric, answers) == pytest.approx(best, abs=1e-9), metric.name


ANSWERS = [
    name
    for name in BUNDLED
    if any(metric.name.startswith("exact_match") for metric in PROTOCOLS[name][1].metrics)
]


@pytest.mark.parametrize("name", ANSWERS)
def test_answers_of_other_words_give_nothing(name: str) -> None:
    _, protocol = PROTOCOLS[name]
    for metric in protocol.metrics:
        if has_samples(metric, name):
            wrong = replace(generated("quux"), logprobs=np.zeros(1, np.float32))
            assert value(metric, ((s, [wrong]) for s in samples(name))) == 0.0, metric.name


@pytest.mark.parametrize("name", ANSWERS)
def test_what_is_scored_of_a_right_answer_is_the_answer(name: str) -> None:
    """`extract` keeps every gold whole, with the end of the line behind it."""
    _, protocol = PROTOCOLS[name]
    for sample in samples(name):
        for gold in sample.references:
            assert protocol.extract(f" {gold}\n").split() == gold.split()


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
    metric = next(m for m in protocol.metrics if m.name in UNBIASED)
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
