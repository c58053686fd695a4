"""The scores of a run, as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table

from gpt2eval.published import DIFFERS, MATCH, OTHER, judge
from gpt2eval.report.sections import checkpoint_labels
from gpt2eval.report.text import (
    SAMPLE_NOTICE,
    format_interval,
    format_value,
    with_arrow,
)
from gpt2eval.terminal import Text
from gpt2eval.types import Estimate, Result

# Each task's first metrics say it all in a terminal; the report has the others.
METRICS_SHOWN = 4
FEW = 4  # checkpoints; more stand in rows where a terminal has no room for as many columns


def show_results(results: Sequence[Result], page: Path) -> None:
    """Print the scores as a table, checkpoints as columns, and where the report lies."""
    console = Console()
    names = list(dict.fromkeys(checkpoint_labels(results)))
    table = Table(box=None, pad_edge=False)
    table.add_column("", overflow="fold")  # gives way to the numbers where a terminal is narrow
    for name in names:
        table.add_column(Text(name), no_wrap=True)  # its cells are equally wide
    lines: list[tuple[RenderableType, Sequence[Estimate | None]]] = []
    for name, rows in _by_task(results).items():
        first = next(iter(rows.values()))
        lines.append((Text(name, style="bold"), ()))
        whole = [(metric, shown) for metric, shown in first.metrics.items() if not shown.part]
        for metric, shown in whole[:METRICS_SHOWN]:
            found = [rows[label].metrics.get(metric) if label in rows else None for label in names]
            lines.append((Text(with_arrow(f"  {metric}", shown.higher_is_better)), found))
            lines += [
                (Padding(Text(words, style="dim"), (0, 0, 0, 4)), ())  # if it wraps, all of it
                for words in _without_a_model(first, metric)
            ]
    columns = [
        _aligned([found[n] if found else None for _, found in lines]) for n in range(len(names))
    ]
    for (head, _), *cells in zip(lines, *columns, strict=True):
        table.add_row(head, *cells)
    if len(names) > FEW and Console(width=1000).measure(table).maximum > console.width:
        _show_in_rows(console, results)
    else:
        console.print(table)
    _show_verdicts(console, results)
    if any(result.data["source"] == "bundled" for result in results):
        console.print(f"[yellow]{SAMPLE_NOTICE.capitalize()}.[/yellow]")
    for name, subset in dict.fromkeys((r.name, r.data["subset"]) for r in results):
        if subset != "all":
            console.print(Text(f"{name}: subset ({subset})", style="yellow"))
    for name, count in dict.fromkeys((r.name, _examples(r)) for r in results):
        if count:
            console.print(Text(f"{name}: {count} before each question", style="yellow"))
    for note in dict.fromkeys(
        f"{result.name}, {metric}: {shown.note}"
        for result in results
        for metric, shown in result.metrics.items()
        if shown.note
    ):
        console.print(Text(note, style="yellow"))
    for label, result in zip(checkpoint_labels(results), results, strict=True):
        if failed := result.ledger.get("failed", 0):
            words = f"{failed} of {result.data['selected']} samples failed, not in the numbers"
            console.print(Text(f"{label}, {result.name}: {words}", style="bold red"))
    assumed = {
        (label, sentence): None
        for label, result in zip(checkpoint_labels(results), results, strict=True)
        for sentence in result.checkpoint.get("assumed", [])
    }
    for label, sentence in assumed:
        console.print(Text(f"{label}: assumed {sentence}", style="dim"))
    console.print(Text(f"Report: {page.with_name('report.html')}"), soft_wrap=True)


def _examples(result: Result) -> str:
    """How many examples stood before each question, in words; empty for none."""
    count = result.task.get("options", {}).get("num_fewshot", 0)
    return f"{count} example{'s' if count != 1 else ''}" if count else ""


def _show_in_rows(console: Console, results: Sequence[Result]) -> None:
    """A table for each task, a row for each checkpoint, as many metrics as there is room for."""
    for name, rows in _by_task(results).items():
        first = next(iter(rows.values()))
        whole = [(metric, shown) for metric, shown in first.metrics.items() if not shown.part]
        for count in range(min(len(whole), METRICS_SHOWN), 0, -1):
            table = Table(box=None, pad_edge=False)
            table.add_column(Text(name, style="bold"))
            for metric, shown in whole[:count]:
                header = Text(with_arrow(metric, shown.higher_is_better))
                table.add_column(header, justify="right", no_wrap=True)
            columns = [
                _aligned([result.metrics.get(metric) for result in rows.values()])
                for metric, _ in whole[:count]
            ]
            for label, *cells in zip(rows, *columns, strict=True):
                table.add_row(Text(label), *cells)
            if Console(width=1000).measure(table).maximum <= console.width or count == 1:
                console.print(table)
                break


def _without_a_model(result: Result, metric: str) -> Iterator[str]:
    """Each system without a model whose first metric this is: "unigram of the text: 812.34"."""
    for system, estimates in result.baselines.items():
        if estimates and next(iter(estimates)) == metric:
            value = format_value(estimates[metric].value, estimates[metric].unit)
            yield f"{system}: {value}"


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


def _aligned(column: Sequence[Estimate | None]) -> list[Text]:
    """Values and intervals of a column, each under the one above."""
    values = ["" if each is None else format_value(each.value, each.unit) for each in column]
    if any(value.endswith(" %") for value in values):
        values = [value if value.endswith(" %") else f"{value}  " for value in values]
    bounds = ["" if each is None else format_interval(each) for each in column]
    wide, far = max(map(len, values)), max(map(len, bounds))
    return [
        Text(f"{value:>{wide}} {bound:<{far}}" if value.strip() else "")
        for value, bound in zip(values, bounds, strict=True)
    ]
