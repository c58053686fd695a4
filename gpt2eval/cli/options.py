"""Options of commands, made from the fields of the dataclasses that declare them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields
from typing import Any

import click

from gpt2eval.cli import completing
from gpt2eval.options import ReportOptions, RunOptions


def dashes(name: str) -> str:
    """--batch_size is --batch-size, as users of lm-eval type it."""
    return name.replace("_", "-")


# Field of RunOptions -> what the shell suggests for it.
COMPLETERS: Mapping[str, Any] = {
    "models": completing.checkpoints,
    "scorer": completing.checkpoints,
    "tasks": completing.tasks,
    "dtype": completing.dtypes,
    **dict.fromkeys(("data", "output", "report", "tasks_dir"), completing.directories),
}

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON, all numbers in full; see docs/json.md."
)


def print_json(command: str, content: Mapping[str, Any]) -> None:
    """What a command has to say to a program; nothing else goes to stdout then."""
    from gpt2eval.as_json import as_text

    click.echo(as_text(command, content))


def run_options(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The options of these fields of RunOptions, or of all of them."""
    return options_of(RunOptions, *names)


def report_options() -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The options of all fields of ReportOptions."""
    return options_of(ReportOptions)


def options_of(kind: Any, *names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The options of these fields of a dataclass, or of all of them."""
    items = [item for item in fields(kind) if not names or item.name in names]

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for item in reversed(items):
            command = _option(item)(command)
        return command

    return decorate


def overlap_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of commands that take what `gpt2eval overlap` found."""
    for decorate in (
        click.option(
            "--overlap-above",
            default=0.0,
            metavar="SHARE",
            show_default=True,
            help="A sample overlaps if more than this share of its runs of words does.",
        ),
        click.option(
            "--overlap-words",
            default=13,
            metavar="N",
            show_default=True,
            help="Words in a run: 8 or 13.",
        ),
        click.option(
            "--overlap",
            "overlap_file",
            metavar="FILE",
            help="What `gpt2eval overlap` wrote: clean and overlapping samples apart.",
        ),
    ):
        command = decorate(command)
    return command


def _option(item: Field[Any]) -> Callable[[Any], Any]:
    """The command-line option of a field."""
    flag = item.metadata.get("flag", "--" + dashes(item.name))
    default = None if item.default is MISSING else item.default
    if "bool" in str(item.type):  # of which --yes/--no has None for neither
        return click.option(
            flag, item.name, is_flag=True, default=default, help=item.metadata["help"]
        )
    kind: Any = str
    if "int" in str(item.type):
        kind = _whole_or_auto if item.metadata.get("auto") else _whole
    elif "float" in str(item.type):
        kind = _number
    return click.option(
        flag,
        item.name,
        type=kind,
        default=default,
        multiple=item.metadata.get("multiple", False),
        metavar=item.metadata.get("metavar", "NAME"),
        show_default=default not in (None, (), ""),
        help=item.metadata["help"],
        shell_complete=COMPLETERS.get(item.name),
    )


def _whole(text: str) -> int:
    """A whole number, or a usage error that says what was expected."""
    try:
        return int(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r}; expected a whole number") from error


def _number(text: str) -> float:
    """A number, or a usage error that says what was expected."""
    try:
        return float(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r}; expected a number") from error


def _whole_or_auto(text: str) -> int | None:
    """The same; `auto` is None."""
    try:
        return None if text == "auto" else int(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r}; expected a whole number or auto") from error
