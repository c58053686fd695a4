"""`gpt2eval report`."""

from __future__ import annotations

import click

from gpt2eval.cli.options import overlap_options
from gpt2eval.naming import visible


@click.command("report")
@click.argument("results", nargs=-1, required=True)
@click.option(
    "--output",
    default="reports/latest",
    metavar="DIR",
    show_default=True,
    help="Where the report is written.",
)
@click.option(
    "--baseline",
    metavar="NAME",
    help="Checkpoint that the others are compared with.  [default: the first]",
)
@click.option("--title", default="", metavar="TEXT", help="Heading of the report.")
@click.option(
    "--style",
    default="",
    metavar="STYLE",
    help="A matplotlib style for the plots: its name, or a .mplstyle file.",
)
@click.option("--intervals", is_flag=True, help="Print intervals in the LaTeX tables too.")
@click.option(
    "--experiment", metavar="FILE", help="Experiment file that says the steps of checkpoints."
)
@overlap_options
@click.option("--tasks-dir", metavar="DIR", help="Directory with your own task files.")
@click.option("--quiet", "-q", is_flag=True, help="Print errors only.")
def command(
    results: tuple[str, ...],
    output: str,
    baseline: str | None,
    title: str,
    style: str,
    intervals: bool,
    experiment: str | None,
    overlap_file: str | None,
    overlap_words: int,
    overlap_above: float,
    tasks_dir: str | None,
    quiet: bool,
) -> None:
    """Write the report of finished runs: tables, plots, methods text, references.

    RESULTS are directories that `run` wrote, names of checkpoints in results/, or globs. What the
    checkpoints share is compared. Needs neither the checkpoints nor torch.

    \b
    gpt2eval report results --output reports/all
    gpt2eval report results/a 'results/b*' --baseline a --intervals
    """  # noqa: D301 (click wants the character itself)
    from gpt2eval.overlap.split import Rule
    from gpt2eval.report.folder import check_directory
    from gpt2eval.reporting import report

    check_directory(output, "--output")
    page, found = report(
        results,
        output,
        baseline=baseline,
        title=title,
        style=style,
        intervals=intervals,
        tasks_dir=tasks_dir,
        experiment=experiment,
        overlap=overlap_file,
        rule=Rule(overlap_words, overlap_above),
    )
    for directory in found.unfinished:
        click.echo(visible(f"left out, since it has not finished: {directory}"), err=True)
    if not quiet:
        click.echo(f"Report of {len(found.results)} results: {page}")
