"""`gpt2eval tasks`."""

from __future__ import annotations

import click

from gpt2eval.cli.options import json_option, print_json


@click.command("tasks")
@click.option("--tasks-dir", metavar="DIR", help="Directory with your own task files.")
@json_option
def command(tasks_dir: str | None, as_json: bool) -> None:
    """List tasks, their protocols (the default first) and groups."""
    from gpt2eval.task import discover

    found = discover(tasks_dir)
    if as_json:
        from gpt2eval import as_json as shapes

        print_json("tasks", shapes.tasks(found))
    else:
        from gpt2eval.terminal.tasks import show_tasks

        show_tasks(found)
