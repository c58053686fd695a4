"""What the shell may suggest. It is asked at every press of a key: nothing heavy is imported."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem


def _items(names: Iterable[str], incomplete: str, *, paths: str = "") -> list[CompletionItem]:
    """The names that begin so; with `paths`, "dir" or "file", the shell adds those of its own."""
    # First, since the script of click begins anew where it meets it.
    own = [CompletionItem(incomplete, type=paths)] if paths else []
    return [*own, *(CompletionItem(name) for name in names if name.startswith(incomplete))]


def directories(_context: Any, _parameter: Any, incomplete: str) -> list[CompletionItem]:
    """Directories."""
    return _items((), incomplete, paths="dir")


def dtypes(_context: Any, _parameter: Any, incomplete: str) -> list[CompletionItem]:
    """Dtypes, several with commas where an option takes several."""
    from gpt2eval.options import DTYPES

    return _last_of_list(DTYPES, incomplete)


def checkpoints(_context: Any, _parameter: Any, incomplete: str) -> list[CompletionItem]:
    """Bundled checkpoints, and directories."""
    from gpt2eval.checkpoint import BUNDLED

    return _items(BUNDLED, incomplete, paths="dir")


def results(context: click.Context, _parameter: Any, incomplete: str) -> list[CompletionItem]:
    """Checkpoints that have results below --output, and directories."""
    place = Path(context.params.get("output") or "results")
    if context.command.name == "report":  # its --output is where the report goes
        place = Path("results")
    try:
        names = sorted(path.name for path in place.iterdir() if path.is_dir())
    except OSError:
        names = []
    return _items(names, incomplete, paths="dir")


def tasks(context: click.Context, _parameter: Any, incomplete: str) -> list[CompletionItem]:
    """Tasks and groups, several with commas; behind an "@", the protocols."""
    from gpt2eval.errors import Gpt2EvalError
    from gpt2eval.task import discover

    try:
        found = discover(context.params.get("tasks_dir"))
    except (Gpt2EvalError, OSError):  # a broken file of the user's: say so when it is run
        return []
    names = {*found, *(group for task in found.values() for group in task.groups)}
    if "@" in incomplete.rpartition(",")[2]:
        names = {f"{task.name}@{one.name}" for task in found.values() for one in task.protocols}
    return _last_of_list(sorted(names), incomplete)


def _last_of_list(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    before, comma, last = incomplete.rpartition(",")
    return [CompletionItem(f"{before}{comma}{name}") for name in names if name.startswith(last)]
