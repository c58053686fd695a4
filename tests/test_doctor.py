"""The doctor: a whole machine, and ones where something is missing, broken or slow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

import pytest

from gpt2eval import doctor
from gpt2eval.doctor import WHAT_FOR, Examination
from gpt2eval.terminal.doctor import show_examination


def command(
    *arguments: str, path: Path | None = None, **more: str
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **more}
    if path:
        environment["PYTHONPATH"] = str(path)
    return subprocess.run(
        [sys.executable, "-m", "gpt2eval", "doctor", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
    )


def test_a_whole_machine_is_fit() -> None:
    done = command("--json")
    content = json.loads(done.stdout)
    assert done.returncode == 0, done.stdout
    assert content["healthy"]
    assert content["facts"]["torch"]["usable"]
    assert content["facts"]["speed"]["float32 by gpt2eval"] > 0
    assert content["facts"]["bundled"]["demo-base"] is True
    assert not [one for one in content["findings"] if one["level"] == "error"]
    for one in content["findings"]:
        assert one["what"]
        assert one["remedy"]


def test_facts_are_rounded_and_every_extra_is_for_something(capsys: Any) -> None:
    facts = {"threads": {"load": 13.99609375, "cores": 2}, "network": {}}
    show_examination(Examination(facts, ()))
    assert capsys.readouterr().out.startswith("threads\n  load: 14\n  cores: 2\nnetwork\n  none\n")
    extras = set(metadata("gpt2eval").get_all("Provides-Extra") or ())
    assert extras
    assert extras == WHAT_FOR.keys()


@pytest.mark.parametrize(
    "broken",
    ["raise ImportError('libcudart.so.12: cannot open shared object file')", "x = 1", "1/0"],
)
def test_a_broken_torch_is_a_finding_and_no_traceback(broken: str, tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text(broken)
    done = command(path=tmp_path)
    assert done.returncode == 1
    assert "error: torch cannot be used" in done.stdout
    assert "Do: pip install" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert "bundled" in done.stdout  # the rest is looked at all the same


def test_damaged_checkpoints_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "digest_files", lambda _paths: "0" * 64)
    facts, findings = doctor._bundled()
    assert facts["demo-base"] is False
    assert [one.level for one in findings] == ["error", "error"]


def facts(**more: Any) -> dict[str, Any]:
    whole = {"torch": 2, "load": 0.1, "cores": {"machine": 8, "allowed": 8, "cgroup": None}}
    return {**whole, **more}


def test_more_threads_than_cores_are_a_warning() -> None:
    few = {"machine": 8, "allowed": 8, "cgroup": 1.5}
    (one,) = doctor.thread_findings(facts(cores=few))
    assert one.level == "warning"
    assert "2 threads, and 1.5 cores" in one.what
    assert one.remedy == "export OMP_NUM_THREADS=1"
    assert not list(doctor.thread_findings(facts(torch=8)))
    (one,) = doctor.thread_findings(facts(torch=8, load=20.0))
    assert "busy" in one.what
    (one,) = doctor.thread_findings(facts(torch=1))
    assert "1 of 8 cores" in one.what


def test_the_limit_of_a_container_is_read(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    assert doctor.cgroup_limit(tmp_path) == 1.5
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert doctor.cgroup_limit(tmp_path) is None
    assert doctor.cgroup_limit(tmp_path / "none") is None


@pytest.mark.parametrize(
    ("plain", "own", "half", "words"),
    [
        (30.0, 100.0, 300.0, "the BLAS of torch is the slow one"),
        (100.0, 30.0, 300.0, "the kernel that gpt2eval uses is the slow one"),
        (100.0, 100.0, 20.0, "bfloat16 is no faster"),
        (100.0, 100.0, 200.0, ""),
    ],
)
def test_the_slow_kernel_is_named(plain: float, own: float, half: float, words: str) -> None:
    rates = {"float32 by torch": plain, "float32 by gpt2eval": own, "bfloat16": half}
    assert [words in one.what for one in doctor.speed_findings(rates)] == [True] * bool(words)


def test_a_cache_that_cannot_be_written_and_offline_switches_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "file" / "home"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.delenv("HF_DATASETS_CACHE", raising=False)
    _, findings = doctor._caches()
    assert {one.level for one in findings} == {"warning"}
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    _, offline = doctor._network()
    assert "HF_HUB_OFFLINE" in next(offline).what
