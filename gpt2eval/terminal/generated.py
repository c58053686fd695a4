"""Texts as `gpt2eval generate` prints them."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from rich.console import Console

from gpt2eval.generation import GenerateOptions, written
from gpt2eval.naming import visible
from gpt2eval.terminal import Text
from gpt2eval.terminal.progress import progress_bar
from gpt2eval.types import Generate, Generated

BETWEEN = "-" * 40


def show_generated(
    options: GenerateOptions, requests: Sequence[Generate], *, as_json: bool
) -> None:
    """Write the texts and print them, each when it is done; a single one as it comes."""
    if len(requests) == 1 and not as_json and sys.stdout.isatty():
        _show_stream(options, requests[0])
        return
    with progress_bar(False) as progress:
        progress.begin(f"{options.model}: writing")
        done = written(options, requests, plan=progress.plan, advance=progress.advance)
        for number, (request, response) in enumerate(done):
            if as_json:
                print(json.dumps(_content(options, request, response)), flush=True)
                continue
            if number:
                print(BETWEEN)
            print(visible(request.prompt + response.text), flush=True)
            _tell_cut(request, response)


def _show_stream(options: GenerateOptions, request: Generate) -> None:
    console = Console(highlight=False)
    console.print(Text(request.prompt, style="bold"), end="", soft_wrap=True)

    def piece(text: str) -> None:
        sys.stdout.write(visible(text))
        sys.stdout.flush()

    for _, response in written(options, [request], piece=piece):
        print()
        _tell_cut(request, response)


def _tell_cut(request: Generate, response: Generated) -> None:
    if response.stopped == "length" and len(response.tokens) < request.max_new_tokens:
        print(
            f"gpt2eval: stopped after {len(response.tokens)} tokens, where the model's positions"
            f" end; --max-new-tokens was {request.max_new_tokens}",
            file=sys.stderr,
        )
    if response.truncated:
        print(
            f"gpt2eval: {response.truncated} tokens were cut from the left of the prompt, to leave"
            " the answer room",
            file=sys.stderr,
        )


def _content(options: GenerateOptions, request: Generate, response: Generated) -> dict[str, object]:
    return {
        "model": options.model,
        "prompt": request.prompt,
        "sample": request.sample,
        "seed": options.seed,
        "text": response.text,
        "stopped": response.stopped,
        "tokens": response.tokens.tolist(),
        "logprobs": [round(float(each), 6) for each in response.logprobs],
        "truncated": response.truncated,
    }
