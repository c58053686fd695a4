"""`gpt2eval fetch`."""

from __future__ import annotations

import shlex
from typing import Any

import click

from gpt2eval.cli.options import json_option, print_json, run_options
from gpt2eval.options import RunOptions


@click.command("fetch")
@click.option(
    "--to", "directory", required=True, metavar="DIR", help="Directory that the data go into."
)
@click.option(
    "--data",
    default="hub",
    metavar="DIR",
    show_default=True,
    help="Where they come from: 'hub', or a directory with benchmark files.",
)
@run_options("tasks", "num_fewshot", "tasks_dir", "offline")
@json_option
def command(directory: str, as_json: bool, **values: Any) -> None:
    """Put the data of tasks into a directory, for runs without a network.

    A manifest lists each file with its sha256 and where it is from; a run with --data DIR holds the
    files to it. Add --offline to that run, and it never asks the network.
    """
    options = RunOptions(**values)
    from gpt2eval import as_json as shapes
    from gpt2eval.bundles import fetch

    put = fetch(options, directory)
    shots = [] if options.num_fewshot is None else ["--num-fewshot", str(options.num_fewshot)]
    words = ["gpt2eval", "run", "--tasks", options.tasks, *shots, "--data", directory, "--offline"]
    if as_json:
        print_json("fetch", shapes.fetched(put, words))
        return
    for name, entry in put.items():
        click.echo(f"{entry['sha256']}  {name}")
    click.echo(f"Use it with:  {shlex.join(words)}", err=True)
