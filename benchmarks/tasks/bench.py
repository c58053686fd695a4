"""The workload that no benchmark of gpt2eval asks in this form: long prompts, short answers."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from gpt2eval import Dataset, Generate, Generated, Metric, Protocol, Sample, Scored, Task, data


def read(paths: Sequence[Path]) -> Iterator[data.Row]:
    """Rows as `benchmarks.prepare` wrote them."""
    return data.read_jsonl(paths, "prompt")


def samples(rows: Iterable[data.Row]) -> Iterator[Sample]:
    """One a row, numbered."""
    for number, row in enumerate(rows, 1):
        yield Sample(id=str(number), fields=row)


def length(_sample: Sample, responses: Sequence[Scored | Generated]) -> tuple[float, float]:
    """Tokens written."""
    return float(sum(len(response.tokens) for response in responses)), 1.0


def mean(sums: np.ndarray) -> np.ndarray:
    """The first statistic per unit of the second."""
    return np.asarray(sums[..., 0] / sums[..., 1])


GENERATION = Task(
    name="bench_generation",
    version=1,
    summary="greedy continuation of long prompts",
    protocols=(
        Protocol(
            name="greedy",
            summary="tokens written after each prompt",
            dataset=Dataset(files=(("bench/generation.jsonl",),), read=read),
            samples=samples,
            requests=lambda sample: [Generate(sample.fields["prompt"], sample.fields["new"])],
            metrics=(Metric("length", length, mean, "tokens", "texts", higher_is_better=True),),
        ),
    ),
)
