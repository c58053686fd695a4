"""`gpt2eval import`."""

from __future__ import annotations

import click

from gpt2eval.cli.options import json_option, print_json
from gpt2eval.naming import visible


@click.command("import")
@click.argument("paths", nargs=-1, required=True)
@click.option(
    "--output",
    default="results",
    metavar="DIR",
    show_default=True,
    help="Where results are kept.",
)
@click.option(
    "--data",
    metavar="DIR",
    help="Directory with benchmark files, 'bundled' or 'hub': tasks that ask what one of ours asks"
    " become ours, request by request.",
)
@click.option(
    "--tasks-dir", metavar="DIR", help="Directory with your own task files.  [default: ./tasks]"
)
@json_option
def command(
    paths: tuple[str, ...], output: str, data: str | None, tasks_dir: str | None, as_json: bool
) -> None:
    """Take in results of lm-evaluation-harness or lighteval, for `compare` and `report`.

    PATHS are their results_*.json, or directories with some. Samples that were kept beside them
    (--log_samples, --save-details) come along, so that differences can be tested.
    """
    from gpt2eval import as_json as shapes
    from gpt2eval.peers import import_results

    found = import_results(paths, output, data=data, tasks_dir=tasks_dir)
    if as_json:
        print_json("import", shapes.imported(found))
        return
    for each in found:
        note = f" ({each.note})" if each.note else ""
        name = f"{each.result.checkpoint['name']}, {each.result.name}"
        click.echo(visible(f"{name}: {each.result.path}{note}"))
