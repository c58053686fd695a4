"""From responses to numbers: the statistics of a sample, and the estimates of a run.

The model-free systems that stand beside a model are scored here too, by the same metrics.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from gpt2eval.errors import TaskError
from gpt2eval.stats import estimate_all
from gpt2eval.task import Metric, Protocol
from gpt2eval.types import Estimate, Generated, Request, Response, Sample, Scored
from gpt2eval.work import Work


def metrics_of(metrics: Iterable[Metric], sample: Sample) -> list[Metric]:
    """The metrics that the sample counts in: all but those of parts that it is not in."""
    return [metric for metric in metrics if metric.member is None or metric.member(sample)]


def statistics_of(
    metrics: Iterable[Metric], sample: Sample, responses: Sequence[Response]
) -> dict[str, Sequence[float]]:
    """Metric -> statistics of the sample, for the metrics that it counts in."""
    return {
        metric.name: _statistics(metric, sample, responses)
        for metric in metrics_of(metrics, sample)
    }


def _statistics(metric: Metric, sample: Sample, responses: Sequence[Response]) -> list[float]:
    numbers = [float(number) for number in metric.stats(sample, responses)]
    if not np.isfinite(numbers).all():
        raise TaskError(
            f"metric {metric.name!r}, sample {sample.id!r}: statistics {numbers}; expected finite"
            " numbers, since they are summed"
        )
    return numbers


def final(protocol: Protocol, response: Response) -> Response:
    """A response with the part of a text that is scored."""
    if isinstance(response, Generated):
        return replace(response, prediction=protocol.extract(response.text))
    return response


def estimates(
    metrics: Iterable[Metric],
    statistics: Mapping[str, Mapping[str, Sequence[float]]],
    groups: Mapping[str, str],
    seed: int,
) -> dict[str, Estimate]:
    """A number for each metric; one without a sample has none.

    Samples are taken in the order of their ids, so that neither the order of the data nor that in
    which records were written moves a bound of an interval, or the last bit of a sum.

    statistics  id of a sample -> metric -> its statistics
    groups      id of a sample -> its group
    """
    questions = {}
    for metric in metrics:
        counted = [
            (statistics[name][metric.name], groups[name])
            for name in sorted(statistics)
            if metric.name in statistics[name]
        ]
        if counted:
            rows, units = zip(*counted, strict=True)
            questions[metric.name] = (metric, rows, units)
    found = estimate_all(list(questions.values()), lambda: np.random.default_rng(seed))
    return dict(zip(questions, found, strict=True))


def baselines(work: Work, seed: int) -> dict[str, dict[str, Estimate]]:
    """The protocol's model-free systems, scored on the same samples by the same metrics.

    Metrics that ask how sure a model was have no value for them.
    """
    metrics = [metric for metric in work.protocol.metrics if not metric.confident]
    groups = {sample.id: sample.group for sample in work.samples}
    found = {}
    for name, system in work.protocol.baselines.items():
        random = np.random.default_rng(seed)
        statistics = {
            sample.id: _answer_statistics(metrics, sample, asked, system(sample, random))
            for sample, asked in zip(work.samples, work.requests, strict=True)
        }
        found[name] = estimates(metrics, statistics, groups, seed)
    return found


def _answer_statistics(
    metrics: Sequence[Metric],
    sample: Sample,
    asked: Sequence[Request],
    answer: str | float | Sequence[int],
) -> dict[str, Sequence[float]]:
    """Metric -> statistics of a text, of a likelihood, or their mean over choices that are picked
    alike often.

    What is no sum has no mean: for choices, metrics over the corpus are left out.
    """
    if isinstance(answer, str):
        return statistics_of(metrics, sample, [_written(answer)])
    if isinstance(answer, float):
        return statistics_of(metrics, sample, [_scored(-answer)])
    sums = [metric for metric in metrics if not metric.corpus]
    picks = [statistics_of(sums, sample, _picked(asked, choice)) for choice in answer]
    return {name: np.mean([pick[name] for pick in picks], axis=0).tolist() for name in picks[0]}


def _written(text: str) -> Generated:
    nothing = np.zeros(0)
    return Generated(
        text, nothing.astype(np.int32), nothing.astype(np.float32), "eos", prediction=text
    )


def _picked(asked: Sequence[Request], choice: int) -> list[Scored]:
    """Responses by which one choice is certain and the others are as good as impossible."""
    return [
        _scored(0.0 if position == choice else -1e4, greedy=position == choice)
        for position in range(len(asked))
    ]


def _scored(logprob: float, *, greedy: bool = False) -> Scored:
    """A response of one token; its log-probability is as exact as it was given."""
    return Scored(
        tokens=np.zeros(1, np.int32),
        logprobs=np.array([logprob], np.float64),
        greedy=np.array([greedy]),
        context=np.zeros(1, np.int32),
        weights=np.ones(1),
        greedy_excluding=np.array([greedy]),
    )
