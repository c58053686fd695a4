"""`export --format lm-eval`: names and values where lm-eval has them, and back by `import`."""

from __future__ import annotations

import json
import math
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gpt2eval.compare import compare
from gpt2eval.errors import UsageError
from gpt2eval.export import export
from gpt2eval.options import RunOptions
from gpt2eval.peers import import_results
from gpt2eval.results import load_results, read_records, write_result
from gpt2eval.task import discover, select
from gpt2eval.types import Result
from gpt2eval.work import load_work
from tests.comparing import answers, write_run

# ours -> lm-eval's task, and its names of our metrics
NAMES = {
    "lambada@openai": ("lambada_openai", {"accuracy": "acc,none", "perplexity": "perplexity,none"}),
    "lambada@openai-last-token": (
        "lambada@openai-last-token",
        {"accuracy": "acc,none", "perplexity": "perplexity,none"},
    ),
    "wikitext2@lm-eval": (
        "wikitext",
        {name: f"{name},none" for name in ("word_perplexity", "byte_perplexity", "bits_per_byte")},
    ),
    "hellaswag@lm-eval": (
        "hellaswag",
        {
            "accuracy": "acc,none",
            "accuracy_norm": "acc_norm,none",
            "accuracy_bytes": "acc_bytes,none",
        },
    ),
    "natural_questions@lm-eval": ("nq_open", {"exact_match": "exact_match,remove_whitespace"}),
    "wmt14_fr_en@lm-eval": ("wmt14-fr-en", {"bleu": "bleu,none", "chrf2": "chrf,none"}),
    "blimp@lm-eval": ("blimp", {"accuracy_macro": "acc,none", "accuracy": "acc_of_pairs,none"}),
}


@pytest.fixture(scope="module")
def exported(scored: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results file."""
    (path,) = export([scored], "lm-eval", tmp_path_factory.mktemp("lm")).paths
    return path


@pytest.fixture(scope="module")
def content(exported: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(exported.read_text("utf-8"))
    return found


def samples(exported: Path, task: str) -> list[dict[str, Any]]:
    time = exported.stem.removeprefix("results_")
    path = exported.with_name(f"samples_{task}_{time}.jsonl")
    return [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]


def by_name(scored: Path) -> dict[str, Result]:
    return {result.name: result for result in load_results(scored)}


def test_every_value_is_where_lm_eval_has_it(scored: Path, content: dict[str, Any]) -> None:
    results = by_name(scored)
    assert results.keys() == NAMES.keys()
    for ours, (task, metrics) in NAMES.items():
        found = content["results"][task]
        values = {key: x for key, x in found.items() if "," in key and "_stderr" not in key}
        whole = {name: x for name, x in results[ours].metrics.items() if not x.part}
        assert values == {metrics[name]: x.value for name, x in whole.items()}
        better = {metrics[name].split(",")[0]: x.higher_is_better for name, x in whole.items()}
        assert content["higher_is_better"][task] == better
        if task != "blimp":
            assert content["n-samples"][task]["effective"] == found["sample_len"]
            assert content["n-samples"][task]["original"] == results[ours].data["available"]
            assert content["n-shot"][task] == 0


def test_the_file_is_named_after_model_and_time(exported: Path, content: dict[str, Any]) -> None:
    assert exported.parent.name == content["model_name_sanitized"] == "demo-base"
    assert content["config"]["model_args"] == "pretrained=demo-base,dtype=float32"
    assert content["config"]["limit"] == 12
    assert content["lm_eval_version"].startswith("0.4.13+gpt2eval.")


def test_a_group_has_its_parts_as_tasks(scored: Path, content: dict[str, Any]) -> None:
    blimp = by_name(scored)["blimp@lm-eval"]
    parts = {x.part: x.value for x in blimp.metrics.values() if x.part}
    assert len(parts) > 1
    assert content["group_subtasks"] == {"blimp": [f"blimp_{part}" for part in parts]}
    assert content["groups"]["blimp"] == content["results"]["blimp"]
    assert "blimp" not in content["configs"]
    for part, value in parts.items():
        assert content["results"][f"blimp_{part}"]["acc,none"] == value


def test_samples_give_the_values_and_say_what_was_asked(
    scored: Path, exported: Path, content: dict[str, Any]
) -> None:
    counted = 0
    for ours, result in by_name(scored).items():
        if ours == "blimp@lm-eval":
            continue
        task = NAMES[ours][0]
        rows = samples(exported, task)
        (work,) = load_work(select(ours, discover()), "bundled", RunOptions())
        place = {sample.id: number for number, sample in enumerate(work.samples)}
        assert len(rows) == result.data["selected"]
        for row in rows:
            number = place[row["doc"]["id"]]
            for request, given in zip(
                work.requests[number], row["arguments"].values(), strict=True
            ):
                texts = [getattr(request, key, None) for key in ("context", "continuation")]
                texts += [getattr(request, key, None) for key in ("text", "prompt")]
                assert [x for x in given.values() if isinstance(x, str)] == [
                    text for text in texts if text is not None
                ]
        for entry in content["configs"][task]["metric_list"]:
            values = [row[entry["metric"]] for row in rows]
            value = {
                "mean": lambda x: statistics.fmean(x),
                "perplexity": lambda x: math.exp(-statistics.fmean(x)),
                "weighted_perplexity": lambda x: math.exp(
                    -sum(a for a, _ in x) / sum(b for _, b in x)
                ),
                "bits_per_byte": lambda x: (
                    -sum(a for a, _ in x) / sum(b for _, b in x) / math.log(2)
                ),
            }[entry["aggregation"]](values)
            key = next(k for k in content["results"][task] if k.startswith(f"{entry['metric']},"))
            assert value == pytest.approx(content["results"][task][key], rel=1e-9)
            counted += 1
    assert counted == 11  # all but BLEU and chrF, which are of a corpus


def test_numbers_of_documents_are_those_of_the_data(exported: Path) -> None:
    for task in ("lambada_openai", "hellaswag", "nq_open"):
        assert [row["doc_id"] for row in samples(exported, task)] == list(range(12))


def test_exporting_again_writes_the_same_bytes(
    scored: Path, exported: Path, tmp_path: Path
) -> None:
    export([scored], "lm-eval", tmp_path)
    again = {path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert again == {path.name: path.read_bytes() for path in exported.parent.iterdir()}


def test_what_comes_back_is_what_was_exported(scored: Path, exported: Path, tmp_path: Path) -> None:
    """Under our names, proved request by request, and no different from the original."""
    back = import_results([exported], tmp_path / "back", data="bundled")
    results = {each.result.name: each.result for each in back}
    for ours, original in by_name(scored).items():
        if ours == "blimp@lm-eval":
            continue
        values = {name: x.value for name, x in results[ours].metrics.items()}
        assert values == {name: x.value for name, x in original.metrics.items()}
        assert original.path is not None
        assert results[ours].path is not None
        references = {x.id: list(x.references) for x in read_records(original.path)}
        assert {x.id: list(x.references) for x in read_records(results[ours].path)} == references
        for one in compare([original, results[ours]]):
            assert one.difference == 0
            assert one.n == 12 or ours.startswith("wikitext")
            assert one.p in (1, None)


def test_without_data_tasks_keep_the_names_of_the_file(exported: Path, tmp_path: Path) -> None:
    names = {each.result.name for each in import_results([exported], tmp_path)}
    assert {"lambada_openai@lm-eval", "nq_open@lm-eval", "wikitext@lm-eval"} <= names


def test_one_checkpoint_twice_makes_two_files(tmp_path: Path) -> None:
    """Two runs of a task share no name in a file, and two files of a directory no time."""
    for run_id, n in (("a" * 12, 10), ("b" * 12, 20)):
        write_run(tmp_path / "results", "m", answers(n, 1), run_id=run_id)
    written = export([tmp_path / "results"], "lm-eval", tmp_path / "out").paths
    assert len(set(written)) == 2
    lengths = {json.loads(path.read_text())["results"]["made@p"]["sample_len"] for path in written}
    assert lengths == {10, 20}


def test_names_of_models_stay_below_the_output(tmp_path: Path) -> None:
    for name in ("../../etc", "/abs/olute", "a:b|c"):
        made = write_run(tmp_path / "results", "m", answers(5, 1), run_id=f"{len(name):012}")
        assert made.path is not None
        checkpoint = {**made.checkpoint, "name": name, "path": name}
        write_result(replace(made, checkpoint=checkpoint), made.path)
    for path in export([tmp_path / "results"], "lm-eval", tmp_path / "out").paths:
        assert (tmp_path / "out").resolve() in path.resolve().parents


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"form": "lm_eval"}, r"--format 'lm_eval'; expected one of lm-eval, model-index"),
        ({"form": "lm-eval", "into": "README.md"}, r"--into 'README.md' is for --format model-ind"),
        ({"form": "wandb", "report": "nowhere"}, r"--report 'nowhere' holds no report.html"),
        ({"form": "lm-eval", "names": ["none"]}, r"no results are called 'none'"),
    ],
)
def test_what_cannot_be_exported_is_said(
    scored: Path, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    names = options.pop("names", [scored])
    with pytest.raises(UsageError, match=message):
        export(names, options.pop("form"), tmp_path, **options)


def test_without_permission_it_is_said(scored: Path, tmp_path: Path) -> None:
    from gpt2eval.errors import StoreError

    (tmp_path / "taken").write_text("a file")
    with pytest.raises(StoreError, match="could not be written"):
        export([scored], "lm-eval", tmp_path / "taken")


def test_the_command_line_knows_every_form() -> None:
    from gpt2eval.cli import export as command
    from gpt2eval.export import FORMATS

    assert set(command.FORMATS) == set(FORMATS)
