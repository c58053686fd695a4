"""The samples of a task as lm-evaluation-harness writes them: a line of JSON a document."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gpt2eval.alphabet import text_of_letters
from gpt2eval.compare.records import Run
from gpt2eval.export.lm_eval_values import Part
from gpt2eval.results import (
    decode_requests,
    locate_records,
    own_responses,
    read_vocabulary,
    records_at,
    write_atomically,
)
from gpt2eval.types import Record


def write_samples(path: Path, part: Part, run: Run) -> tuple[str, str]:
    """The samples of a task, in the order of the data; lm-eval's type of it, and its hash."""
    directory = part.result.path
    assert directory is not None
    scored = {name for column in part.columns for name in column.samples} or set(run.ids)
    places = {
        record.id: place
        for place, record in locate_records(directory, responses=False)
        if record.id in scored and not record.error
    }
    numbers = document_ids(list(places)) if not part.group else _in_part(list(places))
    order = sorted(places, key=numbers.__getitem__)
    texts = read_vocabulary(directory).get("model", {})
    hashes = hashlib.sha256()
    output_type = ""
    rows = []
    for record in records_at(directory, [places[name] for name in order]):
        output_type, row = _row(record, numbers[record.id], part, texts)
        hashes.update("".join(row[f"{key}_hash"] for key in ("doc", "prompt", "target")).encode())
        rows.append(json.dumps(row, ensure_ascii=False))
    write_atomically(path, "".join(row + "\n" for row in rows))
    return output_type, hashes.hexdigest()


def document_ids(ids: Sequence[str]) -> dict[str, int]:
    """Sample id -> number of the document, from 0.

    Samples that are counted in the data (from 1) keep their place in it, whatever subset was
    scored; others are counted in the order of their names.
    """
    if all(re.fullmatch(r"[1-9]\d{0,17}", name) for name in ids):
        return {name: int(name) - 1 for name in ids}
    return {name: number for number, name in enumerate(sorted(ids, key=_natural))}


def _in_part(ids: Sequence[str]) -> dict[str, int]:
    """The same for samples of a part, which are called `part/number`."""
    inside = document_ids([name.rpartition("/")[2] for name in ids])
    return {name: inside[name.rpartition("/")[2]] for name in ids}


def _natural(name: str) -> list[tuple[int, int, str]]:
    """A sort key by which "a/10" comes after "a/9"."""
    pieces = re.findall(r"\d{1,17}|\D+|\d+", name)
    return [
        (0, int(piece), "") if piece.isdecimal() and len(piece) < 18 else (1, 0, piece)
        for piece in pieces
    ]


def _row(
    record: Record, number: int, part: Part, texts: Mapping[int, str]
) -> tuple[str, dict[str, Any]]:
    """lm-eval's type of what was asked, and the line of a sample."""
    asked = decode_requests(record.asked, str(part.result.task.get("beginning", "")))
    own = own_responses(record)
    arguments: list[list[Any]] = []
    answers: list[Any] = []
    filtered: list[Any] = []
    kinds: set[str] = set()
    for position, response in enumerate(own):
        about = asked[position] if position < len(asked) else {}
        kind, given, answer = _request(response, about, texts)
        kinds.add(kind)
        arguments.append(given)
        answers.append([answer])
        written = response.get("prediction", answer)  # the first runs kept no other
        filtered.append(written if kind == "generate_until" else answer)
    kind = "multiple_choice" if kinds == {"loglikelihood"} and len(own) > 1 else "".join(kinds)
    target = _target(record, kind, arguments)
    doc: dict[str, Any] = {"id": record.id, "references": list(record.references)}
    if record.choices:
        doc |= {"choices": list(record.choices), "gold": record.gold}
    values = {
        column.name: column.samples[record.id]
        for column in part.columns
        if record.id in column.samples
    }
    return kind, {
        "doc_id": number,
        "doc": doc,
        "target": target,
        "arguments": {
            f"gen_args_{i}": {f"arg_{j}": each for j, each in enumerate(given)}
            for i, given in enumerate(arguments)
        },
        "resps": answers,
        "filtered_resps": filtered,
        "filter": part.columns[0].filter,
        "metrics": list(values),
        "doc_hash": _hash(json.dumps(doc, indent=2, ensure_ascii=False)),
        "prompt_hash": _hash(str(arguments[0][0]) if arguments and arguments[0] else ""),
        "target_hash": _hash(target),
        **values,
    }


def _request(
    response: Mapping[str, Any], about: Mapping[str, Any], texts: Mapping[int, str]
) -> tuple[str, list[Any], Any]:
    """lm-eval's type of a request, its arguments as far as the record has them, and the answer.

    Answers are texts there, numbers too.
    """
    if response["type"] == "generated":
        settings = {}
        if "stop" in about:
            warm = about.get("temperature", 0.0)
            settings = {"until": about["stop"], "max_gen_toks": about["max_new_tokens"]}
            settings |= {"do_sample": warm > 0, "temperature": warm}
        given = [about["prompt"], settings] if "prompt" in about else []
        return "generate_until", given, response["text"]
    if response["type"] == "summed":  # of another tool, which adds the tokens up
        total, greedy = response["logprob"], response["greedy"]
    else:
        total = float(np.sum(response["logprobs"])) if response["logprobs"] else 0.0
        greedy = "0" not in response["greedy"]
    if "continuation" in about:
        answer = [str(total), str(greedy)]
        return "loglikelihood", [about["context"], about["continuation"]], answer
    if response["type"] == "summed" and greedy is not None:
        return "loglikelihood", [], [str(total), str(greedy)]
    return "loglikelihood_rolling", [_text(response, texts)], str(total)


def _text(response: Mapping[str, Any], texts: Mapping[int, str]) -> str:
    """The text that was scored, from its tokens; empty where nothing says what they spell."""
    if "text" in response:
        return str(response["text"])
    letters = [texts.get(token) for token in response["tokens"]]
    return text_of_letters("".join(map(str, letters))) if None not in letters else ""


def _target(record: Record, kind: str, arguments: Sequence[Sequence[Any]]) -> str:
    """What was right, as lm-eval writes it: the number of a choice, a text, or a list of texts."""
    if kind == "multiple_choice":
        return str(record.gold) if record.gold is not None else ""
    if kind in ("loglikelihood", "loglikelihood_rolling") and arguments and arguments[0]:
        return str(arguments[0][-1])
    texts = list(record.references)
    return texts[0] if len(texts) == 1 and not texts[0].startswith("[") else str(texts)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()
