"""The texts of tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt2eval.errors import StoreError
from gpt2eval.results import read_vocabulary, write_vocabulary
from tests.results.keeping import TEXT


@given(st.dictionaries(st.integers(0, 60000), TEXT.filter(str.isprintable), max_size=4))
def test_vocabularies_are_read_as_written(tmp_path_factory: Any, texts: dict[int, str]) -> None:
    directory = tmp_path_factory.mktemp("run")
    assert read_vocabulary(directory) == {}
    write_vocabulary(directory, {"model": texts, "scorer": {1: "Ġthe"}})
    assert read_vocabulary(directory) == {"model": texts, "scorer": {1: "Ġthe"}}


@pytest.mark.parametrize("content", ["{", "[]", '{"model": {"x": "a"}}', '{"model": 3}'])
def test_damaged_vocabulary(tmp_path: Path, content: str) -> None:
    (tmp_path / "vocabulary.json").write_text(content)
    with pytest.raises(StoreError, match=r"vocabulary\.json cannot be read .*makes it anew"):
        read_vocabulary(tmp_path)
