"""`gpt2eval selfcheck`."""

from __future__ import annotations

from typing import Any

import click

from gpt2eval.cli.options import json_option, print_json, run_options
from gpt2eval.options import RunOptions


@click.command("selfcheck")
@run_options("models", "tokenizer", "data", "output", "batch_size", "dtype", "device", "offline")
@json_option
@click.option("--quiet", "-q", is_flag=True, help="Print errors only.")
def command(quiet: bool, as_json: bool, **values: Any) -> None:
    """Check that this machine, dtype and batch policy give the numbers that are known.

    The bundled checkpoints have answers on record, made by transformers; nothing else is needed.
    Of OpenAI's checkpoints, --model gpt2 say, numbers were published, and their texts are read from
    --data or the hub. Exit code 1 if a number is wrong.
    """
    options = RunOptions(**values)
    from gpt2eval import as_json as shapes
    from gpt2eval.selfcheck import selfcheck
    from gpt2eval.terminal.progress import progress_bar
    from gpt2eval.terminal.selfcheck import show_checks

    with progress_bar(quiet) as progress:
        checks = selfcheck(options, progress)
    if as_json:
        print_json("selfcheck", shapes.selfcheck(checks, options))
    elif not quiet:
        show_checks(checks, options)
    if not all(check.passed for check in checks):
        raise click.exceptions.Exit(1)
