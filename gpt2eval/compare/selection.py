"""Which results, by which labels, and which metrics of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from difflib import get_close_matches
from fnmatch import fnmatchcase

from gpt2eval.compare.comparable import differing
from gpt2eval.errors import ComparisonError, StoreError, UsageError
from gpt2eval.labels import checkpoint_labels
from gpt2eval.results import Found, find_results
from gpt2eval.types import Result


def find(names: Sequence[str], output: str, tasks: str | None = None) -> Found:
    """`results.find_results`, of these tasks alone; whatever cannot be read is bad input."""
    try:
        found = find_results(names, output)
    except StoreError as error:
        raise ComparisonError(str(error)) from error
    return found if tasks is None else replace(found, results=of_tasks(found.results, tasks))


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
            raise UsageError(f"no result is of task {name!r}{hint}; there are {', '.join(there)}")
        kept |= meant
    return [result for number, result in enumerate(results) if number in kept]


def label(results: Sequence[Result]) -> list[tuple[str, Result]]:
    """Results with the labels of their checkpoints, as reports have them.

    Raises ComparisonError for two runs of the same weights in the same dtype on one task@protocol.
    """
    if not results:
        raise ComparisonError("no results to compare; expected those of two checkpoints or more")
    for one, other in repeated(results):
        raise ComparisonError(two_runs(one, other))
    return list(zip(checkpoint_labels(results), results, strict=True))


def repeated(results: Sequence[Result]) -> Iterator[tuple[Result, Result]]:
    """Two runs of the same weights in the same dtype on one task@protocol."""
    seen: dict[tuple[str, ...], Result] = {}
    for result in results:
        checkpoint, dtype = result.checkpoint, str(result.run.get("dtype", ""))
        key = (checkpoint["name"], str(checkpoint.get("sha256", "")), dtype, result.name)
        other = seen.setdefault(key, result)
        if other is not result:
            yield other, result


def two_runs(one: Result, other: Result) -> str:
    """Why two results of one checkpoint and task cannot both be compared: in what they differ."""
    named = f"two runs of {one.checkpoint['name']} on {one.name}"
    if one.path == other.path:
        return f"{named} are the same, {one.path}; give it once"
    apart = [f"{name} {a!r} and {b!r}" for name, a, b in differing(one, other)]
    for key in ("seed", "n_ctx"):
        if one.run.get(key) != other.run.get(key):
            apart.append(f"{key} {one.run.get(key)!r} and {other.run.get(key)!r}")
    how = ", ".join(apart) or f"started {one.run.get('started')} and {other.run.get('started')}"
    return (
        f"{named}: {how}. Name the directory of the one that is meant, or delete the other:\n"
        f"  {one.path}\n  {other.path}"
    )


def baseline_label(labels: Sequence[str], name: str | None) -> str:
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


def by_task(labelled: Iterable[tuple[str, Result]]) -> dict[str, dict[str, Result]]:
    """task@protocol -> label -> result, in the order they came."""
    runs: dict[str, dict[str, Result]] = {}
    for name, result in labelled:
        runs.setdefault(result.name, {})[name] = result
    return runs


def check_overlap(labelled: Sequence[tuple[str, Result]], first: str) -> None:
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


def wanted_metrics(
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
            raise UsageError(
                f"no result has a metric {pattern!r}{hint}; there are {', '.join(shown)}"
            )
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
                f" {', '.join(name for name in has if has[name])} but not for"
                f" {', '.join(name for name in has if not has[name])}; score all with the same"
                " version of the task"
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
