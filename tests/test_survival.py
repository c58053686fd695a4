"""What a run survives: samples that cannot be scored, numbers that are none, and its own death."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import gpt2eval
from gpt2eval import stats
from gpt2eval.compare import compare
from gpt2eval.errors import SampleError, TaskError, UsageError
from gpt2eval.options import RunOptions
from gpt2eval.rescore import rescore_all
from gpt2eval.results import read_records
from tests.checkpoints import make_checkpoint

# One worker runs them all, so that what they share is made once.
pytestmark = [pytest.mark.xdist_group("survival"), pytest.mark.usefixtures("empty_directory")]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(
        tmp_path_factory.mktemp("model") / "small", n_positions=160, n_embd=16, n_layer=3
    )


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stats, "bootstrap", partial(stats.bootstrap, resamples=50))


# ---- samples that cannot be scored --------------------------------------------------------------

TASK = """
from gpt2eval import (
    Dataset, Generate, Metric, Protocol, Rolling, Sample, Score, Task, data, metrics
)


def requests(sample):
    {requests}
    return [Score("The harbour", " is deep " + sample.id)]


def stats(sample, responses):
    {stats}
    return [-float(responses[0].logprobs.sum()), 1.0]


MINE = Task(name="mine", version=1, summary="s", protocols=(Protocol(
    name="p",
    summary="s",
    dataset=Dataset(files=(("rows.txt",),), read=data.read_lines),
    samples=lambda rows: [Sample(id=row["text"], fields=row) for row in rows],
    requests=requests,
    metrics=({accuracy}Metric("m", stats, lambda s: s[..., 0] / s[..., 1], "nats",
                                        "samples", False),),
    {more}
),))
"""


@pytest.fixture
def mine(checkpoint: Path, tmp_path: Path) -> Callable[..., Any]:
    """Run a task of ten samples, "0" to "9", with a line of its own in its functions."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/rows.txt").write_text("".join(f"{n}\n" for n in range(10)), "utf-8")
    (tmp_path / "tasks").mkdir()

    def run(
        requests: str = "pass",
        stats: str = "pass",
        more: str = "",
        accuracy: str = "metrics.accuracy(), ",
        models: Path = checkpoint,
        **options: Any,
    ) -> list[Any]:
        text = TASK.format(requests=requests, stats=stats, more=more, accuracy=accuracy)
        (tmp_path / "tasks/mine.py").write_text(text, "utf-8")
        settings = {"data": "data", "output": "out", "device": "cpu"}
        return gpt2eval.run(models=models, tasks="mine", **{**settings, **options})

    return run


BROKEN = {
    "request cannot be built": ({"requests": "1 / (sample.id != '3')"}, "ZeroDivisionError"),
    "asks nothing": ({"requests": "if sample.id == '3': return []"}, "asks nothing"),
    "asks no request": ({"requests": "if sample.id == '3': return ['x']"}, "expected a Score"),
    "asks for no text": (
        {"requests": "if sample.id == '3': return [Score('x', None)]"},
        "expected texts",
    ),
    "no tokens": (
        {"requests": "if sample.id == '3': return [Score('', '')]"},
        "nothing to score in Score",
    ),
    "half a surrogate pair": (
        {"requests": "if sample.id == '3': return [Score('', '\\ud83d')]"},
        "cannot be tokenised",
    ),
    "half a pair in a text": (
        {"requests": "if sample.id == '3': return [Rolling('\\ud83d')]"},
        "cannot be tokenised",
    ),
    "half a pair in a prompt": (
        {"requests": "if sample.id == '3': return [Generate('\\ud83d', 3)]"},
        "cannot be tokenised",
    ),
    "one request of two": (
        {"requests": "if sample.id == '3': return [Score('', ''), Score('x', ' y')]"},
        "nothing to score in Score",
    ),
    "statistics raise": (
        {"stats": "{}[sample.id == '3' and 'k'] if sample.id == '3' else 0"},
        "'k'",
    ),
    "statistics are none": (
        {"stats": "if sample.id == '3': return [float('nan'), 1]"},
        "expected finite",
    ),
    "followup raises": (
        {"more": "followup=lambda s, r: [Score('x', 'y')] if s.id != '3' else 1 / 0,"},
        "ZeroDivisionError",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_sample_is_counted_and_the_others_are_scored(
    case: str, mine: Callable[..., Any], checkpoint: Path, tmp_path: Path
) -> None:
    """Recorded with its reason, not scored as wrong: the numbers are those of the nine others."""
    lines, reason = BROKEN[case]
    with pytest.raises(SampleError, match=r"mine@p of small: 1 of 10 samples failed") as caught:
        mine(**lines)
    (result,) = caught.value.results
    assert caught.value.exit_code == 4
    assert reason in str(caught.value)
    records = {record.id: record for record in read_records(result.path)}
    assert len(records) == 10
    assert [name for name, record in records.items() if record.error] == ["3"]
    assert reason in records["3"].error
    assert records["3"].statistics == {}
    assert result.ledger["failed"] == 1
    assert all(item.n == 9 and item.denominator == "9 samples" for item in result.metrics.values())
    nine = [record.statistics["m"][0] for name, record in records.items() if name != "3"]
    assert result.metrics["m"].value == pytest.approx(np.mean(nine))
    # What reads results reads this one too; and asking again scores nothing anew.
    (again,) = rescore_all([tmp_path / "out"], data="data", tasks_dir="tasks")
    assert again.reproduced, again.problem
    before = {path: path.stat().st_mtime_ns for path in result.path.iterdir()}
    assert mine(**lines, max_failed="1") == [result]
    assert {path: path.stat().st_mtime_ns for path in result.path.iterdir()} == before


def test_how_many_may_fail(mine: Callable[..., Any]) -> None:
    lines = {"stats": "1 / (sample.id not in ('3', '4'))"}
    for allowed in ("2", "20%", "100%", 2):
        assert mine(**lines, max_failed=allowed)[0].ledger["failed"] == 2
    for allowed in ("1", "19.9%", "0", "0%"):
        with pytest.raises(SampleError, match=rf"than --max-failed {allowed} allows"):
            mine(**lines, max_failed=allowed)
    for wrong in ("-1", "101%", "all", "", "1.5", "5 %"):
        with pytest.raises(UsageError, match=r"--max-failed .*: expected how many samples may"):
            RunOptions(max_failed=wrong)


def test_a_run_without_a_sample_that_could_be_scored_has_no_result(
    mine: Callable[..., Any], checkpoint: Path
) -> None:
    with pytest.raises(SampleError, match=r"none of 10 samples could be scored.*ZeroDiv") as caught:
        mine(stats="1 / 0", max_failed="100%")
    assert caught.value.results == []
    assert not list(Path("out").rglob("result.json"))
    with pytest.raises(TaskError, match="sample '0' cannot be asked: ZeroDivisionError"):
        mine(requests="1 / 0")


def test_failures_are_taken_up_by_the_next_process(mine: Callable[..., Any]) -> None:
    lines = {"requests": "1 / (sample.id != '3')", "stats": "1 / (sample.id != '4')"}
    (whole,) = mine(**lines, max_failed="2")
    path = whole.path / "records.jsonl"
    rows = path.read_bytes().splitlines(keepends=True)
    for kept in range(len(rows)):
        path.write_bytes(b"".join(rows[:kept]) + rows[kept][:9])
        (whole.path / "result.json").unlink()
        (again,) = mine(**lines, max_failed="2")
        assert (again.metrics, again.ledger) == (whole.metrics, whole.ledger)
        assert again.run["resumed_samples"] == kept
        assert len({record.id for record in read_records(again.path)}) == 10


def test_runs_with_failures_are_compared_over_what_both_have(
    mine: Callable[..., Any], checkpoint: Path, tmp_path: Path
) -> None:
    (one,) = mine()
    models = make_checkpoint(tmp_path / "other", n_positions=160, n_embd=16, n_layer=3, seed=5)
    (other,) = mine(stats="1 / (sample.id != '3')", max_failed="1", models=models)
    found = compare([one, other])
    assert {item.n for item in found} == {9}


# ---- numbers that are none ----------------------------------------------------------------------


MARK = "Q"


@pytest.fixture(scope="module")
def poisoned(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint, but what it makes of one letter overflows in the second block's MLP.

    All its weights are finite. After the layer norm the letter stands at 3.87 in dimension 0, which
    nothing else reaches; from 3.2 on one unit of the MLP fires with 1e37, and is multiplied by 1e4.
    """
    place = Path(shutil.copytree(checkpoint, tmp_path_factory.mktemp("poisoned") / "poisoned"))
    (token,) = tokenizer(place).encode(MARK, add_special_tokens=False)
    weights = load_file(place / "model.safetensors")
    block = "transformer.h.1"
    weights["lm_head.weight"] = weights["transformer.wte.weight"].clone()  # it never writes it
    config = json.loads((place / "config.json").read_text("utf-8"))
    config["tie_word_embeddings"] = False
    (place / "config.json").write_text(json.dumps(config), "utf-8")
    weights["transformer.wte.weight"][token] = 0
    weights["transformer.wte.weight"][token, 0] = 1e4
    weights[f"{block}.mlp.c_fc.weight"][:, 0] = 0
    weights[f"{block}.mlp.c_fc.weight"][0, 0] = 1e37
    weights[f"{block}.mlp.c_fc.bias"][0] = -3.2e37
    weights[f"{block}.mlp.c_proj.weight"][0] = 1e4
    save_file(weights, place / "model.safetensors", metadata={"format": "pt"})
    return place


def tokenizer(place: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(place)


ASKS = {
    "scores": "[Score('The harbour, ' + sample.id, ' is {mark} deep')]",
    "one context": "[Score('The harbour , built in 1893 , is 4 m deep', ' {mark}' + sample.id)]",
    "documents": "[Rolling('The harbour is deep ' + sample.id + ' {mark} and well known')]",
    "texts": "[Generate('The harbour {mark} ' + sample.id, 5)]",
    "sampled": "[Generate('The harbour {mark} ' + sample.id, 5, temperature=1.0)]",
}


@pytest.mark.parametrize("batch_size", [None, 1])
@pytest.mark.parametrize("case", ASKS)
def test_what_is_not_finite_is_told_by_sample_and_layer(
    case: str, batch_size: int | None, mine: Callable[..., Any], poisoned: Path
) -> None:
    """And takes nothing with it: the others have the numbers they have without it."""
    ask = ASKS[case].format(mark="' + m + '")
    lines = f"m = 'Q' if sample.id in '36' else 'x'; return {ask}"
    clean = f"m = 'x'; return {ask}"
    options = {"models": poisoned, "batch_size": batch_size, "stats": "return [1.0, 1.0]"}
    if "Generate" in ask:  # accuracy is of log-probabilities
        options["accuracy"] = ""
    (result,) = mine(requests=lines, max_failed="2", output="one", **options)
    (whole,) = mine(requests=clean, output="two", **options)
    found = {record.id: record for record in read_records(result.path)}
    expected = {record.id: record for record in read_records(whole.path)}
    assert result.ledger["failed"] == 2
    assert all(item.n == 8 for item in result.metrics.values())
    for name, record in found.items():
        if name in "36":
            assert record.statistics == {}
            assert "not finite (torch.float32), first in the output of h.1.mlp" in record.error
            continue
        assert record.error == ""
        one, other = record.responses[0], expected[name].responses[0]
        assert one["tokens"] == other["tokens"]
        assert one["logprobs"] == pytest.approx(other["logprobs"], abs=1e-4)


# ---- memory -------------------------------------------------------------------------------------


def test_a_budget_that_was_too_large_is_halved_for_all_that_follows(
    mine: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Injected: no batch of more than three rows is computed, and only the first is tried."""
    from gpt2eval.runner import batches, score

    original, tried = score._run_batch, []

    def run(model: Any, batch: Any, excluded: Any) -> Any:
        tried.append(len(batch))
        if len(batch) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return original(model, batch, excluded)

    monkeypatch.setattr(batches, "CPU_TOKENS", 40)
    lines = "return [Score('a' * 3, ' b' * 2 + sample.id), Score(sample.id, sample.id + ' c' * 4)]"
    expected = mine(requests=lines, output="whole")[0].metrics
    monkeypatch.setattr(score, "_run_batch", run)
    (found,) = mine(requests=lines)
    assert max(tried) > 3
    assert len(tried) > 8
    assert sum(size > 3 for size in tried) <= 3  # a batch of eight, and its halves
    assert found.ledger["failed"] == 0
    for name, item in found.metrics.items():
        assert item.value == pytest.approx(expected[name].value, rel=1e-5)


@pytest.mark.parametrize("kind", ["scores", "one context", "texts"])
def test_a_batch_that_fails_because_of_one_sample(
    kind: str, mine: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it raises: its halves are tried, and the sample alone has no answer."""
    from gpt2eval.model import Model

    original = Model.hidden

    def hidden(self: Any, rows: Any, *arguments: Any, **options: Any) -> Any:
        (token,) = self.encode(["Q"])[0]
        if any(token in row for row in rows):
            raise RuntimeError("the size of tensor a must match")
        return original(self, rows, *arguments, **options)

    monkeypatch.setattr(Model, "hidden", hidden)
    mark = "' + ('Q' if sample.id == '3' else 'x') + '"
    options = {"accuracy": ""} if kind == "texts" else {}
    (result,) = mine(
        requests=f"return {ASKS[kind].format(mark=mark)}",
        stats="return [1.0, 1.0]",
        max_failed="1",
        **options,
    )
    failed = [record for record in read_records(result.path) if record.error]
    assert [record.id for record in failed] == ["3"]
    assert "the size of tensor a must match" in failed[0].error


def test_a_device_that_fails_ends_the_run(
    mine: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing that is asked after it has an answer: no sample is to blame, and none is recorded."""
    from gpt2eval.runner import score

    def run(*_arguments: Any) -> Any:
        raise RuntimeError("CUDA error: uncorrectable ECC error encountered")

    monkeypatch.setattr(score, "_run_batch", run)
    with pytest.raises(RuntimeError, match="ECC"):
        mine()
    assert not any(path.read_bytes() for path in Path("out").rglob("records.jsonl"))


# ---- the end of the process ---------------------------------------------------------------------

SUITE = "lambada@*,wikitext2@*,blimp,xsum"


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A run that takes long enough to be killed in its middle."""
    place = tmp_path_factory.mktemp("command")
    model = make_checkpoint(place / "tiny", n_layer=4, n_embd=64)
    return ["run", "--model", str(model), "--tasks", SUITE, "--data", "bundled", "--quiet"]


def start(command: list[str], place: Path, *more: str) -> subprocess.Popen[str]:
    place.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-m", "gpt2eval", *command, *more],
        cwd=place,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )


def finish(command: list[str], place: Path, *more: str) -> tuple[int, str]:
    process = start(command, place, *more)
    _, stderr = process.communicate(timeout=300)
    return process.returncode, stderr


def numbers(place: Path) -> dict[str, Any]:
    """All that a run says of its scores, and which samples it has."""
    found = {}
    for path in sorted(place.glob("results/*/*/*/result.json")):
        content = json.loads(path.read_text("utf-8"))
        ids = [record.id for record in read_records(path.parent)]
        assert len(set(ids)) == len(ids) == content["data"]["selected"]
        found[path.parts[-3]] = {key: content[key] for key in ("metrics", "ledger", "baselines")}
    return found


@pytest.fixture(scope="module")
def uninterrupted(command: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    place = tmp_path_factory.mktemp("uninterrupted")
    assert finish(command, place) == (0, "")
    found = numbers(place)
    assert len(found) > 5
    return found


def records(place: Path) -> int:
    return sum(path.stat().st_size for path in place.glob("results/*/*/*/records.jsonl"))


def kill(command: list[str], place: Path, after: float, *more: str) -> bool:
    """SIGKILL so many seconds after the first new record; whether it met a run at work."""
    before = records(place)
    process = start(command, place, *more)
    while process.poll() is None and records(place) == before:
        time.sleep(0.002)
    time.sleep(after)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL


def test_killed_again_and_again(
    command: list[str], uninterrupted: dict[str, Any], tmp_path: Path
) -> None:
    """The numbers, bounds and counts of a run in one go, to the last bit."""
    chance = random.Random(0)
    met = sum(kill(command, tmp_path / "run", chance.uniform(0, 0.3)) for _ in range(3))
    assert met > 0
    assert finish(command, tmp_path / "run") == (0, "")
    assert numbers(tmp_path / "run") == uninterrupted


def test_killed_and_resumed_with_other_batches(
    command: list[str], uninterrupted: dict[str, Any], tmp_path: Path
) -> None:
    kill(command, tmp_path / "run", 0.1)
    kill(command, tmp_path / "run", 0.1, "--batch-size", "1")
    assert finish(command, tmp_path / "run", "--batch-size", "3") == (0, "")
    found = numbers(tmp_path / "run")
    assert found.keys() == uninterrupted.keys()
    for name, sections in found.items():
        for metric, item in sections["metrics"].items():
            expected = uninterrupted[name]["metrics"][metric]
            assert item["value"] == pytest.approx(expected["value"], rel=1e-6)
            assert item["n"] == expected["n"]


def test_two_processes_at_once(
    command: list[str], uninterrupted: dict[str, Any], tmp_path: Path
) -> None:
    """The second is told who is at work, and leaves the first in peace."""
    first = start(command, tmp_path / "run")
    while first.poll() is None and not records(tmp_path / "run"):
        time.sleep(0.002)
    os.kill(first.pid, signal.SIGSTOP)
    code, stderr = finish(command, tmp_path / "run")
    os.kill(first.pid, signal.SIGCONT)
    assert code == 4
    assert f"is being written by process {first.pid} on " in stderr
    _, stderr = first.communicate(timeout=300)
    assert (first.returncode, stderr) == (0, "")
    assert numbers(tmp_path / "run") == uninterrupted


# ---- full disks ---------------------------------------------------------------------------------


def test_files_that_may_not_grow(
    command: list[str], uninterrupted: dict[str, Any], tmp_path: Path
) -> None:
    """RLIMIT_FSIZE, as a quota: a message, exit code 4; with room, the same command ends well."""
    limit = (
        "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000));"
        "sys.argv[0] = 'gpt2eval'; runpy.run_module('gpt2eval', run_name='__main__')"
    )
    place = tmp_path / "run"
    place.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", limit, *command],
        cwd=place,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 4, done.stderr
    assert "could not be saved (File too large); make room" in done.stderr
    assert done.stderr.count("\n") == 1
    assert records(place) > 0
    assert finish(command, place) == (0, "")
    assert numbers(place) == uninterrupted


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KB, where one may be mounted."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    made = mount and subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=256k", "gpt2eval", str(place)], capture_output=True
    )
    if not made or made.returncode:
        pytest.skip("no file system may be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_disk_that_is_full(
    command: list[str], uninterrupted: dict[str, Any], tiny_disk: Path
) -> None:
    report = ["--report", str(tiny_disk.parent / "report")]
    ballast = tiny_disk / "ballast"
    ballast.write_bytes(bytes(200_000))
    code, stderr = finish(command, tiny_disk, *report)
    assert code == 4
    assert "could not be saved (No space left on device); make room" in stderr
    assert stderr.count("\n") == 1
    ballast.unlink()
    subprocess.run(["mount", "-o", "remount,size=64m", str(tiny_disk)], check=True)
    assert finish(command, tiny_disk, *report) == (0, "")
    assert numbers(tiny_disk) == uninterrupted
