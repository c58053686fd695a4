"""What a plain library is fed for each workload: lm-eval's rules, written down once more.

The harnesses bring rules of their own; this is for tools that only know tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.peers import Job, asked


@dataclass(frozen=True, slots=True)
class Scoring:
    """Token ids, of which the last `scored` are wanted given those before."""

    tokens: list[int]
    scored: int


def scorings(job: Job, tokenizer: Any) -> list[Scoring]:
    """What is scored for the workload, in order."""
    content = asked(job)
    if job["workload"] == "rolling":
        size = content["n_ctx"]
        return [
            scoring
            for text in content["texts"]
            for scoring in windows([tokenizer.eos_token_id, *tokenizer(text)["input_ids"]], size)
        ]
    if job["workload"] == "last-word":
        pairs = [(context, f" {word}") for context, word in content["pairs"]]
    else:
        pairs = [
            (item["context"], f" {ending}")
            for item in content["items"]
            for ending in item["endings"]
        ]
    wholes = tokenizer([context + continued for context, continued in pairs])["input_ids"]
    contexts = tokenizer([context for context, _ in pairs])["input_ids"]
    return [
        Scoring(whole, len(whole) - len(context))
        for whole, context in zip(wholes, contexts, strict=True)
    ]


def windows(stream: list[int], size: int) -> list[Scoring]:
    """A stream that begins with the prefix, in windows of `size`; the last is moved back."""
    found = []
    for begin in range(1, len(stream), size):
        end = min(begin + size, len(stream))
        found.append(Scoring(stream[max(0, end - size - 1) : end], end - begin))
    return found


def total_and_right(
    job: Job, wanted: Sequence[Scoring], found: Sequence[tuple[float, bool]]
) -> dict[str, Any]:
    """The numbers of an answer, from (log-probability, all first choice) of each scoring."""
    assert len(wanted) == len(found)
    totals = [total for total, _ in found]
    numbers: dict[str, Any] = {"total": sum(totals)}
    if job["workload"] == "last-word":
        numbers["right"] = sum(first for _, first in found)
    if job["workload"] == "choice":
        items = asked(job)["items"]
        four = [totals[begin : begin + 4] for begin in range(0, len(totals), 4)]
        numbers["right"] = sum(
            each.index(max(each)) == item["label"] for each, item in zip(four, items, strict=True)
        )
    return numbers
