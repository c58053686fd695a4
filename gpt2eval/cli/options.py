"""Options of commands, made from the fields of RunOptions and ReportOptions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, fields
from typing import Any

import click

from gpt2eval.options import ReportOptions, RunOptions


def dashes(name: str) -> str:
    """--batch_size is --batch-size, as users of lm-eval type it."""
    return name.replace("_", "-")


def run_options(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The options of these fields of RunOptions, or of all of them."""
    return _options([item for item in fields(RunOptions) if not names or item.name in names])


def report_options() -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The options of all fields of ReportOptions."""
    return _options(fields(ReportOptions))


def _options(items: Sequence[Field[Any]]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for item in reversed(items):
            command = _option(item)(command)
        return command

    return decorate


def _option(item: Field[Any]) -> Callable[[Any], Any]:
    """The command-line option of a field."""
    flag = item.metadata.get("flag", "--" + dashes(item.name))
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
        show_default=default not in (None, (), ""),
        help=item.metadata["help"],
    )


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
