"""`gpt2eval export`."""

from __future__ import annotations

import click

from gpt2eval.naming import visible


@click.command("export")
@click.argument("results", nargs=-1, required=True)
@click.option("--format", "form", required=True, metavar="FORM", help="lm-eval.")
@click.option(
    "--output", required=True, metavar="DIR", help="Directory that the files are written to."
)
@click.option("--tasks-dir", metavar="DIR", help="Directory with your own task files.")
def command(results: tuple[str, ...], form: str, output: str, tasks_dir: str | None) -> None:
    """Write finished runs in the form of another tool.

    RESULTS are directories that `run` wrote, names of checkpoints in results/, or globs. Needs
    neither the checkpoints nor torch.

    \b
    gpt2eval export results --format lm-eval --output lm-eval-output
    """  # noqa: D301 (click wants the character itself)
    from gpt2eval.export import export

    paths, found = export(results, form, output, tasks_dir=tasks_dir)
    for directory in found.unfinished:
        click.echo(visible(f"left out, since it has not finished: {directory}"), err=True)
    for path in paths:
        click.echo(visible(str(path)))
