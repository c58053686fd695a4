"""What rows and their columns have to be."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from gpt2eval.data.dataset import Row
from gpt2eval.errors import DataError


def convert_rows(
    rows: Iterable[Row], convert: Callable[[Row], Row], place: object
) -> Iterator[Row]:
    """Rows in another form; where `convert` cannot, a DataError says in which row of `place`."""
    for number, row in enumerate(rows, 1):
        try:
            yield convert(row)
        except DataError as error:
            raise DataError(f"{place}, row {number}: {error}") from error
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            found = ", ".join(map(str, list(row)[:8])) or "none"
            raise DataError(
                f"{place}, row {number}: not in the form that was expected ({error!r}); found"
                f" columns: {found}"
            ) from error


def gold(value: object, choices: int, first: int = 0) -> int:
    """A gold label as the index of the right choice, from 0; DataError where it is none.

    value  a whole number, or the text of one
    first  the label of the first choice, for files that count from 1
    """
    text = str(value).strip()
    if isinstance(value, (int, str)) and text.isascii() and text.isdigit():
        index = int(text) - first
        if 0 <= index < choices:
            return index
    raise DataError(
        f"gold label {value!r}; expected a whole number from {first} to {first + choices - 1}"
    )


def strings(value: Any, place: str) -> list[str]:
    """`value`, which must be a list of one string or more; `place` names it in the error."""
    if not (isinstance(value, list) and value and all(isinstance(text, str) for text in value)):
        raise DataError(f"{place} is {value!r:.80}; expected a list of one string or more")
    for text in value:
        check_characters(text, place)
    return value


def filled(value: Any, place: str) -> list[str]:
    """The same, where none of the strings may be blank."""
    for number, text in enumerate(strings(value, place), 1):
        if not text.strip():
            raise DataError(f"{place}: string {number} is {text!r:.80}; expected some text")
    return list(value)


def checked(row: Mapping[str, Any], columns: Sequence[str], place: str) -> Row:
    """The row, if it has these columns and all of them are strings; `place` is for the error."""
    for column in columns:
        if row.get(column) is None:
            found = ", ".join(map(str, list(row)[:8])) or "none"
            raise DataError(
                f"{place}: column {column!r} is missing; expected {' and '.join(columns)}, found"
                f" {found}"
            )
        if not isinstance(row[column], str):
            raise DataError(
                f"{place}: column {column!r} holds {json.dumps(row[column])[:60]}; expected a"
                " string"
            )
        check_characters(row[column], f"{place}: column {column!r}")
    return row


def check_characters(text: str, place: str) -> None:
    """JSON can spell what is no text: half of a pair of surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{place} holds half a surrogate pair, which is no character ({error.reason})"
        ) from error
