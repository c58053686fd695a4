from __future__ import annotations

from collections.abc import Sequence
from math import exp, inf, isnan, log

import numpy as np
import pytest

from gpt2eval.errors import DataError, TaskError
from gpt2eval.metrics import accuracy, bits, perplexity, sample_perplexity, token_perplexity
from gpt2eval.task import Metric
from gpt2eval.types import Response, Sample
from tests.metrics.answers import generated, sample, scored

HALF, QUARTER = log(0.5), log(0.25)

words = perplexity("word_perplexity", "words", lambda s: float(s.fields["words"]))
bytes_ = bits("bits_per_byte", "bytes", lambda s: float(s.fields["bytes"]))


def value(metric: Metric, *answers: tuple[Sample, Sequence[Response]]) -> float:
    sums = np.sum([metric.stats(s, responses) for s, responses in answers], axis=0)
    return float(metric.value(sums))


def test_perplexity_divides_by_the_count_of_the_sample() -> None:
    # 2 + 1 + 1 halvings over 3 + 1 words
    answers = [
        (sample(words=3), [scored([QUARTER]), scored([HALF])]),
        (sample(words=1), [scored([HALF])]),
    ]
    assert value(words, *answers) == pytest.approx(2.0, rel=1e-6)
    assert words.unit == "perplexity"
    assert words.per == "words"


def test_bits_divides_by_the_count_of_the_sample() -> None:
    answers = [(sample(bytes=6), [scored([QUARTER, HALF])])]
    assert value(bytes_, *answers) == pytest.approx(0.5, rel=1e-6)
    assert bytes_.unit == "bits"


def test_token_perplexity_weights_each_token() -> None:
    metric = token_perplexity()
    plain = [(sample(), [scored([HALF, QUARTER])]), (sample(), [scored([HALF, QUARTER])])]
    assert value(metric, *plain) == pytest.approx(2**1.5, rel=1e-6)
    weighted = (sample(), [scored([HALF, QUARTER], weights=[3.0, 1.0])])
    assert value(metric, weighted) == pytest.approx(2**1.25, rel=1e-6)


def test_sample_perplexity_counts_a_sample_once() -> None:
    answers = [(sample(), [scored([HALF, QUARTER])]), (sample(), [scored([HALF])])]
    assert value(sample_perplexity(), *answers) == pytest.approx(4.0, rel=1e-6)
    assert value(sample_perplexity(tokens="last"), *answers) == pytest.approx(2**1.5, rel=1e-6)


def test_sums_are_float64_of_the_float32_log_probabilities() -> None:
    logprobs = np.full(100_000, -0.1, np.float32)
    (nll, _) = words.stats(sample(words=1), [scored(list(logprobs))])
    assert nll == pytest.approx(100_000 * -float(np.float32(-0.1)), rel=1e-12)


@pytest.mark.parametrize(
    ("metric", "right"),
    [
        (accuracy(), [0, 0, 1]),
        (accuracy(tokens="last"), [1, 0, 1]),
        (accuracy(excluding=True), [0, 1, 1]),
        (accuracy(tokens="last", excluding=True), [1, 1, 1]),
    ],
)
def test_accuracy(metric: Metric, right: list[float]) -> None:
    answers: list[list[Response]] = [
        [scored([-1.0], [False]), scored([-1.0], [True])],
        [scored([-1.0, -1.0], [True, False], [True, True])],
        [scored([-1.0, -1.0], [True, True])],
    ]
    assert [metric.stats(sample(), responses) for responses in answers] == [(r, 1) for r in right]
    assert value(metric, *[(sample(), responses) for responses in answers]) == sum(right) / 3
    assert metric.interval == "wilson"


def test_signatures_name_the_choices() -> None:
    assert accuracy().signature == "tokens:all|excluding:no"
    assert accuracy(tokens="last", excluding=True).signature == "tokens:last|excluding:yes"
    assert sample_perplexity(tokens="last").signature == "tokens:last"


def test_a_ruined_model_has_infinite_perplexity_without_a_warning() -> None:
    assert value(words, (sample(words=1), [scored([-1e6])])) == inf
    assert value(words, (sample(words=1), [scored([-inf])])) == inf
    assert isnan(value(words, (sample(words=0), [scored([])])))


def test_text_without_tokens_adds_nothing_to_a_corpus() -> None:
    answers = [(sample(words=0), [scored([])]), (sample(words=1), [scored([HALF])])]
    assert value(words, *answers) == pytest.approx(2.0, rel=1e-6)


@pytest.mark.parametrize("metric", [accuracy(), sample_perplexity()])
def test_a_sample_without_tokens_cannot_be_right_or_wrong(metric: Metric) -> None:
    with pytest.raises(DataError, match="'s' has no tokens to score"):
        metric.stats(sample(), [scored([])])


@pytest.mark.parametrize("responses", [[], [generated("a")], [scored([-1.0]), generated("a")]])
@pytest.mark.parametrize("metric", [words, bytes_, token_perplexity(), accuracy()])
def test_only_scored_responses(metric: Metric, responses: list[Response]) -> None:
    with pytest.raises(TaskError, match="needs Score or Rolling requests"):
        metric.stats(sample(words=1, bytes=1), responses)


def test_exp_of_the_mean_is_what_lm_eval_reports() -> None:
    # lm_eval.api.metrics.perplexity: exp(-mean of the summed log-probabilities)
    sums = [-1.5, -2.25, -0.75]
    answers = [(sample(), [scored([total / 2, total / 2])]) for total in sums]
    assert value(sample_perplexity(), *answers) == pytest.approx(exp(1.5))
