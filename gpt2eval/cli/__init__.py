"""The command line: parses and calls, decides nothing. One module a command.

Heavy packages are imported inside the commands, so that `--help` answers at once. Exit codes:
0 done, 1 a comparison or check failed, 2 bad input or usage, 3 interrupted, 4 samples failed or
something could not be saved, 141 nobody reads the output any more (`| head`).
"""

from __future__ import annotations

import atexit
import gc
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import click

from gpt2eval import __version__
from gpt2eval.cli import (
    audit,
    bench,
    best,
    check,
    compare,
    completion,
    doctor,
    explain,
    export,
    fetch,
    finetune,
    generate,
    importing,
    merge,
    overlap,
    report,
    rescore,
    run,
    selfcheck,
    tasks,
    verify,
)
from gpt2eval.cli.options import dashes
from gpt2eval.errors import Gpt2EvalError, ModelError, StoreError, out_of_memory
from gpt2eval.naming import visible

INTERRUPTED = 3
CLOSED_PIPE = 128 + 13  # what a shell says of a program that SIGPIPE has ended
SETTINGS = {"help_option_names": ["-h", "--help"], "token_normalize_func": dashes}


class ClosedPipeError(Exception):
    """The reader of a pipe has gone; click and rich would make exit code 1 of it by themselves."""


@contextmanager
def _closed_pipes() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        raise ClosedPipeError from error
    except SystemExit as leaving:  # rich's answer to the same
        if isinstance(leaving.__context__, BrokenPipeError):
            raise ClosedPipeError from leaving
        raise


class App(click.Group):
    """A group that never ends with 1, "a check failed", because nobody read to the end."""

    def make_context(self, *args: Any, **more: Any) -> click.Context:
        """Read the arguments, which may print help."""
        with _closed_pipes():
            return super().make_context(*args, **more)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with _closed_pipes():
            return super().invoke(ctx)


@click.group(cls=App, context_settings=SETTINGS)
@click.version_option(__version__, prog_name="gpt2eval")
def app() -> None:
    """Score GPT-2 checkpoints on standard benchmarks and write the report.

    \b
    gpt2eval run                          bundled checkpoints on bundled samples, offline
    gpt2eval run --model gpt2             a checkpoint from the Hugging Face hub
    gpt2eval run --model ./a --model ./b --tasks wikitext2,lambada --data DIR
    gpt2eval run experiment.yaml          checkpoints x tasks x options from a file
    gpt2eval merge                        put together what `run --shard 1/8` and others scored
    gpt2eval compare a b                  is b better than a, and is it more than chance?
    gpt2eval check new --baseline old     a gate for CI: fails where a metric may have dropped
    gpt2eval report results               the report of finished runs
    gpt2eval export a --format lm-eval    files for other tools, trackers, a model card
    gpt2eval fetch --to DIR               data of tasks, for runs without a network
    gpt2eval bench --model ./a            how fast a checkpoint is on this machine
    gpt2eval finetune --model gpt2 --train FILES --output DIR
    gpt2eval generate --model ./a --prompt "Once upon"
    """  # noqa: D301 (click wants the character itself)


COMMANDS = (
    run,
    merge,
    report,
    compare,
    best,
    check,
    rescore,
    verify,
    importing,
    export,
    fetch,
    overlap,
    finetune,
    generate,
    tasks,
    explain,
    bench,
    selfcheck,
    audit,
    doctor,
    completion,
)
for module in COMMANDS:
    app.add_command(module.command)


def _give_up_output() -> None:
    """Let go of what a stream refused to take, or the exit would fail to flush it once more."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def main() -> NoReturn:
    """Run the command line; errors raised on purpose become one message and an exit code."""
    # The imports of torch and transformers make half a million objects that stay; walking them over
    # and over would take a second of every run.
    gc.set_threshold(50_000, 20, 20)
    atexit.register(gc.freeze)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # an arrow must not stop an ASCII terminal
            stream.reconfigure(errors="replace")
    code = 0
    try:
        # 0, or what a command gave to click's Exit
        code = app(standalone_mode=False, prog_name="gpt2eval") or 0
        if sys.stdout is not None:
            sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        click.echo("Interrupted. The same command goes on where this one stopped.", err=True)
        sys.exit(INTERRUPTED)
    except Gpt2EvalError as error:
        click.echo(visible(f"gpt2eval: {error}"), err=True)
        sys.exit(error.exit_code)
    except (ClosedPipeError, BrokenPipeError):  # the second from the flush above
        _give_up_output()
        sys.exit(CLOSED_PIPE)
    except Exception as error:
        _give_up_output()
        if out_of_memory(error):
            click.echo(
                visible(f"gpt2eval: out of memory ({str(error) or type(error).__name__}); ")
                + "allow more, or use a smaller --dtype or --batch-size, and run the same command"
                " again: what was saved is kept",
                err=True,
            )
            sys.exit(ModelError.exit_code)
        if not isinstance(error, OSError):
            raise
        place = visible(str(error.filename or "the output"))
        click.echo(
            f"gpt2eval: {place} could not be read or written ({error.strerror});"
            " make room or check permissions, and run the same command again: what was saved is"
            " kept",
            err=True,
        )
        sys.exit(StoreError.exit_code)
    sys.exit(code)
