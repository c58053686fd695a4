"""What was asked of the documents and answered, as records."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from gpt2eval.errors import DataError
from gpt2eval.peers.lm_eval import Document
from gpt2eval.peers.matching import MAX_NEW_TOKENS
from gpt2eval.results import RECORDS, RecordWriter, encode_requests
from gpt2eval.types import Generate, Record, Request, Rolling, Score
from gpt2eval.work import Work


def write_records(
    directory: Path,
    documents: Sequence[Document],
    statistics: Mapping[int, Mapping[str, list[float]]],
    work: Work | None,
) -> None:
    """A line a document; what an interrupted import left is written anew."""
    (directory / RECORDS).unlink(missing_ok=True)
    with closing(RecordWriter(directory)) as writer:
        written: set[int] = set()
        for document in documents:
            if document.id in written:  # under another filter
                continue
            written.add(document.id)
            try:
                writer.write(_record(document, statistics[document.id], work))
            except (TypeError, ValueError, IndexError, OverflowError) as error:
                raise DataError(
                    f"document {document.id} of the samples has answers that are none of lm-eval's"
                    f" ({error!r:.200}); copy the file again, or remove it to import the values"
                    " alone"
                ) from error


def _record(document: Document, statistics: Mapping[str, list[float]], work: Work | None) -> Record:
    sample = work.samples[document.id] if work else None
    references = list(sample.references) if sample else _references(document)
    choices = [str(arguments[-1]) for arguments in document.asked] if _chooses(document) else []
    return Record(
        id=sample.id if sample else str(document.id),
        group=sample.group if sample else "",
        statistics=statistics,
        responses=responses_of(document),
        references=references,
        asked=encode_requests([_request(arguments) for arguments in document.asked]),
        choices=choices,
        gold=int(document.target) if choices and _references(document) else None,
    )


def _request(arguments: tuple[Any, ...]) -> Request:
    """What lm-eval asked, as a request of ours."""
    if len(arguments) != 2:
        return Rolling(str(arguments[-1]) if arguments else "")
    first, second = arguments
    if not isinstance(second, Mapping):
        return Score(str(first), str(second))
    until = second.get("until") or ()
    return Generate(
        str(first),
        int(second.get("max_gen_toks", MAX_NEW_TOKENS)),
        stop=tuple(map(str, [until] if isinstance(until, str) else until)),
        temperature=float(second.get("temperature") or 0.0) if second.get("do_sample") else 0.0,
    )


def _chooses(document: Document) -> bool:
    """Whether the model was asked which of several continuations is likeliest."""
    asked = document.asked
    return len(asked) > 1 and all(len(a) == 2 and not isinstance(a[1], Mapping) for a in asked)


def responses_of(document: Document) -> list[dict[str, Any]]:
    """What the model answered; log-probabilities are of whole texts, lm-eval keeps no others."""
    found: list[dict[str, Any]] = []
    for number, arguments in enumerate(document.asked):
        answer = document.answers[number] if number < len(document.answers) else None
        answer = answer[0] if isinstance(answer, list) and answer else answer
        if len(arguments) == 2 and isinstance(arguments[1], Mapping):
            filtered = document.filtered[number] if number < len(document.filtered) else ""
            found.append(
                {
                    "type": "generated",
                    "text": str(answer),
                    "prediction": filtered if isinstance(filtered, str) else str(answer),
                    "stopped": "unknown",
                    "truncated": None,
                    "tokens": [],
                    "logprobs": [],
                }
            )
            continue
        logprob, greedy = answer if isinstance(answer, list) else (answer, None)
        found.append(
            {
                "type": "summed",
                "text": str(arguments[-1]),
                "logprob": float(str(logprob)),
                "greedy": None if greedy is None else str(greedy) == "True",
                "truncated": None,
            }
        )
    return found


def _references(document: Document) -> list[str]:
    """What was right: a choice by its index, several texts by Python's notation of a list."""
    target = document.target
    if _chooses(document):
        index = int(target) if target.isdecimal() else -1
        return [str(document.asked[index][1])] if 0 <= index < len(document.asked) else []
    if target.startswith("["):
        try:
            texts = ast.literal_eval(target)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            return [target]
        if isinstance(texts, list) and all(isinstance(text, str) for text in texts):
            return texts
    return [target]
