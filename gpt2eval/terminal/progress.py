"""What a run shows while it works."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from gpt2eval.naming import visible
from gpt2eval.scoring import Progress, Silent


class _Bar:
    """A Progress drawn as a bar, with tokens a second and the time left."""

    def __init__(self, bar: Bar) -> None:
        self.bar = bar
        self.task: TaskID | None = None
        self.total = self.done = 0

    def begin(self, text: str) -> None:
        if self.task is not None:
            self.bar.remove_task(self.task)
        self.total = self.done = 0
        self.task = self.bar.add_task(escape(visible(text)), total=None, rate="")

    def plan(self, tokens: int) -> None:
        self.total += tokens
        if self.task is not None:
            self.bar.update(self.task, total=self.total)

    def advance(self, tokens: int) -> None:
        self.done += tokens
        if self.task is not None:
            speed = self.bar.tasks[-1].speed or 0
            self.bar.update(self.task, completed=self.done, rate=f"{speed:,.0f} tokens/s")


@contextmanager
def progress_bar(quiet: bool) -> Iterator[Progress]:
    """A Progress for the terminal; silent with `quiet` and where no person is watching."""
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield Silent()
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=console, transient=True) as bar:
        yield _Bar(bar)
