"""Files give back what was written in them, packed or not, up to a bound."""

from __future__ import annotations

import bz2
import gzip
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt2eval import data
from gpt2eval.errors import DataError
from tests.data.writing import TEXT, write


@given(TEXT)
def test_text(folder: Path, text: str) -> None:
    expected = text.removeprefix("\ufeff")
    assert data.read_text(write(folder / "text.txt", text)) == expected
    assert data.read_text(write(folder / "text.gz", gzip.compress(text.encode()))) == expected


def test_byte_order_mark(tmp_path: Path) -> None:
    """As spreadsheets write it: part of the encoding, not of the first column's name."""
    path = write(tmp_path / "rows.csv", "\ufeffa,b\n1,2\n")
    assert list(data.read_csv([path], "a", "b")) == [{"a": "1", "b": "2"}]
    path = write(tmp_path / "rows.jsonl", '\ufeff{"a": "x"}\n')
    assert list(data.read_jsonl([path], "a")) == [{"a": "x"}]


@pytest.mark.parametrize("name", ["x.txt", "x.gz"])
def test_not_utf8(tmp_path: Path, name: str) -> None:
    content = "un\ndeux\ntrois\u00e9\n".encode("latin-1")
    path = write(tmp_path / name, gzip.compress(content) if name == "x.gz" else content)
    with pytest.raises(DataError, match=rf"{name}, line 3: byte 0xe9 is not UTF-8; .*iconv"):
        data.read_text(path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"plain text",
        lambda content: content[:-9],
        lambda content: content[:20],
        lambda content: content[:15] + bytes([content[15] ^ 0xFF]) + content[16:],
        lambda content: content[:-6] + b"\0\0" + content[-4:],
        lambda content: b"\x1f\x8b\x08\x00" + b"\xff" * 40,
    ],
)
def test_bad_gzip(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = write(tmp_path / "x.gz", damage(gzip.compress(bytes(range(65, 91)) * 20)))
    with pytest.raises(DataError, match=r"x\.gz(, line 1: | cannot be read: )"):
        data.read_text(path)


@given(drawn=st.data())
def test_any_damage_to_gzip(folder: Path, drawn: st.DataObject) -> None:
    """The text or a DataError, never anything else."""
    content = bytearray(gzip.compress(b"The keeper counted the ships.\n" * 5))
    for _ in range(3):
        content[drawn.draw(st.integers(0, len(content) - 1))] = drawn.draw(st.integers(0, 255))
    try:
        assert isinstance(data.read_text(write(folder / "damaged.gz", bytes(content))), str)
    except DataError:
        return


def test_gzip_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data.files, "MAX_UNPACKED", 1000)
    path = write(tmp_path / "x.gz", gzip.compress(b"0" * 1001))
    with pytest.raises(DataError, match=r"unpacks to more than 1000 bytes"):
        data.read_text(path)
    assert len(data.read_text(write(path, gzip.compress(b"0" * 1000)))) == 1000


def test_bz2_is_unpacked_up_to_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.bz2"
    path.write_bytes(bz2.compress("zwölf".encode()))
    assert data.read_text(path) == "zwölf"
    monkeypatch.setattr(data.files, "MAX_UNPACKED", 5)
    with pytest.raises(DataError, match=r"a\.bz2 unpacks to more than 5 bytes"):
        data.read_text(path)
    path.write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"a\.bz2 cannot be read"):
        data.read_text(path)


def archive(path: Path, **files: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files.items():
            file.writestr(name.replace("__", "/").replace("dot", "."), content)
    return path


def test_zip_gives_the_files_that_are_asked_for(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", data__bdotjsonl=b"1", data__adottxt=b"2", cdotjsonl=b"3")
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("__MACOSX/data/._b.jsonl", b"\xff")
    assert list(data.read_zip(path, ".jsonl")) == [("data/b.jsonl", "1"), ("c.jsonl", "3")]


def test_zip_is_bounded_over_all_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = archive(tmp_path / "a.zip", adottxt=b"x" * 60, bdottxt=b"x" * 60)
    monkeypatch.setattr(data.files, "MAX_UNPACKED", 120)
    assert len(list(data.read_zip(path, ".txt"))) == 2
    monkeypatch.setattr(data.files, "MAX_UNPACKED", 119)
    with pytest.raises(DataError, match=r"a\.zip unpacks to more than 119 bytes"):
        list(data.read_zip(path, ".txt"))


def test_zip_that_is_damaged_or_not_utf8(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", adottxt=b"good\n\xff")
    with pytest.raises(DataError, match=r"a\.zip, a\.txt, line 2: byte 0xff is not UTF-8"):
        list(data.read_zip(path, ".txt"))
    path.write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"a\.zip cannot be read"):
        list(data.read_zip(path, ".txt"))
