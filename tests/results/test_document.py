"""Results: what is written is read, and what was edited is named."""

from __future__ import annotations

import json
import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt2eval.errors import StoreError
from gpt2eval.results import load_results, read_result, write_result
from gpt2eval.types import Estimate, Result
from tests.results.keeping import TEXT, record, write


def estimate(value: float, **more: Any) -> Estimate:
    low, high = more.pop("low", value), more.pop("high", value)
    return Estimate(value, low, high, 0.95, "m", 3, "perplexity", "3 words", False, **more)


def result(**metrics: Estimate) -> Result:
    return Result(
        checkpoint={"name": "tiny", "path": "/\udcff/tiny"},
        task={"name": "t", "protocol": "p", "options": {"a": [1, None, "x"]}},
        data={"files": {"a": "b"}},
        run={"seed": 0, "tokens_per_second": None},
        metrics=metrics,
        ledger={"failed": 0},
        signature="task:t@p",
        baselines={"lede-3": dict(metrics)},
    )


NUMBERS = st.floats(allow_nan=False)


@given(NUMBERS, NUMBERS | st.none(), NUMBERS | st.none(), TEXT, st.booleans() | st.none())
def test_results_are_read_as_written(
    tmp_path_factory: Any, value: float, low: Any, high: Any, signature: str, higher: bool | None
) -> None:
    """Infinity is a finding and is kept; so is an interval, or a direction, that does not exist."""
    directory = tmp_path_factory.mktemp("run")
    given = estimate(value, low=low, high=high, signature=signature)
    written = result(m=replace(given, higher_is_better=higher))
    write_result(written, directory)
    assert read_result(directory) == replace(written, path=directory)
    json.loads(
        (directory / "result.json").read_text("utf-8"),
        parse_constant=lambda name: pytest.fail(name),
    )


def test_not_a_number_is_kept(tmp_path: Path) -> None:
    write_result(result(m=estimate(math.nan)), tmp_path)
    assert math.isnan(read_result(tmp_path).metrics["m"].value)


def test_result_is_whole_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that fails leaves the old result, or none; the next one is not in its way."""

    def fail(_number: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(StoreError, match=r"result\.json could not be saved .*make room"):
            write_result(result(m=estimate(1.0)), tmp_path)
        assert not (tmp_path / "result.json").exists()
    write_result(result(m=estimate(2.0)), tmp_path)
    before = (tmp_path / "result.json").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(StoreError):
            write_result(result(m=estimate(3.0)), tmp_path)
    assert (tmp_path / "result.json").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, r"has format 2; this version of gpt2eval reads 1"),
        ({"format": None}, r"has format None; this version"),
        ({"metrics": None}, r"is not a result of gpt2eval"),
        ({"metrics": {"m": {}}}, r"is not a result of gpt2eval"),
        ({"metrics": {"m": 3}}, r"is not a result of gpt2eval"),
        ({"baselines": [1]}, r"is not a result of gpt2eval"),
    ],
)
def test_other_formats_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    write_result(result(m=estimate(1.0)), tmp_path)
    path = tmp_path / "result.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **change}), "utf-8")
    with pytest.raises(StoreError, match=message):
        read_result(tmp_path)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("checkpoint.parameters", [1], r"checkpoint.parameters is \[1\]; expected a whole number"),
        ("checkpoint.parameters", -1, r"checkpoint.parameters is -1"),
        ("task.name", 3, r"task.name is 3; expected a text"),
        ("task.references", [{"value": "3"}], r"task.references\[0\].value is '3'; expected a num"),
        ("data.available", "all", r"data.available is 'all'"),
        ("run.seconds", float("nan"), r"run.seconds is nan; expected a number or null"),
        ("ledger.failed", 1.5, r"ledger.failed is 1.5; expected a whole number"),
        ("metrics.m.value", "1.5", r"metrics.m.value is '1.5'; expected a number, \"inf\""),
        ("metrics.m.value", True, r"metrics.m.value is True"),
        pytest.param(
            "metrics.m.value", 10**400, r"metrics.m.value is 10+\.\.\.; expected", id="huge"
        ),
        ("metrics.m.n", True, r"metrics.m.n is True"),
        ("metrics.m.level", 2, r"metrics.m.level is 2; expected above 0 and at most 1"),
        ("metrics.m.extra", 1, r"metrics.m has 'extra', which no estimate has"),
        ("baselines.chance", {"m": {}}, r"baselines.chance.m.value is missing"),
        ("task.options", [[[]]], r"task.options is \[\[\[\]\]\]; expected an object"),
    ],
)
def test_what_was_edited_is_named(tmp_path: Path, place: str, value: Any, message: str) -> None:
    write_result(result(m=estimate(1.0)), tmp_path)
    path = tmp_path / "result.json"
    content = json.loads(path.read_text("utf-8"))
    *above, last = place.split(".")
    section = content
    for key in above:
        section = section[key]
    section[last] = value
    path.write_text(json.dumps(content), "utf-8")
    with pytest.raises(StoreError, match=rf"is not a result of gpt2eval: {message}"):
        read_result(tmp_path)


def test_what_is_nested_too_deep(tmp_path: Path) -> None:
    write_result(result(m=estimate(1.0)), tmp_path)
    path = tmp_path / "result.json"
    content = json.loads(path.read_text("utf-8"))
    content["task"]["options"] = {"x": json.loads("[" * 60 + "]" * 60)}
    path.write_text(json.dumps(content), "utf-8")
    with pytest.raises(StoreError, match="nested more than 50 levels deep"):
        read_result(tmp_path)


@pytest.mark.parametrize("key", ["checkpoint", "task", "data", "run", "metrics", "ledger"])
def test_missing_section(tmp_path: Path, key: str) -> None:
    write_result(result(m=estimate(1.0)), tmp_path)
    path = tmp_path / "result.json"
    content = json.loads(path.read_text("utf-8"))
    del content[key]
    path.write_text(json.dumps(content), "utf-8")
    with pytest.raises(StoreError, match=rf"is not a result of gpt2eval: {key} is missing"):
        read_result(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
def test_damaged_result(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "result.json").write_bytes(content)
    with pytest.raises(StoreError, match=r"result\.json (cannot be read|has format None)"):
        read_result(tmp_path)


def test_load_results(tmp_path: Path) -> None:
    for name in ("b/x", "a/y"):
        (tmp_path / name).mkdir(parents=True)
        write_result(result(m=estimate(1.0)), tmp_path / name)
    (tmp_path / "c").mkdir()
    write(tmp_path / "c", [record("unfinished")])
    found = load_results(tmp_path, tmp_path / "a")
    assert [item.path for item in found] == [tmp_path / "a/y", tmp_path / "b/x"]
    with pytest.raises(StoreError, match=r"c' holds no result\.json; expected the --output"):
        load_results(tmp_path / "c")
