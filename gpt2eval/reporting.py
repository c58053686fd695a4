"""`gpt2eval report`: from names of results on disk to a report, without a model or torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from gpt2eval.compare import compare_and_choose
from gpt2eval.compare.best import Best
from gpt2eval.compare.jobs import Choice
from gpt2eval.errors import ComparisonError, UsageError
from gpt2eval.experiment import described, read_experiment
from gpt2eval.labels import training_step
from gpt2eval.options import ReportOptions
from gpt2eval.overlap import read_overlap
from gpt2eval.overlap.split import Rule, split
from gpt2eval.report import write_report
from gpt2eval.report.sections import group
from gpt2eval.results import Found, find_results
from gpt2eval.room import REPORT, make_sure_of
from gpt2eval.types import Result

DEFAULTS = ReportOptions()
RULE = Rule()


def report(
    names: Sequence[str],
    directory: str | Path,
    options: ReportOptions = DEFAULTS,
    *,
    overlap: str | Path | None = None,
    rule: Rule = RULE,
) -> tuple[Path, Found]:
    """Write the report of the results with these names; its page, and what was found.

    names    as `find_results` takes them
    overlap  what `gpt2eval overlap` wrote: scores on clean and on overlapping samples
    rule     when a sample overlaps

    Raises UsageError for a name that leads to no result and for a baseline that is not among the
    checkpoints.
    """
    found = find_results(names)
    return report_results(found.results, directory, options, overlap=overlap, rule=rule), found


def report_results(
    results: Sequence[Result],
    directory: str | Path,
    options: ReportOptions = DEFAULTS,
    *,
    overlap: str | Path | None = None,
    rule: Rule = RULE,
) -> Path:
    """`report` of results that are at hand; the path of its page.

    Checkpoints are compared on every task that they share, with the first where no baseline is
    named. What cannot be compared is left out, and the page says why.
    """
    make_sure_of(REPORT, "the report")
    if options.experiment is not None:
        results = described(results, read_experiment(options.experiment))
    comparisons, left_out, best = compare_and_choose(
        results,
        _choices(results),
        baseline=options.baseline,
        allow_intersection=options.allow_intersection,
        tasks_dir=options.tasks_dir,
    )
    chosen, more = _chosen(best)
    splits = (
        split(results, read_overlap(overlap), rule, tasks_dir=options.tasks_dir)
        if overlap is not None
        else ()
    )
    return write_report(
        results,
        directory,
        title=options.title,
        comparisons=comparisons,
        left_out=[*left_out, *more],
        baseline=comparisons[0].baseline if comparisons else "",
        style=options.style,
        intervals=options.intervals,
        chosen=chosen,
        splits=splits,
        rule=str(rule),
    )


def _choices(results: Sequence[Result]) -> list[Choice]:
    """The checkpoints of each training run, to choose from by the main metric of each task."""
    choices = []
    for section in group(results):
        runs: dict[str, list[Result]] = {}
        for result in section.results.values():
            if (step := training_step(result)) and result.task.get("kind") != "speed":
                runs.setdefault(step[0], []).append(result)
        metric, shown = next(iter(section.metrics.items()), ("", None))
        if shown is None or shown.higher_is_better is None:
            continue
        choices += [
            Choice((section.title, run), section.first.name, members, metric)
            for run, members in runs.items()
            if len(members) > 1
        ]
    return choices


def _chosen(
    best: Mapping[tuple[str, str], Best | ComparisonError | UsageError],
) -> tuple[dict[tuple[str, str], tuple[int, frozenset[int]]], list[str]]:
    """The best step of each training run on a task, with those of its set; or why there is none."""
    chosen: dict[tuple[str, str], tuple[int, frozenset[int]]] = {}
    problems = []
    for (title, run), found in best.items():
        if not isinstance(found, Best):
            problems.append(f"the checkpoints of {run} with each other: {found}")
            continue
        if not any(one.behind for one in found.candidates):
            continue  # all equal: the first of them is no better than another
        steps = [(one.step, one.member) for one in found.candidates if one.step is not None]
        within = frozenset(step for step, member in steps if member)
        chosen[title, run] = (steps[0][0], within)
    return chosen, [" ".join(words.split()) for words in problems]
