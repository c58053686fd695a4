"""What `gpt2eval run --dry-run` found: what there is, and what would be computed."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from gpt2eval.outlook import Outlook
from gpt2eval.terminal import Text
from gpt2eval.terminal.comparisons import wide_console


def show_outlook(found: Sequence[Outlook]) -> None:
    """Print a line for each run, and how many samples are left to score."""
    console = wide_console()
    table = Table(box=None, pad_edge=False)
    for header in ("checkpoint", "task", "samples", "state"):
        table.add_column(header, justify="right" if header == "samples" else "left")
    for one in found:
        table.add_row(Text(one.checkpoint), Text(one.task), f"{one.samples:,}", Text(_state(one)))
    console.print(table)
    left = [one for one in found if not one.finished]
    samples = sum(one.samples - one.done for one in left)
    console.print(
        Text(
            f"{len(found)} runs: {len(found) - len(left)} finished, {len(left)} to compute,"
            f" {samples:,} samples; nothing was computed",
            style="bold",
        )
    )


def _state(one: Outlook) -> str:
    failed = f", {one.failed:,} failed" if one.failed else ""
    if one.finished:
        return f"finished: {one.directory}{failed}"
    return f"goes on after {one.done:,} samples{failed}" if one.done else "to compute"
