"""What a person sees in a terminal: progress, tables, explanations. rich does the drawing."""

from __future__ import annotations

import os
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

from gpt2eval.check import Check, cells, summary
from gpt2eval.data import listed
from gpt2eval.evaluation import Progress, Silent
from gpt2eval.report.differences import (
    format_difference,
    format_effect,
    format_p,
    format_side,
    format_smallest,
    mark,
)
from gpt2eval.report.sections import checkpoint_labels
from gpt2eval.report.text import (
    SAMPLE_NOTICE,
    arrow,
    format_estimate,
    format_level,
    format_value,
)
from gpt2eval.task import Protocol, Task
from gpt2eval.types import Comparison, Estimate, Result

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
            table.add_row(Text(f"  {metric} {arrow(shown.higher_is_better)}"), *cells)
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


def show_comparisons(comparisons: Sequence[Comparison], remarks: Sequence[str]) -> None:
    """Print a table for each candidate, then the tests in words, and remarks."""
    console = _wide_console()
    by_candidate: dict[tuple[str, str], list[Comparison]] = {}
    for one in comparisons:
        by_candidate.setdefault((one.baseline, one.candidate), []).append(one)
    for (baseline, candidate), rows in by_candidate.items():
        shown = [one for one in rows if not one.part] or rows
        console.print(Text(f"{candidate} against {baseline}", style="bold"))
        console.print(_comparison_table(shown, console))
        if len(shown) < len(rows):
            more = f"and {len(rows) - len(shown)} numbers of parts, uncorrected: --json has them"
            console.print(Text(more, style="dim"))
        console.print()
    for words in _tests_in_words(comparisons):
        console.print(Text(words, style="dim"))
    for remark in remarks:
        console.print(Text(remark, style="yellow"))


def _wide_console() -> Console:
    """A console that does not cut the lines of a file to the width of a terminal."""
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = 200
    return console


# What a narrow terminal goes without, first to last.
_SPARED = ("smallest", "effect", "better/same/worse", "baseline", "candidate", "p")


def _comparison_table(rows: Sequence[Comparison], console: Console) -> Table:
    """All columns, or as many as the terminal has room for."""
    table = _with_columns(rows, ())
    for count in range(1, len(_SPARED) + 1):
        if Console(width=1000).measure(table).maximum <= console.width:
            break
        table = _with_columns(rows, _SPARED[:count])
        table.caption = f"no room for {', '.join(_SPARED[:count])}: --json has all"
        table.caption_justify = "left"
    return table


def _with_columns(rows: Sequence[Comparison], spared: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("", no_wrap=True)
    columns = [name for name in _columns(rows[0]) if name not in spared]
    for name in columns:
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    task = ""
    for one in rows:
        if one.task != task:
            task = one.task
            table.add_row(Text(task, style="bold"))
        values = _columns(one)
        name = f"  {one.metric} {arrow(one.higher_is_better)}"
        table.add_row(Text(name), *(Text(values[column]) for column in columns))
    return table


def _columns(one: Comparison) -> dict[str, str]:
    """Header -> cell."""
    return {
        "baseline": format_side(one, one.baseline_value, one.baseline_spread),
        "candidate": format_side(one, one.candidate_value, one.candidate_spread),
        f"difference ({format_level(one.level)})": format_difference(one),
        "p": format_p(one.p),
        f"p ({one.correction})": format_p(one.p_corrected),
        "": mark(one),
        "effect": format_effect(one),
        "smallest": format_smallest(one),
        "better/same/worse": f"{one.wins}/{one.ties}/{one.losses}",
    }


def _tests_in_words(comparisons: Sequence[Comparison]) -> Iterator[str]:
    """Each test and each note with the metrics that it is of; parts are left to the JSON."""
    several = len({one.candidate for one in comparisons}) > 1
    for attribute in ("test", "note"):
        users: dict[tuple[str, str, str], list[str]] = {}
        for one in comparisons:
            if words := "" if one.part else getattr(one, attribute):
                whose = f"{one.candidate}, " if several and attribute == "note" else ""
                users.setdefault((whose, one.task, words), []).append(one.metric)
        for (whose, task, words), metrics in users.items():
            yield f"{whose}{task} {', '.join(dict.fromkeys(metrics))}: {words}"


def show_checks(checks: Sequence[Check]) -> None:
    """Print what became of each metric of a gate, and of the whole."""
    console = _wide_console()
    table = Table(box=None, pad_edge=False)
    for number, header in enumerate(("", "baseline", "new", "difference", "may drop by", "")):
        right = 0 < number < 5
        table.add_column(header, justify="right" if right else "left", no_wrap=right)
    for one in checks:
        table.add_row(*map(Text, cells(one)))
    console.print(table)
    console.print(Text(summary(checks), style="bold"))


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
        direction = "higher is better" if metric.higher_is_better else "lower is better"
        yield f"{metric.name}: {metric.unit}, over {metric.per}; {direction}"
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
