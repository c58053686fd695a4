"""What `gpt2eval rescore` found."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from gpt2eval.report.text import (
    NOTHING,
    format_estimate,
)
from gpt2eval.rescore import TOLERANCE, Number, Rescored
from gpt2eval.terminal import Text


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
