"""The harness that sets tools side by side: what it feeds them, and what it makes of the runs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks import summary
from benchmarks.__main__ import TOOLS, WORKLOADS
from benchmarks.streams import Scoring, total_and_right, windows
from gpt2eval.runner.windows import disjoint


@pytest.mark.parametrize("length", [1, 2, 7, 8, 9, 15, 16, 17, 40])
def test_windows_are_those_of_the_engine(length):
    stream = list(range(length + 1))
    ours = [
        Scoring(stream[window.begin : window.end + 1], window.count)
        for window in disjoint(length, 8)
    ]
    assert windows(stream, 8) == ours


def test_every_token_is_scored_once():
    scored = [
        token for each in windows(list(range(30)), 8) for token in each.tokens[-each.scored :]
    ]
    assert scored == list(range(1, 30))


def test_the_likeliest_ending_counts(tmp_path):
    items = [{"context": "c", "endings": list("abcd"), "label": label} for label in (2, 0)]
    (tmp_path / "choice.json").write_text(json.dumps({"items": items}))
    job = {"workload": "choice", "prepared": str(tmp_path)}
    totals = [-4.0, -3.0, -1.0, -2.0, -9.0, -5.0, -6.0, -7.0]
    numbers = total_and_right(job, [Scoring([1, 2], 1)] * 8, [(each, False) for each in totals])
    assert numbers == {"total": -37.0, "right": 1}


@pytest.mark.parametrize("tool", TOOLS)
def test_every_tool_has_a_module_with_batch_sizes(tool):
    from importlib import import_module

    module = import_module(f"benchmarks.peers.{TOOLS[tool]}")
    assert set(module.BATCH) == set(WORKLOADS)
    assert callable(module.answer)


def run(tool: str, wall: float, total: float = -100.0, **changes: Any) -> dict[str, Any]:
    made = {"tool": tool, "workload": "rolling", "dtype": "float32", "batch": 1, "wall": wall}
    made |= {"cpu": wall, "seconds": wall / 2, "peak_bytes": int(wall * 2**20)}
    return {**made, "numbers": {"total": total}, **changes}


def test_ratios_are_of_medians():
    runs = [run("gpt2eval", 2), run("lm-eval", 7), run("gpt2eval", 4), run("lm-eval", 9)]
    runs += [run("gpt2eval", 30), run("lm-eval", 10)]
    ours, theirs = summary.summarize(runs, {"rolling": 400})
    assert (ours["wall"], ours["times_slower"], ours["tokens_per_second"]) == (4, 1, 100)
    assert (theirs["wall"], theirs["times_slower"]) == (9, 9 / 4)
    assert theirs["times_memory"] == 9 / 4
    assert theirs["wall_range"] == [7, 10]
    assert ours["agrees"]
    assert theirs["agrees"]


@pytest.mark.parametrize(
    ("dtype", "total", "agrees"),
    [
        ("float32", -100.0009, True),
        ("float32", -100.002, False),
        ("bfloat16", -101.9, True),
        ("bfloat16", -102.1, False),
    ],
)
def test_sums_are_held_to_ours_in_float32(dtype, total, agrees):
    runs = [
        run("gpt2eval", 1),
        run("gpt2eval", 1, dtype=dtype),
        run("lm-eval", 1, total, dtype=dtype),
    ]
    row = summary.summarize(runs, {"rolling": 1})[-1]
    assert row["agrees"] is agrees
    assert row["off"] == pytest.approx(abs(total + 100) / 100)


def test_one_repeat_that_differs_is_enough():
    runs = [run("gpt2eval", 1), run("lm-eval", 1), run("lm-eval", 1, -90.0)]
    assert not summary.summarize(runs, {"rolling": 1})[-1]["agrees"]


def test_right_answers_and_texts_must_be_the_same_in_float32_only():
    expected = {"right": 3, "texts": ["a", "b"]}
    numbers = {"right": 2, "texts": ["a", "c"]}
    assert summary.agreement([{"numbers": expected}], expected, "float32")["agrees"]
    strict = summary.agreement([{"numbers": numbers}], expected, "float32")
    assert (strict["agrees"], strict["same_texts"]) == (False, [1, 2])
    assert summary.agreement([{"numbers": numbers}], expected, "bfloat16")["agrees"]
    fewer = {"right": 2, "texts": ["a"]}
    assert not summary.agreement([{"numbers": fewer}], expected, "bfloat16")["agrees"]


def test_table_says_what_was_skipped_what_failed_and_what_differs():
    runs = [run("gpt2eval", 2), run("lm-eval", 5, -90.0)]
    runs.append({"tool": "CTranslate2", "workload": "rolling", "dtype": "float32", "batch": 1})
    runs[-1]["skipped"] = "has no float32"
    runs.append({**runs[-1], "tool": "transformers", "failed": "Traceback\nValueError: a|b"})
    del runs[-1]["skipped"]
    machine = {"processor": "P", "cores": 2, "memory_bytes": 2**30, "system": "S"}
    machine |= {"versions": {"torch": "9"}, "load_average": [0.5, 0, 0]}
    content = {
        "rows": summary.summarize(runs, {"rolling": 400}),
        "machine": machine,
        "plan": {"repeats": 1, "threads": 1},
        "workloads": {"rolling": {"tokens": 400, "counted": "tokens scored"}},
        "absent": {"other": "not installed"},
    }
    text = summary.table(content)
    cells = {line.split(" | ")[2]: line for line in text.splitlines() if " | " in line}
    assert "2.50x" in cells["lm-eval"]
    assert cells["lm-eval"].endswith("sum off by 1e-01 **differ** |")
    assert "has no float32" in cells["CTranslate2"]
    assert "ValueError: a/b" in cells["transformers"]
    assert "other: not installed." in text
    assert "P, 1 of 2 cores" in text
    columns = {line.count("|") for line in text.splitlines() if line.startswith("|")}
    assert len(columns) == 1


def test_plot_is_a_picture(tmp_path):
    rows = summary.summarize([run("gpt2eval", 2), run("lm-eval", 5)], {"rolling": 400})
    summary.draw({"rows": rows}, tmp_path / "seconds.png")
    assert (tmp_path / "seconds.png").read_bytes().startswith(b"\x89PNG")
