"""lm-eval's own files, made by running it: imported values are those that it printed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpt2eval.compare import compare
from gpt2eval.data import read_sgml
from gpt2eval.export import export
from gpt2eval.peers import import_results, metrics_of
from gpt2eval.peers.importing import Imported
from gpt2eval.report import report_files
from gpt2eval.results import read_records
from gpt2eval.task import discover
from tests.conftest import ROOT
from tests.oracles import lm_eval_choices, lm_eval_oracle
from tests.oracles.conftest import Run
from tests.oracles.lm_eval_oracle import Asked, save_results, wikitext_pages

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # those of lm-eval and its dependencies
]

SAMPLES = ROOT / "gpt2eval" / "samples"

# lm-eval's task -> ours, and our names of its metrics
TWINS = {
    "lambada_openai": ("lambada@openai", {"acc": "accuracy", "perplexity": "perplexity"}),
    "wikitext": (
        "wikitext2@lm-eval",
        {name: name for name in ("word_perplexity", "byte_perplexity", "bits_per_byte")},
    ),
    "hellaswag": ("hellaswag@lm-eval", {"acc": "accuracy", "acc_norm": "accuracy_norm"}),
    "wmt14-fr-en": ("wmt14_fr_en@lm-eval", {"bleu": "bleu", "chrf": "chrf2"}),
    "sst2": ("sst2@lm-eval", {"acc": "accuracy"}),
}


@dataclass(frozen=True)
class Written:
    """lm-eval's output directory, and what it printed: task -> metric,filter -> value."""

    directory: Path
    printed: dict[str, dict[str, Any]]

    def values(self, task: str) -> dict[str, float]:
        return {
            key.partition(",")[0]: value
            for key, value in self.printed[task].items()
            if "," in key and "_stderr" not in key
        }


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Six tasks of demo-base on the bundled samples."""
    root = tmp_path_factory.mktemp("lm_eval")
    raw = (SAMPLES / "wikitext2/wiki.test.raw").read_bytes().decode()
    passages = (SAMPLES / "lambada/lambada_test.jsonl").read_bytes().decode().split("\n")
    wmt14 = SAMPLES / "wmt14"
    pair = [wmt14 / f"newstest2014-fren-{name}.sgm" for name in ("src.fr", "ref.en")]
    translations = [
        {"translation": {"fr": row["fr"], "en": row["en"]}} for row in read_sgml(pair, ("fr", "en"))
    ]
    bleu = {"metric_list": [{"metric": name} for name in ("bleu", "chrf", "ter")]}
    asked = {
        "lambada_openai": Asked(
            "lambada/lambada_openai.yaml",
            [{"text": json.loads(line)["text"]} for line in passages if line],
            {},
        ),
        "wikitext": Asked(
            "wikitext/wikitext.yaml", [{"page": page} for page in wikitext_pages(raw)], {}
        ),
        "nq_open": Asked(
            "nq_open/nq_open.yaml",
            [{"question": f"who built house {n}", "answer": ["Ada", "Ada T"]} for n in range(4)],
            {},
        ),
        "wmt14-fr-en": Asked(
            "translation/wmt14_fr-en.yaml", translations, {"fewshot_split": None, **bleu}
        ),
    }
    for name in ("hellaswag", "sst2"):
        case = lm_eval_choices.CASES[name]
        asked[name] = Asked(case.file, case.rows(SAMPLES), {})
    found = save_results(ROOT / "gpt2eval/demo/demo-base", asked, root / "output", root / "scratch")
    return Written(root / "output", found["results"])


@pytest.fixture(scope="module")
def imported(written: Written, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Imported]:
    """Under lm-eval's names."""
    found = import_results([written.directory], tmp_path_factory.mktemp("results"))
    return {each.result.task["name"]: each for each in found}


@pytest.fixture(scope="module")
def proved(written: Written, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Imported]:
    """Under our names, where the bundled samples prove that lm-eval asked the same."""
    output = tmp_path_factory.mktemp("results")
    found = import_results([written.directory], output, data="bundled")
    return {each.result.name: each for each in found}


def test_every_value_is_the_one_that_was_printed(
    written: Written, imported: dict[str, Imported]
) -> None:
    assert imported.keys() == written.printed.keys()
    for task, each in imported.items():
        values = {name: estimate.value for name, estimate in each.result.metrics.items()}
        assert values == written.values(task)
        assert each.result.task["protocol"] == "lm-eval"


def test_statistics_give_the_values_and_have_intervals(imported: dict[str, Imported]) -> None:
    for task, each in imported.items():
        run, found = each.result, metrics_of(each.result)
        assert run.path is not None
        records = list(read_records(run.path))
        # What sacrebleu makes of a whole corpus is no sum of what lm-eval keeps of a sample.
        assert found.keys() == (run.metrics.keys() if task != "wmt14-fr-en" else set())
        for name, metric in found.items():
            total = np.sum([record.statistics[name] for record in records], axis=0)
            assert float(metric.value(total)) == pytest.approx(run.metrics[name].value, rel=1e-12)
            assert run.metrics[name].low is not None


def test_answers_are_kept(imported: dict[str, Imported]) -> None:
    path = imported["nq_open"].result.path
    assert path is not None
    (first, *_) = read_records(path)
    assert first.references == ["Ada", "Ada T"]
    assert first.responses[0]["type"] == "generated"
    assert first.responses[0]["prediction"] == first.responses[0]["text"].strip()


def test_the_same_requests_prove_which_tasks_are_ours(
    written: Written, proved: dict[str, Imported]
) -> None:
    for theirs, (ours, names) in TWINS.items():
        each = proved[ours]
        assert each.note.startswith(f"the same requests as {ours}, all ")
        values = written.values(theirs)
        for metric, name in names.items():
            assert each.result.metrics[name].value == values[metric]
    # Other questions than those of the bundled file.
    assert proved["nq_open@lm-eval"].note.startswith("not natural_questions@lm-eval: document 0")


def test_imports_stand_beside_our_own_runs(
    proved: dict[str, Imported], evaluate: Callable[..., Run]
) -> None:
    """On the same data, sample by sample, with equal statistics."""
    demo = ROOT / "gpt2eval/demo/demo-base"
    for ours, names in TWINS.values():
        run, theirs = evaluate(demo, ours, SAMPLES), proved[ours].result
        own = run.result
        for key in ("sha256", "available", "selected", "subset"):
            assert theirs.data[key] == own.data[key]
        assert theirs.task["options"] == own.task["options"]
        assert theirs.path is not None
        records = {record.id: record for record in read_records(theirs.path)}
        assert records.keys() == {record["id"] for record in run.records}
        for record in run.records:
            for name in names.values():
                assert records[record["id"]].statistics[name] == pytest.approx(
                    record["statistics"][name], rel=1e-5, abs=1e-4
                )
        for name in names.values():
            assert own.metrics[name].signature == theirs.metrics[name].signature
    # Bundled and directory are told apart; that apart, one table holds both.
    theirs.data["source"] = "directory"  # type: ignore[index]
    files = report_files([own, theirs])
    assert "| demo-base (lm-eval) | checkpoint |" in files["tables/sst2@lm-eval.md"].decode()


def test_an_import_is_compared_with_our_own_run(
    proved: dict[str, Imported], evaluate: Callable[..., Run]
) -> None:
    """The same weights by both tools: no accuracy differs, and no perplexity by more than float."""
    demo = ROOT / "gpt2eval/demo/demo-base"
    for ours, names in TWINS.values():
        found = compare([evaluate(demo, ours, SAMPLES).result, proved[ours].result])
        assert {one.metric for one in found} >= set(names.values())
        for one in found:
            assert one.candidate == "demo-base (lm-eval)"
            assert one.n == proved[ours].result.data["selected"]
            assert one.candidate_value == pytest.approx(one.baseline_value, rel=1e-5)
            if one.unit == "fraction":
                assert (one.wins, one.losses, one.p) == (0, 0, None)


def test_a_limited_run_is_marked_as_a_subset(tmp_path: Path) -> None:
    passages = (SAMPLES / "lambada/lambada_test.jsonl").read_bytes().decode().split("\n")
    rows = [{"text": json.loads(line)["text"]} for line in passages if line]
    asked = {"lambada_openai": Asked("lambada/lambada_openai.yaml", rows, {})}
    demo = ROOT / "gpt2eval/demo/demo-base"
    save_results(demo, asked, tmp_path / "output", tmp_path / "scratch", limit=3)
    (one,) = import_results([tmp_path / "output"], tmp_path / "results", data="bundled")
    assert one.result.data["subset"] == "first 3"
    assert one.result.name == "lambada@openai"


def test_every_twin_is_a_task_of_lm_eval() -> None:
    """The names are lm-eval's own, each claimed once."""
    claimed = [
        protocol.lm_eval
        for task in discover().values()
        for protocol in task.protocols
        if protocol.lm_eval
    ]
    assert len(set(claimed)) == len(claimed) > 5
    tasks = Path(str(lm_eval_oracle.files("lm_eval"))) / "tasks"
    text = "\n".join(path.read_text("utf-8") for path in tasks.rglob("*.yaml"))
    for name in claimed:
        assert f"task: {name}\n" in text or f"group: {name}\n" in text


def exported(results: dict[str, Imported], output: Path) -> tuple[dict[str, Any], Path]:
    """What `export` makes of the imported results, and the directory that it is in."""
    (path,) = export([each.result.path for each in results.values()], "lm-eval", output).paths
    content: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return content, path.parent


def samples_of(directory: Path, task: str) -> list[dict[str, Any]]:
    (path,) = directory.rglob(f"samples_{task}_*.jsonl")
    return [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]


@pytest.mark.parametrize("names", ["theirs", "ours"])
def test_exported_again_it_is_what_lm_eval_wrote(
    written: Written,
    imported: dict[str, Imported],
    proved: dict[str, Imported],
    tmp_path: Path,
    names: str,
) -> None:
    """The same numbers under the same names, whichever names they had in between."""
    content, directory = exported(imported if names == "theirs" else proved, tmp_path)
    (path,) = written.directory.rglob("results_*.json")
    original = json.loads(path.read_text("utf-8"))
    assert content["results"].keys() == original["results"].keys()
    assert content["model_name_sanitized"] == original["model_name_sanitized"]
    for task, values in original["results"].items():
        found = content["results"][task]
        numbers = {key: x for key, x in values.items() if "," in key and "_stderr" not in key}
        assert {key: found.get(key) for key in numbers} == numbers
        assert found["sample_len"] == values["sample_len"]
        for key in ("versions", "n-shot", "n-samples"):
            assert content[key][task] == original[key][task]
        assert (
            content["higher_is_better"][task].items() >= original["higher_is_better"][task].items()
        )
        theirs, ours = samples_of(written.directory, task), samples_of(directory, task)
        assert [row["doc_id"] for row in ours] == [row["doc_id"] for row in theirs]
        for one, other in zip(ours, theirs, strict=True):
            for metric in original["higher_is_better"][task]:
                if task != "wmt14-fr-en":  # lm-eval keeps the texts there
                    assert one[metric] == pytest.approx(other[metric], rel=1e-12)
            assert one["filter"] == other["filter"]
            kept = [
                [text for text in given.values() if isinstance(text, str)]
                for given in other["arguments"].values()
            ]
            assert [
                [text for text in given.values() if isinstance(text, str)]
                for given in one["arguments"].values()
            ] == kept
            if task != "wikitext":  # the article before it was de-tokenised
                assert one["target"].strip() == other["target"].strip()
