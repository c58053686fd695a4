"""Where runs are kept, and disks that say no."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gpt2eval.errors import Gpt2EvalError, StoreError, UsageError
from gpt2eval.results import RecordWriter, prepare_output, run_directory


def test_run_id_is_the_identity(tmp_path: Path) -> None:
    one = run_directory(tmp_path, "ckpt", "t@p", {"a": 1, "b": [2]})
    assert one.parent == tmp_path / "ckpt" / "t@p"
    assert one == run_directory(tmp_path, "ckpt", "t@p", {"b": [2], "a": 1})
    assert one != run_directory(tmp_path, "ckpt", "t@p", {"a": 1, "b": [3]})


def test_output_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Gpt2EvalError, match=r"output directory '.*file/x' cannot be written"):
        prepare_output(tmp_path / "file" / "x")
    with pytest.raises(StoreError, match=r"could not be saved .*check permissions"):
        RecordWriter(tmp_path / "file" / "x")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_directory(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UsageError, match=r"cannot be written \(Permission denied\); give another"):
        prepare_output(tmp_path / "results")
    with pytest.raises(StoreError, match=r"\(Permission denied\); check permissions"):
        RecordWriter(tmp_path / "run")


def test_prepared_output_is_empty(tmp_path: Path) -> None:
    prepare_output(tmp_path / "new" / "results")
    assert list((tmp_path / "new" / "results").iterdir()) == []
