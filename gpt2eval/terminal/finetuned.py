"""What `gpt2eval finetune` made."""

from __future__ import annotations

from rich.console import Console

from gpt2eval.finetuning.training import Finetuned
from gpt2eval.terminal import Text


def show_finetuned(done: Finetuned) -> None:
    """Print what was read, how far the training came, and where the checkpoint lies."""
    console, record = Console(), done.record
    train = record["train"]
    skipped = f", {train['skipped']} too long and left out" if train["skipped"] else ""
    print_line(
        console,
        f"{train['examples']} examples{skipped}: {train['rows']} rows, {train['tokens']} tokens",
    )
    loss = "" if record["loss"] is None else f", loss {record['loss']:.3f}"
    print_line(
        console,
        f"step {record['step']} of {record['steps']}: {record['tokens_seen']} tokens in"
        f" {record['seconds']:.0f} s{loss}",
    )
    held_out = record["held_out"]
    losses = dict(held_out["loss"]) if held_out else {}
    if record["step"] in losses:
        print_line(
            console,
            f"loss of {held_out['rows']} held-out rows: {losses[0]:.3f} before,"
            f" {losses[record['step']]:.3f} after",
        )
    scores = record.get("eval")
    if scores:
        for step, value in scores["scores"]:
            print_line(console, f"  step {step}: {scores['metric']} {float(value):.6g}")
        if scores.get("best") == 0:
            words = "no score was better than that of the base itself"
            console.print(Text(words, style="yellow"))
    words = "Checkpoint" if done.fresh else "Already done, checkpoint"
    print_line(console, f"{words}: {done.path}")


def print_line(console: Console, text: str) -> None:
    """A line that is not cut to the width of a terminal."""
    console.print(Text(text), soft_wrap=True)
