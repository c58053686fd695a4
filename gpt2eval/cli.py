"""The command line: parses and calls, decides nothing.

Heavy packages are imported inside the commands, so that `--help` answers at once. Exit codes:
0 done, 2 bad input or usage, 3 interrupted, 4 samples failed or something could not be saved.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from dataclasses import MISSING, Field, fields
from typing import Any, NoReturn

import click

from gpt2eval import __version__
from gpt2eval.errors import Gpt2EvalError, StoreError
from gpt2eval.options import RunOptions

INTERRUPTED = 3


def _dashes(name: str) -> str:
    """--batch_size is --batch-size, as users of lm-eval type it."""
    return name.replace("_", "-")


SETTINGS = {"help_option_names": ["-h", "--help"], "token_normalize_func": _dashes}


@click.group(context_settings=SETTINGS)
@click.version_option(__version__, prog_name="gpt2eval")
def app() -> None:
    """Score GPT-2 checkpoints on standard benchmarks and write the report.

    \b
    gpt2eval run                          bundled checkpoints on bundled samples, offline
    gpt2eval run --model gpt2             a checkpoint from the Hugging Face hub
    gpt2eval run --model ./a --model ./b --tasks wikitext2,lambada --data DIR
    gpt2eval bench --model ./a            how fast a checkpoint is on this machine
    """  # noqa: D301 (click wants the character itself)


def _whole(text: str) -> int:
    """A whole number, or a usage error that says what was expected."""
    try:
        return int(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r}; expected a whole number") from error


def _whole_or_auto(text: str) -> int | None:
    """The same; `auto` is None."""
    try:
        return None if text == "auto" else int(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r}; expected a whole number or auto") from error


def _run_option(item: Field[Any]) -> Callable[[Any], Any]:
    """The command-line option of a field of RunOptions."""
    flag = item.metadata.get("flag", "--" + _dashes(item.name))
    default = None if item.default is MISSING else item.default
    if isinstance(default, bool):
        return click.option(flag, item.name, is_flag=True, help=item.metadata["help"])
    kind = _whole_or_auto if item.metadata.get("auto") else _whole
    return click.option(
        flag,
        item.name,
        type=kind if "int" in str(item.type) else str,
        default=default,
        multiple=item.metadata.get("multiple", False),
        metavar=item.metadata.get("metavar", "NAME"),
        show_default=default not in (None, ()),
        help=item.metadata["help"],
    )


def _run_options(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The options of these fields of RunOptions, or of all of them."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for item in reversed(fields(RunOptions)):
            if not names or item.name in names:
                command = _run_option(item)(command)
        return command

    return decorate


@app.command("run")
@_run_options()
@click.option("--quiet", "-q", is_flag=True, help="Print errors only.")
def run_command(quiet: bool, **values: Any) -> None:
    """Score checkpoints on tasks; print a table and write a report.

    Without options it scores the two bundled checkpoints on bundled samples. A run that was
    interrupted goes on when the same command is given again.
    """
    options = RunOptions(**values)  # bad values are refused before anything heavy is imported
    from gpt2eval.evaluation import run_with
    from gpt2eval.report import write_report
    from gpt2eval.report.folder import check_directory
    from gpt2eval.terminal import progress_bar, show_results

    check_directory(options.report)
    with progress_bar(quiet) as progress:
        results = run_with(options, progress)
    page = write_report(results, options.report)
    if not quiet:
        show_results(results, page)


@app.command("bench")
@click.option(
    "--model",
    "models",
    default=("demo-base",),
    multiple=True,
    metavar="CHECKPOINT",
    show_default=True,
    help="Checkpoint: a directory, a hub id, or a bundled name. May be given several times.",
)
@click.option(
    "--repeats", default=5, metavar="N", show_default=True, help="How often each work is timed."
)
@_run_options("output", "batch_size", "dtype", "device", "offline")
@click.option(
    "--report",
    default="reports/bench",
    metavar="DIR",
    show_default=True,
    help="Where the report is written.",
)
@click.option("--quiet", "-q", is_flag=True, help="Print errors only.")
def bench_command(quiet: bool, repeats: int, **values: Any) -> None:
    """Time checkpoints on this machine: rates, latency, memory, and share of the possible.

    The texts are words of the bundled samples, cut to fixed sizes. Every call measures anew and
    keeps its results beside the earlier ones.
    """
    options = RunOptions(**values)
    from gpt2eval.bench import bench
    from gpt2eval.report import write_report
    from gpt2eval.report.folder import check_directory
    from gpt2eval.terminal import progress_bar, show_results

    check_directory(options.report)
    with progress_bar(quiet) as progress:
        results = bench(options, repeats, progress)
    page = write_report(results, options.report)
    if not quiet:
        show_results(results, page)


@app.command("tasks")
@click.option("--tasks-dir", metavar="DIR", help="Directory with your own task files.")
def tasks_command(tasks_dir: str | None) -> None:
    """List tasks, their protocols (the default first) and groups."""
    from gpt2eval.task import discover
    from gpt2eval.terminal import show_tasks

    show_tasks(discover(tasks_dir))


@app.command("explain")
@click.argument("name", metavar="TASK[@PROTOCOL]")
@click.option("--tasks-dir", metavar="DIR", help="Directory with your own task files.")
def explain_command(name: str, tasks_dir: str | None) -> None:
    """Say what each protocol of a task does, what it divides by, and how they differ."""
    from gpt2eval.task import discover, select
    from gpt2eval.terminal import explain

    pattern = name if "@" in name else f"{name}@*"
    explain(select(pattern, discover(tasks_dir)))


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
