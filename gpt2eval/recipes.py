"""Protocols that several benchmarks share: summaries, few-shot translation, choice of an answer."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gpt2eval import metrics
from gpt2eval.data import Dataset, Row, read_lines
from gpt2eval.errors import DataError
from gpt2eval.task import Fewshot, Metric, Protocol
from gpt2eval.types import Generate, Request, Sample, Score

# Sizes of the four released checkpoints; the paper's own counts (117M ...) were wrong.
PARAMETERS = {
    "gpt2": 124_439_808,
    "gpt2-medium": 354_823_168,
    "gpt2-large": 774_030_080,
    "gpt2-xl": 1_557_611_200,
}
PAPER = "Radford et al. 2019"


def published(metric: str, source: str, **values: float) -> tuple[Mapping[str, Any], ...]:
    """Published values of one metric, by model with `_` for `-`: `published(..., gpt2_xl=8.63)`."""
    rows = []
    for key, value in values.items():
        model = key.replace("_", "-")
        rows.append(
            {
                "model": model,
                "parameters": PARAMETERS[model],
                "metric": metric,
                "value": value,
                "source": source,
            }
        )
    return tuple(rows)


def paper(
    metric: str, values: Sequence[float], source: str = f"{PAPER}, Table 3"
) -> tuple[Mapping[str, Any], ...]:
    """The GPT-2 paper's values for the four sizes, smallest first."""
    names = (name.replace("-", "_") for name in PARAMETERS)
    return published(metric, source, **dict(zip(names, values, strict=True)))


def _id(row: Row, number: int) -> str:
    """The row's own id, which may be the number 0, or its place in the file."""
    own = row.get("id")
    return str(number if own in (None, "") else own)


# ---- summaries ----------------------------------------------------------------------------------


def summarization(
    name: str,
    summary: str,
    dataset: Dataset,
    columns: tuple[str, str],
    *,
    sentences: int,
    top_k: int = 0,
    **more: Any,
) -> Protocol:
    """Article, a new line, `TL;DR:`; 100 tokens; the first sentences of them are the summary.

    columns    names of the article and of the reference in the rows
    sentences  of the generation that are scored, and of the lede and random baselines
    top_k      0: greedy; otherwise sampled from the k likeliest tokens with the run's seed
    """
    document, reference = columns

    def samples(rows: Iterable[Row]) -> Iterable[Sample]:
        for number, row in enumerate(rows, 1):
            yield Sample(
                id=_id(row, number),
                fields={"article": row[document]},
                references=(row[reference],),
            )

    def requests(sample: Sample) -> list[Request]:
        prompt = f"{sample.fields['article']}\nTL;DR:"
        return [Generate(prompt, 100, temperature=1.0 if top_k else 0.0, top_k=top_k)]

    def lede(sample: Sample, _random: np.random.Generator) -> str:
        return metrics.first_sentences(sample.fields["article"], sentences)

    def at_random(sample: Sample, random: np.random.Generator) -> str:
        found = metrics.split_sentences(sample.fields["article"])
        size = min(sentences, len(found))
        chosen = sorted(random.choice(len(found), size=size, replace=False)) if found else []
        return "\n".join(found[i] for i in chosen)

    return Protocol(
        name=name,
        summary=summary,
        dataset=dataset,
        samples=samples,
        requests=requests,
        metrics=(
            *metrics.rouge(stemmer=False),
            metrics.rouge_average(stemmer=False),
            *metrics.rouge(stemmer=True),
            metrics.rouge_average(stemmer=True),
        ),
        extract=lambda text: metrics.first_sentences(text, sentences),
        baselines={f"lede-{sentences}": lede, f"random-{sentences}": at_random},
        options={
            "prompt": "article\\nTL;DR:",
            "max_new_tokens": 100,
            "decoding": f"top-k {top_k}" if top_k else "greedy",
            "scored": f"first {sentences} sentences" if sentences > 1 else "first sentence",
        },
        **more,
    )


# ---- translation --------------------------------------------------------------------------------


def translation(
    name: str,
    summary: str,
    dataset: Dataset,
    direction: tuple[str, str],
    examples: Path,
    *,
    pairs: int = 5,
    **more: Any,
) -> Protocol:
    """Example pairs `source = target`, a line each, then `source =`; greedy; the first sentence.

    direction  columns of the source and of the target language in the rows
    examples   file of English<TAB>French pairs that are in no test set
    """
    source, target = direction
    shots = _examples(examples, direction, pairs)
    beginning = "".join(f"{one} = {other}\n" for one, other in shots)

    def samples(rows: Iterable[Row]) -> Iterable[Sample]:
        for number, row in enumerate(rows, 1):
            yield Sample(
                id=_id(row, number),
                fields={"source": row[source]},
                references=(row[target],),
                group=row.get("document", ""),
            )

    def requests(sample: Sample) -> list[Request]:
        return [Generate(f"{beginning}{sample.fields['source']} =", 128, stop=("\n",))]

    return Protocol(
        name=name,
        summary=summary,
        dataset=dataset,
        samples=samples,
        requests=requests,
        metrics=(metrics.bleu(), metrics.chrf()),
        extract=metrics.first_sentence,
        options={
            "prompt": f"{pairs} pairs `{source} sentence = {target} sentence`",
            "examples_sha256": hashlib.sha256(beginning.encode()).hexdigest(),
            "max_new_tokens": 128,
            "decoding": "greedy",
            "scored": "first sentence, up to the first new line",
        },
        **more,
    )


def _examples(path: Path, direction: tuple[str, str], pairs: int) -> list[tuple[str, str]]:
    """The first pairs of an English<TAB>French file, in the direction asked for."""
    lines = [str(row["text"]).split("\t") for row in read_lines([path])][:pairs]
    if len(lines) < pairs or any(len(line) != 2 for line in lines):
        raise DataError(f"{path}: expected at least {pairs} lines of English<TAB>French")
    if direction == ("en", "fr"):
        return [(english, french) for english, french in lines]
    return [(french, english) for english, french in lines]


# ---- choices ------------------------------------------------------------------------------------


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
