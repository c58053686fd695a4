"""`gpt2eval verify`."""

from __future__ import annotations

import click

from gpt2eval.cli.options import json_option, print_json


@click.command("verify")
@click.argument("paths", metavar="RUN...", nargs=-1, required=True)
@click.option(
    "--data", metavar="DIR", help="Where the benchmark files are, for runs that read a directory."
)
@click.option("--tasks-dir", metavar="DIR", help="Directory with your own task files.")
@click.option("--offline", is_flag=True, help="Never use the network.")
@json_option
def command(
    paths: tuple[str, ...], data: str | None, tasks_dir: str | None, offline: bool, as_json: bool
) -> None:
    """Find out whether results are what their runs made: any edit is found and named.

    RUN is the directory of a run, or one above. Digests, ledger, and every number with its interval
    are held against the records, and the records against the data where those are there. Exit code
    1 where something was edited or is damaged.
    """
    from gpt2eval import as_json as shapes
    from gpt2eval.terminal.verified import show_verified
    from gpt2eval.verify import verify_all

    verified = verify_all(paths, data=data, tasks_dir=tasks_dir, offline=offline)
    if as_json:
        print_json("verify", shapes.verified(verified))
    else:
        show_verified(verified)
    if any(one.findings for one in verified):
        raise click.exceptions.Exit(1)
