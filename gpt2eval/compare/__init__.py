"""Results -> Comparisons: which checkpoint is better, and is it more than chance?

Works on results and their records alone: no model, no torch. Samples are aligned by id, and a
metric is tested as its statistics allow; docs/statistics.md says which test is for what, and why.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from math import ceil
from pathlib import Path

from gpt2eval.compare.best import Best
from gpt2eval.compare.comparable import check_comparable
from gpt2eval.compare.family import correct
from gpt2eval.compare.jobs import Answer, Choice, Job, answers
from gpt2eval.compare.remarks import one_sided
from gpt2eval.compare.seeds import compare_seeds, variants
from gpt2eval.compare.selection import (
    baseline_label,
    by_task,
    check_overlap,
    label,
    pick,
    repeated,
    two_runs,
    wanted_metrics,
)
from gpt2eval.compare.settings import Settings
from gpt2eval.errors import ComparisonError, UsageError
from gpt2eval.labels import checkpoint_labels
from gpt2eval.significance import ALPHA, CORRECTIONS
from gpt2eval.stats import LEVEL, RESAMPLES
from gpt2eval.types import Comparison, Result


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
    only: Mapping[str, Collection[str]] | None = None,
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
        only: task@protocol -> ids of the samples to compare; other tasks are left out.

    Raises:
        ComparisonError: results that do not answer the same question, or are damaged.
        UsageError: an option that cannot be used.
    """
    if correction not in CORRECTIONS:
        raise UsageError(f"--correction {correction!r}; expected {', '.join(CORRECTIONS)}")
    labelled = label([result for result in results if only is None or result.name in only])
    if group_by is None:
        first = baseline_label(list(dict.fromkeys(name for name, _ in labelled)), baseline)
        settings = Settings(seed, level, allow_intersection, tuple(metrics), tasks_dir, only)
        return compare_labelled(labelled, first, correction, settings)
    if only is not None:
        raise UsageError(
            "--group-by compares whole runs, --overlap the clean samples of them; leave one out"
        )
    if allow_intersection:
        raise UsageError(
            "--group-by compares whole runs, --allow-intersection parts of them; leave one out"
        )
    return _compare_variants(labelled, baseline, group_by, metrics, correction, level)


def compare_labelled(
    labelled: Sequence[tuple[str, Result]], first: str, correction: str, settings: Settings
) -> list[Comparison]:
    """`compare` for results that have labels, with `first` as the baseline."""
    check_overlap(labelled, first)
    found = answers(_jobs(labelled, first, settings))
    for answer in found:
        if answer.problems:
            raise answer.problems[0]
    return _corrected(found, correction)


def compare_where_possible(
    results: Sequence[Result],
    *,
    baseline: str | None = None,
    allow_intersection: bool = False,
    tasks_dir: str | Path | None = None,
) -> tuple[list[Comparison], list[str]]:
    """`compare` for whatever results there are: the comparisons, and a line on each pair left out.

    One checkpoint alone, or none, is no comparison and no line. Raises UsageError for a baseline
    that is none of the checkpoints.
    """
    comparisons, lines, _ = compare_and_choose(
        results,
        [],
        baseline=baseline,
        allow_intersection=allow_intersection,
        tasks_dir=tasks_dir,
    )
    return comparisons, lines


def compare_and_choose(
    results: Sequence[Result],
    choices: Sequence[Choice],
    *,
    baseline: str | None = None,
    allow_intersection: bool = False,
    tasks_dir: str | Path | None = None,
) -> tuple[list[Comparison], list[str], dict[tuple[str, str], Best | ComparisonError | UsageError]]:
    """`compare_where_possible`, and the best of each choice among the same results, or why not.

    Both at once: reading the records is most of the work.
    """
    labelled = [
        (name, result)
        for name, result in zip(checkpoint_labels(results), results, strict=True)
        if result.task.get("kind") != "speed"
    ]
    labels = list(dict.fromkeys(name for name, _ in labelled))
    if not labels:
        return [], [], {}
    first = pick(labels, baseline, "--baseline")
    if len(labels) == 1:
        return [], [], {}
    twice = {other.name: two_runs(one, other) for one, other in repeated(results)}
    usable = [(name, result) for name, result in labelled if result.name not in twice]
    settings = Settings(allow_intersection=allow_intersection, tasks_dir=tasks_dir)
    found = answers(_jobs(usable, first, settings, choices))
    problems = [str(error) for answer in found for error in answer.problems]
    said = [*twice.values(), *problems, *one_sided(usable, first)]
    lines = dict.fromkeys(" ".join(words.split()) for words in said)
    chosen = {key: best for answer in found for key, best in answer.chosen.items()}
    ordered = {choice.key: chosen[choice.key] for choice in choices}
    return _corrected(found, "holm"), list(lines), ordered


def _jobs(
    labelled: Sequence[tuple[str, Result]],
    first: str,
    settings: Settings,
    choices: Sequence[Choice] = (),
) -> list[Job]:
    """What can be compared with `first` and what is to be chosen, by task@protocol."""
    wanted = wanted_metrics(labelled, settings.metrics)
    tests = sum(
        wanted(result.name, metric)
        for name, result in labelled
        for metric, estimate in result.metrics.items()
        if name != first and not estimate.part
    )
    # A corrected p-value must be able to come out small, however many tests there are.
    draws = max(RESAMPLES, 2 * ceil(tests / ALPHA))
    runs = by_task(labelled)
    names = dict.fromkeys([*runs, *(choice.task for choice in choices)])
    return [
        Job(
            first,
            runs.get(name, {}),
            {
                metric
                for result in runs.get(name, {}).values()
                for metric in result.metrics
                if wanted(name, metric)
            },
            settings,
            draws,
            [choice for choice in choices if choice.task == name],
        )
        for name in names
    ]


def _corrected(found: Sequence[Answer], correction: str) -> list[Comparison]:
    return correct([test for answer in found for test in answer.tests], correction)


def _compare_variants(
    labelled: Sequence[tuple[str, Result]],
    baseline: str | None,
    pattern: str,
    metrics: Sequence[str],
    correction: str,
    level: float,
) -> list[Comparison]:
    """`compare` with seeds as units: whole results, no records."""
    runs, wanted = by_task(labelled), wanted_metrics(labelled, metrics)
    groups = variants(list(dict.fromkeys(name for name, _ in labelled)), pattern)
    first = baseline_label(list(groups), baseline)
    for results in runs.values():
        one, *others = results.items()
        for other in others:
            check_comparable(one, other, samples=True)
    found = compare_seeds(runs, groups, first, wanted, level)
    outside = [bool(one.p is None or (one.part and not metrics)) for one in found]
    keys = [None if out else number for number, out in enumerate(outside)]
    return correct(list(zip(found, keys, strict=True)), correction)
