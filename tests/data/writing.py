"""Files to read, texts that have broken readers, and a data set of lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from gpt2eval import data
from gpt2eval.data import Dataset

# Everything that some notion of "line" breaks at, although a benchmark file does not.
ODD = "\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029\ufeff\u00a0\x00&<>\"'\\,; \t"
TEXT = st.text(st.characters(codec="utf-8") | st.sampled_from(ODD), max_size=20)
LINE = TEXT.map(lambda text: text.replace("\n", "").rstrip("\r"))
ROWS = st.lists(st.fixed_dictionaries({"a": TEXT, "b": TEXT}), max_size=6)
SEGMENT = TEXT.map(lambda text: text.replace("\n", " "))


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def dataset(*files: tuple[str, ...], **more: Any) -> Dataset:
    return Dataset(files=files or (("set/a.txt",),), read=data.read_lines, **more)
