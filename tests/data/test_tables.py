"""Lines, JSON and CSV give back what was written, and say where they are wrong."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt2eval import data
from gpt2eval.errors import DataError
from tests.data.writing import LINE, ROWS, write


@given(st.lists(LINE, min_size=1), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_lines(folder: Path, lines: list[str], end: str, closed: bool) -> None:
    lines[-1] += "" if closed else "x"  # an open last line that is empty is none
    lines[0] = lines[0].removeprefix("\ufeff")
    path = write(folder / "lines.txt", "\ufeff" + end.join(lines) + (end if closed else ""))
    assert [row["text"] for row in data.read_lines([path])] == lines


@given(ROWS, st.booleans())
def test_jsonl(folder: Path, rows: list[dict[str, str]], ascii_only: bool) -> None:
    lines = "".join(json.dumps(row, ensure_ascii=ascii_only) + "\n" for row in rows)
    path = write(folder / "rows.jsonl", lines)
    assert list(data.read_jsonl([path], "a", "b")) == rows
    assert list(data.read_jsonl([path, path], "a")) == rows * 2


@given(ROWS, st.sampled_from(["\n", "\r\n"]), st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
def test_csv(folder: Path, rows: list[dict[str, str]], end: str, quoting: int) -> None:
    if any("\r" in value for row in rows for value in row.values()):
        quoting = csv.QUOTE_ALL  # Python's writer leaves a lone "\r" bare before 3.13
    with (folder / "rows.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["a", "b"], lineterminator=end, quoting=quoting)  # type: ignore[arg-type]
        writer.writeheader()
        writer.writerows(rows)
    assert list(data.read_csv([folder / "rows.csv"], "a", "b")) == rows


JSONL_ERRORS = [
    ('{"a": "x"}\n{"a": \n', r"rows\.jsonl, line 2: not valid JSON"),
    ('{"a": "x"}\n\n["a"]\n', r"rows\.jsonl, line 3: holds a JSON list; expected an object"),
    ('{"a": "x"}\n{"b": "x"}\n', r"line 2: column 'a' is missing; expected a, found b"),
    ('{"a": 3}\n', r"line 1: column 'a' holds 3; expected a string"),
    ('{"a": null}\n', r"line 1: column 'a' is missing"),
    ("{}\n", r"line 1: column 'a' is missing; expected a, found none"),
    ("[" * 100_000 + "\n", r"line 1: not valid JSON"),
    ('{"a": "\\ud83d"}\n', r"line 1: column 'a' holds half a surrogate pair"),
]


@pytest.mark.parametrize(("content", "message"), JSONL_ERRORS)
def test_bad_jsonl(tmp_path: Path, content: str, message: str) -> None:
    path = write(tmp_path / "rows.jsonl", content)
    with pytest.raises(DataError, match=message):
        list(data.read_jsonl([path], "a"))


@pytest.mark.parametrize("value", [[], "text", None, [1], ["a", None]])
def test_lists_of_strings(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"a": "x", "b": value}))
    with pytest.raises(DataError, match=r"line 1: column 'b' is .*; expected a list of one string"):
        list(data.read_jsonl([path], "a", lists=["b"]))


def test_json_of_another_kind(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text("{}")
    assert data.read_json(path, kind=dict) == {}
    with pytest.raises(DataError, match=r"rows\.json: holds a JSON dict; expected a list"):
        data.read_json(path, kind=list)
    path.write_text("[" * 100_000)
    with pytest.raises(DataError, match="not valid JSON"):
        data.read_json(path, kind=list)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "a,b\n1,2\n3\n",
            r"rows\.csv, line 3: column 'b' is missing; expected a and b, found a, b",
        ),
        ("x,y\n1,2\n", r"line 2: column 'a' is missing; expected a and b, found x, y"),
        ("a,b\n1,2\n3,4, five\n", r"line 3: more fields than the header's 2; .* quotes"),
        ('a,b\n1,"2\n3,4\n', r"rows\.csv, line \d: not valid CSV \(unexpected end of data"),
        ('a,b\n1,"2"3\n', r"rows\.csv, line 2: not valid CSV"),
    ],
)
def test_bad_csv(tmp_path: Path, content: str, message: str) -> None:
    path = write(tmp_path / "rows.csv", content)
    with pytest.raises(DataError, match=message):
        list(data.read_csv([path], "a", "b"))


def test_csv_field_of_a_million_letters(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.csv", f"a\n{'x' * 1_000_000}\n")
    assert [len(row["a"]) for row in data.read_csv([path], "a")] == [1_000_000]


def test_csv_without_a_header(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('"1","a, b"\n"2","c"\n', "utf-8")
    rows = list(data.read_csv([path], "n", "text", header=False))
    assert rows == [{"n": "1", "text": "a, b"}, {"n": "2", "text": "c"}]
    path.write_text('"1"\n', "utf-8")
    with pytest.raises(DataError, match=r"line 1: column 'text' is missing"):
        list(data.read_csv([path], "n", "text", header=False))
