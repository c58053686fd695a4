"""What `gpt2eval selfcheck` found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from gpt2eval.options import RunOptions
from gpt2eval.report.text import (
    format_value,
)
from gpt2eval.terminal import Text

if TYPE_CHECKING:
    from gpt2eval.selfcheck import Check  # it loads torch


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
