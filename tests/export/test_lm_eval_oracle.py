"""lm-eval's own code reads what we export, and its task files have the names that we write."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from gpt2eval.export import export
from gpt2eval.peers.lm_eval_names import metric_name, twin
from gpt2eval.results import load_results
from gpt2eval.task import discover, twins

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.filterwarnings("ignore"),  # those of lm-eval and its dependencies
]


@pytest.fixture(scope="module")
def directory(scored: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    (path,) = export([scored], "lm-eval", tmp_path_factory.mktemp("lm")).paths
    return path.parent


@pytest.fixture(scope="module")
def content(directory: Path) -> dict[str, Any]:
    (path,) = directory.glob("results_*.json")
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found


def test_lm_evals_tables_print_it(scored: Path, content: dict[str, Any]) -> None:
    from lm_eval.utils import make_table

    cells = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in make_table(content).split("\n")
        if line
    ]
    printed, last = {}, ""
    for task, version, filter, shots, metric, arrow, value, _, error in cells[2:]:
        last = task or last  # only the first line of a task has its name
        printed[last, metric] = (version, filter, shots, arrow, value, error)
    results = {result.name: result for result in load_results(scored)}
    accuracy = results["hellaswag@lm-eval"].metrics["accuracy"]
    version, filter, shots, arrow, value, error = printed["hellaswag", "acc"]
    assert (version, filter, shots, arrow) == ("1", "none", "0", "↑")
    assert value == f"{accuracy.value:.4f}"
    assert float(error) > 0
    assert printed["nq_open", "exact_match"][:2] == ("4", "remove_whitespace")
    assert printed["wikitext", "bits_per_byte"][0] == "2"
    assert any(task.startswith("- blimp_") for task, _ in printed)
    groups = make_table(content, "groups")
    assert "blimp" in groups
    assert "lambada" not in groups


def test_standard_errors_are_lm_evals(content: dict[str, Any], directory: Path) -> None:
    from lm_eval.api.metrics import mean_stderr

    compared = 0
    for task, config in content["configs"].items():
        (path,) = directory.glob(f"samples_{task}_*.jsonl")
        rows = [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]
        for entry in config["metric_list"]:
            if entry["aggregation"] != "mean" or len(rows) < 2:
                continue
            name, filter = entry["metric"], twin(config.get("group", task)).filter
            error = content["results"][task][f"{name}_stderr,{filter}"]
            assert error == pytest.approx(mean_stderr([row[name] for row in rows]), abs=1e-15)
            compared += 1
    assert compared > 5


def test_a_perplexitys_error_is_near_lm_evals_bootstrap(benchmarks: Path, tmp_path: Path) -> None:
    """Half the interval over 1.96 against 1,000 resamples by lm-eval."""
    from lm_eval.api.metrics import bootstrap_stderr, perplexity

    path = export([benchmarks / "demo-base"], "lm-eval", tmp_path).paths[0]
    (samples,) = path.parent.glob("samples_lambada_openai_*.jsonl")
    rows = [json.loads(line) for line in samples.read_text("utf-8").split("\n") if line]
    own = json.loads(path.read_text("utf-8"))["results"]["lambada_openai"]
    theirs = bootstrap_stderr(perplexity, [row["perplexity"] for row in rows], 1000)
    assert own["perplexity_stderr,none"] == pytest.approx(theirs, rel=0.25)


def test_lm_evals_loggers_read_the_samples(content: dict[str, Any], directory: Path) -> None:
    """The tables that it makes for W&B, of what its tracker would have had in memory."""
    from lm_eval.loggers.wandb_logger import WandbLogger

    for task, config in content["configs"].items():
        (path,) = directory.glob(f"samples_{task}_*.jsonl")
        rows = [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]
        for row in rows:  # the tracker turns the lists into these before it writes them
            row["arguments"] = [list(given.values()) for given in row["arguments"].values()]
        logger: Any = SimpleNamespace()
        frame = WandbLogger._generate_dataset(logger, rows, config)
        assert len(frame) == content["n-samples"][task]["effective"]
        assert frame["input_len"].min() >= 0


def test_lm_evals_helpers_read_the_names(directory: Path, content: dict[str, Any]) -> None:
    from lm_eval.utils import (
        get_file_datetime,
        get_file_task_name,
        get_results_filenames,
        get_sample_results_filenames,
        sanitize_model_name,
    )

    names = [str(path) for path in directory.iterdir()]
    assert len(get_results_filenames(names)) == 1
    found = get_sample_results_filenames(names)
    assert len(found) == len(names) - 1
    tasks = {get_file_task_name(Path(name).name) for name in found}
    assert tasks == set(content["configs"])
    assert len({get_file_datetime(Path(name).name) for name in found}) == 1
    assert directory.name == sanitize_model_name(content["model_name"])


class Loader(yaml.SafeLoader):
    """Reads a task file of lm-eval without running the functions that it names."""


Loader.add_multi_constructor("!function", lambda loader, suffix, node: str(node.value))


def task_file(name: str) -> dict[str, Any]:
    """lm-eval's own file of a task or group, with what it includes."""
    root = Path(str(files("lm_eval"))) / "tasks"
    found = [
        path
        for path in sorted(root.rglob("*.yaml"))
        if re.search(rf"^(task|group): {re.escape(name)}$", path.read_text("utf-8"), re.M)
    ]
    assert found, f"lm-eval has no task {name}"
    # Suites of other benchmarks have tasks of the same names; the nearest file is its own.
    return read_task(min(found, key=lambda path: (name not in path.parts, len(path.parts))))


def read_task(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.load(path.read_text("utf-8"), Loader)
    included = content.get("include")
    base = read_task(path.parent / included) if included else {}
    return base | content


@pytest.mark.parametrize("name", sorted(twins(discover())))
def test_names_are_those_of_lm_evals_own_files(name: str) -> None:
    told = task_file(name)
    own = twin(name)
    assert told["metadata"]["version"] == own.version
    filters = [entry["name"] for entry in told.get("filter_list", [{"name": "none"}])]
    assert filters == [own.filter]
    assert own.group == ("group" in told and told["group"] == name)
    metrics = {
        entry["metric"] for entry in told.get("metric_list") or told["aggregate_metric_list"]
    }
    _, protocol = twins(discover())[name]
    ours = {metric_name(name, metric.name) for metric in protocol.metrics if not metric.part}
    assert metrics - ours <= {"ter"}  # which we do not compute
