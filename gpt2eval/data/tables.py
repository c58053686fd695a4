"""One file of a public format -> rows: lines of text, JSON, CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gpt2eval.data.dataset import Row
from gpt2eval.data.files import read_text
from gpt2eval.data.rows import check_characters, checked, strings
from gpt2eval.errors import DataError

JSON_KINDS: Mapping[type[Any], str] = {dict: "an object", list: "a list"}


def read_lines(paths: Sequence[Path]) -> Iterator[Row]:
    """One row a line, column `text`, without the line end."""
    for path in paths:
        text = read_text(path)
        for line in (text[:-1] if text.endswith("\n") else text).split("\n") if text else ():
            yield {"text": line.removesuffix("\r")}


def read_jsonl(paths: Sequence[Path], *columns: str, lists: Sequence[str] = ()) -> Iterator[Row]:
    """One row a JSON line; each must be an object with these columns, all of them strings.

    lists  columns that hold lists of strings, of one or more each
    """
    for path in paths:
        yield from parse_jsonl(read_text(path), path, *columns, lists=lists)


def parse_jsonl(
    text: str, place: object, *columns: str, lists: Sequence[str] = ()
) -> Iterator[Row]:
    """`read_jsonl` of a text; `place` says where it is from."""
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            where = f"{place}, line {number}"
            row = checked(_parsed(line, where, dict), columns, where)
            for column in lists:
                strings(row.get(column), f"{where}: column {column!r}")
            yield row


def read_json(path: Path, *, kind: type[list[Any]] | type[dict[str, Any]]) -> Any:
    """A file that is one JSON value: a list or an object, as `kind` says."""
    text = read_text(path)
    content = _parsed(text, str(path), kind)
    if "\\u" in text:
        check_characters(json.dumps(content, ensure_ascii=False), str(path))
    return content


def _parsed(text: str, place: str, kind: type[Any]) -> Any:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place}: not valid JSON ({error})") from error
    if not isinstance(content, kind):
        found, expected = type(content).__name__, JSON_KINDS[kind]
        raise DataError(f"{place}: holds a JSON {found}; expected {expected}")
    return content


def read_csv(paths: Sequence[Path], *columns: str, header: bool = True) -> Iterator[Row]:
    """One row a CSV record; the header must name these columns, or they are those of the file."""
    for path in paths:
        file = io.StringIO(read_text(path), newline="")
        reader = csv.DictReader(file, None if header else columns, strict=True)
        csv.field_size_limit(10_000_000)
        try:
            for row in reader:
                if None in row:  # what the header has no name for
                    raise DataError(
                        f"{path}, line {reader.line_num}: more fields than the header's"
                        f" {len(row) - 1}; a text with a comma in it stands in quotes"
                    )
                yield checked(row, columns, f"{path}, line {reader.line_num}")
        except csv.Error as error:
            # The outer reader counts a line only once it is a row.
            line = reader.reader.line_num
            raise DataError(f"{path}, line {line}: not valid CSV ({error})") from error
