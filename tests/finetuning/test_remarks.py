"""Mistakes that a fine-tuning names to the user."""

from __future__ import annotations

from typing import Any

import pytest

from gpt2eval.finetuning.remarks import after_training, before_training

TRAIN = {"rows": 400, "learned": 200_000, "cut": True}
HELD_OUT = {"rows": 20, "tokens": 10_240, "loss": []}


def record(held_out: Any = HELD_OUT, *, block: int | None = None, **train: Any) -> dict[str, Any]:
    return {
        "train": {**TRAIN, **train},
        "arguments": {"block_size": block, "held_out": 0.05},
        "held_out": held_out,
        "step": 60,
    }


def trained(*losses: tuple[int, float]) -> dict[str, Any]:
    return record({**HELD_OUT, "loss": [list(each) for each in losses]})


@pytest.mark.parametrize(
    "fine",
    [record(), record(block=512), record(block=64, cut=False), record(learned=10_000)],
)
def test_nothing_to_say(fine: dict[str, Any]) -> None:
    assert before_training(fine, 512) == []


def test_what_is_said_before() -> None:
    (said,) = before_training(record(block=256), 512)
    assert said.startswith("--block-size 256 is shorter than the model's 512 positions: those from")
    assert "257 on are not trained" in said
    few, unseen = before_training(record(None, rows=1, learned=11), 512)
    assert few.startswith("only 11 tokens to learn from (rows: 1)")
    assert unseen.startswith("too few rows (1) to hold any out by --held-out 0.05")
    unasked = record(None)
    unasked["arguments"]["held_out"] = 0.0  # nobody wanted to know
    assert before_training(unasked, 512) == []


@pytest.mark.parametrize(
    ("losses", "begins"),
    [
        ([(0, 4.7), (30, 4.3), (60, 4.2)], None),
        ([(0, 4.7), (30, 4.295), (60, 4.3)], None),  # no rise worth a word
        ([(0, 4.7), (30, 4.1), (60, 4.3)], "the loss of the held-out rows was lowest at step 30"),
        ([(0, 4.7), (60, 4.7)], "the loss of the held-out rows is 4.700, and was 4.700 before"),
        ([(0, 4.7), (30, 4.2), (60, 5.1)], "the loss of the held-out rows is 5.100, and was 4.7"),
        ([(0, 4.7), (30, 4.2)], None),  # the weights that were kept are of a step without a look
    ],
)
def test_what_is_said_after(losses: list[tuple[int, float]], begins: str | None) -> None:
    said = after_training(trained(*losses))
    assert len(said) == (begins is not None)
    assert not begins or said[0].startswith(begins)


def test_nothing_is_said_of_what_nobody_looked_at() -> None:
    assert after_training(record(None)) == []
