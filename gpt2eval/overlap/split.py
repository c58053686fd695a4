"""Scores of results on samples that overlap with a training corpus, and on those that do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gpt2eval.compare.functions import function_of
from gpt2eval.compare.records import Run, read_run
from gpt2eval.compare.selection import by_task
from gpt2eval.errors import ComparisonError, UsageError
from gpt2eval.labels import checkpoint_labels
from gpt2eval.overlap import Overlap, TaskOverlap
from gpt2eval.stats import estimate
from gpt2eval.task import Metric, Task, discover
from gpt2eval.types import Estimate, Result, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

CLEAN, OVERLAPPING, TOO_SHORT = "clean", "overlapping", "too short"


@dataclass(frozen=True, slots=True)
class Rule:
    """When a sample overlaps: more than this share of its runs of `size` words is in the corpus."""

    size: int = 13
    above: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.above < 1:
            raise UsageError(f"--overlap-above {self.above}; expected a share from 0 up, below 1")

    def __str__(self) -> str:
        many = f"more than {self.above:.4g} of" if self.above else "any of"
        return f"{many} their runs of {self.size} words"


def kinds_of(found: TaskOverlap, rule: Rule) -> dict[str, str]:
    """Sample id -> whether it is clean, overlapping, or shorter than a run."""
    counts = found.samples.get(rule.size)
    if counts is None:
        sizes = " or ".join(map(str, found.samples))
        raise UsageError(f"--overlap-words {rule.size}: the file has runs of {sizes} words")
    return {
        name: TOO_SHORT if not runs else OVERLAPPING if hits / runs > rule.above else CLEAN
        for name, (hits, runs) in counts.items()
    }


def of_results(
    overlap: Overlap, results: Sequence[Result], rule: Rule
) -> dict[str, dict[str, str]]:
    """Task@protocol of results -> sample id -> its kind.

    Raises ComparisonError where overlap and results are not of the same data.
    """
    known = {found.task: found for found in overlap.tasks}
    kinds: dict[str, dict[str, str]] = {}
    for result in results:
        found = known.get(result.name)
        if found is None:
            continue
        for what, ours, theirs in (
            ("version of the task", found.version, result.task.get("version")),
            ("data digest", found.data.get("sha256"), result.data.get("sha256")),
        ):
            if ours != theirs:
                raise ComparisonError(
                    f"{result.name} of {result.checkpoint['name']}: the {what} is"
                    f" {str(theirs)[:12]}, and {str(ours)[:12]} in the overlap; make the overlap"
                    " of the data that were scored"
                )
        kinds.setdefault(result.name, kinds_of(found, rule))
    if not kinds:
        raise ComparisonError(
            f"the overlap is of {', '.join(known)}, and none of the results is; make it of"
            f" {', '.join(dict.fromkeys(result.name for result in results))}"
        )
    return kinds


def clean_samples(
    overlap: Overlap, results: Sequence[Result], rule: Rule
) -> dict[str, frozenset[str]]:
    """Task@protocol -> ids of the samples that do not overlap, for `compare(only=...)`."""
    return {
        task: frozenset(name for name, kind in kinds.items() if kind == CLEAN)
        for task, kinds in of_results(overlap, results, rule).items()
    }


def split(
    results: Sequence[Result],
    overlap: Overlap,
    rule: Rule,
    *,
    tasks_dir: str | Path | None = None,
) -> list[Split]:
    """Every metric of the results of the tasks that the overlap has, on each kind of samples.

    Parts, and values that are no sum over samples, are left out. Raises ComparisonError where
    overlap and results are not of the same data, or the records of a run are damaged.
    """
    kinds, tasks = of_results(overlap, results, rule), discover(tasks_dir)
    labelled = zip(checkpoint_labels(results), results, strict=True)
    found: list[Split] = []
    for task, runs in by_task(labelled).items():
        if task not in kinds:
            continue
        for name, result in runs.items():
            run = read_run(result)
            lacking = [sample for sample in run.ids if sample not in kinds[task]]
            if lacking:
                raise ComparisonError(
                    f"{task} of {name}: the overlap does not have {len(lacking)} of its samples, as"
                    f" {lacking[0]!r}; make it of all samples, without --limit"
                )
            found += _of_run(name, run, kinds[task], tasks)
    return found


def _of_run(
    name: str, run: Run, kinds: Mapping[str, str], tasks: Mapping[str, Task]
) -> list[Split]:
    found = []
    for metric, whole in run.result.metrics.items():
        if whole.part or metric not in run.rows:
            continue
        function = function_of(run, metric, tasks)
        if function.kind == "untested":
            continue
        numbers, table = run.rows[metric]
        like = Metric(
            metric,
            lambda _sample, _responses: [],
            function.value,
            whole.unit,
            "samples",
            whole.higher_is_better,
            interval="wilson" if function.kind == "share" else "bootstrap",
        )
        of_kind = np.array([kinds[run.ids[number]] for number in numbers])
        estimates = {"all": whole}
        for kind in (CLEAN, OVERLAPPING):
            part = of_kind == kind
            if part.any():
                estimates[kind] = _estimate(like, table[part], run, numbers[part])
        found.append(Split(run.result.name, name, metric, estimates))
    return found


def _estimate(
    metric: Metric, table: NDArray[np.float64], run: Run, numbers: NDArray[np.intp]
) -> Estimate:
    groups = [run.groups[number] for number in numbers]
    return estimate(metric, table, groups, np.random.default_rng(0))
