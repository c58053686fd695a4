"""`gpt2eval run`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from gpt2eval.cli.options import json_option, print_json, run_options
from gpt2eval.errors import SampleError
from gpt2eval.options import ReportOptions, RunOptions

if TYPE_CHECKING:
    from gpt2eval.scoring import Progress
    from gpt2eval.types import Result


@click.command("run")
@run_options()
@json_option
@click.option("--quiet", "-q", is_flag=True, help="Print errors only.")
def command(quiet: bool, as_json: bool, **values: Any) -> None:
    """Score checkpoints on tasks; print a table and write a report.

    Without options it scores the two bundled checkpoints on bundled samples. A run that was
    interrupted goes on when the same command is given again.
    """
    options = RunOptions(**values)  # bad values are refused before anything heavy is imported
    from gpt2eval.evaluation import run_with
    from gpt2eval.report.folder import check_directory
    from gpt2eval.terminal.progress import progress_bar

    check_directory(options.report)
    if options.shard is not None:
        with progress_bar(quiet) as progress:
            run_with(options, progress)
        if as_json:
            print_json("run", {"shard": options.shard})
        elif not quiet:
            click.echo(
                f"Shard {options.shard} is scored. When all are: gpt2eval merge, with the same"
                " options"
            )
        return
    finish("run", run_with, options, quiet=quiet, as_json=as_json)


def finish(
    name: str,
    work: Callable[[RunOptions, Progress], list[Result]],
    options: RunOptions,
    *,
    quiet: bool,
    as_json: bool,
) -> None:
    """Do the work of the command of that name; print its results, and write their report.

    Raises what the work raises, once what it left is shown.
    """
    from gpt2eval.terminal.progress import progress_bar

    failure = None
    with progress_bar(quiet) as progress:
        try:
            results = work(options, progress)
        except SampleError as error:
            results, failure = error.results, error
    if results:
        # Not before the models are gone: reports and tables bring a hundred megabytes of libraries.
        from gpt2eval import as_json as shapes
        from gpt2eval.reporting import report_results
        from gpt2eval.terminal.results import show_results

        page = report_results(results, options.report, ReportOptions(tasks_dir=options.tasks_dir))
        if as_json:
            print_json(name, shapes.results(results, page))
        elif not quiet:
            show_results(results, page)
    if failure:
        raise failure
