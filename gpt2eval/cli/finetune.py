"""`gpt2eval finetune`."""

from __future__ import annotations

from typing import Any

import click

from gpt2eval.cli.options import options_of
from gpt2eval.finetuning.options import FinetuneOptions


@click.command("finetune")
@options_of(FinetuneOptions)
@click.option("--quiet", "-q", is_flag=True, help="Print errors only.")
def command(quiet: bool, **values: Any) -> None:
    r"""Fine-tune a checkpoint on text or on prompts and completions.

    \b
    gpt2eval finetune --model gpt2 --train 'books/*.txt' --output runs/books
    gpt2eval finetune --model gpt2 --train qa.jsonl --output runs/qa \
        --prompt-template 'Q: {question}\nA:' --completion-template ' {answer}'

    What is written is an ordinary Hugging Face checkpoint, with a record of how it was made. A
    training that was stopped goes on from its last checkpoint when the same command is given again.
    """
    options = FinetuneOptions(**values)  # bad values are refused before anything heavy is imported
    from gpt2eval.finetuning.training import finetune
    from gpt2eval.terminal.finetuned import show_finetuned
    from gpt2eval.terminal.progress import progress_bar

    with progress_bar(quiet) as progress:
        done = finetune(options, progress)
    if not quiet:
        show_finetuned(done)
