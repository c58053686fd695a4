"""Runs with records of every kind, made by hand, for the tests of the page."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from gpt2eval.results import RECORDS, encode_requests, write_vocabulary
from gpt2eval.types import Estimate, Generate, Record, Result, Rolling, Score
from tests.report.building import estimate, result

# What a page must show as text, whatever it would like to be.
HOSTILE = {
    "script": "<script>document.title = 'owned'</script>",
    "closing": "</script><script>document.title = 'owned'</script>",
    "comment": "<!-- <script> --!>",
    "handler": "<img src=x onerror=\"document.title = 'owned'\">",
    "entity": "&lt;b&gt; &#x3c;script&#x3e;",
    "template": "{{ 7 * 7 }} {% raw %} ${7 * 7}",
    "separators": "one\u2028two\u2029three",
    "override": "abc \u202edcba\u202c \u2066isolated\u2069",
    "control": "bell \x07 escape \x1b[31m nul \x00 delete \x7f",
    "surrogate": "half \ud83d of a pair \udc80",
    "joiner": "👩\u200d💻 नमस्\u200dते",
    "arabic": "مرحبا بالعالم",
    "long": "x" * 1_000_000,
}

# A vocabulary with whole words, a character in two tokens, half a character, and one that ends
# the element it stands in.
WORDS = ["The", "Ġriver", "Ġis", "Ġold", ".", "Ċ", "Ã", "©", "Ġgrue", "</script>", "<|endoftext|>"]


def scored(tokens: Sequence[int], losses: Sequence[float], truncated: int = 0) -> dict[str, Any]:
    """A response to Score or Rolling, as records have it."""
    return {
        "type": "scored",
        "truncated": truncated,
        "tokens": list(tokens),
        "logprobs": [-loss for loss in losses],
        "greedy": "".join("1" if loss < 1 else "0" for loss in losses),
        "context": [[1, len(tokens)]],
    }


def generated(text: str, stopped: str = "stop", truncated: int = 0) -> dict[str, Any]:
    """A response to Generate."""
    return {
        "type": "generated",
        "text": text,
        "prediction": text.strip(),
        "stopped": stopped,
        "truncated": truncated,
        "tokens": [0, 1, 2],
        "logprobs": [-0.5, -1.5, -2.5],
    }


def choice_record(number: int, right: bool, gap: float = 1.0, **changes: Any) -> Record:
    """A question of two choices; the second is the right one."""
    question = f"Question {number}: where does the river go?\nAnswer:"
    choices = ["to the hills", "to the sea"]
    losses = ([2.0 + gap, 2.0], [2.0, 2.0]) if right else ([2.0, 2.0], [2.0 + gap, 2.0])
    fields: dict[str, Any] = {
        "id": str(number),
        "group": "",
        "statistics": {"accuracy": [float(right), 1.0]},
        "responses": [scored([3, 4], each) for each in losses],
        "references": [choices[1]],
        "asked": encode_requests([Score(question, f" {choice}") for choice in choices]),
        "choices": choices,
        "gold": 1,
    }
    return Record(**fields | changes)


def answer_record(
    number: int | str, prompt: str, text: str, reference: str, **changes: Any
) -> Record:
    """A question that was answered in words."""
    fields: dict[str, Any] = {
        "id": str(number),
        "group": "",
        "statistics": {"exact_match": [float(text.strip() == reference), 1.0]},
        "responses": [generated(text)],
        "references": [reference],
        "asked": encode_requests([Generate(prompt, 9)]),
    }
    return Record(**fields | changes)


def text_record(number: int, tokens: Sequence[int], losses: Sequence[float]) -> Record:
    """A text of which every token was scored."""
    return Record(
        id=f"doc-{number}",
        group="",
        statistics={"token_perplexity": [float(sum(losses)), float(len(losses))]},
        responses=[scored(tokens, losses)],
        asked=encode_requests([Rolling("")]),
    )


def run(
    directory: Path,
    checkpoint: str,
    task: str,
    records: Iterable[Record],
    *,
    vocabulary: bool = True,
    **more: Any,
) -> Result:
    """The Result of these records, which go to `directory`; its metrics follow from them."""
    directory.mkdir(parents=True)
    kept = list(records)
    with (directory / RECORDS).open("w", encoding="utf-8", errors="backslashreplace") as file:
        for record in kept:
            file.write(json.dumps(asdict(record), ensure_ascii=False) + "\n")
    if vocabulary:
        write_vocabulary(directory, {"model": dict(enumerate(WORDS))})
    metrics = {name: _estimate(name, kept) for name in kept[0].statistics}
    return result(checkpoint, task, metrics, path=directory, selected=len(kept), **more)


def _estimate(metric: str, records: Sequence[Record]) -> Estimate:
    known = [x.statistics[metric] for x in records if metric in x.statistics]
    top, bottom = np.sum(known, axis=0)
    if "perplexity" in metric:
        return estimate(float(np.exp(top / bottom)))
    share = float(top / bottom)
    return estimate(share, max(0.0, share - 0.1), min(1.0, share + 0.1), "fraction", higher=True)
