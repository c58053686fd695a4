"""What `gpt2eval audit` found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from gpt2eval.audit.document import HEADERS, flip_in_words, row, where
from gpt2eval.terminal import Text
from gpt2eval.terminal.comparisons import wide_console

if TYPE_CHECKING:
    from gpt2eval.audit.types import ModelAudit  # its package loads torch

FLIPS = 3  # that are shown of a task
STYLES = {
    "rounding only": "green",
    "within the interval": "yellow",
    "changes the score": "bold red",
    "a fault": "bold red",
}


def show_audits(audits: Sequence[ModelAudit]) -> None:
    """Print a table for each checkpoint and setting, then what there is to say of its tasks."""
    console = wide_console()
    for one in audits:
        for setting in dict.fromkeys(task.setting for task in one.tasks):
            tasks = [task for task in one.tasks if task.setting == setting]
            console.print(Text(f"{one.checkpoint}: {setting}, {one.device}", style="bold"))
            table = Table(box=None, pad_edge=False)
            for number, header in enumerate(HEADERS):
                right = 0 < number < len(HEADERS) - 1
                table.add_column(header, justify="right" if right else "left")
            for task in tasks:
                *cells, verdict = row(task)
                table.add_row(*map(Text, cells), Text(verdict, style=STYLES[task.verdict]))
            console.print(table)
            for task in tasks:
                console.print(Text(f"{task.task}: {task.words}"))
                if task.nats.largest > 0 and task.verdict != "rounding only":
                    console.print(Text(f"  {where(task)}", style="dim"))
                for flip in task.flips[:FLIPS]:
                    console.print(Text(f"  {flip_in_words(flip)}", style="dim"))
                if len(task.flips) > FLIPS:
                    console.print(Text(f"  and {len(task.flips) - FLIPS} more", style="dim"))
                if task.failed:
                    first, reason = next(iter(task.failed.items()))
                    words = f"  {len(task.failed)} samples not scored; {first}: {reason}"
                    console.print(Text(words, style="bold red"))
            console.print()
        console.print(Text(f"{one.checkpoint}: {one.verdict}", style=STYLES[one.verdict]))
    console.print(
        Text(
            "Differences are in nats a token, from transformers in float32, one text at a time;"
            " docs/numerics.md says how verdicts follow.",
            style="dim",
        )
    )
