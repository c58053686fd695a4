"""What a person ought to know of a fine-tuning: mistakes that can be seen before or after it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FEW_TOKENS = 10_000  # learned in a pass; GPT-2 small has twelve thousand parameters for each
RISEN = 0.01  # nats a token above the lowest loss that are worth a word


def before_training(record: Mapping[str, Any], positions: int) -> list[str]:
    """Of the rows and options, in sentences. positions: how many the model has."""
    train, arguments = record["train"], record["arguments"]
    said = []
    block = arguments["block_size"] or positions
    if train["cut"] and block < positions:
        said.append(
            f"--block-size {block} is shorter than the model's {positions} positions: those from"
            f" {block + 1} on are not trained, and longer texts are scored with them"
        )
    if train["learned"] < FEW_TOKENS:
        said.append(
            f"only {train['learned']} tokens to learn from (rows: {train['rows']}): expect the"
            " style of the text at most, and more than a few passes to be learned by heart"
        )
    if record["held_out"] is None and arguments["held_out"]:
        said.append(
            f"too few rows ({train['rows']}) to hold any out by --held-out"
            f" {arguments['held_out']:g}: nothing will say whether the training helped; score a"
            " task before and after it"
        )
    return said


def after_training(record: Mapping[str, Any]) -> list[str]:
    """Of the loss of the rows that were held out, in sentences."""
    losses = dict(record["held_out"]["loss"]) if record["held_out"] else {}
    kept = record["step"]
    if kept not in losses:
        return []
    first, last = losses[0], losses[kept]
    lowest = min(losses, key=lambda step: losses[step])
    if last >= first:
        said = (
            f"the loss of the held-out rows is {last:.3f}, and was {first:.3f} before: these"
            " weights know less of such text than the base. Try a smaller --learning-rate, fewer"
            " --epochs, or more text"
        )
    elif last > losses[lowest] + RISEN:
        said = (
            f"the loss of the held-out rows was lowest at step {lowest}, {losses[lowest]:.3f}, and"
            f" is {last:.3f} now: the rest was learned by heart. Try fewer --epochs, or more text"
        )
    else:
        return []
    return [said]
