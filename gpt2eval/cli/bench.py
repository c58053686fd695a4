"""`gpt2eval bench`."""

from __future__ import annotations

from typing import Any

import click

from gpt2eval.cli import completing
from gpt2eval.cli.options import json_option, print_json, run_options
from gpt2eval.options import RunOptions


@click.command("bench")
@click.option(
    "--model",
    "models",
    default=("demo-base",),
    multiple=True,
    metavar="CHECKPOINT",
    shell_complete=completing.checkpoints,
    show_default=True,
    help="Checkpoint: a directory, a hub id, or a bundled name. May be given several times.",
)
@click.option(
    "--repeats", default=5, metavar="N", show_default=True, help="How often each work is timed."
)
@run_options("tokenizer", "output", "batch_size", "dtype", "device", "offline")
@click.option(
    "--report",
    default="reports/bench",
    metavar="DIR",
    show_default=True,
    help="Where the report is written.",
)
@json_option
@click.option("--quiet", "-q", is_flag=True, help="Print errors only.")
def command(quiet: bool, as_json: bool, repeats: int, **values: Any) -> None:
    """Time checkpoints on this machine: rates, latency, memory, and share of the possible.

    The texts are words of the bundled samples, cut to fixed sizes. Every call measures anew and
    keeps its results beside the earlier ones.
    """
    options = RunOptions(**values)
    from gpt2eval import as_json as shapes
    from gpt2eval.bench import bench
    from gpt2eval.report import write_report
    from gpt2eval.report.folder import check_directory
    from gpt2eval.terminal.progress import progress_bar
    from gpt2eval.terminal.results import show_results

    check_directory(options.report)
    with progress_bar(quiet) as progress:
        results = bench(options, repeats, progress)
    page = write_report(results, options.report)
    if as_json:
        print_json("bench", shapes.results(results, page))
    elif not quiet:
        show_results(results, page)
