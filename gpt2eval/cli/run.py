"""`gpt2eval run`."""

from __future__ import annotations

from typing import Any

import click
from click.core import ParameterSource

from gpt2eval.cli.ending import tell
from gpt2eval.cli.options import json_option, print_json, run_options
from gpt2eval.errors import SampleError
from gpt2eval.experiment import of_options, read_experiment
from gpt2eval.naming import visible
from gpt2eval.options import RunOptions


@click.command("run")
@click.argument("experiment", metavar="[EXPERIMENT.yaml]", required=False)
@run_options()
@click.option(
    "--dry-run", is_flag=True, help="List what would be computed and what is there, and stop."
)
@json_option
@click.option("--quiet", "-q", is_flag=True, help="Print errors only.")
@click.pass_context
def command(
    context: click.Context,
    /,
    experiment: str | None,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    **values: Any,
) -> None:
    """Score checkpoints on tasks; print a table and write a report.

    Without options it scores the two bundled checkpoints on bundled samples. A run that was
    interrupted goes on when the same command is given again, and what is finished is read.
    EXPERIMENT.yaml has models, tasks and options; options of the command line replace its own.
    """
    # Bad values are refused before anything heavy is imported.
    if experiment is None:
        meant = of_options(RunOptions(**values))
    else:
        typed = [
            name
            for name in values
            if context.get_parameter_source(name) is not ParameterSource.DEFAULT
        ]
        meant = read_experiment(experiment, {name: values[name] for name in typed})
    options = meant.options
    from gpt2eval import as_json as shapes

    if dry_run:
        from gpt2eval.outlook import outlook
        from gpt2eval.terminal.outlook import show_outlook

        found = outlook(meant)
        if as_json:
            print_json("run", shapes.outlook(found))
        else:
            show_outlook(found)
        return
    from gpt2eval.evaluation import run_experiment
    from gpt2eval.report.folder import check_directory
    from gpt2eval.task import discover, other_meanings
    from gpt2eval.terminal.progress import progress_bar

    check_directory(options.report)
    if not quiet:
        asked = ",".join(entry.what for entry in meant.tasks)
        for words in other_meanings(asked, discover(options.tasks_dir)):
            click.echo(visible(words), err=True)
    failure = None
    with progress_bar(quiet) as progress:
        try:
            results = run_experiment(meant, progress)
        except SampleError as error:
            results, failure = error.results, error
    if options.shard is not None:
        if as_json:
            print_json("run", {"shard": options.shard})
        elif not quiet:
            click.echo(
                f"Shard {options.shard} is scored. When all are: gpt2eval merge, with the same"
                " options"
            )
        return
    tell("run", options, results, failure, as_json=as_json, quiet=quiet)
