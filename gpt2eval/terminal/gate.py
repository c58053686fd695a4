"""What `gpt2eval check` found."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from gpt2eval.check import Check, cells, summary
from gpt2eval.terminal import Text
from gpt2eval.terminal.comparisons import wide_console


def show_checks(checks: Sequence[Check]) -> None:
    """Print what became of each metric of a gate, and of the whole."""
    console = wide_console()
    table = Table(box=None, pad_edge=False)
    for number, header in enumerate(("", "baseline", "new", "difference", "may drop by", "")):
        right = 0 < number < 5
        table.add_column(header, justify="right" if right else "left", no_wrap=right)
    for one in checks:
        table.add_row(*map(Text, cells(one)))
    console.print(table)
    console.print(Text(summary(checks), style="bold"))
