"""Comparisons of checkpoints, as a table."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table

from gpt2eval.report.differences import (
    format_difference,
    format_effect,
    format_p,
    format_side,
    format_smallest,
    mark,
)
from gpt2eval.report.text import (
    format_level,
    with_arrow,
)
from gpt2eval.terminal import Text
from gpt2eval.types import Comparison

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
        left = not name or name.endswith(" %)")
        table.add_column(name, justify="left" if left else "right", no_wrap=True)
    task = ""
    for one in rows:
        if one.task != task:
            task = one.task
            table.add_row(Text(task, style="bold"))
        values = _columns(one)
        name = with_arrow(f"  {one.metric}", one.higher_is_better)
        table.add_row(Text(name), *(Text(values[column]) for column in columns))
    return table


def _columns(one: Comparison) -> dict[str, str]:
    """Header -> cell; the interval has its own, so that differences stand under each other."""
    difference, opening, interval = format_difference(one).partition("[")
    return {
        "baseline": format_side(one, one.baseline_value, one.baseline_spread),
        "candidate": format_side(one, one.candidate_value, one.candidate_spread),
        "difference": difference.rstrip(),
        f"({format_level(one.level)})": f"{opening}{interval}",
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
