"""`gpt2eval explain`."""

from __future__ import annotations

import click

from gpt2eval.cli import completing
from gpt2eval.cli.options import json_option, print_json


@click.command("explain")
@click.argument("name", metavar="TASK[@PROTOCOL]", shell_complete=completing.tasks)
@click.option("--tasks-dir", metavar="DIR", help="Directory with your own task files.")
@json_option
def command(name: str, tasks_dir: str | None, as_json: bool) -> None:
    """Say what each protocol of a task does, what it divides by, and how they differ."""
    from gpt2eval import as_json as shapes
    from gpt2eval.task import discover, select
    from gpt2eval.terminal.tasks import explain

    pattern = name if "@" in name else f"{name}@*"
    chosen = select(pattern, discover(tasks_dir))
    if as_json:
        print_json("explain", shapes.explain(chosen))
    else:
        explain(chosen)
