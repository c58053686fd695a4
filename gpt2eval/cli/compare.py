"""`gpt2eval compare`."""

from __future__ import annotations

import click

from gpt2eval.cli import completing
from gpt2eval.cli.options import json_option, overlap_options, print_json, run_options


@click.command("compare")
@click.argument(
    "names", metavar="RESULTS...", nargs=-1, required=True, shell_complete=completing.results
)
@click.option(
    "--baseline",
    metavar="NAME",
    shell_complete=completing.results,
    help="Checkpoint that the others are compared with.  [default: the first]",
)
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="NAME",
    help='Metric, or glob over metrics; "lambada@openai/accuracy" is that of one task. May be given'
    " several times.",
)
@click.option(
    "--tasks",
    metavar="NAMES",
    shell_complete=completing.tasks,
    help="Tasks to compare on, with commas; globs are fine.",
)
@click.option(
    "--correction",
    type=click.Choice(["holm", "bh", "none"]),
    default="holm",
    show_default=True,
    help="Of p-values for the number of tests: Holm, Benjamini-Hochberg, or none.",
)
@click.option(
    "--allow-intersection",
    is_flag=True,
    help="Compare the samples that both have where data or subset differ.",
)
@click.option(
    "--group-by",
    metavar="PATTERN",
    help='Checkpoints are seeds of variants: "{variant}-seed{seed}", a regular expression whose'
    " only group is the variant, or an experiment file with variants. Seeds are the units then.",
)
@click.option("--seed", default=0, metavar="N", show_default=True, help="Seed of the resamples.")
@click.option("--tasks-dir", metavar="DIR", help="Directory with your own task files.")
@overlap_options
@run_options("output")
@json_option
def command(
    names: tuple[str, ...],
    baseline: str | None,
    metrics: tuple[str, ...],
    tasks: str | None,
    correction: str,
    allow_intersection: bool,
    group_by: str | None,
    seed: int,
    tasks_dir: str | None,
    overlap_file: str | None,
    overlap_words: int,
    overlap_above: float,
    output: str,
    as_json: bool,
) -> None:
    """Compare checkpoints on the samples they share: differences, intervals, paired tests.

    RESULTS are directories that `run` wrote, names of checkpoints below --output, or globs. The
    first checkpoint is the baseline unless another is named. With --overlap, clean samples alone
    are compared. No model is loaded.
    """
    from gpt2eval import as_json as shapes
    from gpt2eval.compare import compare
    from gpt2eval.compare.remarks import remarks
    from gpt2eval.compare.selection import find
    from gpt2eval.terminal.comparisons import show_comparisons

    found = find(names, output, tasks)
    splits, only, rule = [], None, None
    if overlap_file is not None:
        from gpt2eval.overlap import read_overlap
        from gpt2eval.overlap.split import Rule, clean_samples, split

        rule, overlap = Rule(overlap_words, overlap_above), read_overlap(overlap_file)
        only = clean_samples(overlap, found.results, rule)
        splits = split(found.results, overlap, rule, tasks_dir=tasks_dir)
    comparisons = compare(
        found.results,
        baseline=baseline,
        metrics=metrics,
        correction=correction,
        allow_intersection=allow_intersection,
        group_by=group_by,
        seed=seed,
        tasks_dir=tasks_dir,
        only=only,
    )
    said = remarks(found, baseline, group_by)
    if as_json:
        print_json("compare", shapes.comparisons(comparisons, said, splits))
    else:
        if splits:
            from gpt2eval.terminal.overlap import show_splits

            show_splits(splits, str(rule))
        show_comparisons(comparisons, said)
