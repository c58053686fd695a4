"""Files as text or bytes, unpacked as they are read, up to a bound."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from gpt2eval.archive import open_zip
from gpt2eval.errors import DataError

PACKED = (".gz", ".bz2", ".zip")
MAX_UNPACKED = 500_000_000  # bytes of one packed file; more is a bomb, enwik8 has 100,000,000
UNREADABLE = (
    *(OSError, EOFError, RuntimeError, ValueError),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError),
)


def read_text(path: Path) -> str:
    """The whole file as text, line ends as they are. UTF-8 or a DataError.

    A byte order mark at the beginning is not part of the text. Packed files: see `read_content`.
    """
    return _decoded(read_content(path), str(path))


def read_tail(path: Path, size: int) -> str:
    """The last `size` bytes of a file as text, as `read_text` gives it.

    The file is never in memory as a whole. A character that the cut would halve is left out.
    """
    tail = bytearray()
    cut = False
    with _opened(path) as file:
        if path.suffix not in PACKED:
            cut = file.seek(max(0, path.stat().st_size - size)) > 0
        for block in _blocks(file, path):
            tail += block
            cut |= len(tail) > size
            del tail[: max(0, len(tail) - size)]
    start = 0
    while cut and start < min(3, len(tail)) and tail[start] & 0xC0 == 0x80:  # inside a character
        start += 1
    return _decoded(bytes(tail[start:]), f"{path}, the last {len(tail)} bytes")


def read_content(path: Path) -> bytes:
    """The bytes of a file; `.gz`, `.bz2` and `.zip` of one file are unpacked, up to a bound."""
    with _opened(path) as file:
        return b"".join(_blocks(file, path)) if path.suffix in PACKED else file.read()


def read_zip(path: Path, suffix: str) -> Iterator[tuple[str, str]]:
    """Name and text of each file of an archive whose name ends so, in the archive's order.

    The bound on unpacked bytes is for all of them.
    """
    used = 0
    try:
        with open_zip(path) as archive:
            for item in _members(archive, suffix):
                with archive.open(item) as file:
                    content = b"".join(_blocks(file, path, used))
                used += len(content)
                yield item.filename, _decoded(content, f"{path}, {item.filename}")
    except UNREADABLE as error:
        raise DataError(f"{path} cannot be read: {error}") from error


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """The content of a file, unpacked as it is read; a DataError for what cannot be read."""
    try:
        if path.suffix == ".zip":
            with open_zip(path) as archive:
                items = _members(archive)
                if len(items) != 1:
                    raise DataError(f"{path} holds {len(items)} files; expected one")
                with archive.open(items[0]) as file:
                    yield file
        else:
            opener: Any = {".gz": gzip.open, ".bz2": bz2.open}.get(path.suffix, open)
            with opener(path, "rb") as file:
                yield file
    except UNREADABLE as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def _members(archive: zipfile.ZipFile, suffix: str = "") -> list[zipfile.ZipInfo]:
    """The files of an archive whose name ends so, without what macOS adds (`__MACOSX/`)."""
    return [
        item
        for item in archive.infolist()
        if not item.is_dir()
        and item.filename.endswith(suffix)
        and not item.filename.startswith("__MACOSX/")
    ]


def _blocks(file: IO[bytes], path: Path, used: int = 0) -> Iterator[bytes]:
    """What is left of a file that unpacks as it is read, as long as it fits the bound."""
    while block := file.read(1 << 20):
        used += len(block)
        if used > MAX_UNPACKED:
            raise DataError(f"{path} unpacks to more than {MAX_UNPACKED} bytes")
        yield block


def _decoded(content: bytes, place: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise DataError(
            f"{place}, line {line}: byte {error.object[error.start]:#04x} is not UTF-8; convert the"
            " file, for example with: iconv -t utf-8"
        ) from error
