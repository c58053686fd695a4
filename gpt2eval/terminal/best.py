"""The best checkpoint of many, as a table."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from gpt2eval.compare.best import Best, Candidate
from gpt2eval.report.differences import format_p
from gpt2eval.report.text import format_level, format_value, with_arrow
from gpt2eval.terminal import Text
from gpt2eval.terminal.comparisons import wide_console


def show_best(chosen: Best, remarks: Sequence[str]) -> None:
    """Print all checkpoints, the best first, and what holds of the best after the choice."""
    console = wide_console()
    metric = with_arrow(chosen.metric, chosen.higher_is_better)
    console.print(Text(f"{chosen.task} {metric}", style="bold"))
    steps = any(one.step is not None for one in chosen.candidates)
    table = Table(box=None, pad_edge=False)
    table.add_column("checkpoint")
    for header in (*(["step"] if steps else []), "value", "behind", "p", ""):
        table.add_column(header, justify="right" if header else "left", no_wrap=True)
    for number, one in enumerate(chosen.candidates):
        cells = [f"{one.step:,}" if one.step is not None else ""] if steps else []
        cells += [_value(one, chosen.unit), _behind(one, chosen.unit), format_p(one.p)]
        mark = "best" if number == 0 else "may be the best" if one.member else ""
        table.add_row(Text(one.checkpoint), *map(Text, cells), Text(mark))
    console.print(table)
    console.print()
    low, high, level = chosen.low, chosen.high, format_level(chosen.level)
    interval = f"[{format_value(low, chosen.unit)}, {format_value(high, chosen.unit)}]"
    console.print(
        Text(
            f"{chosen.checkpoint}: {format_value(chosen.value, chosen.unit)}; corrected for the"
            f" choice among {len(chosen.candidates)}: expected"
            f" {format_value(chosen.corrected, chosen.unit)}, {level} interval {interval}"
        )
    )
    others = len(chosen.members) - 1
    if others:
        words = f"{others} more cannot be told from it: {', '.join(chosen.members[1:])}"
    else:
        words = "no other checkpoint may be the best"
    console.print(Text(f"{level} confidence set of the best: {words}"))
    console.print(Text(chosen.method, style="dim"))
    for remark in remarks:
        console.print(Text(remark, style="yellow"))


def _value(one: Candidate, unit: str) -> str:
    value = format_value(one.value, unit)
    if one.low is None or one.high is None:
        return value
    return f"{value} [{format_value(one.low, unit)}, {format_value(one.high, unit)}]"


def _behind(one: Candidate, unit: str) -> str:
    return "" if one.behind == 0 else f"{format_value(abs(one.behind), unit)}"
