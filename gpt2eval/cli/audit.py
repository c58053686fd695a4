"""`gpt2eval audit`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gpt2eval.cli import completing
from gpt2eval.cli.options import json_option, print_json, run_options
from gpt2eval.errors import UsageError
from gpt2eval.options import DTYPES, RunOptions


def _batch_sizes(_context: click.Context, _parameter: click.Parameter, text: str) -> list[Any]:
    """Whole numbers, or auto, with commas."""
    try:
        return [None if one == "auto" else int(one) for one in text.replace(" ", "").split(",")]
    except ValueError as error:
        message = f"{text!r}; expected whole numbers or auto, with commas, such as 1,auto"
        raise click.BadParameter(message) from error


@click.command("audit")
@run_options("models", "tasks", "data", "limit", "limit_first", "num_fewshot")
@click.option(
    "--dtype",
    "dtypes",
    default="float32",
    metavar="NAMES",
    show_default=True,
    shell_complete=completing.dtypes,
    help=f"Precisions to audit, with commas: {', '.join(DTYPES)}.",
)
@click.option(
    "--batch-size",
    "batch_sizes",
    default="auto",
    metavar="N,...",
    show_default=True,
    callback=_batch_sizes,
    help="Batch sizes to audit, with commas: 1,8,auto.",
)
@run_options("device", "seed", "tasks_dir", "offline")
@click.option("--output", metavar="FILE", help="Write a page of Markdown there.")
@json_option
@click.option("--quiet", "-q", is_flag=True, help="Print errors only.")
def command(
    dtypes: str,
    batch_sizes: list[int | None],
    output: str | None,
    as_json: bool,
    quiet: bool,
    **values: Any,
) -> None:
    """Find out whether a score changes with the dtype or the batch size, and whether it matters.

    A sample of each task (32, or --limit) is scored by transformers in float32, one text at a time,
    and by gpt2eval under every combination of --dtype and --batch-size. Shown are how far
    log-probabilities are apart, which answers flipped, how much of its interval each metric moved
    by, and a verdict. Nothing is stored. Exit code 1 where a score changes or something is wrong.

    \b
    gpt2eval audit --model ./a --tasks lambada,wikitext2 --data DIR --dtype float32,bfloat16
    gpt2eval audit --model ./a --tasks hellaswag --data DIR --batch-size 1,auto --output audit.md
    """  # noqa: D301 (click wants the character itself)
    settings = [
        RunOptions(dtype=dtype.strip(), batch_size=size, **values)
        for dtype in dtypes.split(",")
        for size in batch_sizes
    ]
    if output and not Path(output).absolute().parent.is_dir():
        raise UsageError(f"--output {output!r}: expected a file in a directory that is there")
    from gpt2eval import as_json as shapes
    from gpt2eval.audit import audit
    from gpt2eval.audit.document import document
    from gpt2eval.audit.types import Setting
    from gpt2eval.results import write_atomically
    from gpt2eval.terminal.audit import show_audits
    from gpt2eval.terminal.progress import progress_bar

    with progress_bar(quiet) as progress:
        pairs = dict.fromkeys(Setting(one.dtype, one.batch_size) for one in settings)
        audits = audit(settings[0], list(pairs), progress)
    if output:
        write_atomically(Path(output), document(audits))
    if as_json:
        print_json("audit", shapes.audits(audits))
    elif not quiet:
        show_audits(audits)
    if any(one.verdict in ("changes the score", "a fault") for one in audits):
        raise click.exceptions.Exit(1)
