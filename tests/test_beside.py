"""A second process: what it returns, what it raises, how it dies, and that it leaves nothing."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpt2eval import beside as beside_module
from gpt2eval.beside import beside, in_halves, meanwhile
from gpt2eval.compare import compare
from gpt2eval.errors import ComparisonError, UsageError, WorkerError
from gpt2eval.report import writing
from gpt2eval.reporting import report
from gpt2eval.results import find_results, load_results
from tests.comparing import answers, write_run


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two cores, and everything is large."""
    for module in (beside_module, writing):
        monkeypatch.setattr(module, "cores", lambda: 2)
        monkeypatch.setattr(module, "LARGE", 0)


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[subprocess.Popen[bytes]]]:
    """The processes that are started."""
    started: list[subprocess.Popen[bytes]] = []
    begin = subprocess.Popen

    def kept(*arguments: object, **options: object) -> subprocess.Popen[bytes]:
        started.append(begin(*arguments, **options))  # type: ignore[call-overload]
        return started[-1]

    monkeypatch.setattr(beside_module.subprocess, "Popen", kept)
    yield started
    assert all(process.poll() is not None for process in started), "one is left behind"


def where(job: str) -> tuple[str, int]:
    """The job, and the process that did it."""
    return job, os.getpid()


def noisy(job: str) -> str:
    """Prints."""
    print("what is printed is no answer")
    return job


def test_what_a_second_process_returns_and_raises() -> None:
    with beside(where, "a") as answer:
        job, process = answer()
    assert job == "a"
    assert process != os.getpid()
    with beside(noisy, "b" * 1_000_000) as answer:
        assert answer() == "b" * 1_000_000
    with beside(find_results, ["no/such/place"]) as answer, pytest.raises(UsageError, match="no/s"):
        answer()
    with beside(math.sqrt, -1.0) as answer, pytest.raises(ValueError, match="domain") as caught:
        answer()
    assert "In the second process" in caught.value.__notes__[0], "a bug shows where it is"


def killed() -> None:
    """As the system does where memory ends."""
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_second_process_that_dies() -> None:
    with beside(killed) as answer, pytest.raises(WorkerError, match=r"signal 9 \(out of memory"):
        answer()
    with beside(os._exit, 3) as answer, pytest.raises(WorkerError, match="exit code 3"):
        answer()


def test_whoever_leaves_early_ends_it(processes: list[subprocess.Popen[bytes]]) -> None:
    def leave() -> None:
        with beside(time.sleep, 600):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        leave()
    assert [process.returncode for process in processes] == [-signal.SIGKILL]


def test_it_ends_with_its_parent() -> None:
    """However that ends."""
    script = (
        "import os, signal, sys, time\n"
        "from gpt2eval.beside import beside\n"
        "with beside(time.sleep, 600):\n"
        "    time.sleep(1)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    # The pipe is closed when both of them have ended: the second process has it too.
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, stderr=subprocess.PIPE, timeout=300, check=False)
    assert done.returncode == -signal.SIGKILL


def test_jobs_in_halves_by_size(two: None) -> None:
    found = in_halves(where, ["a", "b", "c", "d"], [1, 9, 4, 5])
    assert [job for job, _ in found] == ["a", "b", "c", "d"]
    a, b, c, d = (process for _, process in found)
    assert b == os.getpid(), "the largest"
    assert c == d != b
    assert a in (b, c)


def test_little_work_is_done_here(processes: list[subprocess.Popen[bytes]]) -> None:
    assert in_halves(where, ["a", "b"], [1, 1]) == [("a", os.getpid()), ("b", os.getpid())]
    with meanwhile(where, "a", shared=False) as answer:
        assert answer() == ("a", os.getpid())
    assert not processes


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Two runs of three steps, on three tasks."""
    root = tmp_path / "results"
    for task in ("one", "two", "three"):
        for seed, run in enumerate(("a", "b")):
            for step in (500, 1000, 1500):
                samples = answers(60, step + seed, right=step / 2000)
                write_run(root, f"{run}-checkpoint-{step}", samples, on=f"{task}@p")
    return root


def files_of(place: Path) -> dict[str, bytes]:
    """What a report holds."""
    return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*.*")}


def test_a_second_process_changes_no_byte(
    store: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    processes: list[subprocess.Popen[bytes]],
) -> None:
    alone = compare(load_results(store))
    report([str(store)], tmp_path / "alone")
    assert not processes
    request.getfixturevalue("two")
    assert compare(load_results(store)) == alone
    assert len(processes) == 1
    report([str(store)], tmp_path / "beside")
    assert len(processes) == 3, "one for the comparison, one for the figures"
    files = files_of(tmp_path / "alone")
    assert any("learning" in name for name in files)
    assert files_of(tmp_path / "beside") == files


def test_what_is_wrong_is_said_wherever_it_is_found(store: Path, two: None) -> None:
    """The same words, whichever process reads the damaged run."""
    for task in ("one", "two", "three"):
        (path,) = store.glob(f"b-checkpoint-500/{task}@p/*/records.jsonl")
        kept = path.read_bytes()
        path.write_bytes(b"not a record\n" + kept)
        with pytest.raises(ComparisonError, match=f"{task}@p.*line 1: not a record"):
            compare(load_results(store))
        path.write_bytes(kept)
