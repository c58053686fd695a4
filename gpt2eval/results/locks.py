"""Two processes never write to one directory."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import TextIO

from gpt2eval.errors import StoreError
from gpt2eval.results.files import saving

LOCK = "lock"
SHARING = 10  # tenths of a second in which a shard that ends may hold up one that begins


@contextmanager
def locked(directory: Path, *, shared: bool = False) -> Iterator[None]:
    """Keep every other process away from a directory; StoreError that names the one that has it.

    The lock is the operating system's and goes with the process, however that ends. The file says
    who has it; one that a killed process left behind holds nobody up.

    shared  keep those away that do not share: shards of a run work at the same time
    """
    path = directory / LOCK
    with ExitStack() as stack:
        with saving(path):
            directory.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(_lock(path, fcntl.LOCK_SH if shared else fcntl.LOCK_EX))
            file.truncate(0)
            file.write(
                f"{'shards, the last to begin being ' if shared else ''}"
                f"process {os.getpid()} on {socket.gethostname()},"
                f" since {datetime.now(timezone.utc).isoformat(timespec='seconds')}"
            )
            file.flush()
        try:
            yield
        finally:
            # Ours alone now: whoever waits for it finds a new one.
            if not shared or _is_last(file):
                path.unlink(missing_ok=True)


def _is_last(file: TextIO) -> bool:
    """Whether nobody else shares the lock on a file; then nobody else gets it either."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _lock(path: Path, kind: int) -> TextIO:
    """The file at this path, open and locked."""
    patience = SHARING if kind == fcntl.LOCK_SH else 0
    while True:
        file = path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except OSError as error:
            if patience and isinstance(error, BlockingIOError):
                file.close()
                time.sleep(0.1)
                patience -= 1
                continue
            file.seek(0)
            owner = file.read() or "another process"
            file.close()
            if not isinstance(error, BlockingIOError):
                raise StoreError(
                    f"{path.parent} cannot be locked ({error.strerror}): its file system has no"
                    " locks; give an --output on another one"
                ) from error
            raise StoreError(
                f"{path.parent} is being written by {owner}; wait until it is done, or end it, and"
                " run the same command again: what was saved is kept"
            ) from error
        if _is_at(file, path):
            return file
        file.close()  # its owner was done and removed it just now


def _is_at(file: TextIO, path: Path) -> bool:
    """Whether an open file is the one that is found under this path."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
