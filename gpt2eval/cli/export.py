"""`gpt2eval export`."""

from __future__ import annotations

import click

from gpt2eval.naming import visible

FORMATS = ("lm-eval", "model-index", "eval-results", "mlflow", "tensorboard", "wandb")


@click.command("export")
@click.argument("results", nargs=-1, required=True)
@click.option(
    "--format",
    "form",
    required=True,
    type=click.Choice(FORMATS),
    help="Whose files to write.",
)
@click.option(
    "--output",
    default="exported",
    show_default=True,
    metavar="DIR",
    help="Directory that the files are written to.",
)
@click.option(
    "--report", metavar="DIR", help="A report to keep beside the numbers (mlflow, wandb)."
)
@click.option(
    "--into",
    metavar="README.md",
    help="Model card whose metadata get the numbers, in place of a file of their own"
    " (model-index).",
)
@click.option("--tasks-dir", metavar="DIR", help="Directory with your own task files.")
def command(
    results: tuple[str, ...],
    form: str,
    output: str,
    report: str | None,
    into: str | None,
    tasks_dir: str | None,
) -> None:
    """Write finished runs as files of another tool.

    RESULTS are directories that `run` wrote, names of checkpoints in results/, or globs. Needs
    neither the checkpoints nor torch, and nothing is sent anywhere.

    \b
    gpt2eval export results --format lm-eval          for scripts that read lm-eval's output
    gpt2eval export a --format model-index --into README.md
    gpt2eval export results --format wandb --report reports/latest
    """  # noqa: D301 (click wants the character itself)
    from gpt2eval.export import export

    written = export(results, form, output, report=report, into=into, tasks_dir=tasks_dir)
    for note in written.notes:
        click.echo(visible(note), err=True)
    for path in written.paths:
        click.echo(visible(str(path)))
