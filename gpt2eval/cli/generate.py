"""`gpt2eval generate`."""

from __future__ import annotations

from typing import Any

import click

from gpt2eval.cli.options import options_of
from gpt2eval.generation import GenerateOptions

INTERRUPTED = 3


@click.command("generate")
@options_of(GenerateOptions)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON line for each text.")
def command(as_json: bool, **values: Any) -> None:
    r"""Write texts with a checkpoint.

    \b
    gpt2eval generate --model ./a --prompt "The lighthouse"
    gpt2eval generate --model ./a --prompts FILE --top-p 0.95 --num-samples 4 --json

    Printed is the prompt, then what the model wrote; --json has them apart. A single text appears
    in a terminal as it is written.
    """
    options = GenerateOptions(**values)
    from gpt2eval.generation import requests_of
    from gpt2eval.terminal.generated import show_generated

    try:
        show_generated(options, requests_of(options), as_json=as_json)
    except KeyboardInterrupt:
        click.echo("\nInterrupted.", err=True)
        raise click.exceptions.Exit(INTERRUPTED) from None
