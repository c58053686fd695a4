"""Protocols that several benchmarks share.

Summaries after `TL;DR:`, few-shot translation, questions without a text to find the answer in.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gpt2eval import metrics
from gpt2eval.data import Dataset, Row, read_lines
from gpt2eval.errors import DataError
from gpt2eval.task import Metric, Protocol
from gpt2eval.types import Generate, Request, Sample

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
                id=str(row.get("id") or number),
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
                id=str(row.get("id") or number),
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
    found = _pairs(path, pairs, "English<TAB>French")
    if direction == ("en", "fr"):
        return found
    return [(french, english) for english, french in found]


def _pairs(path: Path, pairs: int, form: str) -> list[tuple[str, str]]:
    """The first lines of a file of two columns."""
    lines = [str(row["text"]).split("\t") for row in read_lines([path])][:pairs]
    if len(lines) < pairs or any(len(line) != 2 for line in lines):
        raise DataError(f"{path}: expected at least {pairs} lines of {form}")
    return [(one, other) for one, other in lines]


# ---- questions ----------------------------------------------------------------------------------


def closed_book(
    name: str,
    summary: str,
    dataset: Dataset,
    ask: str,
    scores: tuple[Metric, ...],
    *,
    beginning: str = "",
    examples: Path | None = None,
    pairs: int = 5,
    stop: tuple[str, ...] = ("\n",),
    max_new_tokens: int = 32,
    **more: Any,
) -> Protocol:
    """Questions without a text to find the answer in; greedy; what comes before `stop`.

    Rows have `question` and `answers`, a list, and may have an `id`. The floor beside the model is
    the answer that most other questions with the same first word have: "who", "when", ...

    scores     the metrics
    ask        how a question is put, with `{question}` in it; the answer follows a space
    beginning  text before everything else
    examples   file of question<TAB>answer lines that are in no test set; None: no examples
    """
    shots = _pairs(examples, pairs, "question<TAB>answer") if examples else []
    prompt = beginning + "".join(
        f"{ask.format(question=question)} {answer}\n" for question, answer in shots
    )

    def samples(rows: Iterable[Row]) -> Iterator[Sample]:
        rows = list(rows)
        common = common_answers([(row["question"], row["answers"]) for row in rows])
        for number, (row, floor) in enumerate(zip(rows, common, strict=True), 1):
            yield Sample(
                id=str(row.get("id") or number),
                fields={"question": row["question"], "common": floor},
                references=tuple(row["answers"]),
            )

    def requests(sample: Sample) -> list[Request]:
        asked = ask.format(question=sample.fields["question"])
        return [Generate(prompt + asked, max_new_tokens, stop=stop)]

    def most_common(sample: Sample, _random: np.random.Generator) -> str:
        return str(sample.fields["common"])

    return Protocol(
        name=name,
        summary=summary,
        dataset=dataset,
        samples=samples,
        requests=requests,
        metrics=scores,
        baselines={"most-common-answer": most_common},
        options={
            "prompt": (beginning + ask).replace("\n", "\\n"),
            "examples": len(shots),
            **({"examples_sha256": hashlib.sha256(prompt.encode()).hexdigest()} if shots else {}),
            "max_new_tokens": max_new_tokens,
            "decoding": "greedy",
            "scored": "up to " + " ".join(repr(text) for text in stop),
        },
        **more,
    )


def common_answers(asked: Sequence[tuple[str, Sequence[str]]]) -> list[str]:
    """For each (question, answers): the answer that most others with its first word share.

    A question never counts for itself, so the floor knows nothing of it but its first word. Of
    answers that are equally common the first one in the data is taken. Where no other question
    begins alike, all others are asked.
    """
    normalize = metrics.normalize_answer
    words = [normalize(question).partition(" ")[0] for question, _ in asked]
    golds = [list(dict.fromkeys(map(normalize, answers))) for _, answers in asked]
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for word, answers in zip(words, golds, strict=True):
        counts[word].update(answers)
    ranked = {word: counter.most_common() for word, counter in counts.items()}
    everything = sum(counts.values(), Counter[str]()).most_common()
    return [
        _commonest(ranked[word], own) or _commonest(everything, own) or own[0]
        for word, own in zip(words, golds, strict=True)
    ]


def _commonest(ranked: Iterable[tuple[str, int]], own: Sequence[str]) -> str:
    """The answer most counted once `own` are taken off the counts; empty where none is left."""
    best, most = "", 0
    for answer, count in ranked:
        if count <= most:
            break
        if count - (answer in own) > most:
            best, most = answer, count - (answer in own)
    return best
