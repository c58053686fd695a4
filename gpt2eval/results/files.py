"""Files that are written whole or not at all; errors that say what to do about one."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gpt2eval.errors import StoreError


def write_atomically(path: Path, text: str) -> None:
    """Replace a file by one with this text; StoreError where the disk says no."""
    replace_file(path, [text])


def replace_file(path: Path, pieces: Iterable[str]) -> None:
    """The same of a text in pieces, which may be made as they are written."""
    partial = path.with_name(f"{path.name}.partial")
    with saving(path):
        with partial.open("w", encoding="utf-8", errors="backslashreplace") as file:
            file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)


@contextmanager
def saving(path: Path) -> Iterator[None]:
    """Turn a failed write into a StoreError that says what was being saved and why it failed."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        remedy = "make room" if full else "check permissions"
        raise StoreError(
            f"{path} could not be saved ({error.strerror}); {remedy} and run the same command"
            " again: what was saved is kept"
        ) from error


def anew(path: Path) -> str:
    """What to do about a file of a run that cannot be read."""
    return f"delete {path.parent} and run the same command again, which makes it anew"
