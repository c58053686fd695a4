"""What is read from a directory, and what is said of it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from gpt2eval import data
from gpt2eval.errors import DataError
from tests.data.writing import dataset, write

CONTENT = "one\ntwo\n"
DIGEST = hashlib.sha256(CONTENT.encode()).hexdigest()


def test_rows_and_provenance(tmp_path: Path) -> None:
    write(tmp_path / "set/a.txt", CONTENT)
    loaded = data.load(dataset(), tmp_path)
    assert loaded.rows == ({"text": "one"}, {"text": "two"})
    assert loaded.provenance == {
        "source": "directory",
        "files": {"set/a.txt": DIGEST},
        "sha256": DIGEST,
        "verdict": "no digest on record",
    }


@pytest.mark.parametrize(
    ("known", "verdict"),
    [
        ({DIGEST: "the official file"}, "the official file"),
        ({"0" * 64: "the official file"}, "unknown file: its sha256 is not on record"),
    ],
)
def test_verdict(tmp_path: Path, known: dict[str, str], verdict: str) -> None:
    write(tmp_path / "set/a.txt", CONTENT)
    assert data.load(dataset(known=known), tmp_path).provenance["verdict"] == verdict


def test_verdict_needs_every_file(tmp_path: Path) -> None:
    write(tmp_path / "a", CONTENT)
    write(tmp_path / "b", "other\n")
    known = {DIGEST: "the official file"}
    loaded = data.load(dataset(("a", "b"), known=known), tmp_path)
    assert loaded.provenance["verdict"].startswith("unknown file")
    assert loaded.provenance["sha256"] not in loaded.provenance["files"].values()


def test_bundled_data_are_no_benchmark() -> None:
    """Even a bundled file whose digest is known."""
    files = (("lambada/lambada_test.jsonl",),)
    path = data.bundled_directory() / files[0][0]
    known = {hashlib.sha256(path.read_bytes()).hexdigest(): "official"}
    loaded = data.load(dataset(*files, known=known), "bundled")
    assert loaded.provenance["verdict"] == "sample texts of gpt2eval"
    assert loaded.provenance["source"] == "bundled"


def test_best_alternative_first(tmp_path: Path) -> None:
    table = dataset(("a", "b"), ("c",))
    write(tmp_path / "a", "a\n")
    write(tmp_path / "c", "c\n")
    assert list(data.load(table, tmp_path).provenance["files"]) == ["c"]
    write(tmp_path / "b", "b\n")
    assert list(data.load(table, tmp_path).provenance["files"]) == ["a", "b"]


def test_missing_file_is_named(tmp_path: Path) -> None:
    write(tmp_path / "a", "a\n")
    with pytest.raises(DataError, match=r"lacks b \(or c \+ d\); put the file there"):
        data.load(dataset(("a", "b"), ("c", "d")), tmp_path)


def test_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere' does not exist; expected .*set/a\.txt"):
        data.load(dataset(), tmp_path / "nowhere")


def test_file_for_a_directory(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.txt' is a file; expected a directory with set/a\.txt"):
        data.load(dataset(), write(tmp_path / "a.txt", CONTENT))


def test_empty_file(tmp_path: Path) -> None:
    write(tmp_path / "set/a.txt", "")
    with pytest.raises(DataError, match=r"a\.txt holds no rows; expected at least one"):
        data.load(dataset(), tmp_path)
