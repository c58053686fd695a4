"""Training files: plain text, and JSON lines that templates make prompts and completions of."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path
from string import Formatter
from typing import Any

from gpt2eval.data import read_text
from gpt2eval.errors import DataError, UsageError
from gpt2eval.finetuning.options import FinetuneOptions
from gpt2eval.naming import unescaped

JSON_LINES = (".jsonl", ".ndjson")
PAIR, TEXT = ("{prompt}", "{completion}"), ("", "{text}")


@dataclass(frozen=True, slots=True)
class Example:
    """What is learned in one piece: a completion after its prompt, or a whole text.

    place  where it stands, for people
    text   whether it is plain text, which may be cut anywhere
    """

    place: str
    prompt: str
    completion: str
    text: bool


def training_files(names: Sequence[str]) -> list[Path]:
    """The files that are named, each once; DataError for a name that leads to none."""
    found: dict[Path, None] = {}
    for name in names:
        path = Path(name).expanduser()
        if path.is_file():
            found[path] = None
            continue
        if path.is_dir():
            raise DataError(f"--train {name!r} is a directory; name its files: '{name}/*.txt'")
        matching = [Path(each) for each in sorted(glob(str(path), recursive=True))]
        matching = [each for each in matching if each.is_file()]
        if not matching:
            what = "matches no file" if has_magic(name) else "does not exist"
            raise DataError(f"--train {name!r} {what}; expected text or JSON lines")
        found |= dict.fromkeys(matching)
    return list(found)


def read_examples(paths: Sequence[Path], options: FinetuneOptions) -> Iterator[Example]:
    """The examples of all files, in order. Raises DataError naming file and line."""
    for path in paths:
        text = read_text(path)
        if not text.strip():
            raise DataError(f"{path} is empty; expected text to train on")
        if {".json", *JSON_LINES} & set(path.suffixes):
            yield from _json_lines(text, path, options)
        else:
            yield Example(str(path), "", text, text=True)


def _json_lines(text: str, path: Path, options: FinetuneOptions) -> Iterator[Example]:
    templates: tuple[str, str] | None = None
    if options.completion is not None:
        templates = unescaped(options.prompt or ""), unescaped(options.completion)
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        place = f"{path}, line {number}"
        row = _row(line, place)
        templates = templates or _templates_of(row, place)
        prompt, completion = (fill(template, row, place) for template in templates)
        if not completion:
            raise DataError(f"{place}: the completion is empty; there is nothing to learn from it")
        yield Example(place, prompt, completion, text=templates == TEXT)


def _row(line: str, place: str) -> Mapping[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place}: not valid JSON ({error}); expected one object a line") from error
    if not isinstance(row, dict):
        raise DataError(f"{place}: holds a JSON {type(row).__name__}; expected an object")
    return row


def _templates_of(row: Mapping[str, Any], place: str) -> tuple[str, str]:
    """What the first line of a file says about the others."""
    if {"prompt", "completion"} <= row.keys():
        return PAIR
    if "text" in row:
        return TEXT
    raise DataError(
        f"{place}: expected the fields prompt and completion, or text; found {_found(row)}."
        " Say what is learned with --prompt-template and --completion-template"
    )


def fill(template: str, row: Mapping[str, Any], place: str) -> str:
    """A template with the fields of a row in it; they are put in as they are."""
    return "".join(
        literal + ("" if name is None else _value(row, name, place))
        for literal, name in template_parts(template)
    )


def template_parts(template: str) -> list[tuple[str, str | None]]:
    """(text, field after it) of a template; UsageError for what is not a plain `{field}`."""
    parts: list[tuple[str, str | None]] = []
    try:
        for literal, name, spec, conversion in Formatter().parse(template):
            if name is not None and (spec or conversion or not re.fullmatch(r"[\w -]+", name)):
                raise ValueError(f"{name!r} is not the plain name of a field")
            parts.append((literal, name))
    except ValueError as error:
        raise UsageError(
            f"template {template!r}: {error}; expected text with {{field}} in it, and {{{{ for a"
            " brace"
        ) from error
    return parts


def _value(row: Mapping[str, Any], name: str, place: str) -> str:
    value = row.get(name)
    if value is None:
        raise DataError(f"{place}: field {name!r} is missing; found {_found(row)}")
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise DataError(
            f"{place}: field {name!r} holds {json.dumps(value)[:60]}; expected a text or a number"
        )
    text = str(value)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{place}: field {name!r} holds half a surrogate pair") from error
    return text


def _found(row: Mapping[str, Any]) -> str:
    return ", ".join(map(str, list(row)[:8])) or "no fields"
