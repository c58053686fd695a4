"""The best checkpoint of results on disk."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gpt2eval import as_json
from gpt2eval.compare.best import best, remarks
from gpt2eval.compare.selection import find
from gpt2eval.errors import ComparisonError, UsageError
from gpt2eval.experiment import described, read_experiment
from gpt2eval.stats import wilson
from gpt2eval.types import Result
from tests.comparing import answers, write_run


def sweep(place: Path, losses: dict[int, float]) -> list[Result]:
    """Checkpoints of one training run, on the same 300 samples."""
    for step, loss in losses.items():
        write_run(place, f"a-checkpoint-{step}", answers(300, step, loss=loss))
    return find([str(place)], str(place)).results


LOSSES = {500: 3.2, 1000: 3.0, 1500: 3.0005, 2000: 3.1}


def test_the_best_step_and_those_that_may_be_it(tmp_path: Path) -> None:
    results = sweep(tmp_path, LOSSES)
    order = [result.checkpoint["name"] for result in results]
    assert order == [f"a-checkpoint-{step}" for step in LOSSES], "500 comes before 1000"
    found = best(results, "perplexity")
    assert len(found.members) == 2
    assert {one.step for one in found.candidates if one.member} == {1000, 1500}
    assert {one.step for one in found.candidates} == set(LOSSES)
    values = [one.value for one in found.candidates]
    assert values == sorted(values)
    by_name = {result.checkpoint["name"]: result for result in results}
    for one in found.candidates:
        stored = by_name[one.checkpoint].metrics["perplexity"]
        assert (one.low, one.high) == (stored.low, stored.high)
        assert one.value == pytest.approx(stored.value)
        assert one.behind == pytest.approx(stored.value - found.value)
    assert found.low < found.value < found.high
    assert found.value < found.corrected < found.value * 1.01, "a lower perplexity was luck"
    assert (found.n, found.units, found.task, found.metric) == (300, 300, "made@p", "perplexity")
    assert "best of 4" in found.method


def test_higher_is_better_where_it_is(tmp_path: Path) -> None:
    for name, right in (("x", 0.5), ("y", 0.7), ("z", 0.5)):
        write_run(tmp_path, name, answers(300, ord(name), right=right))
    found = best(find([str(tmp_path)], str(tmp_path)).results, "made@p/accuracy")
    assert (found.checkpoint, found.members) == ("y", ["y"])
    assert found.low < found.value < found.high <= 1
    assert found.candidates[-1].behind < 0


def test_steps_of_the_experiment_file(tmp_path: Path) -> None:
    for name in ("early", "late"):
        write_run(tmp_path / "results", name, answers(50, len(name)))
    file = tmp_path / "e.yaml"
    file.write_text(
        "models:\n- {path: p/1, name: early, variant: v, step: 100}\n"
        "- {path: p/2, name: late, variant: v, step: 2000}\n"
    )
    results = find([str(tmp_path / "results")], "results").results
    told = described(results, read_experiment(file))
    found = best(told, "accuracy")
    assert {one.checkpoint: one.step for one in found.candidates} == {"early": 100, "late": 2000}
    assert [result.checkpoint.get("step") for result in results] == [None, None]


def test_json_reads_back(tmp_path: Path) -> None:
    found = find([str(tmp_path)], str(tmp_path)) if sweep(tmp_path, LOSSES) else None
    assert found is not None
    chosen = best(found.results, "perplexity")
    content = json.loads(as_json.as_text("best", as_json.best(chosen, remarks(found, chosen))))
    assert content["format"] == 1
    assert content["set"] == chosen.members
    assert content["best"]["low"] == chosen.low
    assert len(content["best"]["candidates"]) == 4


def test_a_ruined_checkpoint_does_not_win(tmp_path: Path) -> None:
    sweep(tmp_path, LOSSES)
    write_run(tmp_path, "ruined", {**answers(300, 9), "perplexity": [(1e6, 1.0)] * 300})
    found = best(find([str(tmp_path)], str(tmp_path)).results, "perplexity")
    assert found.candidates[-1].checkpoint == "ruined"
    assert not found.candidates[-1].member
    json.loads(as_json.as_text("best", as_json.best(found, [])))


def test_nothing_right_is_no_certainty(tmp_path: Path) -> None:
    for name in ("x", "y", "z"):
        write_run(tmp_path, name, {"accuracy": [(0.0, 1.0)] * 30})
    found = best(find([str(tmp_path)], str(tmp_path)).results, "accuracy")
    assert (found.value, found.corrected, found.low) == (0, 0, 0)
    assert found.high == pytest.approx(wilson(0, 30)[1])
    assert found.members == ["x", "y", "z"]
    assert found.note == "as good to the last digit: y, z"
    write_run(tmp_path, "all", {"accuracy": [(1.0, 1.0)] * 30})
    found = best(find([str(tmp_path)], str(tmp_path)).results, "accuracy")
    assert (found.members, found.high) == (["all"], 1)
    assert found.low == pytest.approx(wilson(30, 30, 1 - 0.05 / 4)[0])


def test_few_units_are_said_to_be_few(tmp_path: Path) -> None:
    for name in ("x", "y"):
        write_run(tmp_path, name, answers(12, ord(name)), groups=[f"g{i % 6}" for i in range(12)])
    found = best(find([str(tmp_path)], str(tmp_path)).results, "perplexity")
    assert (found.n, found.units) == (12, 6)
    assert "6 units: set and interval are rough" in found.note


def test_what_cannot_be_chosen_from(tmp_path: Path) -> None:
    results = sweep(tmp_path, {500: 3.0, 1000: 3.1})
    with pytest.raises(UsageError, match="is one of several: made@p/accuracy, made@p/perplexity"):
        best(results, "*")
    with pytest.raises(UsageError, match="did you mean 'accuracy'"):
        best(results, "acuracy")
    with pytest.raises(UsageError, match=r"--level 95"):
        best(results, "accuracy", level=95)
    with pytest.raises(ComparisonError, match="was scored for a-checkpoint-500 alone"):
        best(results[:1], "accuracy")
    metric = replace(results[0].metrics["accuracy"], higher_is_better=None)
    neither = [replace(r, metrics={"accuracy": metric}) for r in results]
    with pytest.raises(UsageError, match="no better direction"):
        best(neither, "accuracy")
    write_run(tmp_path, "other", answers(300, 3), data={"sha256": "f" * 64})
    with pytest.raises(ComparisonError, match="data digest"):
        best(find([str(tmp_path)], str(tmp_path)).results, "accuracy")


def test_samples_that_differ_are_refused(tmp_path: Path) -> None:
    write_run(tmp_path, "x", answers(50, 1))
    write_run(tmp_path, "y", answers(50, 2), ids=[f"t{i}" for i in range(50)])
    with pytest.raises(ComparisonError, match=r"samples, groups or\s+references differ"):
        best(find([str(tmp_path)], str(tmp_path)).results, "accuracy")
    assert np.isfinite(
        best(
            [*find(["x"], str(tmp_path)).results, write_run(tmp_path, "z", answers(50, 3))],
            "accuracy",
        ).low
    )
