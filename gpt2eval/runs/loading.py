"""A checkpoint in memory, with the one that scores what it writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gpt2eval import shards
from gpt2eval.checkpoint import Checkpoint
from gpt2eval.options import RunOptions
from gpt2eval.provenance import run_section
from gpt2eval.scoring import Open, Progress
from gpt2eval.work import Work

if TYPE_CHECKING:
    from gpt2eval.model import Model


@dataclass(frozen=True, slots=True)
class Loaded:
    """A checkpoint in memory, and the one that scores what it writes, which may be the same."""

    model: Model
    judge: Model
    started: str

    def run_section(self, item: Open, options: RunOptions) -> dict[str, Any]:
        """The `run` section for what the model has taken so far."""
        return run_section(
            self.model,
            options,
            self.started,
            seconds=item.seconds,
            tokens=item.tokens,
            resumed=item.resumed,
        )


def load(
    checkpoint: Checkpoint, work: Sequence[Work], options: RunOptions, progress: Progress
) -> Loaded:
    """Load a checkpoint, and the scorer where some of the work has one."""
    from gpt2eval.model import load_model

    progress.begin(f"{checkpoint.name}: loading")
    model = load_model(checkpoint, options.device, options.dtype)
    scorer = next((item.scorer for item in work if item.scorer), None)
    judge = load_model(scorer, options.device, options.dtype) if scorer else model
    return Loaded(model, judge, shards.now())
