"""The command line: parses and calls, decides nothing. One module a command.

Heavy packages are imported inside the commands, so that `--help` answers at once. Exit codes:
0 done, 1 a comparison or check failed, 2 bad input or usage, 3 interrupted, 4 samples failed or
something could not be saved.
"""

from __future__ import annotations

import io
import os
import sys
from typing import NoReturn

import click

from gpt2eval import __version__
from gpt2eval.cli import bench, explain, importing, report, run, tasks
from gpt2eval.cli.options import dashes
from gpt2eval.errors import Gpt2EvalError, StoreError

INTERRUPTED = 3
SETTINGS = {"help_option_names": ["-h", "--help"], "token_normalize_func": dashes}


@click.group(context_settings=SETTINGS)
@click.version_option(__version__, prog_name="gpt2eval")
def app() -> None:
    """Score GPT-2 checkpoints on standard benchmarks and write the report.

    \b
    gpt2eval run                          bundled checkpoints on bundled samples, offline
    gpt2eval run --model gpt2             a checkpoint from the Hugging Face hub
    gpt2eval run --model ./a --model ./b --tasks wikitext2,lambada --data DIR
    gpt2eval report results               the report of finished runs
    gpt2eval bench --model ./a            how fast a checkpoint is on this machine
    """  # noqa: D301 (click wants the character itself)


for module in (run, report, importing, bench, tasks, explain):
    app.add_command(module.command)


def _give_up_output() -> None:
    """Let go of what stdout refused to take, or the exit would fail to flush it once more."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main() -> NoReturn:
    """Run the command line; errors raised on purpose become one message and an exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # an arrow must not stop an ASCII terminal
            stream.reconfigure(errors="replace")
    try:
        app(standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        click.echo("Interrupted. The same command goes on where this one stopped.", err=True)
        sys.exit(INTERRUPTED)
    except Gpt2EvalError as error:
        click.echo(f"gpt2eval: {error}", err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        _give_up_output()
        place = error.filename or "the output"
        click.echo(
            f"gpt2eval: {place} could not be read or written ({error.strerror}); make room or check"
            " permissions, and run the same command again: what was saved is kept",
            err=True,
        )
        sys.exit(StoreError.exit_code)
    sys.exit(0)
