"""Results -> Comparisons: which checkpoint is better, and is it more than chance?

Works on results and their records alone: no model, no torch. Samples are aligned by id, and a
metric is tested as its statistics allow; docs/statistics.md says which test is for what, and why.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from math import ceil, inf, isclose, isfinite, isnan, sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from gpt2eval.errors import ComparisonError, StoreError, UsageError
from gpt2eval.labels import checkpoint_labels, is_bundled
from gpt2eval.metrics.bleu import _bleu, _chrf
from gpt2eval.metrics.likelihood import _bits, _exp_ratio, _ratio
from gpt2eval.metrics.rouge import _points
from gpt2eval.results import Found, find_results, finite, read_records
from gpt2eval.seeds import compare_seeds, variants
from gpt2eval.significance import (
    ALPHA,
    CORRECTIONS,
    ROUNDING,
    Exchange,
    Permutation,
    mcnemar,
    permute_all,
    sign_flip,
    smallest_of_discordant,
    smallest_of_error,
    swap,
    tango,
)
from gpt2eval.stats import LEVEL, RESAMPLES, percentiles, resample, sum_groups
from gpt2eval.task import Task, discover
from gpt2eval.types import Comparison, Estimate, Result

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Value = Callable[[NDArray[np.float64]], NDArray[np.float64]]

FEW_UNITS = 20  # fewer, and a 95 % interval holds the truth some 90 % of the time


def compare(
    results: Sequence[Result],
    *,
    baseline: str | None = None,
    metrics: Sequence[str] = (),
    correction: str = "holm",
    allow_intersection: bool = False,
    group_by: str | None = None,
    seed: int = 0,
    level: float = LEVEL,
    tasks_dir: str | Path | None = None,
) -> list[Comparison]:
    """Every checkpoint against the baseline, on each metric of each task@protocol that both have.

    Args:
        results: of two checkpoints or more; their `path` holds the records.
        baseline: label of the checkpoint that is compared with; None: that of the first result.
        metrics: names or globs, of a metric ("accuracy") or of one of a task
            ("lambada@openai/accuracy"); empty: all.
        correction: "holm", "bh" (Benjamini and Hochberg) or "none". The family is all tests of the
            call, metrics of parts apart unless they are named.
        allow_intersection: compare the samples that both have where data or subset differ.
        group_by: checkpoints that are seeds of one variant: a template such as
            "{variant}-seed{seed}", or a regular expression with one group.
        seed: of the resamples.
        level: of the intervals.
        tasks_dir: directory with task files of the user's own.

    Raises:
        ComparisonError: results that do not answer the same question, or are damaged.
        UsageError: an option that cannot be used.
    """
    if correction not in CORRECTIONS:
        raise UsageError(f"--correction {correction!r}; expected {', '.join(CORRECTIONS)}")
    labelled = label(results)
    if group_by is None:
        first = _baseline(list(dict.fromkeys(name for name, _ in labelled)), baseline)
        settings = Settings(seed, level, allow_intersection, tuple(metrics), tasks_dir)
        return compare_labelled(labelled, first, correction, settings)
    if allow_intersection:
        raise UsageError(
            "--group-by compares whole runs, --allow-intersection parts of them; leave one out"
        )
    return _compare_variants(labelled, baseline, group_by, metrics, correction, level)


@dataclass(frozen=True, slots=True)
class Settings:
    """What `compare` is asked besides the results; the fields are its arguments."""

    seed: int = 0
    level: float = LEVEL
    allow_intersection: bool = False
    metrics: tuple[str, ...] = ()
    tasks_dir: str | Path | None = None


def compare_labelled(
    labelled: Sequence[tuple[str, Result]], first: str, correction: str, settings: Settings
) -> list[Comparison]:
    """`compare` for results that have labels, with `first` as the baseline."""
    _check_overlap(labelled, first)
    found, problems = _tests(labelled, first, settings)
    if problems:
        raise problems[0]
    return correct(found, correction)


def compare_where_possible(
    results: Sequence[Result], *, baseline: str | None = None, tasks_dir: str | Path | None = None
) -> tuple[list[Comparison], list[str]]:
    """`compare` for whatever results there are: the comparisons, and a line on each pair left out.

    One checkpoint alone, or none, is no comparison and no line. Raises UsageError for a baseline
    that is none of the checkpoints.
    """
    labelled = [
        (name, result)
        for name, result in zip(checkpoint_labels(results), results, strict=True)
        if result.task.get("kind") != "speed"
    ]
    labels = list(dict.fromkeys(name for name, _ in labelled))
    if not labels:
        return [], []
    first = pick(labels, baseline, "--baseline")
    if len(labels) == 1:
        return [], []
    twice = {other.name: _two_runs(one, other) for one, other in _repeated(results)}
    usable = [(name, result) for name, result in labelled if result.name not in twice]
    found, problems = _tests(usable, first, Settings(tasks_dir=tasks_dir))
    said = [*twice.values(), *map(str, problems), *_one_sided(usable, first)]
    lines = dict.fromkeys(" ".join(words.split()) for words in said)
    return correct(found, "holm"), list(lines)


def _tests(
    labelled: Sequence[tuple[str, Result]], first: str, settings: Settings
) -> tuple[list[_Tested], list[ComparisonError]]:
    """What can be compared with `first`, and for each pair of results that cannot, why."""
    wanted = _wanted(labelled, settings.metrics)
    tests = sum(
        wanted(result.name, metric)
        for name, result in labelled
        for metric, estimate in result.metrics.items()
        if name != first and not estimate.part
    )
    # A corrected p-value must be able to come out small, however many tests there are.
    draws = max(RESAMPLES, 2 * ceil(tests / ALPHA))
    tasks = discover(settings.tasks_dir)
    found: list[_Tested] = []
    problems: list[ComparisonError] = []
    for runs in _by_task(labelled).values():
        if first in runs and len(runs) > 1:
            pairs, refused = _pairs(first, runs, wanted, settings, tasks)
            found += _judge(runs[first].name, pairs, settings, draws)
            problems += refused
    return found, problems


def _compare_variants(
    labelled: Sequence[tuple[str, Result]],
    baseline: str | None,
    pattern: str,
    metrics: Sequence[str],
    correction: str,
    level: float,
) -> list[Comparison]:
    """`compare` with seeds as units: whole results, no records."""
    runs, wanted = _by_task(labelled), _wanted(labelled, metrics)
    groups = variants(list(dict.fromkeys(name for name, _ in labelled)), pattern)
    first = _baseline(list(groups), baseline)
    for results in runs.values():
        one, *others = results.items()
        for other in others:
            _check_comparable(one, other, samples=True)
    found = compare_seeds(runs, groups, first, wanted, level)
    outside = [bool(one.p is None or (one.part and not metrics)) for one in found]
    keys = [None if out else number for number, out in enumerate(outside)]
    return correct(list(zip(found, keys, strict=True)), correction)


# ---- which results ------------------------------------------------------------------------------


def label(results: Sequence[Result]) -> list[tuple[str, Result]]:
    """Results with the labels of their checkpoints, as reports have them.

    Raises ComparisonError for two runs of the same weights in the same dtype on one task@protocol.
    """
    if not results:
        raise ComparisonError("no results to compare; expected those of two checkpoints or more")
    for one, other in _repeated(results):
        raise ComparisonError(_two_runs(one, other))
    return list(zip(checkpoint_labels(results), results, strict=True))


def _repeated(results: Sequence[Result]) -> Iterator[tuple[Result, Result]]:
    """Two runs of the same weights in the same dtype on one task@protocol."""
    seen: dict[tuple[str, ...], Result] = {}
    for result in results:
        checkpoint, dtype = result.checkpoint, str(result.run.get("dtype", ""))
        key = (checkpoint["name"], str(checkpoint.get("sha256", "")), dtype, result.name)
        other = seen.setdefault(key, result)
        if other is not result:
            yield other, result


def _two_runs(one: Result, other: Result) -> str:
    named = f"two runs of {one.checkpoint['name']} on {one.name}"
    if one.path == other.path:
        return f"{named} are the same, {one.path}; give it once"
    apart = [f"{name} {a!r} and {b!r}" for name, a, b in _differences(one, other)]
    for key in ("seed", "n_ctx"):
        if one.run.get(key) != other.run.get(key):
            apart.append(f"{key} {one.run.get(key)!r} and {other.run.get(key)!r}")
    how = ", ".join(apart) or f"started {one.run.get('started')} and {other.run.get('started')}"
    return (
        f"{named}: {how}. Name the directory of the one that is meant, or delete the other:\n"
        f"  {one.path}\n  {other.path}"
    )


def _baseline(labels: Sequence[str], name: str | None) -> str:
    """The label of the baseline; ComparisonError where there is nothing to compare with it."""
    if len(labels) < 2:
        raise ComparisonError(
            f"all results are of {labels[0]}; expected those of two checkpoints or more"
        )
    return pick(labels, name, "--baseline")


def pick(labels: Sequence[str], name: str | None, option: str) -> str:
    """The label that is meant by a name: itself, or the only one that goes on in brackets."""
    if name is None:
        return labels[0]
    meant = [one for one in labels if one == name] or [
        one for one in labels if one.startswith(f"{name} (")
    ]
    if len(meant) == 1:
        return meant[0]
    near = get_close_matches(name, labels, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near and not meant else ""
    what = "can be any of" if meant else "is none of the checkpoints"
    raise UsageError(f"{option} {name!r} {what}: {', '.join(meant or labels)}{hint}")


def _by_task(labelled: Iterable[tuple[str, Result]]) -> dict[str, dict[str, Result]]:
    """task@protocol -> label -> result, in the order they came."""
    runs: dict[str, dict[str, Result]] = {}
    for name, result in labelled:
        runs.setdefault(result.name, {})[name] = result
    return runs


def _check_overlap(labelled: Sequence[tuple[str, Result]], first: str) -> None:
    """ComparisonError for checkpoints that have no task@protocol in common with the baseline."""
    has: dict[str, list[str]] = {}
    for name, result in labelled:
        has.setdefault(name, []).append(result.name)
    for name, tasks in has.items():
        if not set(tasks) & set(has[first]):
            raise ComparisonError(
                f"{first} and {name} have no task@protocol in common: {first} has"
                f" {', '.join(has[first])}; {name} has {', '.join(tasks)}. Run the same tasks for"
                " both"
            )


def find(names: Sequence[str], output: str, tasks: str | None = None) -> Found:
    """`results.find_results`, of these tasks alone; whatever cannot be read is bad input."""
    try:
        found = find_results(names, output)
    except StoreError as error:
        raise ComparisonError(str(error)) from error
    return found if tasks is None else replace(found, results=of_tasks(found.results, tasks))


def remarks(found: Found, baseline: str | None = None, group_by: str | None = None) -> list[str]:
    """What a reader of the comparisons has to know of what is not in them; a line each."""
    lines = [f"not finished, left out: {path}" for path in found.unfinished]
    if any(is_bundled(result) for result in found.results):
        lines.append("the samples are those that come with gpt2eval: no benchmark scores")
    return lines if group_by else [*left_out(found.results, baseline), *lines]


def as_text(comparisons: Sequence[Comparison], said: Sequence[str]) -> str:
    """JSON with all numbers in full: {"format", "comparisons", "remarks"}."""
    content = {
        "format": 1,
        "comparisons": [asdict(comparison) for comparison in comparisons],
        "remarks": list(said),
    }
    return json.dumps(finite(content), ensure_ascii=False, indent=2, allow_nan=False)


def of_tasks(results: Sequence[Result], text: str) -> list[Result]:
    """The results of these tasks: names and globs with commas; a protocol may follow each."""
    kept: set[int] = set()
    for name in filter(None, (piece.strip() for piece in text.split(","))):
        meant = {
            number
            for number, result in enumerate(results)
            if fnmatchcase(result.name, name) or fnmatchcase(str(result.task["name"]), name)
        }
        if not meant:
            there = sorted({result.name for result in results})
            near = get_close_matches(name, there, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise UsageError(f"no result is of task {name!r}{hint}; there are {_list(there)}")
        kept |= meant
    return [result for number, result in enumerate(results) if number in kept]


def left_out(results: Sequence[Result], baseline: str | None = None) -> list[str]:
    """What `compare` says nothing about, since only one side has it; a line each."""
    labelled = label(results)
    labels = list(dict.fromkeys(name for name, _ in labelled))
    return _one_sided(labelled, _baseline(labels, baseline))


def _one_sided(labelled: Sequence[tuple[str, Result]], first: str) -> list[str]:
    lines = []
    everyone = list(dict.fromkeys(name for name, _ in labelled))
    for task, runs in _by_task(labelled).items():
        if first not in runs:
            lines.append(f"{task}: not scored for the baseline {first}, only for {_list(runs)}")
            continue
        if missing := [name for name in everyone if name not in runs]:
            lines.append(f"{task}: not scored for {_list(missing)}")
        for name, result in runs.items():
            for one, other in ((result, runs[first]), (runs[first], result)):
                if lacks := sorted(one.metrics.keys() - other.metrics.keys()):
                    who = name if one is runs[first] else first
                    lines.append(f"{task}: {who} has no {_list(lacks)}")
    return list(dict.fromkeys(lines))


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)


def _wanted(
    labelled: Sequence[tuple[str, Result]], metrics: Sequence[str]
) -> Callable[[str, str], bool]:
    """(task@protocol, metric) -> whether it was asked for; UsageError for a name of nothing."""
    known = list(
        dict.fromkeys((result.name, metric) for _, result in labelled for metric in result.metrics)
    )
    for pattern in metrics:
        meant = [(task, metric) for task, metric in known if names(pattern, task, metric)]
        if not meant:
            every = list(dict.fromkeys(metric for _, metric in known))
            whole = [f"{task}/{metric}" for task, metric in known]
            near = get_close_matches(pattern, [*every, *whole], n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            shown = [metric for metric in every if "/" not in metric]
            raise UsageError(f"no result has a metric {pattern!r}{hint}; there are {_list(shown)}")
        _check_there(labelled, pattern, meant)
    return lambda task, metric: not metrics or any(names(p, task, metric) for p in metrics)


def _check_there(
    labelled: Sequence[tuple[str, Result]], pattern: str, meant: Sequence[tuple[str, str]]
) -> None:
    """ComparisonError for a metric that was named and that some results of its task lack."""
    for task, metric in meant:
        has = {name: metric in r.metrics for name, r in labelled if r.name == task}
        if not all(has.values()):
            raise ComparisonError(
                f"--metric {pattern}: {task} has {metric} for"
                f" {_list(name for name in has if has[name])} but not for"
                f" {_list(name for name in has if not has[name])}; score all with the same version"
                " of the task"
            )


def names(pattern: str, task: str, metric: str) -> bool:
    """Whether a pattern names the metric; `f1*` reaches f1_best, and not the part f1/news."""
    return any(
        fnmatchcase(text, pattern) and text.count("/") == pattern.count("/")
        for text in metric_names(task, metric)
    )


def metric_names(task: str, metric: str) -> tuple[str, ...]:
    """What a metric goes by: alone, after its task@protocol, and after its task."""
    return metric, f"{task}/{metric}", f"{task.partition('@')[0]}/{metric}"


# ---- do they answer the same question? ----------------------------------------------------------


def _differences(one: Result, other: Result) -> Iterator[tuple[str, object, object]]:
    """(field, value, value) of what keeps two results of a task@protocol from being compared."""
    if one.task.get("version") != other.task.get("version"):
        yield "version", one.task.get("version"), other.task.get("version")
    ours, theirs = one.task.get("options", {}), other.task.get("options", {})
    for key in dict.fromkeys((*ours, *theirs)):
        if ours.get(key) != theirs.get(key):
            yield f"option {key}", ours.get(key), theirs.get(key)
    for key, name in (("sha256", "data digest"), ("subset", "subset"), ("selected", "samples")):
        if one.data.get(key) != other.data.get(key):
            yield name, _short(one.data.get(key)), _short(other.data.get(key))


def _short(value: object) -> object:
    return value[:12] if isinstance(value, str) and len(value) == 64 else value


OF_SAMPLES = ("data digest", "subset", "samples")


def _check_comparable(
    one: tuple[str, Result], other: tuple[str, Result], *, samples: bool
) -> list[str]:
    """Words on what differs and is allowed; ComparisonError for what is not.

    samples  whether the samples have to be the same
    """
    (first, ours), (second, theirs) = one, other
    allowed = []
    for name, a, b in _differences(ours, theirs):
        if name in OF_SAMPLES and not samples:
            allowed.append(f"{name} {a} and {b}")
            continue
        remedy = (
            "score both on the same samples, or pass --allow-intersection to compare those that"
            " both have"
            if name in OF_SAMPLES
            else "score both by the same version of the task, with the same options"
        )
        raise ComparisonError(
            f"{ours.name}: {first} and {second} cannot be compared: {name} is {a!r} in {ours.path}"
            f" and {b!r} in {theirs.path}; {remedy}"
        )
    for metric in ours.metrics.keys() & theirs.metrics.keys():
        a, b = ours.metrics[metric].signature, theirs.metrics[metric].signature
        if a != b:
            raise ComparisonError(
                f"{ours.name}: {first} and {second} cannot be compared: the signature of {metric}"
                f" is {a!r} in {ours.path} and {b!r} in {theirs.path}; score both with the same"
                " versions of the libraries"
            )
    return allowed


# ---- statistics of the samples ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Run:
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


def _read(result: Result) -> _Run:
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
    return _Run(result, ids, groups, references, rows, failed)


@dataclass(frozen=True, slots=True)
class _Common:
    """The samples that two runs have both: their numbers in each, or None for all of both."""

    ours: NDArray[np.intp] | None
    theirs: NDArray[np.intp] | None
    count: int


def _align(
    baseline: tuple[str, _Run],
    candidate: tuple[str, _Run],
    allowed: Sequence[str],
    settings: Settings,
) -> tuple[_Common, list[str]]:
    """What two runs have in common, with words on what is left out."""
    (first, ours), (second, theirs) = baseline, candidate
    notes = [f"{words} differ" for words in allowed]
    for name, run in (baseline, candidate):
        if run.failed:
            notes.append(f"{run.failed:,} samples that failed for {name} are left out")
    if ours.ids == theirs.ids:
        common = _Common(None, None, len(ours.ids))
        places: list[tuple[int, int]] = [(n, n) for n in range(common.count)]
    else:
        place = {name: number for number, name in enumerate(theirs.ids)}
        places = [(n, place[name]) for n, name in enumerate(ours.ids) if name in place]
        both = np.array(places, dtype=np.intp).reshape(-1, 2)
        common = _Common(both[:, 0], both[:, 1], len(places))
        if not (settings.allow_intersection or ours.failed or theirs.failed):
            raise ComparisonError(_other_samples(baseline, candidate))
        notes.append(
            f"{len(places):,} samples that both have, of {len(ours.ids):,} and {len(theirs.ids):,}"
        )
    name = ours.result.name
    if not places and (ours.ids or theirs.ids):
        raise ComparisonError(
            f"{name}: {first} and {second} have no sample in common; score both on the same data"
        )
    if not places:
        notes.append("neither run has its samples: values alone")
    for a, b in places:
        for what, one, other in (
            ("group", ours.groups[a], theirs.groups[b]),
            ("references", ours.references[a], theirs.references[b]),
        ):
            if one != other:
                raise ComparisonError(
                    f"{name}: {first} and {second} cannot be compared: sample {ours.ids[a]!r} has"
                    f" other {what} in {ours.result.path} than in {theirs.result.path}; score both"
                    " on the same data"
                )
    return common, notes


def _other_samples(baseline: tuple[str, _Run], candidate: tuple[str, _Run]) -> str:
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
        f" ({_list(only)}); score both on the same samples, or pass --allow-intersection to compare"
        " those that both have"
    )


def _units(
    run: _Run, metric: str, kept: NDArray[np.intp] | None
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


# ---- the function of the sums -------------------------------------------------------------------

Kind = Literal["share", "likelihood", "sums", "untested"]

# What the task's own plug-in would say, by the unit and the number of statistics. Used where the
# plug-in is not there, and only if it gives the very value that the run has stored.
KNOWN: dict[tuple[str, int], Value] = {
    ("fraction", 2): _ratio,
    ("unknown", 2): _ratio,  # of another tool
    ("perplexity", 2): _exp_ratio,
    ("bits", 2): _bits,
    ("points", 2): _points,
    ("points", 10): _bleu,
    ("points", 18): _chrf,
}


@dataclass(frozen=True, slots=True)
class _Function:
    """What turns sums into the metric, and which test its statistics allow."""

    kind: Kind
    value: Value
    reason: str = ""


def _function(run: _Run, metric: str, tasks: Mapping[str, Task]) -> _Function:
    """The function of a metric; ComparisonError where the records do not give its stored value."""
    result, estimate = run.result, run.result.metrics[metric]
    task = tasks.get(result.task["name"])
    here = task is not None and task.version == result.task["version"]
    for protocol in task.protocols if task is not None and here else ():
        for one in protocol.metrics:
            if protocol.name == result.task["protocol"] and one.name == metric:
                if one.corpus or one.interval == "none":
                    return _Function(
                        "untested", one.value, "a value of all samples at once, no sum"
                    )
                kind = _kind(estimate.unit, wilson=one.interval == "wilson")
                return _verified(_Function(kind, one.value), run, metric)
    if metric not in run.rows:
        return _Function("untested", _ratio, "a value of all samples at once, no sum")
    width = run.rows[metric][1].shape[1]
    known = KNOWN.get((estimate.unit, width))
    if known is not None:
        function = _Function(_kind(estimate.unit, wilson="Wilson" in estimate.method), known)
        if _gives(function, run, metric):
            return function
    version = f"version {result.task['version']} of task {result.task['name']}"
    installed = f"version {task.version}" if task is not None else "none"
    raise ComparisonError(
        f"{result.name}: how {metric} follows from its {width} statistics is known to {version}"
        f" alone, and {installed} is here; install that version, or name the directory that has it"
        " by --tasks-dir"
    )


def _kind(unit: str, *, wilson: bool) -> Kind:
    if wilson:
        return "share"
    return "likelihood" if unit in ("perplexity", "bits") else "sums"


def _gives(function: _Function, run: _Run, metric: str) -> bool:
    """Whether the sums of the records give the value that the run has stored."""
    with np.errstate(all="ignore"):
        value = float(function.value(run.rows[metric][1].sum(axis=0)))
    stored = run.result.metrics[metric].value
    return isclose(value, stored, rel_tol=1e-9, abs_tol=1e-12) or (isnan(value) and isnan(stored))


def _verified(function: _Function, run: _Run, metric: str) -> _Function:
    if metric not in run.rows or not _gives(function, run, metric):
        raise ComparisonError(
            f"{run.result.name}: the records in {run.result.path} do not give the {metric} of"
            f" {run.result.metrics[metric].value:.6g} that result.json has; one of the two files"
            " was changed. Delete the directory and run the same command again, which makes it anew"
        )
    return function


_Tested = tuple[Comparison, object]
"""A comparison, and what its test is made of: equal ones are one test. None: not in the family."""


# ---- one task -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Pair:
    """One metric of two checkpoints over the units that both have.

    estimates     of baseline and candidate, over all samples of each
    ours, theirs  statistics [units, k] of baseline and candidate
    n             samples
    grouped       whether units are groups of samples
    """

    metric: str
    baseline: str
    candidate: str
    estimates: tuple[Estimate, Estimate]
    function: _Function
    ours: NDArray[np.float64]
    theirs: NDArray[np.float64]
    n: int
    grouped: bool
    notes: Sequence[str]

    @property
    def estimate(self) -> Estimate:
        """Either, for what they have in common."""
        return self.estimates[0]

    @property
    def unit(self) -> str:
        """What is resampled."""
        return "group" if self.grouped else "sample"

    @property
    def obstacle(self) -> str:
        """What keeps the pair from being tested; empty where nothing does."""
        if self.function.kind == "untested":
            return self.function.reason
        if len(self.ours) < 2:
            return f"one {self.unit} says nothing about others"
        return ""

    @property
    def mcnemar(self) -> bool:
        """Whether each sample is right or wrong, and stands alone."""
        return self.function.kind == "share" and not self.grouped

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return bool((self.ours == self.theirs).all())

    @property
    def differences(self) -> NDArray[np.float64] | None:
        """[units] of a ratio whose denominators agree, positive where the candidate has more."""
        if self.ours.shape[1] != 2 or (self.ours[:, 1] != self.theirs[:, 1]).any():
            return None
        return np.asarray(self.theirs[:, 0] - self.ours[:, 0])


def _pairs(
    first: str,
    runs: Mapping[str, Result],
    wanted: Callable[[str, str], bool],
    settings: Settings,
    tasks: Mapping[str, Task],
) -> tuple[list[_Pair], list[ComparisonError]]:
    """All candidates with the baseline, metric by metric, on one task@protocol; and who cannot."""
    pairs: list[_Pair] = []
    problems: list[ComparisonError] = []
    try:
        ours = _read(runs[first])
    except ComparisonError as error:
        return [], [error]
    functions: dict[str, _Function] = {}
    for name, result in runs.items():
        if name == first:
            continue
        try:
            theirs, common, notes = _meet((first, ours), (name, result), settings)
            pairs += [
                _pair(
                    (first, ours),
                    (name, theirs),
                    metric,
                    _shared_function(ours, theirs, metric, functions, tasks),
                    common,
                    notes,
                )
                for metric in runs[first].metrics
                if metric in result.metrics and wanted(result.name, metric)
            ]
        except ComparisonError as error:
            problems.append(error)
    return pairs, problems


def _meet(
    baseline: tuple[str, _Run], candidate: tuple[str, Result], settings: Settings
) -> tuple[_Run, _Common, list[str]]:
    """The candidate's records, what they have in common with the baseline's, and words on that."""
    (first, ours), (name, result) = baseline, candidate
    allowed = _check_comparable(
        (first, ours.result), candidate, samples=not settings.allow_intersection
    )
    theirs = _read(result)
    common, notes = _align(baseline, (name, theirs), allowed, settings)
    scorers = [run.result.run.get("scorer", {}).get("name") for run in (ours, theirs)]
    if scorers[0] != scorers[1]:
        notes.append(f"scored by {scorers[0]} and {scorers[1]}")
    return theirs, common, notes


def _shared_function(
    ours: _Run,
    theirs: _Run,
    metric: str,
    functions: dict[str, _Function],
    tasks: Mapping[str, Task],
) -> _Function:
    """The function of a metric, found once for the baseline and held against each candidate."""
    if metric not in functions:
        functions[metric] = _function(ours, metric, tasks)
    function = functions[metric]
    return function if function.kind == "untested" else _verified(function, theirs, metric)


def _pair(
    baseline: tuple[str, _Run],
    candidate: tuple[str, _Run],
    metric: str,
    function: _Function,
    common: _Common,
    notes: Sequence[str],
) -> _Pair:
    (first, ours), (second, theirs) = baseline, candidate
    estimates = ours.result.metrics[metric], theirs.result.metrics[metric]
    if function.kind == "untested":
        n, nothing = len(ours.ids), np.zeros((0, 1))
        whole = [] if common.ours is None else ["values over all samples of each"]
        notes = [*notes, *whole]
        return _Pair(metric, first, second, estimates, function, nothing, nothing, n, False, notes)
    (a, n), (b, m) = _units(ours, metric, common.ours), _units(theirs, metric, common.theirs)
    if a.shape != b.shape or n != m:
        raise ComparisonError(
            f"{ours.result.name}: {first} has {metric} on {n} samples and {second} on {m};"
            " score both by the same version of the task"
        )
    grouped = len(a) < n
    held = a.any(axis=1) | b.any(axis=1)  # an empty text adds nothing to any sum
    if not held.all():
        a, b = a[held], b[held]
    return _Pair(metric, first, second, estimates, function, a, b, n, grouped, notes)


def _judge(task: str, pairs: Sequence[_Pair], settings: Settings, draws: int) -> list[_Tested]:
    """The comparisons of pairs; what is drawn is shared by all with equally many units."""

    def fresh() -> np.random.Generator:
        return np.random.default_rng(settings.seed)

    drawing = {n: pair for n, pair in enumerate(pairs) if not pair.obstacle and not pair.mcnemar}
    moving = {n: _exchange(pair) for n, pair in drawing.items() if not pair.equal}
    tossed = permute_all(list(moving.values()), fresh, most=draws)
    permutations = dict(zip(moving, tossed, strict=True))
    drawn = _bootstrap(drawing.values(), fresh)
    found = []
    for number, pair in enumerate(pairs):
        if pair.obstacle:
            verdict = _Verdict(f"no test: {pair.obstacle}")
        elif pair.mcnemar:
            verdict = _by_discordant(pair, settings)
        else:
            sums = drawn[id(pair.ours)], drawn[id(pair.theirs)]
            verdict = _by_resampling(pair, sums, permutations.get(number), settings)
        found.append(_tested(task, pair, verdict, settings))
    return found


def _exchange(pair: _Pair) -> Exchange:
    """Log-likelihoods are exchanged as they are: so a perplexity of any size has its p-value."""
    differences = pair.differences
    if pair.function.kind == "likelihood" and differences is not None:
        return sign_flip(differences)
    return swap(pair.ours, pair.theirs, pair.function.value)


def _bootstrap(
    pairs: Iterable[_Pair], fresh: Callable[[], np.random.Generator]
) -> dict[int, NDArray[np.float64]]:
    """Resampled sums [RESAMPLES, k] by the identity of the units, each system drawn once."""
    systems = {id(units): units for pair in pairs for units in (pair.ours, pair.theirs)}
    by_size: dict[int, list[int]] = {}
    for key, units in systems.items():
        by_size.setdefault(len(units), []).append(key)
    drawn: dict[int, NDArray[np.float64]] = {}
    for keys in by_size.values():
        drawn |= zip(keys, resample([systems[key] for key in keys], fresh()), strict=True)
    return drawn


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What a test says of a pair, as in Comparison."""

    test: str
    low: float | None = None
    high: float | None = None
    p: float | None = None
    effect: float | None = None
    effect_name: str = ""
    smallest: float | None = None
    notes: tuple[str, ...] = ()


def _by_discordant(pair: _Pair, settings: Settings) -> _Verdict:
    """Right or wrong: only samples on which the two differ speak."""
    wins, _, losses = _tally(pair)
    discordant = wins + losses
    low, high = tango(wins, losses, pair.n, settings.level)
    interval = "interval: Tango's score method"
    name = "Cohen's g"
    if discordant == 0:
        test = f"no test: both are right on the same samples; {interval}"
        return _Verdict(test, low, high, effect_name=name)
    smallest = smallest_of_discordant(discordant)
    few = f"{discordant} samples differ; fewer than 6 cannot give a p below {ALPHA:.2g}"
    return _Verdict(
        f"exact McNemar test over {discordant:,} samples that differ; {interval}",
        low,
        high,
        mcnemar(wins, losses),
        wins / discordant - 0.5,
        name,
        None if smallest is None else smallest * discordant / pair.n,
        (few,) if smallest is None else (),
    )


def _by_resampling(
    pair: _Pair,
    sums: tuple[NDArray[np.float64], NDArray[np.float64]],
    permutation: Permutation | None,
    settings: Settings,
) -> _Verdict:
    """A metric of sums: permutation for p, bootstrap for the interval."""
    units, seed = len(pair.ours), settings.seed
    with np.errstate(all="ignore"):
        differences = pair.function.value(sums[1]) - pair.function.value(sums[0])
        error = float(np.std(differences, ddof=1))
    bounds: tuple[float | None, float | None] = percentiles(differences, settings.level)
    interval = f"interval: paired bootstrap, {RESAMPLES} resamples, seed {seed}"
    if np.isnan(differences).any():
        bounds, interval = (None, None), "no interval: a resample has no value"
    size = sum(map(abs, _values(pair)))
    if permutation is None:
        test = f"no test: both have the same statistics on every {pair.unit}; {interval}"
        return _Verdict(test, *bounds, effect_name="d_z")
    if pair.function.kind == "likelihood" and pair.differences is not None:
        test = "sign-flip permutation test of log-likelihoods"
    else:
        test = "randomisation test"
    over = f"over {units:,} {pair.unit}s"
    notes = []
    if permutation.exact:
        test = f"exact {test} {over}, all {permutation.arrangements} arrangements"
        least = 2 / permutation.arrangements
        if least >= ALPHA:
            notes.append(f"p cannot be below {least:.3g}: too few {pair.unit}s differ")
    else:
        # Noreen's name for a randomisation test that draws instead of taking all arrangements.
        approximate = "" if test.startswith("sign") else "approximate "
        test = f"{approximate}{test} {over}, {permutation.arrangements} draws, seed {seed}"
    if units < FEW_UNITS:
        notes.append(f"{units} {pair.unit}s: the interval is rough")
    return _Verdict(
        f"{test}; {interval}",
        *bounds,
        permutation.p,
        _standardised(pair, error),
        "d_z",
        smallest_of_error(error) if ROUNDING * size < error < inf else None,
        tuple(notes),
    )


def _standardised(pair: _Pair, error: float) -> float | None:
    """Difference by the standard deviation of units' differences, positive for the better one."""
    baseline, candidate = _values(pair)
    if (differences := pair.differences) is not None:
        mean, spread = float(differences.mean()), float(np.std(differences, ddof=1))
        if spread <= ROUNDING * max(np.abs(pair.ours).max(), np.abs(pair.theirs).max()):
            return None
    else:
        # The error of a mean of n units is their spread by sqrt(n); the bootstrap's, by sqrt(n-1).
        mean, spread = candidate - baseline, error * sqrt(len(pair.ours) - 1)
    if not isfinite(mean) or not isfinite(spread) or spread == 0:
        return None
    return mean / spread if pair.estimate.higher_is_better else -mean / spread


def _values(pair: _Pair) -> tuple[float, float]:
    """The metric of both, over the compared samples."""
    with np.errstate(all="ignore"):
        ours, theirs = pair.ours.sum(axis=0), pair.theirs.sum(axis=0)
        return float(pair.function.value(ours)), float(pair.function.value(theirs))


def _tally(pair: _Pair) -> tuple[int, int, int]:
    """Units on which the candidate is better, equal and worse, each by its own value."""
    differences = pair.differences
    if differences is None:
        with np.errstate(all="ignore"):
            differences = pair.function.value(pair.theirs) - pair.function.value(pair.ours)
    if not pair.estimate.higher_is_better:
        differences = -differences
    wins, losses = int((differences > 0).sum()), int((differences < 0).sum())
    return wins, len(pair.ours) - wins - losses, losses


def _tested(task: str, pair: _Pair, verdict: _Verdict, settings: Settings) -> _Tested:
    if pair.function.kind == "untested":
        baseline, candidate = (estimate.value for estimate in pair.estimates)
        wins = ties = losses = units = 0
    else:
        baseline, candidate = _values(pair)
        wins, ties, losses = _tally(pair)
        units = len(pair.ours)
    comparison = Comparison(
        task=task,
        metric=pair.metric,
        baseline=pair.baseline,
        candidate=pair.candidate,
        unit=pair.estimate.unit,
        higher_is_better=pair.estimate.higher_is_better,
        baseline_value=baseline,
        candidate_value=candidate,
        difference=candidate - baseline,
        low=verdict.low,
        high=verdict.high,
        level=settings.level,
        test=verdict.test,
        p=verdict.p,
        p_corrected=None,
        correction="none",
        effect=verdict.effect,
        effect_name=verdict.effect_name,
        smallest=verdict.smallest,
        n=pair.n,
        units=units,
        wins=wins,
        ties=ties,
        losses=losses,
        part=pair.estimate.part,
        note="; ".join((*pair.notes, *verdict.notes)),
    )
    if verdict.p is None or (pair.estimate.part and not settings.metrics):
        return comparison, None
    return comparison, _made_of(pair)


def _made_of(pair: _Pair) -> object:
    """Word and byte perplexity and bits are one test where they come of the same likelihoods."""
    if pair.function.kind == "likelihood" and (differences := pair.differences) is not None:
        return pair.candidate, hashlib.sha256(differences.tobytes()).digest()
    return pair.candidate, pair.metric


# ---- the family ---------------------------------------------------------------------------------


def correct(found: Sequence[_Tested], correction: str) -> list[Comparison]:
    """The comparisons with p corrected over all tests that are in the family, each counted once."""
    p_of: dict[object, float] = {}
    keys = [None if key is None else (comparison.task, key) for comparison, key in found]
    for (comparison, _), key in zip(found, keys, strict=True):
        if key is not None and comparison.p is not None:
            p_of[key] = comparison.p
    corrected = dict(zip(p_of, CORRECTIONS[correction](list(p_of.values())), strict=True))
    return [
        replace(
            comparison, p_corrected=None if key is None else corrected[key], correction=correction
        )
        for (comparison, _), key in zip(found, keys, strict=True)
    ]
