"""The two workloads that no benchmark of gpt2eval asks in this form: choices, and long prompts."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from gpt2eval import (
    Dataset,
    Generate,
    Generated,
    Metric,
    Protocol,
    Sample,
    Score,
    Scored,
    Task,
    data,
)


def read(paths: Sequence[Path]) -> Iterator[data.Row]:
    """Rows as `benchmarks.prepare` wrote them."""
    return data.read_jsonl(paths)


def samples(rows: Iterable[data.Row]) -> Iterator[Sample]:
    """One a row, numbered."""
    for number, row in enumerate(rows, 1):
        yield Sample(id=str(number), fields=row)


def endings(sample: Sample) -> list[Score]:
    """Each ending after the context they share."""
    return [Score(sample.fields["context"], f" {text}") for text in sample.fields["endings"]]


def is_right(sample: Sample, responses: Sequence[Scored | Generated]) -> tuple[float, float]:
    """Whether the likeliest ending, by its summed log-probability, is the one that is marked."""
    totals = [float(r.logprobs.sum()) for r in responses if isinstance(r, Scored)]
    return float(int(np.argmax(totals)) == sample.fields["label"]), 1.0


def length(_sample: Sample, responses: Sequence[Scored | Generated]) -> tuple[float, float]:
    """Tokens written."""
    return float(sum(len(r.tokens) for r in responses if isinstance(r, Generated))), 1.0


def mean(sums: np.ndarray) -> np.ndarray:
    """The first statistic per unit of the second."""
    return np.asarray(sums[..., 0] / sums[..., 1])


CHOICE = Task(
    name="bench_choice",
    version=1,
    summary="four-way choice with a shared context",
    protocols=(
        Protocol(
            name="sum",
            summary="the likeliest of four endings",
            dataset=Dataset(files=(("bench/choice.jsonl",),), read=read),
            samples=samples,
            requests=endings,
            metrics=(
                Metric(
                    "accuracy",
                    is_right,
                    mean,
                    "fraction",
                    "items",
                    higher_is_better=True,
                    interval="wilson",
                ),
            ),
        ),
    ),
)

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
