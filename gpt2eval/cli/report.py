"""`gpt2eval report`."""

from __future__ import annotations

from typing import Any

import click

from gpt2eval.cli import completing
from gpt2eval.cli.options import json_option, overlap_options, print_json, report_options
from gpt2eval.naming import visible
from gpt2eval.options import ReportOptions


@click.command("report")
@click.argument("results", nargs=-1, required=True, shell_complete=completing.results)
@click.option(
    "--output",
    default="reports/latest",
    metavar="DIR",
    show_default=True,
    help="Where the report is written.",
)
@overlap_options
@report_options()
@json_option
@click.option("--quiet", "-q", is_flag=True, help="Print errors only.")
def command(
    results: tuple[str, ...],
    output: str,
    overlap_file: str | None,
    overlap_words: int,
    overlap_above: float,
    as_json: bool,
    quiet: bool,
    **values: Any,
) -> None:
    """Write the report of finished runs: tables, plots, methods text, references.

    RESULTS are directories that `run` wrote, names of checkpoints in results/, or globs. What the
    checkpoints share is compared. Needs neither the checkpoints nor torch.

    \b
    gpt2eval report results --output reports/all
    gpt2eval report results/a 'results/b*' --baseline a --intervals
    """  # noqa: D301 (click wants the character itself)
    from gpt2eval import as_json as shapes
    from gpt2eval.overlap.split import Rule
    from gpt2eval.report.folder import check_directory
    from gpt2eval.reporting import report

    check_directory(output, "--output")
    rule = Rule(overlap_words, overlap_above)
    page, found = report(results, output, ReportOptions(**values), overlap=overlap_file, rule=rule)
    for directory in found.unfinished:
        click.echo(visible(f"left out, since it has not finished: {directory}"), err=True)
    if as_json:
        unfinished = found.unfinished
        print_json("report", shapes.results(found.results, page, unfinished=unfinished))
    elif not quiet:
        click.echo(f"Report of {len(found.results)} results: {page}")
