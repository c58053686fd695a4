"""`gpt2eval finetune`."""

from __future__ import annotations

from typing import Any

import click

from gpt2eval.cli.options import json_option, options_of, print_json
from gpt2eval.finetuning.options import FinetuneOptions
from gpt2eval.naming import visible


@click.command("finetune")
@options_of(FinetuneOptions)
@json_option
@click.option("--quiet", "-q", is_flag=True, help="Print errors only.")
def command(quiet: bool, as_json: bool, **values: Any) -> None:
    r"""Fine-tune a checkpoint on text or on prompts and completions.

    \b
    gpt2eval finetune --model gpt2 --train 'books/*.txt' --output runs/books
    gpt2eval finetune --model gpt2 --train qa.jsonl --output runs/qa \
        --prompt-template 'Q: {question}\nA:' --completion-template ' {answer}'

    What is written is an ordinary Hugging Face checkpoint, with a record of how it was made. A
    training that was stopped goes on from its last checkpoint when the same command is given again.
    """
    options = FinetuneOptions(**values)  # bad values are refused before anything heavy is imported
    from gpt2eval import as_json as shapes
    from gpt2eval.finetuning.training import finetune
    from gpt2eval.terminal.finetuned import show_finetuned
    from gpt2eval.terminal.progress import progress_bar

    def tell(text: str) -> None:
        if not quiet:
            click.echo(visible(f"note: {text}"), err=True)

    with progress_bar(quiet) as progress:
        done = finetune(options, progress, tell)
    if as_json:
        print_json("finetune", shapes.finetuned(done.path, done.fresh, done.record))
    elif not quiet:
        show_finetuned(done)
