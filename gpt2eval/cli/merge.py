"""`gpt2eval merge`."""

from __future__ import annotations

from typing import Any

import click

from gpt2eval.cli.ending import tell
from gpt2eval.cli.options import json_option, run_options
from gpt2eval.errors import SampleError
from gpt2eval.options import RunOptions, names_but


@click.command("merge")
@run_options(*names_but("shard", "workers", "ray"))
@json_option
@click.option("--quiet", "-q", is_flag=True, help="Print errors only.")
def command(quiet: bool, as_json: bool, **values: Any) -> None:
    """Put shards together: print a table and write a report, as `run` does.

    The options are those that the shards were run with. Nothing is scored; exit code 4 where
    samples are missing, with what to run.

    \b
    gpt2eval run   --model gpt2 --tasks lambada --shard 1/2
    gpt2eval run   --model gpt2 --tasks lambada --shard 2/2
    gpt2eval merge --model gpt2 --tasks lambada
    """  # noqa: D301 (click wants the character itself)
    options = RunOptions(**values)
    from gpt2eval.evaluation import merge_with
    from gpt2eval.report.folder import check_directory
    from gpt2eval.terminal.progress import progress_bar

    check_directory(options.report)
    failure = None
    with progress_bar(quiet) as progress:
        try:
            results = merge_with(options, progress)
        except SampleError as error:
            results, failure = error.results, error
    tell("merge", options, results, failure, as_json=as_json, quiet=quiet)
