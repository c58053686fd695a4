"""A metric over a part of the samples, and over parts that count alike.

Benchmarks are often made of parts: the paradigms of BLiMP, the domains of CoQA. `part` gives the
number of one; `macro` the mean over them, whatever their sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from gpt2eval.task import Metric
from gpt2eval.types import Response, Sample


def part(metric: Metric, name: str, member: Callable[[Sample], bool]) -> Metric:
    """The metric over the samples that are `member`s, called `<metric>/<name>`.

    The others have no statistics of it, so that n, denominator and interval are those of the part.
    A run that selects no sample of a part has no number for it. Reports keep such metrics out of
    the tables that are for the whole.
    """
    return replace(metric, name=f"{metric.name}/{name}", part=name, member=member)


def macro(metric: Metric, size: Callable[[Sample], float], per: str) -> Metric:
    """The mean over parts of a metric that is a ratio, called `<metric>_macro`.

    Each sample counts one by the size of its part, so that the parts weigh the same: over all
    samples this is the mean of the parts' values. On a subset of the samples it estimates that
    mean, and differs from the mean over the parts of the subset.

    metric  with statistics [numerator, denominator], the denominator being 1 for a sample
    size    how many samples of the data belong to the part that this sample is of
    per     what the parts are called
    """

    def stats(sample: Sample, responses: Sequence[Response]) -> list[float]:
        return [number / size(sample) for number in metric.stats(sample, responses)]

    return replace(
        metric,
        name=f"{metric.name}_macro",
        stats=stats,
        per=per,
        interval="share",
        signature=f"{metric.signature}|weights:1/part",
    )
