"""Examples before the question: which ones, and how a result records them."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np

from gpt2eval.data import load
from gpt2eval.errors import UsageError
from gpt2eval.options import RunOptions
from gpt2eval.task import Protocol, Task


def count_examples(protocol: Protocol, options: RunOptions) -> int:
    """How many examples stand before each question."""
    if options.num_fewshot is not None:
        return options.num_fewshot
    return protocol.fewshot.count if protocol.fewshot else 0


def with_examples(
    task: Task, protocol: Protocol, place: str, options: RunOptions
) -> tuple[Protocol, str]:
    """The protocol with its examples among its options, and their text; "" where there are none.

    One draw serves all samples of a run, which keeps the prompt's beginning the same and its cost
    low; another --seed draws others. Raises UsageError where a protocol has none to draw, or too
    few.
    """
    source, count = protocol.fewshot, count_examples(protocol, options)
    if not count:
        return protocol, ""
    if source is None:
        raise UsageError(
            f"--num-fewshot {count}: {task.name}@{protocol.name} has no examples to put before its"
            " questions; give 0, leave the option out, or name only tasks that have some"
        )
    rows = load(source.dataset, place, offline=options.offline).rows
    if count > len(rows):
        raise UsageError(
            f"--num-fewshot {count}: {task.name}@{protocol.name} has {len(rows)} examples; ask for"
            " at most as many"
        )
    chosen = np.random.default_rng(options.seed).choice(len(rows), count, replace=False)
    text = "".join(source.render(rows[i]) + source.separator for i in chosen)
    recorded = {
        "num_fewshot": count,
        "fewshot_seed": options.seed,
        "fewshot_sha256": hashlib.sha256(text.encode()).hexdigest(),
    }
    return replace(protocol, options={**protocol.options, **recorded}), text
