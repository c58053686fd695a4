"""`gpt2eval tasks`."""

from __future__ import annotations

import click


@click.command("tasks")
@click.option("--tasks-dir", metavar="DIR", help="Directory with your own task files.")
def command(tasks_dir: str | None) -> None:
    """List tasks, their protocols (the default first) and groups."""
    from gpt2eval.task import discover
    from gpt2eval.terminal.tasks import show_tasks

    show_tasks(discover(tasks_dir))
