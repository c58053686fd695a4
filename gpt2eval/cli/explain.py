"""`gpt2eval explain`."""

from __future__ import annotations

import click


@click.command("explain")
@click.argument("name", metavar="TASK[@PROTOCOL]")
@click.option("--tasks-dir", metavar="DIR", help="Directory with your own task files.")
def command(name: str, tasks_dir: str | None) -> None:
    """Say what each protocol of a task does, what it divides by, and how they differ."""
    from gpt2eval.task import discover, select
    from gpt2eval.terminal.tasks import explain

    pattern = name if "@" in name else f"{name}@*"
    explain(select(pattern, discover(tasks_dir)))
