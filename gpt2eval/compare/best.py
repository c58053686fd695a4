"""The best of many checkpoints by one metric, after allowing for how many were looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gpt2eval.compare.comparable import check_comparable
from gpt2eval.compare.functions import Function, shared_function
from gpt2eval.compare.records import Reader, Run, read_run, units_of
from gpt2eval.compare.selection import label, wanted_metrics
from gpt2eval.compare.verdicts import FEW_UNITS
from gpt2eval.errors import ComparisonError, UsageError
from gpt2eval.labels import is_bundled, training_step
from gpt2eval.results import Found
from gpt2eval.stats import FEW_UNITS as FEW_THAT_DIFFER
from gpt2eval.stats import LEVEL, wilson
from gpt2eval.task import discover
from gpt2eval.types import Estimate, Result
from gpt2eval.winner import RESAMPLES, Choice, choose

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Value = Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Candidate:
    """One of the checkpoints of a choice.

    value, low, high  as in its result: the interval is that of a checkpoint that was not chosen
    behind            difference to the best, in the unit of the metric
    p                 that no other is better, corrected for how many others there are
    member            whether it cannot be told from the best
    step              of training, where the name or an experiment file says it
    """

    checkpoint: str
    value: float
    low: float | None
    high: float | None
    behind: float
    p: float
    member: bool
    step: int | None = None


@dataclass(frozen=True, slots=True)
class Best:
    """The best checkpoint by a metric of a task@protocol.

    value            its score, which is too good by the luck of the chosen
    corrected        what is to be expected of it on samples that did not choose it
    low, high        interval of its true score, corrected for the choice
    candidates       all checkpoints, the best first
    method           how all of this was made, in words
    note             what a reader has to know besides
    """

    task: str
    metric: str
    unit: str
    higher_is_better: bool
    checkpoint: str
    value: float
    corrected: float
    low: float
    high: float
    level: float
    n: int
    units: int
    candidates: Sequence[Candidate]
    method: str
    note: str = ""

    @property
    def members(self) -> list[str]:
        """The confidence set: with probability `level` the truly best checkpoint is in it."""
        return [one.checkpoint for one in self.candidates if one.member]


def best(
    results: Sequence[Result],
    metric: str,
    *,
    seed: int = 0,
    level: float = LEVEL,
    tasks_dir: str | Path | None = None,
    read: Reader = read_run,
) -> Best:
    """The best checkpoint by a metric, which others it may be, and how good it is.

    Args:
        results: of two checkpoints or more; their `path` holds the records.
        metric: "lambada@openai/accuracy", or less if that says which one is meant.
        seed: of the resamples.
        level: of the interval and of the set.
        tasks_dir: directory with task files of the user's own.
        read: gives the records of a result.

    Raises:
        ComparisonError: results that do not answer the same question, or are damaged.
        UsageError: a metric that is not there, has no better direction, or is one of several.
    """
    if not 0.5 <= level < 1:
        raise UsageError(f"--level {level}; expected a share such as 0.95")
    labelled = label(results)
    task, name = _meant(labelled, metric)
    runs = {one: result for one, result in labelled if result.name == task}
    if len(runs) < 2:
        raise ComparisonError(
            f"{task} was scored for {', '.join(runs)} alone; expected two checkpoints or more to"
            " choose from"
        )
    estimates = {one: result.metrics[name] for one, result in runs.items()}
    shown = next(iter(estimates.values()))
    if shown.higher_is_better is None:
        raise UsageError(
            f"--metric {metric!r}: {name} has no better direction, so there is no best"
        )
    systems, function, n, note = _same_units(runs, name, tasks_dir, read)
    choice = _choose(systems, function.value, shown, seed, level)
    if function.kind == "share":
        choice = _with_few(choice, len(systems[0]), len(systems), level)
    return _told(task, name, runs, choice, (shown, level, seed, n, len(systems[0]), note))


def _meant(labelled: Sequence[tuple[str, Result]], metric: str) -> tuple[str, str]:
    """The one metric that is named; UsageError where several are."""
    wanted = wanted_metrics(labelled, (metric,))
    found = dict.fromkeys(
        (result.name, name)
        for _, result in labelled
        for name in result.metrics
        if wanted(result.name, name)
    )
    if len(found) > 1:
        several = [f"{task}/{name}" for task, name in found]
        more = ", ..." if len(several) > 8 else ""
        raise UsageError(
            f"--metric {metric!r} is one of several: {', '.join(several[:8])}{more}; name the one"
            " that decides"
        )
    return next(iter(found))


def _same_units(
    runs: Mapping[str, Result], metric: str, tasks_dir: str | Path | None, reader: Reader
) -> tuple[list[NDArray[np.float64]], Function, int, str]:
    """Statistics [units, k] of each checkpoint on the samples all have, and what they give."""
    read = {one: reader(result) for one, result in runs.items()}
    (first, ours), *others = read.items()
    for one, run in others:
        check_comparable((first, ours.result), (one, run.result), samples=True)
    shared = set(ours.ids).intersection(*(run.ids for _, run in others))
    for one, run in read.items():
        if not run.failed and not any(other.failed for other in read.values()):
            _check_same(first, ours, one, run)
    tasks = discover(tasks_dir)
    functions: dict[str, Function] = {}
    function = None
    for _, run in others:
        function = shared_function(ours, run, metric, functions, tasks)
    assert function is not None
    if function.kind == "untested":
        raise UsageError(f"--metric {metric}: {function.reason}, and cannot be resampled")
    systems, counts = [], set()
    for run in read.values():
        kept = np.array([n for n, name in enumerate(run.ids) if name in shared], dtype=np.intp)
        units, n = units_of(run, metric, None if len(kept) == len(run.ids) else kept)
        systems.append(units)
        counts.add((n, units.shape))
    if len(counts) > 1:
        raise ComparisonError(
            f"{ours.result.name}: the checkpoints have {metric} on different samples; score all by"
            " the same version of the task"
        )
    held = np.any([units.any(axis=1) for units in systems], axis=0)
    if held.sum() < 2:
        raise ComparisonError(
            f"{ours.result.name}: {int(held.sum())} units; a choice needs two samples or more"
        )
    lost = len(ours.ids) + ours.failed - len(shared)
    notes = [f"{lost:,} samples that failed for some are left out"] if lost else []
    if held.sum() < FEW_UNITS:
        notes.append(f"{int(held.sum())} units: set and interval are rough")
    return [units[held] for units in systems], function, n, "; ".join(notes)


def _check_same(first: str, ours: Run, other: str, theirs: Run) -> None:
    """ComparisonError where the samples are not the same, or not with the same answers."""
    same = (ours.ids, ours.groups, ours.references) == (
        theirs.ids,
        theirs.groups,
        theirs.references,
    )
    if not same:
        raise ComparisonError(
            f"{ours.result.name}: {first} and {other} cannot be compared: samples, groups or"
            f" references differ between {ours.result.path} and {theirs.result.path}; score both"
            " on the same data"
        )


def _choose(
    systems: Sequence[NDArray[np.float64]], value: Value, shown: Estimate, seed: int, level: float
) -> Choice:
    """Perplexities are compared by their logarithm: a mean, whatever their size."""
    sign = 1.0 if shown.higher_is_better else -1.0

    def score(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        found = value(sums)
        return sign * (np.log(found) if shown.unit == "perplexity" else found)

    try:
        return choose(systems, score, np.random.default_rng(seed), level=level)
    except ValueError as error:
        raise ComparisonError(f"{error}; there is nothing to choose from") from error


def _with_few(choice: Choice, units: int, systems: int, level: float) -> Choice:
    """Where nearly all units of the best agree, so do resamples: Wilson's interval instead.

    Its lower bound is at the level that holds for all systems at once (Bonferroni).
    """
    right = float(choice.scores[choice.best]) * units
    if min(right, units - right) >= FEW_THAT_DIFFER:
        return choice
    low, _ = wilson(right, units, 1 - (1 - level) / systems)
    _, high = wilson(right, units, level)
    return replace(choice, low=low, high=high)


def _told(
    task: str,
    metric: str,
    runs: Mapping[str, Result],
    choice: Choice,
    about: tuple[Estimate, float, int, int, int, str],
) -> Best:
    """The choice in the unit of the metric."""
    shown, level, seed, n, units, note = about
    sign = 1.0 if shown.higher_is_better else -1.0

    def back(score: float) -> float:
        with np.errstate(over="ignore"):
            found = float(np.exp(sign * score)) if shown.unit == "perplexity" else sign * score
        return min(max(found, 0.0), 1.0) if shown.unit == "fraction" else found

    labels, members = list(runs), set(choice.members(level))
    top = back(float(choice.scores[choice.best]))
    candidates = []
    for number in np.argsort(-choice.scores, kind="stable"):
        name, result = labels[number], runs[labels[number]]
        estimate, value = result.metrics[metric], back(float(choice.scores[number]))
        candidates.append(
            Candidate(
                name,
                value,
                estimate.low,
                estimate.high,
                value - top,
                float(choice.p[number]),
                int(number) in members,
                step[1] if (step := training_step(result)) else None,
            )
        )
    low, high = sorted((back(choice.low), back(choice.high)))
    if equal := [one.checkpoint for one in candidates[1:] if one.behind == 0]:
        note = "; ".join(filter(None, (note, f"as good to the last digit: {', '.join(equal)}")))
    return Best(
        task=task,
        metric=metric,
        unit=shown.unit,
        higher_is_better=bool(shown.higher_is_better),
        checkpoint=labels[choice.best],
        value=top,
        corrected=back(choice.corrected),
        low=low,
        high=high,
        level=level,
        n=n,
        units=units,
        candidates=candidates,
        method=(
            f"multiple comparisons with the best of {len(labels)}, max-t over {RESAMPLES} paired"
            f" resamples of {units:,} {'samples' if units == n else 'groups'}, seed {seed};"
            " expected value: of what a resample chooses, on the units that it left out"
        ),
        note=note,
    )


def remarks(found: Found, chosen: Best) -> list[str]:
    """What a reader of the choice has to know besides its numbers."""
    lines = [chosen.note] if chosen.note else []
    lines += [f"not finished, left out: {path}" for path in found.unfinished]
    if any(is_bundled(result) for result in found.results if result.name == chosen.task):
        lines.append("the samples are those that come with gpt2eval: no benchmark scores")
    return lines
