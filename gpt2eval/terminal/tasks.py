"""Tasks and what their protocols do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table

from gpt2eval.data import listed
from gpt2eval.published import entries, models
from gpt2eval.report.text import (
    direction,
    format_value,
)
from gpt2eval.task import Protocol, Task, other_meanings
from gpt2eval.terminal import Text


def show_tasks(tasks: Mapping[str, Task]) -> None:
    """Print every task@protocol with its one-line summary, then the groups."""
    console = Console()
    table = Table(box=None, pad_edge=False)
    table.add_column("task@protocol", no_wrap=True)
    table.add_column("what it is")
    for task in tasks.values():
        for number, protocol in enumerate(task.protocols):
            marks = ["default"] if number == 0 and len(task.protocols) > 1 else []
            marks += [f"lm-eval: {protocol.lm_eval}"] if protocol.lm_eval else []
            told = f" ({'; '.join(marks)})" if marks else ""
            table.add_row(Text(f"{task.name}@{protocol.name}"), Text(f"{protocol.summary}{told}"))
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
            for line in other_meanings(task.name, {task.name: task}):
                console.print(Text(f"{line}\n"))
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
        better = direction(metric.higher_is_better)
        yield f"{metric.name}: {metric.unit}, over {metric.per}; {better}"
    if parts:
        yield f"and {len(parts)} numbers of parts: {parts[0]} ... {parts[-1]}"
    if protocol.lm_eval:
        yield f"lm-evaluation-harness has it as {protocol.lm_eval}"
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
