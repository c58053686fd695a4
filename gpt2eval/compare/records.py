"""The statistics of samples, and which samples two runs have both."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gpt2eval.compare.settings import Settings
from gpt2eval.errors import ComparisonError, StoreError
from gpt2eval.results import read_records
from gpt2eval.stats import sum_groups
from gpt2eval.types import Result

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Run:
    """The records of a run, without their responses; samples are sorted by id.

    rows    metric -> (numbers of the samples that have it, their statistics [n, k]); metrics whose
            statistics are of any length are not there
    failed  how many samples could not be scored
    units   what is asked again and again: metric -> statistics of its units
    """

    result: Result
    ids: list[str]
    groups: list[str]
    references: list[int]
    rows: Mapping[str, tuple[NDArray[np.intp], NDArray[np.float64]]]
    failed: int
    units: dict[str, NDArray[np.float64]] = field(default_factory=dict)


Reader = Callable[[Result], Run]


def reader() -> Reader:
    """`read_run` that reads each run once, and holds once what the runs of a task have alike."""
    runs: dict[Path | None, Run] = {}
    firsts: dict[str, Run] = {}

    def read(result: Result) -> Run:
        if result.path not in runs:
            run = read_run(result)
            like = firsts.setdefault(result.name, run)
            if (run.ids, run.groups, run.references) == (like.ids, like.groups, like.references):
                run = replace(run, ids=like.ids, groups=like.groups, references=like.references)
            runs[result.path] = run
        return runs[result.path]

    return read


def read_run(result: Result) -> Run:
    """The records of a result; ComparisonError where they are damaged or not there."""
    if result.path is None:
        raise ComparisonError(
            f"{result.name} of {result.checkpoint['name']} has no directory with records; expected"
            " a result that was read by load_results"
        )
    scored: dict[str, tuple[str, Mapping[str, Sequence[float]], int]] = {}
    failed = 0
    try:
        for record in read_records(result.path, responses=False):
            if record.error:
                failed += 1
            elif record.id not in scored:  # what a killed process wrote twice counts once
                content = (record.group, record.statistics, hash(tuple(record.references)))
                scored[record.id] = content
        ids = sorted(scored)
        by_metric: dict[str, list[tuple[int, Sequence[float]]]] = {}
        for number, name in enumerate(ids):
            for metric, statistics in scored[name][1].items():
                by_metric.setdefault(metric, []).append((number, statistics))
        rows = {
            metric: (np.array([n for n, _ in found]), np.array([s for _, s in found], np.float64))
            for metric, found in by_metric.items()
            if len({len(statistics) for _, statistics in found}) == 1
        }
    except (StoreError, TypeError, ValueError, AttributeError) as error:
        raise ComparisonError(f"{result.name} of {result.checkpoint['name']}: {error}") from error
    groups, references = [scored[name][0] for name in ids], [scored[name][2] for name in ids]
    return Run(result, ids, groups, references, rows, failed)


@dataclass(frozen=True, slots=True)
class Common:
    """The samples that two runs have both: their numbers in each, or None for all of both."""

    ours: NDArray[np.intp] | None
    theirs: NDArray[np.intp] | None
    count: int


def align(
    baseline: tuple[str, Run],
    candidate: tuple[str, Run],
    allowed: Sequence[str],
    settings: Settings,
) -> tuple[Common, list[str]]:
    """What two runs have in common, with words on what is left out."""
    (first, ours), (second, theirs) = baseline, candidate
    notes = [f"{words} differ" for words in allowed]
    for name, run in (baseline, candidate):
        if run.failed:
            notes.append(f"{run.failed:,} samples that failed for {name} are left out")
    if ours.ids == theirs.ids:
        common = Common(None, None, len(ours.ids))
    else:
        place = {name: number for number, name in enumerate(theirs.ids)}
        places = [(n, place[name]) for n, name in enumerate(ours.ids) if name in place]
        both = np.array(places, dtype=np.intp).reshape(-1, 2)
        common = Common(both[:, 0], both[:, 1], len(places))
        if not (settings.allow_intersection or ours.failed or theirs.failed):
            raise ComparisonError(_other_samples(baseline, candidate))
        notes.append(
            f"{len(places):,} samples that both have, of {len(ours.ids):,} and {len(theirs.ids):,}"
        )
    if not common.count and (ours.ids or theirs.ids):
        raise ComparisonError(
            f"{ours.result.name}: {first} and {second} have no sample in common; score both on the"
            " same data"
        )
    if not common.count:
        notes.append("neither run has its samples: values alone")
    _check_samples(baseline, candidate, common)
    return common, notes


def _check_samples(baseline: tuple[str, Run], candidate: tuple[str, Run], common: Common) -> None:
    """ComparisonError for a sample that is not what the other run has under its id."""
    (first, ours), (second, theirs) = baseline, candidate
    whole = common.ours is None
    if whole and (ours.groups, ours.references) == (theirs.groups, theirs.references):
        return
    everyone = range(common.count)
    numbers = everyone if common.ours is None else common.ours.tolist()
    others = everyone if common.theirs is None else common.theirs.tolist()
    for a, b in zip(numbers, others, strict=True):
        for what, one, other in (
            ("group", ours.groups[a], theirs.groups[b]),
            ("references", ours.references[a], theirs.references[b]),
        ):
            if one != other:
                raise ComparisonError(
                    f"{ours.result.name}: {first} and {second} cannot be compared: sample"
                    f" {ours.ids[a]!r} has other {what} in {ours.result.path} than in"
                    f" {theirs.result.path}; score both on the same data"
                )


def restricted(common: Common, ours: Run, kept: Collection[str]) -> tuple[Common, list[str]]:
    """Of the common samples those that are to be kept, and words on that."""
    if common.ours is None or common.theirs is None:
        pairs = [(number, number) for number in range(common.count)]
    else:
        pairs = list(zip(common.ours.tolist(), common.theirs.tolist(), strict=True))
    pairs = [(one, other) for one, other in pairs if ours.ids[one] in kept]
    if not pairs:
        raise ComparisonError(
            f"{ours.result.name}: none of the {common.count:,} samples is clean; allow more by"
            " --overlap-above, or leave the task out"
        )
    both = np.array(pairs, dtype=np.intp)
    words = f"{len(pairs):,} clean samples, of {common.count:,}"
    return Common(both[:, 0], both[:, 1], len(pairs)), [words]


def _other_samples(baseline: tuple[str, Run], candidate: tuple[str, Run]) -> str:
    (first, ours), (second, theirs) = baseline, candidate
    only = [
        f"{name!r} only in {label}"
        for label, names in (
            (first, set(ours.ids) - set(theirs.ids)),
            (second, set(theirs.ids) - set(ours.ids)),
        )
        for name in sorted(names)[:1]
    ]
    return (
        f"{ours.result.name}: {first} and {second} cannot be compared: the samples differ"
        f" ({', '.join(only)}); score both on the same samples, or pass --allow-intersection to"
        " compare those that both have"
    )


def units_of(
    run: Run, metric: str, kept: NDArray[np.intp] | None
) -> tuple[NDArray[np.float64], int]:
    """Statistics [units, k] of the kept samples that have the metric, and how many those are."""
    numbers, table = run.rows[metric]
    if kept is not None:
        inside = np.isin(numbers, kept)
        numbers, table = numbers[inside], table[inside]
    elif metric in run.units:
        return run.units[metric], len(numbers)
    groups = [run.groups[number] for number in numbers]
    units = sum_groups(table, groups) if any(groups) else table
    if kept is None:
        run.units[metric] = units
    return units, len(numbers)
