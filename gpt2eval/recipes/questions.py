"""Questions without a text to find the answer in."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gpt2eval import metrics
from gpt2eval.data import Dataset, Row
from gpt2eval.recipes.rows import read_pairs, row_id
from gpt2eval.task import Metric, Protocol
from gpt2eval.types import Generate, Request, Sample


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
    shots = read_pairs(examples, pairs, "question<TAB>answer") if examples else []
    prompt = beginning + "".join(
        f"{ask.format(question=question)} {answer}\n" for question, answer in shots
    )

    def samples(rows: Iterable[Row]) -> Iterator[Sample]:
        rows = list(rows)
        common = common_answers([(row["question"], row["answers"]) for row in rows])
        for number, (row, floor) in enumerate(zip(rows, common, strict=True), 1):
            yield Sample(
                id=row_id(row, number),
                fields={"question": row["question"], "common": floor},
                references=tuple(row["answers"]),
            )

    def requests(sample: Sample) -> list[Request]:
        asked = ask.format(question=sample.fields["question"])
        return [Generate(prompt + asked, max_new_tokens, stop=stop)]

    def most_common(sample: Sample, _random: np.random.Generator) -> str:
        """The answer that most other questions with the same first word have."""
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
