"""What the recipes read alike."""

from __future__ import annotations

from pathlib import Path

from gpt2eval.data import Row, read_lines
from gpt2eval.errors import DataError


def row_id(row: Row, number: int) -> str:
    """The row's own id, which may be the number 0, or its place in the file."""
    own = row.get("id")
    return str(number if own in (None, "") else own)


def read_pairs(path: Path, pairs: int, form: str) -> list[tuple[str, str]]:
    """The first lines of a file of two columns."""
    lines = [str(row["text"]).split("\t") for row in read_lines([path])][:pairs]
    if len(lines) < pairs or any(len(line) != 2 for line in lines):
        raise DataError(f"{path}: expected at least {pairs} lines of {form}")
    return [(one, other) for one, other in lines]
