"""Records: what is written is read, and what is damaged is named."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt2eval.errors import StoreError
from gpt2eval.results import RecordWriter, locate_records, read_records, records_at, recover_records
from gpt2eval.types import Record
from tests.results.keeping import RECORDS, record, write


@given(st.lists(RECORDS, max_size=4))
def test_records_are_read_as_written(tmp_path_factory: Any, records: list[Record]) -> None:
    directory = tmp_path_factory.mktemp("run")
    path = write(directory, records)
    assert list(read_records(directory)) == records
    assert recover_records(directory) == records
    assert path.read_bytes().count(b"\n") == len(records)


@given(st.lists(RECORDS, max_size=4), st.randoms())
def test_records_are_found_where_they_were(
    tmp_path_factory: Any, records: list[Record], random: Any
) -> None:
    directory = tmp_path_factory.mktemp("run")
    write(directory, records)
    found = list(locate_records(directory))
    assert [record for _, record in found] == records
    random.shuffle(found)
    places = [place for place, _ in found]
    assert list(records_at(directory, places)) == [record for _, record in found]


@given(st.lists(RECORDS, max_size=4), st.sampled_from(['"', '}, "responses": [', ', "asked": [']))
def test_light_records_are_the_whole_ones_without_their_weight(
    tmp_path_factory: Any, records: list[Record], odd: str
) -> None:
    directory = tmp_path_factory.mktemp("run")
    odd_ones = [replace(each, references=[*each.references, odd], error=odd) for each in records]
    write(directory, odd_ones)
    light = [replace(each, responses=[], asked=(), choices=(), gold=None) for each in odd_ones]
    assert list(read_records(directory, responses=False)) == light


def test_records_of_the_first_runs_are_read(tmp_path: Path) -> None:
    """They did not say what was asked."""
    path = write(tmp_path, [record("a")])
    old = {"id", "group", "statistics", "responses", "references", "error"}
    content = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps({key: content[key] for key in old}) + "\n", "utf-8")
    assert list(read_records(tmp_path)) == [record("a")]
    path.write_text(json.dumps({key: content[key] for key in old - {"error"}}) + "\n", "utf-8")
    with pytest.raises(StoreError, match=r"not a record \(KeyError\('error'\)"):
        list(read_records(tmp_path))


def test_each_record_is_on_disk_at_once(tmp_path: Path) -> None:
    writer = RecordWriter(tmp_path)
    for number in range(3):
        writer.write(record(f"{number}"))
        assert len(list(read_records(tmp_path))) == number + 1
    writer.close()
    writer.close()


def test_records_are_appended(tmp_path: Path) -> None:
    write(tmp_path, [record("a")])
    write(tmp_path, [record("b")])
    assert [item.id for item in read_records(tmp_path)] == ["a", "b"]


@given(st.data())
def test_torn_last_line(tmp_path_factory: Any, data: st.DataObject) -> None:
    """Cut anywhere: whole lines stay, the torn one goes, and appending goes on in a new line."""
    directory = tmp_path_factory.mktemp("run")
    path = write(directory, [record("a"), record("b", 9), record("c")])
    content = path.read_bytes()
    cut = data.draw(st.integers(0, len(content)))
    zeros = data.draw(st.integers(0, 3)) * b"\0"  # what some file systems leave after a power cut
    path.write_bytes(content[:cut] + zeros)
    whole = content[:cut].count(b"\n")
    assert [item.id for item in recover_records(directory)] == list("abc")[:whole]
    write(directory, [record("d")])
    assert [item.id for item in read_records(directory)] == [*list("abc")[:whole], "d"]


def test_nothing_to_recover(tmp_path: Path) -> None:
    assert recover_records(tmp_path / "no run") == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"line 2: not a record \(JSONDecodeError"),
        ("[1]", r"line 2: not a record \(TypeError"),
        ("{}", r"line 2: not a record \(KeyError\('id'\)"),
        ("", r"line 2: not a record"),
    ],
)
def test_damaged_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = write(tmp_path, [record("a")])
    path.write_text(path.read_text("utf-8") + line + "\n", "utf-8")
    with pytest.raises(StoreError, match=rf"records\.jsonl, {message}"):
        list(read_records(tmp_path))


def test_records_that_are_not_text(tmp_path: Path) -> None:
    write(tmp_path, [record("a")]).write_bytes(b"\xff\xfe\n")
    with pytest.raises(StoreError, match=r"records\.jsonl cannot be read"):
        list(read_records(tmp_path))
    with pytest.raises(StoreError, match=r"records\.jsonl cannot be read"):
        list(read_records(tmp_path / "no run"))


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from gpt2eval.errors import StoreError
from gpt2eval.results import RecordWriter
from gpt2eval.types import Record

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
writer = RecordWriter(Path(sys.argv[1]))
try:
    for number in range(1000):
        writer.write(Record(str(number), "", {"m": [1.0]}, [{"text": "x" * 300}]))
except StoreError as error:
    print(number, error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limits on the size of files")
def test_full_disk(tmp_path: Path) -> None:
    """An error that says so; every record before it is kept, and the run can go on."""
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    number, _, message = done.stdout.partition(" ")
    assert "records.jsonl could not be saved" in message, done.stderr
    assert "make room and run the same command again" in message
    assert (tmp_path / "records.jsonl").stat().st_size == 5000
    kept = recover_records(tmp_path)
    assert [item.id for item in kept] == [str(n) for n in range(int(number))]
    write(tmp_path, [record("next")])
    assert len(list(read_records(tmp_path))) == int(number) + 1
