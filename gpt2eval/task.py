"""What a benchmark is, and how benchmarks are found.

A Task is data and two functions: `samples` turns the rows of a data set into Samples, `requests`
turns a Sample into what the model is asked. A Protocol holds the two, the metrics, and the choices
that make two published numbers differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gpt2eval.types import Request, Response, Sample

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gpt2eval.data import Dataset


@dataclass(frozen=True, slots=True)
class Metric:
    """Statistics per sample, and a function of their sum.

    stats     (sample, responses) -> the sample's statistics, always the same number of floats
    value     sums [..., k] -> values [...]; must accept leading axes, since intervals resample
    unit      of the value: "perplexity", "bits", "fraction", "points"
    per       what the denominator counts: "words", "tokens", "bytes", "passages"
    count     index of the statistic that is the denominator; None: the number of samples
    interval  "bootstrap", or "wilson" for a share of samples that are right (statistics: right, 1)
    signature everything in the metric that can change the number (sacrebleu's, say)
    """

    name: str
    stats: Callable[[Sample, Sequence[Response]], Sequence[float]]
    value: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    unit: str
    per: str
    higher_is_better: bool
    count: int | None = -1
    interval: str = "bootstrap"
    signature: str = ""


@dataclass(frozen=True, slots=True)
class Protocol:
    """One exact way to get a number out of a task.

    name       what stands behind the "@"
    summary    one line for tables and lists
    detail     what is scored and divided by what, and why it differs from its siblings
    dataset    where the rows come from
    samples    rows -> Samples
    requests   Sample -> Requests; identical requests are computed once, whoever asks
    metrics    what is computed from the responses
    extract    generated text -> the part that is scored
    baselines  model-free systems: name -> (sample, random generator) -> text
    options    every choice that can change the number, recorded in the result and its signature
    references published numbers for orientation: {"model", "metric", "value", "source"}
    """

    name: str
    summary: str
    dataset: Dataset
    samples: Callable[[Iterable[Mapping[str, Any]]], Iterable[Sample]]
    requests: Callable[[Sample], Sequence[Request]]
    metrics: tuple[Metric, ...]
    detail: str = ""
    extract: Callable[[str], str] = str.strip
    baselines: Mapping[str, Callable[[Sample, np.random.Generator], str]] = field(
        default_factory=dict
    )
    options: Mapping[str, Any] = field(default_factory=dict)
    references: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Task:
    """A benchmark: a name, a version, and its protocols; the first one is the default.

    version   raised whenever a change can move a number
    kind      "likelihood" or "generation", for the layout of reports
    groups    names under which the task is found besides its own ("core")
    source    where the benchmark comes from: paper and address
    """

    name: str
    version: int
    summary: str
    protocols: tuple[Protocol, ...]
    groups: tuple[str, ...] = ()
    source: str = ""

    def protocol(self, name: str = "") -> Protocol:
        """The protocol of that name; the default for an empty one. KeyError where there is none."""
        if not name:
            return self.protocols[0]
        return {protocol.name: protocol for protocol in self.protocols}[name]
