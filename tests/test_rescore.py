"""Numbers made again from records: the law over all tasks, and what can be wrong with a run."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

import gpt2eval
from gpt2eval import metrics, stats
from gpt2eval.errors import StoreError, TaskError, UsageError
from gpt2eval.rescore import Rescored, rescore, rescore_all, write_rescored
from gpt2eval.results import read_records, read_result
from gpt2eval.task import Metric, Task, discover
from gpt2eval.types import Result
from tests.checkpoints import make_checkpoint
from tests.data.directory import write_data
from tests.test_task import BUILT_IN, BUNDLED

pytestmark = pytest.mark.usefixtures("empty_directory")

RESAMPLE = stats.resample


@pytest.fixture(scope="module", autouse=True)
def rough_intervals() -> object:
    """Ten thousand resamples of each metric would be most of the time of these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stats, "resample", partial(stats.resample, resamples=50))
        patch.setattr(stats, "CORPUS_RESAMPLES", 20)
        yield


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(
        tmp_path_factory.mktemp("model") / "small", n_positions=160, n_embd=16, n_layer=1
    )


@pytest.fixture(scope="module")
def everything(
    checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Result, Rescored]]:
    """Every task that has bundled samples, as it was run and as it is rescored."""
    output = tmp_path_factory.mktemp("everything")
    gpt2eval.run(
        models=checkpoint,
        tasks=",".join(BUNDLED),
        data="bundled",
        output=str(output),
        device="cpu",
    )
    return {one.result.name: (one.result, one) for one in rescore_all([output])}


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def finished(checkpoint: Path, toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run of LAMBADA on files of one's own; copy it before changing it."""
    output = tmp_path_factory.mktemp("finished")
    (result,) = gpt2eval.run(
        models=checkpoint, tasks="lambada", data=str(toy), output=str(output), device="cpu"
    )
    assert result.path is not None
    return result.path


@pytest.fixture
def real(checkpoint: Path, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same with all resamples, as the command line has them."""
    monkeypatch.setattr(stats, "resample", RESAMPLE)
    gpt2eval.run(
        models=checkpoint, tasks="lambada", data=str(toy), output=str(tmp_path), device="cpu"
    )
    (found,) = tmp_path.rglob("result.json")
    return found.parent


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


# ---- the law ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BUNDLED)
def test_records_alone_reproduce_the_score(
    name: str, everything: dict[str, tuple[Result, Rescored]]
) -> None:
    """From the responses, to the last bit: values, intervals, denominators, baselines."""
    recorded, again = everything[name]
    assert (again.source, again.note, again.problem) == ("responses", "", "")
    assert again.metrics == recorded.metrics
    assert again.baselines == recorded.baselines
    assert recorded.metrics
    assert again.reproduced


@pytest.mark.parametrize("name", BUNDLED)
def test_statistics_alone_reproduce_the_score(
    name: str, everything: dict[str, tuple[Result, Rescored]]
) -> None:
    """Without the data, as on a machine that only has the results."""
    recorded, _ = everything[name]
    elsewhere = replace(recorded, data={**recorded.data, "source": "directory"})
    again = rescore(elsewhere, BUILT_IN)
    assert again.source == "statistics"
    assert "name it with --data" in again.note
    assert again.metrics == recorded.metrics
    assert again.reproduced


def test_the_law_is_about_every_kind_of_number(
    everything: dict[str, tuple[Result, Rescored]],
) -> None:
    found = [one for _, again in everything.values() for one in again.numbers]
    assert {number.verdict for number in found} == {"same"}
    assert any(number.system for number in found)
    assert any(number.recorded and number.recorded.part for number in found)
    units = {number.recorded.unit for number in found if number.recorded}
    assert {"perplexity", "bits", "fraction", "points"} <= units


def test_the_order_of_records_does_not_matter(run: Path, toy: Path) -> None:
    """They are written as samples complete, which depends on the batches."""
    recorded = read_result(run)
    lines = (run / "records.jsonl").read_text("utf-8").splitlines(keepends=True)
    assert len(lines) > 3
    (run / "records.jsonl").write_text("".join(reversed(lines)), "utf-8")
    for data in (None, str(toy)):
        assert rescore(recorded, BUILT_IN, data=data).metrics == recorded.metrics


# ---- what differs -------------------------------------------------------------------------------


def edit(run: Path, change: Callable[[dict[str, object]], None], line: int = 0) -> None:
    """Change one record of a run."""
    lines = (run / "records.jsonl").read_text("utf-8").splitlines()
    content = json.loads(lines[line])
    change(content)
    lines[line] = json.dumps(content)
    (run / "records.jsonl").write_text("\n".join(lines) + "\n", "utf-8")


def test_a_changed_response_is_seen(run: Path, toy: Path) -> None:
    def make_certain(record: dict[str, object]) -> None:
        (response,) = record["responses"]  # type: ignore[misc]
        response["logprobs"] = [-0.5 for _ in response["logprobs"]]

    edit(run, make_certain)
    by_responses = rescore(read_result(run), BUILT_IN, data=str(toy))
    verdicts = {number.metric: number.verdict for number in by_responses.numbers}
    assert verdicts == {"accuracy": "same", "perplexity": "differs"}
    assert not by_responses.reproduced
    # The statistics as recorded say nothing of the responses.
    assert rescore(read_result(run), BUILT_IN).reproduced


def test_a_changed_number_is_seen(run: Path) -> None:
    content = json.loads((run / "result.json").read_text())
    content["metrics"]["accuracy"]["high"] += 0.001
    (run / "result.json").write_text(json.dumps(content))
    verdicts = {n.metric: n.verdict for n in rescore(read_result(run), BUILT_IN).numbers}
    assert verdicts == {"accuracy": "differs", "perplexity": "same"}


# ---- a metric that the run did not have ---------------------------------------------------------


def with_metrics(*more: Metric, drop: str = "") -> dict[str, Task]:
    """The built-in tasks, LAMBADA's first protocol with other metrics."""
    tasks = discover()
    task = tasks["lambada"]
    first, *others = task.protocols
    kept = tuple(metric for metric in first.metrics if metric.name != drop)
    changed = replace(first, metrics=(*kept, *more))
    return {**tasks, "lambada": replace(task, protocols=(changed, *others))}


LAST = metrics.accuracy("accuracy_last", tokens="last")


def test_a_new_metric_comes_from_the_responses(run: Path, toy: Path) -> None:
    """It is what a run that had it from the start would say."""
    again = rescore(read_result(run), with_metrics(LAST), data=str(toy))
    assert {n.metric: n.verdict for n in again.numbers} == {
        "accuracy": "same",
        "perplexity": "same",
        "accuracy_last": "new",
    }
    assert again.reproduced
    right = [record.responses[0]["greedy"][-1] == "1" for record in read_records(run)]
    assert again.metrics["accuracy_last"].value == pytest.approx(sum(right) / len(right))

    write_rescored(again)
    written = read_result(run)
    assert list(written.metrics) == ["accuracy", "perplexity", "accuracy_last"]
    assert written.run["rescored"]["from"] == "responses"
    assert written.run["rescored"]["versions"]["gpt2eval"] == gpt2eval.__version__
    # What was written can be made again, now from the statistics alone.
    assert rescore(written, with_metrics(LAST)).metrics == written.metrics
    assert not list(run.glob("*.partial"))


def test_a_new_metric_needs_the_data(run: Path) -> None:
    again = rescore(read_result(run), with_metrics(LAST))
    assert "accuracy_last" not in again.metrics
    assert "lambada/lambada_test.jsonl from a directory; name it with --data" in again.note


def test_a_metric_that_the_task_lost_is_not_reproduced(run: Path) -> None:
    again = rescore(read_result(run), with_metrics(drop="perplexity"))
    assert {n.metric: n.verdict for n in again.numbers} == {
        "accuracy": "same",
        "perplexity": "gone",
    }
    assert not again.reproduced


# ---- what is wrong with a run -------------------------------------------------------------------


def test_other_data_are_not_used(run: Path, toy: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(toy, tmp_path / "other"))
    with (other / "lambada" / "lambada_test.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"text": "One more passage that ends in a word"}\n')
    again = rescore(read_result(run), BUILT_IN, data=str(other))
    assert again.source == "statistics"
    assert "the data are not those of the run: sha256" in again.note
    assert again.reproduced


def test_missing_records_are_an_error(run: Path) -> None:
    lines = (run / "records.jsonl").read_text("utf-8").splitlines(keepends=True)
    (run / "records.jsonl").write_text("".join(lines[1:]), "utf-8")
    with pytest.raises(StoreError, match=r"records\.jsonl holds \d+ samples; the result is of"):
        rescore(read_result(run), BUILT_IN)


def test_a_record_written_twice_counts_once(run: Path, toy: Path) -> None:
    with (run / "records.jsonl").open("a", encoding="utf-8") as file:
        file.write((run / "records.jsonl").read_text("utf-8").splitlines()[0] + "\n")
    assert rescore(read_result(run), BUILT_IN, data=str(toy)).reproduced


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda record: record["responses"][0].pop("logprobs"), "whose responses cannot be read"),
        (lambda record: record["responses"].clear(), "needs Score or Rolling requests"),
    ],
)
def test_damaged_responses_are_named(
    run: Path, toy: Path, change: Callable[[dict[str, object]], None], message: str
) -> None:
    edit(run, change)
    with pytest.raises((StoreError, TaskError), match=message):
        rescore(read_result(run), BUILT_IN, data=str(toy))


def test_statistics_that_do_not_fit_are_named(run: Path) -> None:
    edit(run, lambda record: record["statistics"].update(accuracy=[1.0]))  # type: ignore[attr-defined]
    with pytest.raises(StoreError, match="statistics that do not fit its metrics"):
        rescore(read_result(run), BUILT_IN)


def test_another_version_of_the_task_is_refused(run: Path) -> None:
    tasks = {**BUILT_IN, "lambada": replace(BUILT_IN["lambada"], version=2)}
    with pytest.raises(TaskError, match="is of version 1 of lambada; here it has version 2"):
        rescore(read_result(run), tasks)


def test_a_task_that_is_not_here_is_a_problem_of_its_own(run: Path, tmp_path: Path) -> None:
    """The other results are rescored all the same."""
    stranger = Path(shutil.copytree(run, tmp_path / "runs" / "b"))
    shutil.copytree(run, tmp_path / "runs" / "a")
    text = (stranger / "result.json").read_text()
    (stranger / "result.json").write_text(text.replace('"name": "lambada"', '"name": "capitals"'))
    own, other = rescore_all([tmp_path / "runs"])
    assert own.reproduced
    assert not other.reproduced
    assert "there is no capitals@openai here" in other.problem
    with pytest.raises(UsageError, match="nothing to write"):
        write_rescored(other)


def test_timings_are_not_rescored(run: Path, tmp_path: Path) -> None:
    text = (run / "result.json").read_text()
    (run / "result.json").write_text(text.replace('"kind": "likelihood"', '"kind": "speed"'))
    with pytest.raises(UsageError, match="timings only"):
        rescore_all([tmp_path])


def test_a_directory_that_no_run_read_is_an_error(run: Path, toy: Path) -> None:
    text = (run / "result.json").read_text()
    (run / "result.json").write_text(text.replace('"source": "directory"', '"source": "bundled"'))
    with pytest.raises(UsageError, match="none of these runs read a directory"):
        rescore_all([run], data=str(toy))


# ---- the command --------------------------------------------------------------------------------


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gpt2eval", "rescore", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_command_says_what_is_the_same(real: Path, toy: Path) -> None:
    done = command(real, "--data", toy)
    assert done.returncode == 0, done.stderr
    assert "lambada@openai of small" in done.stdout
    assert "1 of 1 results reproduced" in done.stdout
    assert "statistics as recorded" not in done.stdout
    assert "statistics as recorded" in command(real).stdout


def test_the_command_fails_where_a_number_differs(real: Path) -> None:
    content = json.loads((real / "result.json").read_text())
    content["metrics"]["accuracy"]["value"] += 0.001
    (real / "result.json").write_text(json.dumps(content))
    done = command(real)
    assert done.returncode == 1
    assert "differs" in done.stdout
    assert "0 of 1 results reproduced" in done.stdout
    # Written over, the numbers are those of the records.
    assert command(real, "--write").returncode == 1
    assert command(real).returncode == 0


def test_the_command_without_results_says_what_it_expects(tmp_path: Path) -> None:
    done = command(tmp_path)
    assert done.returncode == 2
    assert "holds no result.json" in done.stderr
    assert "Traceback" not in done.stderr


def test_rescoring_needs_no_torch() -> None:
    code = "import sys, gpt2eval.rescore; print({'torch', 'transformers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
