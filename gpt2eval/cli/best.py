"""`gpt2eval best`."""

from __future__ import annotations

import click

from gpt2eval.cli.options import json_option, print_json, run_options


@click.command("best")
@click.argument("names", metavar="RESULTS...", nargs=-1, required=True)
@click.option(
    "--metric",
    required=True,
    metavar="NAME",
    help='What decides: "lambada@openai/accuracy", or less where that is clear.',
)
@click.option("--tasks", metavar="NAMES", help="Tasks to look at, with commas; globs are fine.")
@click.option(
    "--experiment",
    metavar="FILE",
    help="Experiment file that says the steps of checkpoints.",
)
@click.option(
    "--level", default=0.95, metavar="L", show_default=True, help="Of the set and the interval."
)
@click.option("--seed", default=0, metavar="N", show_default=True, help="Seed of the resamples.")
@click.option("--tasks-dir", metavar="DIR", help="Directory with your own task files.")
@run_options("output")
@json_option
def command(
    names: tuple[str, ...],
    metric: str,
    tasks: str | None,
    experiment: str | None,
    level: float,
    seed: int,
    tasks_dir: str | None,
    output: str,
    as_json: bool,
) -> None:
    """Find the best checkpoint of many, and those that cannot be told from it.

    RESULTS are directories that `run` wrote, names of checkpoints below --output, or globs. The
    best of many had luck as well: the interval and the expected value are corrected for the choice,
    and the set holds the truly best checkpoint with probability --level. No model is loaded.
    """
    from gpt2eval import as_json as shapes
    from gpt2eval.compare.best import best, remarks
    from gpt2eval.compare.selection import find
    from gpt2eval.experiment import described, read_experiment
    from gpt2eval.terminal.best import show_best

    found = find(names, output, tasks)
    results = found.results
    if experiment is not None:
        results = described(results, read_experiment(experiment))
    chosen = best(results, metric, seed=seed, level=level, tasks_dir=tasks_dir)
    said = remarks(found, chosen)
    if as_json:
        print_json("best", shapes.best(chosen, said))
    else:
        show_best(chosen, said)
