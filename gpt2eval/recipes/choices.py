"""Which of several answers is likeliest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from gpt2eval.data import Dataset, Row
from gpt2eval.errors import DataError
from gpt2eval.task import Fewshot, Metric, Protocol
from gpt2eval.types import Request, Sample, Score


def multiple_choice(
    name: str,
    summary: str,
    dataset: Dataset,
    ask: Callable[[Row], tuple[str, Sequence[str], int]],
    scores: tuple[Metric, ...],
    *,
    examples: Dataset | None = None,
    unconditional: bool = False,
    classes: bool = False,
    **more: Any,
) -> Protocol:
    """Which of several continuations is likeliest, after a space; lm-eval's `multiple_choice`.

    ask            row -> context, choices, index of the right one
    examples       rows that may stand before the question: context, a space, the right choice
    unconditional  whether the choices are also scored without context, for `accuracy_pmi`
    classes        whether the choices are the same for all samples, so that there is a majority
    """

    def samples(rows: Iterable[Row]) -> Iterable[Sample]:
        asked = [ask(row) for row in rows]
        ((majority, _),) = Counter(right for _, _, right in asked).most_common(1)
        for number, (context, choices, right) in enumerate(asked, 1):
            yield choice_sample(str(number), choices, right, context=context, majority=majority)

    def requests(sample: Sample) -> list[Request]:
        context = sample.fields.get("examples", "") + sample.fields["context"]
        contexts = (context, "") if unconditional else (context,)
        choices = sample.fields["choices"]
        return [Score(text, f" {choice}") for text in contexts for choice in choices]

    def render(row: Row) -> str:
        context, choices, right = ask(row)
        return f"{context} {choices[right]}"

    return Protocol(
        name=name,
        summary=summary,
        dataset=dataset,
        samples=samples,
        requests=requests,
        metrics=scores,
        baselines={"chance": chance, **({"majority class": _majority} if classes else {})},
        fewshot=Fewshot(examples, render) if examples else None,
        **more,
    )


def choice_sample(
    id: str, choices: Sequence[str], gold: int, group: str = "", **fields: Any
) -> Sample:
    """A sample with what the metrics of choices read: `fields["choices"]` and `fields["gold"]`."""
    if len(choices) < 2 or not all(choices):
        raise DataError(f"sample {id!r}: choices {list(choices)}; expected two texts or more")
    return Sample(
        id,
        {"choices": tuple(choices), "gold": gold, **fields},
        references=(choices[gold],),
        group=group,
    )


def chance(sample: Sample, _random: np.random.Generator) -> Sequence[int]:
    """Every choice as often as the others: the floor of a task of choices."""
    return range(len(sample.fields["choices"]))


def _majority(sample: Sample, _random: np.random.Generator) -> Sequence[int]:
    """The label that most samples of the data have."""
    return (sample.fields["majority"],)
