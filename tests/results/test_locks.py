"""One process a run."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gpt2eval.errors import StoreError
from gpt2eval.results import locked
from gpt2eval.results.locks import LOCK

HOLD = """
import sys, time
from pathlib import Path
from gpt2eval.results import locked

with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_second_process_is_told_who_was_first(tmp_path: Path) -> None:
    """And the lock goes with its process, although the file stays behind when that is killed."""
    first = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert first.stdout is not None
    assert first.stdout.readline() == "held\n"
    words = rf"is being written by process {first.pid} on \S+, since 20\d\d-.*; wait until it is"
    with pytest.raises(StoreError, match=words), locked(tmp_path):
        pytest.fail("two processes hold the lock")
    first.kill()
    first.communicate()
    assert (tmp_path / LOCK).exists()
    with locked(tmp_path):
        assert f"process {os.getpid()} " in (tmp_path / LOCK).read_text("utf-8")
    assert not (tmp_path / LOCK).exists()


def test_a_lock_whose_file_was_removed_is_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opened before the owner was done, locked after it removed the file."""
    flock, removed = fcntl.flock, []

    def late(file: Any, how: int) -> None:
        if not removed:
            removed.append(file)
            (tmp_path / LOCK).unlink()
        flock(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with locked(tmp_path):
        assert removed
        with pytest.raises(StoreError, match="is being written by"), locked(tmp_path):
            pytest.fail("locked twice")


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_file: Any, _how: int) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(StoreError, match=r"no locks; give an --output"), locked(tmp_path):
        pytest.fail("locked")
