"""What a person sees in a terminal: progress, tables, explanations. rich does the drawing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from gpt2eval.data import listed
from gpt2eval.evaluation import Progress, Silent
from gpt2eval.report.sections import checkpoint_labels
from gpt2eval.report.text import (
    SAMPLE_NOTICE,
    direction,
    format_estimate,
    format_value,
    with_arrow,
)
from gpt2eval.task import Protocol, Task
from gpt2eval.types import Estimate, Result

# Each task's first metrics say it all in a terminal; the report has the others.
METRICS_SHOWN = 4


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
        self.task = self.bar.add_task(escape(text), total=None, rate="")

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


def show_results(results: Sequence[Result], page: Path) -> None:
    """Print the scores as a table, checkpoints as columns, and where the report lies."""
    console = Console()
    names = list(dict.fromkeys(checkpoint_labels(results)))
    table = Table(box=None, pad_edge=False)
    table.add_column("", no_wrap=True)
    for name in names:
        table.add_column(Text(name), justify="right", no_wrap=True)
    for name, rows in _by_task(results).items():
        first = next(iter(rows.values()))
        table.add_row(Text(name, style="bold"))
        whole = [(metric, shown) for metric, shown in first.metrics.items() if not shown.part]
        for metric, shown in whole[:METRICS_SHOWN]:
            cells = [
                _cell(rows[label].metrics.get(metric)) if label in rows else "" for label in names
            ]
            table.add_row(Text(f"  {with_arrow(metric, shown.higher_is_better)}"), *cells)
        for system, estimates in first.baselines.items():
            metric, shown = next(iter(estimates.items()))
            value = format_value(shown.value, shown.unit)
            table.add_row(Text(f"  {metric} of {system}: {value}", style="dim"))
    console.print(table)
    if any(result.data["source"] == "bundled" for result in results):
        console.print(f"[yellow]{SAMPLE_NOTICE.capitalize()}.[/yellow]")
    for name, subset in dict.fromkeys((r.name, r.data["subset"]) for r in results):
        if subset != "all":
            console.print(Text(f"{name}: subset ({subset})", style="yellow"))
    console.print(Text(f"Report: {page}"), soft_wrap=True)


def _by_task(results: Sequence[Result]) -> dict[str, dict[str, Result]]:
    """task@protocol -> checkpoint label -> result."""
    rows: dict[str, dict[str, Result]] = {}
    for label, result in zip(checkpoint_labels(results), results, strict=True):
        rows.setdefault(result.name, {})[label] = result
    return rows


def _cell(estimate: Estimate | None) -> Text:
    return Text(format_estimate(estimate) if estimate else "")


def show_tasks(tasks: Mapping[str, Task]) -> None:
    """Print every task@protocol with its one-line summary, then the groups."""
    console = Console()
    table = Table(box=None, pad_edge=False)
    table.add_column("task@protocol", no_wrap=True)
    table.add_column("what it is")
    for task in tasks.values():
        for number, protocol in enumerate(task.protocols):
            mark = " (default)" if number == 0 and len(task.protocols) > 1 else ""
            table.add_row(Text(f"{task.name}@{protocol.name}"), Text(f"{protocol.summary}{mark}"))
    console.print(table)
    groups: dict[str, list[str]] = {}
    for task in tasks.values():
        for group in task.groups:
            groups.setdefault(group, []).append(task.name)
    for group, names in sorted(groups.items()):
        console.print(Text(f"group {group}: {', '.join(names)}"))


def explain(chosen: Sequence[tuple[Task, Protocol]]) -> None:
    """Print what protocols do, what they divide by, their options and published values."""
    console = Console()
    previous = ""
    for task, protocol in chosen:
        if task.name != previous:
            console.print(Text(f"{task.name}: {task.summary}", style="bold"))
            console.print(Text(f"{task.source}\n"))
            previous = task.name
        console.print(Text(f"{task.name}@{protocol.name}", style="bold"))
        for line in _explanation(protocol):
            console.print(Padding(Text(line), (0, 0, 0, 2)))
        console.print()


def _explanation(protocol: Protocol) -> Iterator[str]:
    yield protocol.detail or protocol.summary
    parts = [metric.name for metric in protocol.metrics if metric.part]
    for metric in protocol.metrics:
        if metric.part:
            continue
        better = direction(metric.higher_is_better)
        yield f"{metric.name}: {metric.unit}, over {metric.per}; {better}"
    if parts:
        yield f"and {len(parts)} numbers of parts: {parts[0]} ... {parts[-1]}"
    options = ", ".join(f"{key}={value}" for key, value in protocol.options.items())
    yield f"options: {options}"
    if protocol.fewshot:
        shots = " or ".join(map(listed, protocol.fewshot.dataset.files))
        yield f"examples for --num-fewshot: {shots}; {protocol.fewshot.count} unless asked"
    files = " or ".join(map(listed, protocol.dataset.files))
    hub = protocol.dataset.hub
    where = f"; hub: {hub}" if hub else ""
    yield f"data: {files}{where}"
    for row in protocol.references:
        yield f"published: {row['model']} {row['metric']} {row['value']} ({row['source']})"
