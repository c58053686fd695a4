"""`gpt2eval report`: from names of results on disk to a report, without a model or torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gpt2eval.compare import compare_where_possible
from gpt2eval.report import write_report
from gpt2eval.results import Found, find_results
from gpt2eval.types import Result


def report(
    names: Sequence[str],
    directory: str | Path,
    *,
    baseline: str | None = None,
    title: str = "",
    style: str = "",
    intervals: bool = False,
    tasks_dir: str | Path | None = None,
) -> tuple[Path, Found]:
    """Write the report of the results with these names; its page, and what was found.

    names      as `find_results` takes them
    baseline   checkpoint that the others are compared with; None: the first
    tasks_dir  directory with task files of the user's own

    The other arguments are those of `write_report`. Raises UsageError for a name that leads to no
    result and for a baseline that is not among the checkpoints.
    """
    found = find_results(names)
    page = report_results(
        found.results,
        directory,
        baseline=baseline,
        title=title,
        style=style,
        intervals=intervals,
        tasks_dir=tasks_dir,
    )
    return page, found


def report_results(
    results: Sequence[Result],
    directory: str | Path,
    *,
    baseline: str | None = None,
    title: str = "",
    style: str = "",
    intervals: bool = False,
    tasks_dir: str | Path | None = None,
) -> Path:
    """`report` of results that are at hand; the path of its page.

    Checkpoints are compared on every task that they share, with the first where no baseline is
    named. What cannot be compared is left out, and the page says why.
    """
    comparisons, left_out = compare_where_possible(results, baseline=baseline, tasks_dir=tasks_dir)
    return write_report(
        results,
        directory,
        title=title,
        comparisons=comparisons,
        left_out=left_out,
        baseline=comparisons[0].baseline if comparisons else "",
        style=style,
        intervals=intervals,
    )
