"""Zip archives from strangers: their directory is measured before it is read."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

DIRECTORY_LIMIT = 2_000_000  # bytes, for some 20,000 files; in memory they take ten times as many
_END, _LOCATOR, _END64 = b"PK\x05\x06", b"PK\x06\x07", b"PK\x06\x06"


def open_zip(path: Path) -> zipfile.ZipFile:
    """A zip archive, opened. BadZipFile if it is none, or has a directory beyond all use."""
    size = _directory_size(path)
    if size > DIRECTORY_LIMIT:
        raise zipfile.BadZipFile(
            f"its directory has {size} bytes; expected at most {DIRECTORY_LIMIT}"
        )
    return zipfile.ZipFile(path)


def _directory_size(path: Path) -> int:
    """What the archive says of its directory, found as `zipfile` finds it; 0 if it says nothing."""
    with path.open("rb") as file:
        end = file.seek(0, 2)
        file.seek(max(0, end - (1 << 16) - 22 - 20 - 56))
        tail = file.read()
    plain = tail[-22:-18] == _END and tail[-2:] == b"\0\0"  # no comment behind it
    place = len(tail) - 22 if plain else tail.rfind(_END)
    if place < 0 or len(tail) < place + 16:
        return 0
    if place >= 76 and tail[place - 20 : place - 16] == _LOCATOR:
        large = tail[place - 76 : place - 20]
        if large[:4] == _END64:
            return int(struct.unpack("<Q", large[40:48])[0])
    return int(struct.unpack("<L", tail[place + 12 : place + 16])[0])
