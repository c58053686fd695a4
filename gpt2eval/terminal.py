"""What a person sees in a terminal: progress, tables, explanations. rich does the drawing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from gpt2eval.data import listed
from gpt2eval.evaluation import Progress, Silent
from gpt2eval.options import RunOptions
from gpt2eval.published import DIFFERS, MATCH, OTHER, entries, judge, models
from gpt2eval.report.sections import checkpoint_labels
from gpt2eval.report.text import (
    NOTHING,
    SAMPLE_NOTICE,
    arrow,
    format_estimate,
    format_value,
)
from gpt2eval.rescore import TOLERANCE, Number, Rescored
from gpt2eval.task import Protocol, Task
from gpt2eval.types import Estimate, Result

if TYPE_CHECKING:
    from gpt2eval.selfcheck import Check  # it loads torch, which `explain` must not

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
    _show_verdicts(console, results)
    if any(result.data["source"] == "bundled" for result in results):
        console.print(f"[yellow]{SAMPLE_NOTICE.capitalize()}.[/yellow]")
    for name, subset in dict.fromkeys((r.name, r.data["subset"]) for r in results):
        if subset != "all":
            console.print(Text(f"{name}: subset ({subset})", style="yellow"))
    console.print(Text(f"Report: {page}"), soft_wrap=True)


def _show_verdicts(console: Console, results: Sequence[Result]) -> None:
    """Whether the numbers of known checkpoints are those that were published of them."""
    for label, result in zip(checkpoint_labels(results), results, strict=True):
        judged = judge(result)
        for one in judged:
            if one.found is not None:
                unit = one.found.unit
                console.print(
                    Text(
                        f"{label}, {result.name}, {one.row['metric']}:"
                        f" {format_value(one.found.value, unit)}; published"
                        f" {format_value(one.row['value'], unit)} ({one.row['source']}):"
                        f" {one.words}",
                        style={MATCH: "green", DIFFERS: "bold red"}.get(one.verdict, "yellow"),
                    )
                )
        if others := sum(one.verdict == OTHER for one in judged):
            console.print(
                Text(
                    f"{label}, {result.name}: {others} more published, {OTHER}; see the report, or"
                    f" gpt2eval explain {result.task['name']}",
                    style="dim",
                )
            )


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
            if task.story:
                console.print(Text(f"{task.story}\n"))
            previous = task.name
        console.print(Text(f"{task.name}@{protocol.name}", style="bold"))
        for line in _explanation(protocol):
            console.print(Padding(Text(line), (0, 0, 0, 2)))
        console.print()
    for name in dict.fromkeys(task.name for task, _ in chosen):
        _show_published(console, name)


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
    for name, system in protocol.baselines.items():
        does = (getattr(system, "__doc__", "") or "").partition("\n")[0]
        yield f"beside the score: {name}{f': {does}' if does else ''}"
    if protocol.fewshot:
        shots = " or ".join(map(listed, protocol.fewshot.dataset.files))
        yield f"examples for --num-fewshot: {shots}; {protocol.fewshot.count} unless asked"
    files = " or ".join(map(listed, protocol.dataset.files))
    hub = protocol.dataset.hub
    where = f"; hub: {hub}" if hub else ""
    yield f"data: {files}{where}"
    for row in protocol.references:
        yield f"published: {row['model']} {row['metric']} {row['value']} ({row['source']})"


def _show_published(console: Console, task: str) -> None:
    """Print what was published of a task, a row for each measurement, sizes side by side."""
    found = entries(task)
    if not found:
        return
    systems = list(models())
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(f"{task}, published", ratio=3)
    table.add_column("source", ratio=2, overflow="fold")
    for name in systems:
        table.add_column(name.removeprefix("gpt2-"), justify="right", no_wrap=True)
    for metric in dict.fromkeys(entry["metric"] for entry in found):
        table.add_row(Text(metric, style="bold"))
        for entry in found:
            if entry["metric"] == metric:
                protocols = ", ".join(f"@{name}" for name in entry["protocols"])
                others = [
                    f"{name}: {format_value(value, entry['unit'])}"
                    for name, value in entry["values"].items()
                    if name not in systems
                ]
                table.add_row(
                    Text("; ".join(filter(None, [entry["how"], protocols, *others]))),
                    Text(entry["source"]),
                    *(
                        format_value(entry["values"][name], entry["unit"])
                        if name in entry["values"]
                        else ""
                        for name in systems
                    ),
                )
    console.print(table)
    console.print()


def show_rescored(rescored: Sequence[Rescored], *, written: bool) -> None:
    """Print recorded numbers, and what they are now; of parts and baselines only what changed."""
    console = Console()
    table = Table(box=None, pad_edge=False)
    table.add_column("", overflow="fold")
    table.add_column("recorded", justify="right")
    table.add_column("from the records", justify="right")
    for one in rescored:
        table.add_row(Text(f"{one.result.name} of {one.result.checkpoint['name']}", style="bold"))
        alike = 0
        for number in one.numbers:
            if number.verdict == "same" and not _is_main(number):
                alike += 1
            else:
                table.add_row(*_rescored_row(number))
        if alike:
            table.add_row(Text("  parts and baselines"), "", f"{alike} same")
    console.print(table)
    for one in rescored:
        if one.problem or one.note:
            style = "red" if one.problem else "yellow"
            console.print(Text(f"{one.result.name}: {one.problem or one.note}", style=style))
    done = sum(one.reproduced for one in rescored)
    console.print(
        f"{done} of {len(rescored)} results reproduced; numbers are the same if they agree to"
        f" {TOLERANCE:g} of their size.{' Written.' if written else ''}"
    )


def _is_main(number: Number) -> bool:
    known = number.found or number.recorded
    return not number.system and not (known and known.part)


def _rescored_row(number: Number) -> tuple[Text, Text, Text]:
    system = f" of {number.system}" if number.system else ""
    recorded = format_estimate(number.recorded) if number.recorded else NOTHING
    found = format_estimate(number.found) if number.found else NOTHING
    style = {"same": "", "new": "green"}.get(number.verdict, "bold red")
    now = "same" if number.verdict == "same" else f"{number.verdict}: {found}"
    return Text(f"  {number.metric}{system}"), Text(recorded), Text(now, style=style)


def show_checks(checks: Sequence[Check], options: RunOptions) -> None:
    """Print what was expected and found, how far the two are and may be apart, and the verdict."""
    console = Console()
    table = Table(box=None, pad_edge=False)
    for column in ("", "expected", "found", "off by", "tolerance", ""):
        table.add_column(column, justify="right" if column else "left")
    previous = ""
    for check in checks:
        if check.checkpoint != previous:
            table.add_row(Text(check.checkpoint, style="bold"))
            previous = check.checkpoint
        table.add_row(
            Text(f"  {check.name}"),
            *(_known(value, check.unit) for value in (check.expected, check.found)),
            *(_distance(value, check.relative) for value in (check.off, check.tolerance)),
            Text("right", style="green") if check.passed else Text("WRONG", style="bold red"),
        )
    console.print(table)
    if any(not check.relative for check in checks):
        console.print(
            "In nats a token: off by the worst token, of long texts by the mean. A greedy text may"
            " part from the record where the next best token was as near as the tolerance."
        )
    batches = f"batches of {options.batch_size} at most" if options.batch_size else "auto batches"
    wrong = sum(not check.passed for check in checks)
    verdict = f"{wrong} of {len(checks)} answers are wrong" if wrong else "all answers are right"
    console.print(f"{verdict} ({options.dtype}, device {options.device}, {batches})")


def _known(value: float, unit: str) -> str:
    if unit == "tokens":
        return f"{value:.0f}"
    return f"{value:.6f}" if unit == "nats" else format_value(value, unit)


def _distance(value: float, relative: bool) -> str:
    return f"{value:.2%}" if relative else f"{value:.1e}"
