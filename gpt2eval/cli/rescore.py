"""`gpt2eval rescore`."""

from __future__ import annotations

import click

from gpt2eval.cli import completing
from gpt2eval.cli.options import json_option, print_json


@click.command("rescore")
@click.argument(
    "paths", metavar="RESULTS...", nargs=-1, required=True, shell_complete=completing.results
)
@click.option("--write", is_flag=True, help="Put the new numbers where the recorded ones are.")
@click.option(
    "--data", metavar="DIR", help="Where the benchmark files are, for runs that read a directory."
)
@click.option("--tasks-dir", metavar="DIR", help="Directory with your own task files.")
@click.option("--offline", is_flag=True, help="Never use the network.")
@json_option
def command(
    paths: tuple[str, ...],
    write: bool,
    data: str | None,
    tasks_dir: str | None,
    offline: bool,
    as_json: bool,
) -> None:
    """Make the numbers of runs again from their records, and compare.

    RESULTS are directories that `run` wrote, names of checkpoints in results/, or globs. Needs no
    model. With --write the new numbers replace the recorded ones, those of a metric that the runs
    did not have included.
    """
    from gpt2eval import as_json as shapes
    from gpt2eval.rescore import rescore_all, write_rescored
    from gpt2eval.terminal.rescored import show_rescored

    rescored = rescore_all(paths, data=data, tasks_dir=tasks_dir, offline=offline)
    if write:
        for one in rescored:
            if not one.problem:
                write_rescored(one)
    if as_json:
        print_json("rescore", shapes.rescored(rescored, write))
    else:
        show_rescored(rescored, written=write)
    if not all(one.reproduced for one in rescored):
        raise click.exceptions.Exit(1)
