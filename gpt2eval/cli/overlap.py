"""`gpt2eval overlap`."""

from __future__ import annotations

from typing import Any

import click

from gpt2eval.cli.options import json_option, print_json, run_options
from gpt2eval.options import RunOptions


@click.command("overlap")
@click.argument("more", metavar="[FILES]...", nargs=-1)
@click.option(
    "--train",
    "train",
    required=True,
    multiple=True,
    metavar="FILE",
    help="File of the training corpus, or a glob: text, or JSON lines in .jsonl; packed as .gz,"
    " .bz2, .xz or .zst. May be given several times, and more files may follow.",
)
@run_options("tasks", "data", "limit", "limit_first", "num_fewshot", "seed", "tasks_dir", "offline")
@click.option(
    "--output",
    default="overlap.json",
    metavar="FILE",
    show_default=True,
    help="Where the result is written, for --overlap of compare and report.",
)
@json_option
@click.option("--quiet", "-q", is_flag=True, help="Print errors only.")
def command(
    more: tuple[str, ...],
    train: tuple[str, ...],
    output: str,
    as_json: bool,
    quiet: bool,
    **values: Any,
) -> None:
    """Find how much of the tasks' samples is in a training corpus.

    \b
    gpt2eval overlap --train corpus.jsonl.gz --tasks lambada,wikitext2 --data DIR
    gpt2eval report results --overlap overlap.json

    Words are lower-cased letters and digits, as in the GPT-2 paper; a run of 8 or 13 words is found
    if a document of the corpus has it. Memory does not grow with the corpus.
    """  # noqa: D301 (click wants the character itself)
    options = RunOptions(**values)
    from gpt2eval.overlap import overlap, write_overlap
    from gpt2eval.overlap.corpus import count_bytes, find_files
    from gpt2eval.terminal.overlap import bytes_bar, show_overlap

    files = find_files((*train, *more))
    with bytes_bar(count_bytes(files), quiet) as on_bytes:
        found = overlap(files, options, on_bytes=on_bytes)
    write_overlap(found, output)
    if as_json:
        from gpt2eval import as_json as shapes

        print_json("overlap", shapes.overlap(found, output))
    elif not quiet:
        show_overlap(found, output)
