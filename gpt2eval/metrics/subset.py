"""A metric over a part of the samples: a domain, a paradigm, a relation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from gpt2eval.task import Metric
from gpt2eval.types import Response, Sample


def subset(metric: Metric, name: str, member: Callable[[Sample], bool]) -> Metric:
    """`metric/name`: the metric over the samples that `member` picks, for it alone.

    Samples outside have statistics of zero, so they add nothing to any sum, the denominator's
    included. A subset that no sample is in has the value `nan`.
    """

    def stats(sample: Sample, responses: Sequence[Response]) -> Sequence[float]:
        found = metric.stats(sample, responses)
        return found if member(sample) else [0.0] * len(found)

    # Wilson's interval counts all samples; the bootstrap draws members and others alike.
    interval = "bootstrap" if metric.interval == "wilson" else metric.interval
    return replace(metric, name=f"{metric.name}/{name}", stats=stats, interval=interval)
