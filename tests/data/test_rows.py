"""Rows are what they have to be, or named."""

from __future__ import annotations

import re

import pytest

from gpt2eval import data
from gpt2eval.errors import DataError


@pytest.mark.parametrize(
    ("value", "first", "index"), [(0, 0, 0), ("2", 0, 2), (1, 1, 0), (" 3 ", 1, 2)]
)
def test_gold_label(value: object, first: int, index: int) -> None:
    assert data.gold(value, 3, first) == index


@pytest.mark.parametrize("value", [3, -1, "-1", "", "a", None, 1.0, True, "1.0", "²", [1]])
def test_gold_label_that_is_none(value: object) -> None:
    message = f"gold label {re.escape(repr(value))}; expected a whole number from 0 to 2"
    with pytest.raises(DataError, match=message):
        data.gold(value, 3)


def test_rows_that_cannot_be_converted_are_named() -> None:
    def convert(row: data.Row) -> data.Row:
        return {"x": data.gold(row["x"], 2)}

    rows = [{"x": 1}, {"x": 2}]
    with pytest.raises(DataError, match=r"file\.txt, row 2: gold label 2; expected"):
        list(data.convert_rows(rows, convert, "file.txt"))
    with pytest.raises(DataError, match=r"file\.txt, row 1: .*KeyError\('x'\)\); found columns: y"):
        list(data.convert_rows([{"y": 1}], convert, "file.txt"))
