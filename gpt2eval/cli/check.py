"""`gpt2eval check`."""

from __future__ import annotations

import click

from gpt2eval.cli import completing
from gpt2eval.cli.options import json_option, print_json, run_options


@click.command("check")
@click.argument("new", metavar="NEW", nargs=-1, required=True, shell_complete=completing.results)
@click.option(
    "--baseline",
    "baseline",
    required=True,
    metavar="OLD",
    shell_complete=completing.results,
    help="Results that the new ones are held against: a directory, a checkpoint, or a glob.",
)
@click.option(
    "--max-drop",
    multiple=True,
    metavar="[METRIC=]MARGIN",
    help="What a metric may lose: 0.5pt (points), 2% (of the baseline) or 0.5 (its own unit), for"
    " lambada@openai/accuracy, say; without a metric, for the first of every task. May be given"
    " several times.  [default: 1pt; 2% of perplexities and bits]",
)
@click.option(
    "--alpha",
    default=0.05,
    metavar="A",
    show_default=True,
    help="Chance to pass what dropped by its margin.",
)
@click.option("--tasks", metavar="NAMES", help="Tasks to check, with commas; globs are fine.")
@click.option("--junit", metavar="FILE", help="Write JUnit XML there.")
@click.option("--summary", metavar="FILE", help="Write a summary in Markdown there.")
@click.option("--seed", default=0, metavar="N", show_default=True, help="Seed of the resamples.")
@click.option("--tasks-dir", metavar="DIR", help="Directory with your own task files.")
@run_options("output")
@json_option
def command(
    new: tuple[str, ...],
    baseline: str,
    max_drop: tuple[str, ...],
    alpha: float,
    tasks: str | None,
    junit: str | None,
    summary: str | None,
    seed: int,
    tasks_dir: str | None,
    output: str,
    as_json: bool,
) -> None:
    """Fail unless the new checkpoint is no worse than the old one: a gate for CI.

    NEW is one checkpoint: a directory that `run` wrote, a name below --output, or a glob. A metric
    passes when the data rule out that it dropped by more than its margin. Exit code 0: all pass,
    1: one fails or is inconclusive, 2: bad input.
    """
    from gpt2eval import as_json as shapes
    from gpt2eval.check import check, passed, write
    from gpt2eval.compare.selection import find
    from gpt2eval.terminal.gate import show_checks

    checks = check(
        find(new, output, tasks).results,
        find((baseline,), output, tasks).results,
        max_drop=max_drop,
        alpha=alpha,
        seed=seed,
        tasks_dir=tasks_dir,
    )
    write(checks, junit, summary)
    if as_json:
        print_json("check", shapes.gate(checks, passed(checks)))
    else:
        show_checks(checks)
    if not passed(checks):
        raise click.exceptions.Exit(1)
