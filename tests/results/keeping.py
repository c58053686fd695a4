"""Records to keep: any that can be, and plain ones."""

from __future__ import annotations

from pathlib import Path

from hypothesis import strategies as st

from gpt2eval.results import RecordWriter, layout
from gpt2eval.types import Record

# Lone surrogates too: the name of a file need not be UTF-8.
TEXT = st.text(
    st.characters() | st.sampled_from('\n\r\x0b\x85\u2028\x00\ud83d\udc80"\\'), max_size=12
)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
RECORDS = st.builds(
    Record,
    id=TEXT,
    group=TEXT,
    statistics=st.dictionaries(TEXT, st.lists(FLOATS, max_size=3), max_size=3),
    responses=st.lists(st.dictionaries(TEXT, TEXT | FLOATS, max_size=3), max_size=2),
    references=st.lists(TEXT, max_size=2),
    error=TEXT,
    asked=st.lists(st.dictionaries(TEXT, TEXT | st.integers(), max_size=3), max_size=2),
    choices=st.lists(TEXT, max_size=2),
    gold=st.none() | st.integers(0, 3),
)


def write(directory: Path, records: list[Record]) -> Path:
    writer = RecordWriter(directory)
    for record in records:
        writer.write(record)
    writer.close()
    return directory / layout.RECORDS


def record(name: str, size: int = 1) -> Record:
    return Record(name, "", {"m": [1.5, 2.0]}, [{"text": "é" * size}], ["gold"])
