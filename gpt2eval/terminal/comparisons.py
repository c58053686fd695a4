"""Comparisons of checkpoints, as a table."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gpt2eval.report.differences import (
    format_difference,
    format_effect,
    format_p,
    format_side,
    format_smallest,
    mark,
)
from gpt2eval.report.text import (
    arrow,
    format_level,
)
from gpt2eval.types import Comparison

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


def show_comparisons(comparisons: Sequence[Comparison], remarks: Sequence[str]) -> None:
    """Print a table for each candidate, then the tests in words, and remarks."""
    console = wide_console()
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


def wide_console() -> Console:
    """A console that does not cut the lines of a file to the width of a terminal."""
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = 200
    return console


# What a narrow terminal goes without, first to last.
_SPARED = ("smallest", "effect", "better/same/worse", "baseline", "candidate", "p")


def show_comparisons(comparisons: Sequence[Comparison], remarks: Sequence[str]) -> None:
    """Print a table for each candidate, then the tests in words, and remarks."""
    console = wide_console()
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


def wide_console() -> Console:
    """A console that does not cut the lines of a file to the width of a terminal."""
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = 200
    return console


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
