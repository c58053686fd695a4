"""Importing lighteval's files: what is told is kept, what cannot be told is unknown."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gpt2eval.errors import DataError
from gpt2eval.peers import import_results
from gpt2eval.peers.importing import Imported
from gpt2eval.results import read_records

TIME = "2026-11-25T16-45-29.074154"
MODEL = "openai-community/gpt2"


def doc(query: str, choices: list[str], gold: list[int]) -> dict[str, Any]:
    return {
        "query": query,
        "choices": choices,
        "gold_index": gold,
        "id": None,
        "stop_sequences": ["\n"],
    }


def said(**changes: Any) -> dict[str, Any]:
    """A model_response; lists are empty where a kind of task does not fill them."""
    return {
        "text": [],
        "logprobs": [],
        "argmax_logits_eq_gold": [],
        "unconditioned_logprobs": None,
    } | changes


CHOICES = [
    {
        "doc": doc(f"question {n}", [" yes", " no"], [n % 2]),
        "metric": {"acc": n % 2},
        "model_response": said(logprobs=[-2.5, -1.5], argmax_logits_eq_gold=[False, True]),
    }
    for n in range(4)
]
WORDS = [
    {
        "doc": doc(f"a long passage {n}", [" word"], [0]),
        "metric": {"acc": 1, "ppl": {"logprobs": -float(n), "weights": 9}},
        "model_response": said(logprobs=[-float(n)], argmax_logits_eq_gold=[True]),
    }
    for n in range(1, 5)
]
ANSWERS = [
    {
        "doc": doc("who?", [" Ada", " Ada T"], [0, 1]),
        "metric": {"em": 1.0, "f1": 0.5},
        "model_response": said(text=[" Ada"], logprobs=[]),
    }
]


def write(
    root: Path,
    tasks: dict[str, tuple[dict[str, Any], list[dict[str, Any]] | None]],
    **general: Any,
) -> Path:
    """What `lighteval accelerate --output-dir ROOT --save-details` leaves: values and samples."""
    content = {
        "config_general": {
            "lighteval_sha": "abc123",
            "model_name": MODEL,
            "model_config": {"dtype": "float32", "batch_size": 4, "max_length": None},
        }
        | general,
        "results": {name: values for name, (values, _) in tasks.items()}
        | {"all": {"acc": 0.5}, "blimp:_average|0": {"acc": 0.5}},
        "versions": {},
        "config_tasks": {
            name: {
                "hf_repo": "some/set",
                "hf_subset": "default",
                "evaluation_splits": ["test"],
                "original_num_docs": 100,
                "effective_num_docs": len(rows) if rows else 4,
                "version": 3,
                "metrics": [
                    {
                        "metric_name": "acc",
                        "higher_is_better": True,
                        "category": "GENERATIVE"
                        if rows and rows[0]["model_response"]["text"]
                        else "LOGPROBS",
                    }
                ],
            }
            for name, (_, rows) in tasks.items()
        },
    }
    path = root / "results" / MODEL / f"results_{TIME}.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(content))
    for name, (_, rows) in tasks.items():
        if rows:
            details = root / "details" / MODEL / TIME / f"details_{name}_{TIME}.parquet"
            details.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.Table.from_pylist(rows), details)
    return path


def only(root: Path, output: Path) -> Imported:
    (imported,) = import_results([root], output)
    return imported


def test_choices_come_with_their_samples(tmp_path: Path) -> None:
    write(tmp_path / "in", {"boolq|0": ({"acc": 0.5, "acc_stderr": 0.25}, CHOICES)})
    result = only(tmp_path / "in", tmp_path / "out").result
    assert result.name == "boolq|0@lighteval"
    assert result.checkpoint["name"] == "openai-community-gpt2"
    assert result.run["tool"] == "lighteval"
    assert result.run["versions"] == {"lighteval": "abc123"}
    assert result.run["dtype"] == "float32"
    assert result.task["version"] == 3
    assert result.data["available"] == 100
    accuracy = result.metrics["acc"]
    assert (accuracy.value, accuracy.n, accuracy.unit) == (0.5, 4, "fraction")
    assert accuracy.method == "95% Wilson score interval over 4 samples"
    assert accuracy.higher_is_better is True
    assert result.path is not None
    records = list(read_records(result.path))
    assert [record.statistics["acc"] for record in records] == [[0, 1], [1, 1], [0, 1], [1, 1]]
    assert [record.references for record in records[:2]] == [[" yes"], [" no"]]
    assert records[0].responses[1]["logprob"] == -1.5
    assert records[0].asked[0]["context"] == "question 0"


def test_the_perplexity_of_a_target_is_per_sample(tmp_path: Path) -> None:
    """ppl is exp of the mean over samples, however many units they hold."""
    value = math.exp(2.5)
    write(tmp_path / "in", {"lambada:standard|0": ({"acc": 1.0, "ppl": value}, WORDS)})
    result = only(tmp_path / "in", tmp_path / "out").result
    found = result.metrics["ppl"]
    assert (found.value, found.unit) == (value, "perplexity")
    assert found.low is not None
    assert found.low < value


def test_answers_in_words_are_kept(tmp_path: Path) -> None:
    write(tmp_path / "in", {"nq|0": ({"em": 1.0, "f1": 0.5}, ANSWERS)})
    result = only(tmp_path / "in", tmp_path / "out").result
    assert result.task["kind"] == "generation"
    assert result.path is not None
    (record,) = read_records(result.path)
    assert record.references == [" Ada", " Ada T"]
    assert record.responses[0]["text"] == " Ada"


def test_without_details_a_mean_has_its_error_and_a_corpus_metric_none(tmp_path: Path) -> None:
    values = {"acc": 0.5, "acc_stderr": 0.05, "bleu": 20.0, "bleu_stderr": 0.001}
    write(tmp_path / "in", {"wmt|0": (values, None)})
    imported = only(tmp_path / "in", tmp_path / "out")
    assert imported.note == "no samples were logged: values only"
    accuracy, bleu = imported.result.metrics["acc"], imported.result.metrics["bleu"]
    assert (accuracy.low, accuracy.high) == pytest.approx((0.5 - 0.098, 0.5 + 0.098))
    assert "as lighteval gives them" in accuracy.method
    assert (bleu.value, bleu.low, bleu.high) == (20.0, None, None)
    assert bleu.method.startswith("no interval: lighteval gives none")


def test_averages_over_tasks_are_no_tasks(tmp_path: Path) -> None:
    write(tmp_path / "in", {"a|0": ({"acc": 0.5}, None), "b|5": ({"acc": 0.5}, None)})
    found = import_results([tmp_path / "in"], tmp_path / "out")
    assert [each.result.name for each in found] == ["a|0@lighteval", "b|5@lighteval"]
    assert found[1].result.task["options"]["num_fewshot"] == 5


def test_samples_of_another_run_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "in", {"boolq|0": ({"acc": 0.5}, CHOICES)})
    content = json.loads(path.read_text())
    content["config_tasks"]["boolq|0"]["effective_num_docs"] = 5
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"has 4 samples of task 'boolq\|0'"):
        import_results([tmp_path / "in"], tmp_path / "out")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (b"PAR1 no parquet", "cannot be read"),
        ([{"doc": None, "metric": {"acc": 1}, "model_response": said()}], "row 0 is not a sample"),
        ([{"other": 1}], "row 0 is not a sample of lighteval .*expected the columns doc, metric"),
    ],
)
def test_damaged_details_are_named(tmp_path: Path, damage: Any, message: str) -> None:
    write(tmp_path / "in", {"boolq|0": ({"acc": 0.5}, CHOICES)})
    (details,) = (tmp_path / "in").rglob("*.parquet")
    if isinstance(damage, bytes):
        details.write_bytes(damage)
    else:
        pq.write_table(pa.Table.from_pylist(damage), details)
    with pytest.raises(DataError, match=message):
        import_results([tmp_path / "in"], tmp_path / "out")


@pytest.mark.parametrize("content", [{"results": 7}, {"config_general": 7}, {"results": None}])
def test_a_torn_results_file_is_named(tmp_path: Path, content: dict[str, Any]) -> None:
    path = tmp_path / f"results_{TIME}.json"
    path.write_text(json.dumps({"config_general": {}, "results": {}} | content))
    with pytest.raises(DataError, match="is not a results file of lighteval"):
        import_results([path], tmp_path / "out")


def test_a_task_whose_name_leads_elsewhere_has_no_samples(tmp_path: Path) -> None:
    write(tmp_path / "in", {"../../x|0": ({"acc": 0.5}, None)})
    (tmp_path / "out").mkdir()
    imported = only(tmp_path / "in", tmp_path / "out")
    assert imported.result.path is not None
    assert (tmp_path / "out").resolve() in imported.result.path.resolve().parents


# What lighteval 0.13.0 itself wrote of demo-base and twelve bundled samples of each task, with
# `--max-samples 12 --save-details`; only the places of files in results.json were made short.
REAL = Path(__file__).parent / "lighteval"
TASKS = {"lambada": "lambada:local|0", "hellaswag": "hellaswag_local|0", "nq": "nq_local|0"}


@pytest.fixture
def real(tmp_path: Path) -> Path:
    """Its output directory, under the names that the files had."""
    time = "2026-11-25T20-59-31.651512"
    results = tmp_path / "real/results/demo-base" / f"results_{time}.json"
    results.parent.mkdir(parents=True)
    results.write_bytes((REAL / "results.json").read_bytes())
    for name, task in TASKS.items():
        details = tmp_path / "real/details/demo-base" / time / f"details_{task}_{time}.parquet"
        details.parent.mkdir(parents=True, exist_ok=True)
        details.write_bytes((REAL / f"{name}.parquet").read_bytes())
    return tmp_path / "real"


def test_what_lighteval_wrote_has_its_values_and_intervals(real: Path, tmp_path: Path) -> None:
    printed = json.loads((REAL / "results.json").read_text("utf-8"))["results"]
    found = {x.result.task["name"]: x.result for x in import_results([real], tmp_path / "out")}
    assert set(found) == set(TASKS.values())
    for task, result in found.items():
        values = {name: x for name, x in printed[task].items() if not name.endswith("_stderr")}
        assert {name: x.value for name, x in result.metrics.items()} == values
        assert all(x.low is not None for x in result.metrics.values())
        assert all(x.n == 12 for x in result.metrics.values())
        assert result.data["subset"] == "at most 12, of a number that is not told"
        assert result.checkpoint["name"] == "demo-base"
    kinds = {name: found[task].task["kind"] for name, task in TASKS.items()}
    assert kinds == {"lambada": "likelihood", "hellaswag": "likelihood", "nq": "generation"}


def test_its_standard_error_of_a_perplexity_is_not_believed(real: Path, tmp_path: Path) -> None:
    """Thirty times too small: the interval of the samples is what it is."""
    printed = json.loads((REAL / "results.json").read_text("utf-8"))["results"]
    found = {x.result.task["name"]: x.result for x in import_results([real], tmp_path / "out")}
    ppl = found[TASKS["lambada"]].metrics["ppl"]
    assert ppl.low is not None
    assert ppl.high is not None
    assert (ppl.high - ppl.low) / 3.92 > 20 * printed[TASKS["lambada"]]["ppl_stderr"]


def test_its_answers_are_those_of_our_own_samples(real: Path, tmp_path: Path) -> None:
    """Each at its place in the data, which lighteval shuffles."""
    import gpt2eval
    from gpt2eval.data import read_jsonl

    path = Path(gpt2eval.__file__).parent / "samples/lambada/lambada_test.jsonl"
    passages = [row["text"] for row in read_jsonl([path], "text")]
    found = {x.result.task["name"]: x.result for x in import_results([real], tmp_path / "out")}
    result = found[TASKS["lambada"]]
    assert result.path is not None
    for record in read_records(result.path):
        asked = record.asked[0]
        assert asked["context"] + asked["continuation"] == passages[int(record.id)]
        assert record.responses[0]["logprob"] == -record.statistics["ppl"][0]


def test_what_lighteval_wrote_is_exported_as_lm_eval_does(real: Path, tmp_path: Path) -> None:
    from gpt2eval.export import export

    import_results([real], tmp_path / "out")
    (path,) = export([tmp_path / "out"], "lm-eval", tmp_path / "exported").paths
    content = json.loads(path.read_text("utf-8"))
    printed = json.loads((REAL / "results.json").read_text("utf-8"))["results"]
    for task in TASKS.values():
        for name, value in printed[task].items():
            if not name.endswith("_stderr"):
                assert content["results"][task][f"{name},none"] == value
