"""Runs of lm-evaluation-harness -> Results in our store; runs of lighteval likewise.

A task keeps lm-eval's name, with the protocol "lm-eval": `lambada_openai@lm-eval`. Where one of our
protocols says that it asks the same (`Protocol.lm_eval`) and the data are at hand, every request is
compared with what lm-eval asked; if all are equal the result is one of ours, `lambada@openai`, on
the same data, and compares with ours sample by sample.

Values are those that lm-eval printed. Statistics of samples are kept where they give that value;
where they do not, or where lm-eval kept none, the value stands alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from gpt2eval.digests import digest_files
from gpt2eval.errors import DataError
from gpt2eval.naming import safe_name
from gpt2eval.peers.answers import write_records
from gpt2eval.peers.lm_eval import Document, Run, read_documents, read_runs
from gpt2eval.peers.matching import match_ours
from gpt2eval.peers.sections import sections_of, signature_of
from gpt2eval.peers.values import estimates_of, metric_of
from gpt2eval.results import (
    FORMAT,
    RESULT,
    prepare_output,
    read_result,
    run_directory,
    write_result,
)
from gpt2eval.task import Metric, Protocol, Task, discover
from gpt2eval.types import Result


@dataclass(frozen=True, slots=True)
class Imported:
    """The result, and in words what there was to say about it."""

    result: Result
    note: str


def import_results(
    names: Sequence[str | Path],
    output: str | Path = "results",
    *,
    data: str | None = None,
    tasks_dir: str | None = None,
) -> list[Imported]:
    """Read lm-eval's or lighteval's files and keep each task as a run, or read the run again.

    names      results_*.json, or directories that hold some
    data       where our tasks find their data ("bundled", "hub" or a directory), to prove which of
               lm-eval's tasks ask the same as ours; None: all keep lm-eval's names

    Raises UsageError and DataError for files that lm-eval did not write.
    """
    runs = read_runs(names)
    ours = _ours(tasks_dir) if data is not None else {}
    prepare_output(Path(output))
    return [
        _import(run, checkpoint, task, Path(output), ours.get(task), data)
        for run, checkpoint in zip(runs, _checkpoint_names(runs), strict=True)
        for task in run.tasks
    ]


def metrics_of(result: Result) -> dict[str, Metric]:
    """The metrics of an imported result that the statistics of its records belong to."""
    found = {}
    for name, estimate in result.metrics.items():
        parts = dict(part.partition(":")[::2] for part in estimate.signature.split("|"))
        metric = metric_of(name, parts.get("aggregation", ""), estimate.signature)
        if metric is not None and "statistics" in parts:
            found[name] = metric
    return found


def _ours(tasks_dir: str | None) -> dict[str, tuple[Task, Protocol]]:
    """lm-eval's task -> the protocol of ours that asks the same; without one, `export`'s name."""
    return {
        protocol.lm_eval or f"{task.name}@{protocol.name}": (task, protocol)
        for task in discover(tasks_dir).values()
        for protocol in task.protocols
    }


def _checkpoint_names(runs: Sequence[Run]) -> list[str]:
    """A name for the model of each run; two models have the same one only if lm-eval says so."""
    models = [run.model for run in runs]
    short = {
        model: safe_name(model if not PurePath(model).is_absolute() else PurePath(model).name)
        for model in models
    }
    used = list(short.values())
    return [
        safe_name(f"{PurePath(model).parent.name}-{short[model]}")
        if used.count(short[model]) > 1
        else short[model]
        for model in models
    ]


def _import(
    run: Run,
    checkpoint: str,
    task: str,
    output: Path,
    twin: tuple[Task, Protocol] | None,
    data: str | None,
) -> Imported:
    path = run.samples_path(task)
    documents = list(read_documents(path)) if path else []
    _check_documents(run, task, path, documents)
    work, documents, note = match_ours(run, documents, twin, data)
    sections = sections_of(run, checkpoint, task, documents, work)
    name = f"{sections['task']['name']}@{sections['task']['protocol']}"
    identity = {
        "format": FORMAT,
        "tool": run.tool,
        "task": task,
        "name": name,
        "results": digest_files([run.path]),
        "samples": digest_files([path]) if path else "",
        "data": sections["data"]["sha256"],
    }
    directory = run_directory(output, checkpoint, name, identity)
    if not (directory / RESULT).exists():
        estimates, statistics = estimates_of(run, task, documents, work)
        write_records(directory, documents, statistics, work)
        result = Result(
            **sections,
            metrics=estimates,
            ledger={},
            signature=signature_of(run, sections),
            path=directory,
        )
        write_result(result, directory)
    told = [note] if note else []
    told += [] if path else ["no samples were logged: values only"]
    return Imported(read_result(directory), "; ".join(told))


def _check_documents(run: Run, task: str, path: Path | None, documents: list[Document]) -> None:
    """DataError where the samples are not those of the results."""
    if path is None:
        return
    counted = run.of("n-samples", task)
    told = counted.get("effective") if isinstance(counted, Mapping) else None
    found = len({document.id for document in documents})
    if not found or (isinstance(told, int) and found != told):
        raise DataError(
            f"{path} has {found} samples of task {task!r}, {run.path.name} counts {told}; one of"
            " the two files is cut short or of another run. Copy both again, or remove the samples"
            " to import the values alone"
        )
    seen: set[tuple[int, str]] = set()
    for document in documents:
        key = (document.id, document.filter)
        if key in seen:
            raise DataError(
                f"{path} has document {document.id} twice under filter {document.filter!r};"
                " lm-eval appends to a file that is there already. Remove one of the two runs in it"
            )
        seen.add(key)
