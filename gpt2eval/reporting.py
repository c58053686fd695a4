"""`gpt2eval report`: from names of results on disk to a report, without a model or torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gpt2eval.compare import compare_where_possible
from gpt2eval.options import ReportOptions
from gpt2eval.report import write_report
from gpt2eval.results import Found, find_results
from gpt2eval.types import Result

DEFAULTS = ReportOptions()


def report(
    names: Sequence[str], directory: str | Path, options: ReportOptions = DEFAULTS
) -> tuple[Path, Found]:
    """Write the report of the results with these names; its page, and what was found.

    names  as `find_results` takes them

    Raises UsageError for a name that leads to no result and for a baseline that is not among the
    checkpoints.
    """
    found = find_results(names)
    return report_results(found.results, directory, options), found


def report_results(
    results: Sequence[Result], directory: str | Path, options: ReportOptions = DEFAULTS
) -> Path:
    """`report` of results that are at hand; the path of its page.

    Checkpoints are compared on every task that they share, with the first where no baseline is
    named. What cannot be compared is left out, and the page says why.
    """
    comparisons, left_out = compare_where_possible(
        results,
        baseline=options.baseline,
        allow_intersection=options.allow_intersection,
        tasks_dir=options.tasks_dir,
    )
    return write_report(
        results,
        directory,
        title=options.title,
        comparisons=comparisons,
        left_out=left_out,
        baseline=comparisons[0].baseline if comparisons else "",
        style=options.style,
        intervals=options.intervals,
    )
