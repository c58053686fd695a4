"""Trackers, each read back by its own package where that is installed."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gpt2eval.errors import UsageError
from gpt2eval.export import export, tracked
from gpt2eval.results import load_results
from gpt2eval.types import Result
from tests.comparing import answers, write_run

SECRET = "hf_ThisIsNobodysToken"


def numbers(results: list[Result]) -> dict[str, float]:
    """Every number and bound, by the names that trackers have for them."""
    return {name: x for result in results for name, x in tracked.scalars(result).items()}


def of(benchmarks: Path, name: str) -> list[Result]:
    return [x for x in load_results(benchmarks) if x.checkpoint["name"] == name]


@pytest.fixture
def report(tmp_path: Path) -> Path:
    """As much of a report as an artifact needs."""
    (tmp_path / "report/tables").mkdir(parents=True)
    (tmp_path / "report/report.html").write_text("<h1>report</h1>")
    (tmp_path / "report/tables/scores.csv").write_text("a,b\n")
    return tmp_path / "report"


@pytest.fixture
def with_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run whose command and surroundings hold a token."""
    monkeypatch.setenv("HF_TOKEN", SECRET)
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    command = f"HF_TOKEN={SECRET} gpt2eval run"
    write_run(tmp_path / "results", "m", answers(9, 1), run={"command": command})
    return tmp_path / "results"


def holds(directory: Path, text: str) -> list[Path]:
    files = [path for path in directory.rglob("*") if path.is_file()]
    assert files
    return [path for path in files if text.encode() in path.read_bytes()]


def test_scalars_are_values_with_their_bounds(benchmarks: Path) -> None:
    results = of(benchmarks, "demo-base")
    found = numbers(results)
    assert len(found) == 3 * sum(len(result.metrics) for result in results)
    for result in results:
        for name, estimate in result.metrics.items():
            key = f"{result.name.replace('@', '/')}/{name}"
            ends = [found[key], found[f"{key}_low"], found[f"{key}_high"]]
            assert ends == [estimate.value, estimate.low, estimate.high]


@pytest.mark.parametrize(
    ("label", "step"),
    [
        ("run-1/checkpoint-500", 500),
        ("ckpt_20 (float32)", 20),
        ("step7", 7),
        ("gpt2-xl", 0),
        ("mine-2024", 0),
    ],
)
def test_the_step_of_a_checkpoint_is_read_from_its_name(label: str, step: int) -> None:
    assert tracked.step_of(label) == step


def test_a_tracker_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"pip install 'gpt2eval\[wandb\]'"):
        tracked.need("a_package_that_nobody_has", "wandb")


def test_tensorboard(benchmarks: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    paths = export([benchmarks], "tensorboard", tmp_path).paths
    assert [path.name for path in paths] == ["demo-base", "demo-tuned"]
    for path in paths:
        events = EventAccumulator(str(path)).Reload()
        expected = numbers(of(benchmarks, path.name))
        assert set(events.Tags()["scalars"]) == set(expected)
        for tag, value in expected.items():
            (point,) = events.Scalars(tag)
            assert point.value == pytest.approx(value, rel=1e-6)  # they are float32
            assert point.step == 0
        (table,) = events.Tensors("table")
        text = table.tensor_proto.string_val[0].decode()
        assert "| lambada@openai | accuracy |" in text
        assert ("subset: random 9 of 65" in text) == (path.name == "demo-tuned")


def test_tensorboard_puts_checkpoints_at_their_step(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    write_run(tmp_path / "results", "checkpoint-40", answers(9, 1))
    (path,) = export([tmp_path / "results"], "tensorboard", tmp_path / "out").paths
    (point,) = EventAccumulator(str(path)).Reload().Scalars("made/p/accuracy")
    assert point.step == 40


def test_mlflow(benchmarks: Path, tmp_path: Path, report: Path) -> None:
    pytest.importorskip("mlflow")
    from mlflow import MlflowClient

    os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
    try:
        written = export([benchmarks], "mlflow", tmp_path / "out", report=report)
        client = MlflowClient(tracking_uri=written.notes[0].rpartition(" ")[2])
        experiment = client.get_experiment_by_name("gpt2eval")
        assert experiment is not None
        runs = client.search_runs([experiment.experiment_id])
        assert {run.info.run_name for run in runs} == {"demo-base", "demo-tuned"}
        for run in runs:
            results = of(benchmarks, run.info.run_name)
            assert run.data.metrics == pytest.approx(numbers(results))
            assert run.data.params["checkpoint_sha256"] == results[0].checkpoint["sha256"]
            assert run.info.status == "FINISHED"
            kept = {item.path for item in client.list_artifacts(run.info.run_id, "report")}
            assert kept == {"report/report.html", "report/tables"}
            table = client.download_artifacts(run.info.run_id, "table.json", str(tmp_path))
            rows = json.loads(Path(table).read_text("utf-8"))
            assert len(rows["data"]) == sum(len(x.metrics) for x in results)
            assert rows["columns"][:3] == ["task", "metric", "value"]
    finally:
        del os.environ["MLFLOW_ALLOW_FILE_STORE"]


def test_wandb(benchmarks: Path, tmp_path: Path, report: Path) -> None:
    wandb = pytest.importorskip("wandb")
    written = export([benchmarks / "demo-base"], "wandb", tmp_path / "out", report=report)
    wandb.teardown()  # its own process writes the file, and is done only then
    (path,) = written.paths
    assert path.name.startswith("offline-run-")
    assert written.notes == [f"to send it: wandb sync {path}"]
    history, config, artifacts = read_wandb(path)
    results = of(benchmarks, "demo-base")
    expected = numbers(results)
    assert {name: history[name] for name in expected} == pytest.approx(expected)
    assert config["checkpoint_sha256"] == results[0].checkpoint["sha256"]
    assert history["table/nrows"] == sum(len(result.metrics) for result in results)
    assert "report-demo-base" in artifacts


def read_wandb(path: Path) -> tuple[dict[str, Any], dict[str, Any], set[str]]:
    """Numbers, settings and names of artifacts in the file of an offline run."""
    from wandb.proto import wandb_internal_pb2

    (file,) = path.glob("*.wandb")
    history: dict[str, Any] = {}
    config: dict[str, Any] = {}
    artifacts = set()
    for data in log_records(file.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        for item in record.history.item:
            history["/".join(item.nested_key) or item.key] = json.loads(item.value_json)
        for item in record.run.config.update:
            config[item.key] = json.loads(item.value_json)
        artifacts |= {record.artifact.name, record.request.log_artifact.artifact.name} - {""}
    return history, config, artifacts


def log_records(content: bytes) -> Iterator[bytes]:
    """The records of a LevelDB log, which wandb writes behind a header of its own.

    Blocks of 32 KB; in them pieces of (checksum, length, type) and data.
    """
    assert content[:4] == b":W&B"
    at, record = 7, b""
    while at + 7 <= len(content):
        if 32768 - at % 32768 < 7:  # too little room for a header: the block ends here
            at += 32768 - at % 32768
            continue
        _, length, kind = struct.unpack("<IHB", content[at : at + 7])
        if kind == 0:
            return
        record += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            yield record
            record = b""


@pytest.mark.parametrize("form", ["tensorboard", "mlflow", "wandb"])
def test_no_secret_is_written(with_secret: Path, tmp_path: Path, form: str) -> None:
    pytest.importorskip(form)
    export([with_secret], form, tmp_path / "out")
    if form == "wandb":
        pytest.importorskip("wandb").teardown()
    assert holds(with_secret, SECRET)  # the result itself has it
    assert holds(tmp_path / "out", SECRET) == []
    assert os.environ["WANDB_API_KEY"] == SECRET
