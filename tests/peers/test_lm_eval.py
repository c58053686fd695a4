"""Files of lm-eval that are odd, broken or hostile; made by hand in its layout.

What lm-eval itself writes is read in `tests/oracles/test_import.py`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpt2eval.compare import compare
from gpt2eval.errors import DataError, UsageError
from gpt2eval.peers import import_results, metrics_of
from gpt2eval.report import report_files, write_report
from gpt2eval.reporting import report
from gpt2eval.results import read_records
from gpt2eval.types import Result

TIME = "2026-11-25T16-45-29.074154"


def sample(number: int, **changes: Any) -> dict[str, Any]:
    """A line of a samples file of a multiple-choice task."""
    return {
        "doc_id": number,
        "doc": {"q": f"question {number}"},
        "target": "1",
        "arguments": {
            f"gen_args_{i}": {"arg_0": f"question {number}", "arg_1": f" choice {i}"}
            for i in range(2)
        },
        "resps": [[["-2.5", "False"]], [["-1.5", "True"]]],
        "filtered_resps": [["-2.5", "False"], ["-1.5", "True"]],
        "filter": "none",
        "metrics": ["acc"],
        "doc_hash": f"{number:064x}",
        "acc": float(number % 2),
    } | changes


def write(
    root: Path,
    rows: list[dict[str, Any]] | None = None,
    task: str = "boolq",
    values: dict[str, Any] | None = None,
    **changes: Any,
) -> Path:
    """A results file, and samples beside it unless `rows` is empty."""
    rows = [sample(number) for number in range(4)] if rows is None else rows
    content = {
        "results": {task: values or {"alias": task, "acc,none": 0.5, "acc_stderr,none": 0.25}},
        "configs": {
            task: {
                "task": task,
                "output_type": "multiple_choice",
                "metric_list": [{"metric": "acc", "aggregation": "mean"}],
            }
        },
        "versions": {task: 2.0},
        "n-shot": {task: 0},
        "higher_is_better": {task: {"acc": True}},
        "n-samples": {task: {"original": 4, "effective": 4}},
        "config": {"model_dtype": "torch.bfloat16", "device": "cuda:0", "random_seed": 0},
        "lm_eval_version": "0.4.13",
        "model_name": "openai-community/gpt2",
    } | changes
    root.mkdir(parents=True, exist_ok=True)
    path = root / f"results_{TIME}.json"
    path.write_text(json.dumps(content))
    if rows:
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (root / f"samples_{task}_{TIME}.jsonl").write_text(lines)
    return path


def only(root: Path, output: Path, **options: Any) -> Result:
    (imported,) = import_results([root], output, **options)
    return imported.result


def test_what_is_told_is_kept_and_the_rest_is_unknown(tmp_path: Path) -> None:
    write(tmp_path / "in")
    run = only(tmp_path / "in", tmp_path / "out")
    assert run.name == "boolq@lm-eval"
    assert run.checkpoint["name"] == "openai-community-gpt2"
    assert run.checkpoint["sha256"] == run.checkpoint["tokenizer_sha256"] == ""
    assert run.checkpoint["parameters"] is None
    assert run.run["dtype"] == "bfloat16"
    assert run.run["versions"] == {"lm-eval": "0.4.13"}
    assert run.run["tokens"] is None
    assert run.run["seed"] == "random 0"
    assert run.ledger == {}
    assert run.data["subset"] == "all"
    accuracy = run.metrics["acc"]
    assert (accuracy.value, accuracy.n, accuracy.unit) == (0.5, 4, "fraction")
    assert accuracy.method == "95% Wilson score interval over 4 samples"
    assert accuracy.higher_is_better is True
    assert run.path is not None
    records = list(read_records(run.path))
    assert [record.statistics["acc"] for record in records] == [[0, 1], [1, 1], [0, 1], [1, 1]]
    assert records[0].references == [" choice 1"]
    assert records[0].responses[1] == {
        "type": "summed",
        "text": " choice 1",
        "logprob": -1.5,
        "greedy": True,
        "truncated": None,
    }


def test_the_metrics_of_an_import_give_its_values(tmp_path: Path) -> None:
    write(tmp_path / "in")
    run = only(tmp_path / "in", tmp_path / "out")
    assert run.path is not None
    for name, metric in metrics_of(run).items():
        rows = [record.statistics[name] for record in read_records(run.path)]
        assert float(metric.value(np.sum(rows, axis=0))) == run.metrics[name].value
    assert metrics_of(run).keys() == run.metrics.keys()


def test_without_samples_the_value_stands_alone(tmp_path: Path) -> None:
    write(tmp_path / "in", rows=[])
    (imported,) = import_results([tmp_path / "in"], tmp_path / "out")
    assert imported.note == "no samples were logged: values only"
    accuracy = imported.result.metrics["acc"]
    assert (accuracy.low, accuracy.high) == pytest.approx((0.5 - 0.49, 0.5 + 0.49))
    assert accuracy.method.startswith("1.96 standard errors")
    assert metrics_of(imported.result) == {}
    assert imported.result.data["sha256"] == ""


def test_samples_that_do_not_give_the_value_are_not_believed(tmp_path: Path) -> None:
    write(tmp_path / "in", values={"acc,none": 0.75})
    run = only(tmp_path / "in", tmp_path / "out")
    assert run.metrics["acc"].value == 0.75
    assert run.metrics["acc"].low is None
    assert "do not give the value" in run.metrics["acc"].method
    assert metrics_of(run) == {}


def test_several_filters_are_several_metrics(tmp_path: Path) -> None:
    rows = [
        sample(number, filter=name, exact_match=float(value))
        for number in range(4)
        for name, value in (("strict", number == 0), ("flexible", number < 2))
    ]
    values = {"exact_match,strict": 0.25, "exact_match,flexible": 0.5}
    write(tmp_path / "in", rows, values=values)
    run = only(tmp_path / "in", tmp_path / "out")
    assert {name: each.value for name, each in run.metrics.items()} == values
    assert run.path is not None
    records = list(read_records(run.path))
    assert len(records) == 4
    assert records[1].statistics == {
        "exact_match,strict": [0.0, 1.0],
        "exact_match,flexible": [1.0, 1.0],
    }


def test_a_subset_is_marked(tmp_path: Path) -> None:
    told = {"boolq": {"original": 100, "effective": 4}}
    write(tmp_path / "a", **{"n-samples": told})
    assert only(tmp_path / "a", tmp_path / "out").data["subset"] == "first 4"
    write(tmp_path / "b", [sample(number) for number in (3, 5, 8, 10)], **{"n-samples": told})
    assert "4 chosen by number" in only(tmp_path / "b", tmp_path / "out").data["subset"]
    write(tmp_path / "c", [], **{"n-samples": told})
    assert "not told" in only(tmp_path / "c", tmp_path / "out").data["subset"]


def test_importing_again_reads_what_is_there(tmp_path: Path) -> None:
    write(tmp_path / "in")
    run = only(tmp_path / "in", tmp_path / "out")
    assert run.path is not None
    before = {path: path.stat().st_mtime_ns for path in run.path.iterdir()}
    assert only(tmp_path / "in", tmp_path / "out").path == run.path
    assert {path: path.stat().st_mtime_ns for path in run.path.iterdir()} == before
    # An import that was cut short is begun again.
    (run.path / "result.json").unlink()
    only(tmp_path / "in", tmp_path / "out")
    assert len(list(read_records(run.path))) == 4


def test_two_models_of_one_name_stay_two(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / name, model_name=f"/models/{name}/checkpoint-500")
    runs = [
        each.result for each in import_results([tmp_path / "a", tmp_path / "b"], tmp_path / "o")
    ]
    assert [run.checkpoint["name"] for run in runs] == ["a-checkpoint-500", "b-checkpoint-500"]
    alone = [only(tmp_path / name, tmp_path / "p") for name in ("a", "b")]
    assert [run.checkpoint["name"] for run in alone] == ["checkpoint-500"] * 2
    page = report_files(alone)["report.md"].decode()
    assert "checkpoint-500 (/models/a/checkpoint-500)" in page
    assert "what happened besides is not told." in page
    assert "nothing failed" not in page


def test_hostile_names_stay_inside_the_store(tmp_path: Path) -> None:
    write(tmp_path / "in", [], task="../../../evil\ud800", model_name="../../<b>/..")
    run = only(tmp_path / "in", tmp_path / "out" / "deep")
    assert run.path is not None
    assert (tmp_path / "out" / "deep").resolve() in run.path.resolve().parents
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]
    page = write_report([run], tmp_path / "report")
    assert "<b>" not in page.read_text(encoding="utf-8")
    json.loads((tmp_path / "report" / "sources.json").read_text(encoding="utf-8"))


def test_infinite_and_missing_values(tmp_path: Path) -> None:
    values = {"acc,none": float("nan"), "acc_stderr,none": "N/A", "ppl,none": float("inf")}
    rows = [sample(number, acc=float("nan"), ppl=float("inf")) for number in range(4)]
    write(tmp_path / "in", rows, values=values)
    run = only(tmp_path / "in", tmp_path / "out")
    assert np.isnan(run.metrics["acc"].value)
    assert run.metrics["ppl"].value == float("inf")
    assert run.metrics["ppl"].unit == "unknown"
    assert run.metrics["ppl"].higher_is_better is None
    assert report_files([run])


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda r, s: r.write_text("{"), "is not JSON"),
        (lambda r, s: r.write_bytes(b"\xff\xfe{}"), "is not JSON"),
        (lambda r, s: r.write_text("[" * 100_000), "is not JSON"),
        (lambda r, s: r.write_text("[]"), "is not a results file of lm-eval"),
        (lambda r, s: r.write_text('{"results": {}}'), "it has no 'configs'"),
        (lambda r, s: r.write_text('{"results": {}, "configs": {}}'), "results of no task"),
        (lambda r, s: r.write_text('{"results": {"a": 1}, "configs": {"a": {}}}'), "are 1"),
        (lambda r, s: r.write_text('{"results": {"a": {}}, "configs": {"a": 0}}'), "has no value"),
        (lambda r, s: s.write_text("{}\n"), r"line 1 is not a sample of lm-eval \(KeyError"),
        (lambda r, s: s.write_text("3\n"), "line 1 is not a sample"),
        (lambda r, s: s.write_text(s.read_text()[:-40]), "line 4 is not JSON"),
        (lambda r, s: s.write_text(""), "has 0 samples of task 'boolq'"),
        (lambda r, s: s.write_text(s.read_text().split("\n")[0]), "has 1 samples.*counts 4"),
        (lambda r, s: s.write_text(s.read_text() * 2), "has document 0 twice"),
    ],
)
def test_bad_files_are_errors_that_name_them(
    spoil: Callable[[Path, Path], Any], words: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "in")
    spoil(path, path.with_name(f"samples_boolq_{TIME}.jsonl"))
    with pytest.raises(DataError, match=words) as caught:
        import_results([path], tmp_path / "out")
    assert path.parent.name in str(caught.value)
    assert not list((tmp_path / "out").rglob("result.json"))


@pytest.mark.parametrize(
    "changes",
    [
        {"config": None, "versions": [], "n-samples": 3, "higher_is_better": "x", "n-shot": None},
        {"configs": {"boolq": {"metric_list": "acc"}}},
        {"configs": {"boolq": {"metric_list": [3, {"metric": "acc", "aggregation": "odd"}]}}},
        {"date": 1e300, "pretty_env_info": 7, "model_name": None, "lm_eval_version": None},
    ],
)
def test_odd_surroundings_are_unknown_and_no_error(changes: dict[str, Any], tmp_path: Path) -> None:
    write(tmp_path / "in", **changes)
    run = only(tmp_path / "in", tmp_path / "out")
    assert run.metrics["acc"].value == 0.5


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'nowhere' does not exist"):
        import_results(["nowhere"], tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"holds no results_\*.json"):
        import_results([tmp_path / "empty"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_line_imports_without_torch_and_reports(tmp_path: Path) -> None:
    write(tmp_path / "in")
    watch = (
        "import atexit, sys; atexit.register(lambda: print('LOADED',"
        " {'torch', 'transformers', 'lm_eval'} & set(sys.modules)));"
        "sys.argv = ['gpt2eval', 'import', 'in']; import runpy;"
        "runpy.run_module('gpt2eval', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", watch], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "openai-community-gpt2, boolq@lm-eval: results/openai-community-gpt2" in done.stdout
    assert "LOADED set()" in done.stdout
    bad = subprocess.run(
        [sys.executable, "-m", "gpt2eval", "import", "nowhere"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert bad.returncode == 2
    assert bad.stderr.startswith("gpt2eval: 'nowhere' does not exist")


# ---- in comparisons -----------------------------------------------------------------------------


def two_models(root: Path, rows: bool = True) -> list[Result]:
    """Imports of two models on 40 questions: the second is right on 20 more."""
    found = []
    for model, right in (("a", 10), ("b", 30)):
        lines = [sample(n, acc=float(n < right)) for n in range(40)] if rows else []
        values = {"alias": "boolq", "acc,none": right / 40, "acc_stderr,none": 0.07}
        counts = {"boolq": {"original": 40, "effective": 40}}
        write(root / model, lines, values=values, model_name=model, **{"n-samples": counts})
        found.append(only(root / model, root / "results"))
    return found


def test_two_imports_are_compared_sample_by_sample(tmp_path: Path) -> None:
    (one,) = compare(two_models(tmp_path))
    assert (one.task, one.metric, one.baseline, one.candidate) == ("boolq@lm-eval", "acc", "a", "b")
    assert (one.wins, one.ties, one.losses) == (20, 20, 0)
    assert one.p == pytest.approx(2 * 0.5**20)
    page, _ = report([str(tmp_path / "results")], tmp_path / "report")
    table = (page.parent / "tables" / "boolq@lm-eval.tex").read_text()
    assert "exact McNemar test" in table
    (row,) = [line for line in table.splitlines() if line.startswith("b &")]
    assert "$^{***}$" in row


def test_values_alone_are_set_side_by_side_without_a_test(tmp_path: Path) -> None:
    (one,) = compare(two_models(tmp_path, rows=False))
    assert one.difference == 0.5
    assert one.p is None
    assert one.test.startswith("no test")
    assert "neither run has its samples: values alone" in one.note


@pytest.mark.parametrize(
    "resps", [[[[]], [["-1.5", "True"]]], [[None], [None]], [[["nan", "True"]]] * 2]
)
def test_answers_that_are_none_of_lm_eval_are_refused(resps: Any, tmp_path: Path) -> None:
    """Found by fuzzing: they ended in a ValueError, with the records left open."""
    write(tmp_path / "in", [sample(number, resps=resps) for number in range(4)])
    with pytest.raises(DataError, match=r"document 0 of the samples has answers that are none of"):
        import_results([tmp_path / "in"], tmp_path / "out")


@pytest.mark.parametrize("value", [1e308, 10**400, float("nan")])
def test_samples_beyond_all_numbers_are_not_believed(value: float, tmp_path: Path) -> None:
    write(tmp_path / "in", [sample(number, acc=value) for number in range(4)])
    found = only(tmp_path / "in", tmp_path / "out").metrics["acc"]
    assert (found.value, found.method[:20]) == (0.5, "1.96 standard errors")
