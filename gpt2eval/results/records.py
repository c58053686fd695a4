"""`records.jsonl`: a line a sample, on disk as soon as it is scored."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

from gpt2eval.errors import StoreError
from gpt2eval.results.files import anew, replace_file, saving
from gpt2eval.results.layout import RECORDS
from gpt2eval.types import Record, Result

# What stands around the responses of a record, and before what was asked.
RESPONSES, REFERENCES = b'}, "responses": [', b'], "references": ['
ASKED = b', "asked": ['


class RecordWriter:
    """Appends records to a run's `records.jsonl`; each is on disk when `write` returns."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / RECORDS
        self.file: TextIO
        with saving(self.path):
            directory.mkdir(parents=True, exist_ok=True)
            # Half a surrogate pair, from a file name say, becomes the escape that JSON has for it.
            self.file = self.path.open("a", encoding="utf-8", errors="backslashreplace")

    def write(self, record: Record) -> None:
        """Append one line."""
        with saving(self.path):
            self.file.write(_line(record))
            self.file.flush()

    def close(self) -> None:
        """Make sure that the disk has it all; closing twice is harmless."""
        if self.file.closed:
            return
        with saving(self.path):
            self.file.flush()
            os.fsync(self.file.fileno())
            self.file.close()


def _line(record: Record) -> str:
    return json.dumps(asdict(record), ensure_ascii=False, allow_nan=False) + "\n"


def replace_records(directory: Path, records: Iterable[Record]) -> None:
    """Put these records where the others are, at once; they may be made from those as they go."""
    replace_file(directory / RECORDS, map(_line, records))


def replace_lines(directory: Path, lines: Iterable[str]) -> None:
    """The same of records as they stand in a file."""
    replace_file(directory / RECORDS, lines)


def read_records(directory: Path, *, responses: bool = True) -> Iterator[Record]:
    """The records of a run, in the order they were written.

    Without `responses`, and what those answer, which are most of the file, they are read several
    times as fast.

    Raises StoreError for a line that is not a record, naming it.
    """
    return (record for _, record in locate_records(directory, responses=responses))


def records_size(results: Iterable[Result]) -> int:
    """Bytes of the records of these results, as far as they are there."""
    paths = {result.path / RECORDS for result in results if result.path}
    return sum(path.stat().st_size for path in paths if path.is_file())


def locate_records(directory: Path, *, responses: bool = True) -> Iterator[tuple[range, Record]]:
    """Each record of a run with the bytes of `records.jsonl` that hold it."""
    path = directory / RECORDS
    begin = 0
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                text = line if responses else _lighter(line)
                yield range(begin, begin + len(line)), _parse_record(path, number, text.decode())
                begin += len(line)
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{path} cannot be read ({error}); {anew(path)}") from error


def records_at(directory: Path, places: Iterable[range]) -> Iterator[Record]:
    """The records that `locate_records` found in these places, in this order."""
    path = directory / RECORDS
    try:
        with path.open("rb") as file:
            for number, place in enumerate(places, 1):
                file.seek(place.start)
                yield _parse_record(path, number, file.read(len(place)).decode())
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{path} cannot be read ({error}); {anew(path)}") from error


def recover_records(directory: Path, *, repair: bool = True) -> list[Record]:
    """What an interrupted run left, without a torn last line.

    repair  cut that line off, so that appending is safe; without it somebody may be at the file
    """
    path = directory / RECORDS
    if not path.exists():
        return []
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StoreError(f"{path} cannot be read ({error.strerror}); {anew(path)}") from error
    whole = content.rfind(b"\n") + 1
    if repair and whole < len(content):
        with saving(path), path.open("r+b") as file:
            file.truncate(whole)
    try:
        lines = content[:whole].decode().split("\n")[:-1]
    except UnicodeDecodeError as error:
        raise StoreError(f"{path} cannot be read ({error}); {anew(path)}") from error
    return [_parse_record(path, number, line) for number, line in enumerate(lines, 1)]


@contextmanager
def trusting(what: str) -> Iterator[None]:
    """Work with records as if they were as `RecordWriter` writes them; StoreError where not.

    To look at every token of every record beforehand would take longer than the work.

    what  whose records they are, for the message
    """
    try:
        yield
    except (TypeError, ValueError, LookupError, AttributeError, OverflowError) as error:
        raise StoreError(
            f"{what}: a record is not what gpt2eval writes ({error!r}), so somebody changed it;"
            " `gpt2eval verify` names the file. Delete its directory and run the same command"
            " again, which makes it anew"
        ) from error


def _parse_record(path: Path, number: int, line: str) -> Record:
    try:
        content = _DECODER.decode(line)
        return Record(
            content["id"],
            content["group"],
            content["statistics"],
            content["responses"],
            content["references"],
            content["error"],
            # The first runs did not write these.
            content.get("asked", ()),
            content.get("choices", ()),
            content.get("gold"),
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise StoreError(
            f"{path}, line {number}: not a record ({error!r}); {anew(path)}"
        ) from error


def _lighter(line: bytes) -> bytes:
    """The line without what is in its responses, and what was asked, if it is written as
    `RecordWriter` does.

    A quotation mark inside a text has a backslash before it, so no mark can be found in one.
    """
    start, end = line.find(RESPONSES), line.rfind(REFERENCES)
    if not (0 <= start < end and line.endswith(b"}\n")):
        return line
    asked = line.find(ASKED, end)
    rest = line[end:] if asked < 0 else line[end:asked] + b"}"
    return line[: start + len(RESPONSES)] + rest


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not a number")


# Made once: there are a million lines to read where fifty checkpoints are compared.
_DECODER = json.JSONDecoder(parse_constant=_refuse)
