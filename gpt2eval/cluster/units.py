"""Units of work: how large tasks are, and how they are shared out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gpt2eval.options import Shard
from gpt2eval.types import Generate, Record, Request, Rolling, Score
from gpt2eval.work import Work

UNITS = 4  # for each worker, so that the last ones to end do not end much later
CHARACTERS = 4  # of a token, roughly: for the bar, until a unit is done and says its tokens


@dataclass(frozen=True, slots=True)
class Unit:
    """A shard of one task of one checkpoint.

    checkpoint  its number among those of the command
    """

    checkpoint: int
    task: str
    shard: Shard


@dataclass(frozen=True, slots=True)
class Served:
    """What a worker made of a unit.

    records    `task@protocol` -> the records of its samples
    processes  `task@protocol` -> what it took, as `shards.process` has it
    tokens     fed to the model
    """

    checkpoint: Mapping[str, Any]
    records: Mapping[str, Sequence[Record]]
    processes: Mapping[str, Mapping[str, Any]]
    tokens: int


def task_sizes(work: Sequence[Work]) -> dict[str, int]:
    """Name of a task -> roughly its tokens, over all its protocols."""
    sizes: dict[str, int] = defaultdict(int)
    for item in work:
        sizes[item.task.name] += sum(map(_size, item.requests))
    return sizes


def plan_units(
    missing: Sequence[Collection[str]], sizes: Mapping[str, int], workers: int
) -> list[Unit]:
    """The units of what is missing: few where there is much to share out, more where there is not.

    missing  names of tasks that lack results, for each checkpoint
    """
    total = sum(sizes[task] for tasks in missing for task in tasks)
    fair = max(1, total // (UNITS * workers))
    return [
        Unit(checkpoint, task, Shard(number, of))
        for checkpoint, tasks in enumerate(missing)
        for task in tasks
        for of in [max(1, round(sizes[task] / fair))]
        for number in range(1, of + 1)
    ]


def _size(requests: Sequence[Request]) -> int:
    """Roughly the tokens of requests."""
    texts = 0
    for one in requests:
        if isinstance(one, Score):
            texts += len(one.context) + len(one.continuation)
        elif isinstance(one, Generate):
            texts += len(one.prompt) + CHARACTERS * one.max_new_tokens
        elif isinstance(one, Rolling):
            texts += (len(one.text) if one.end is None else one.end) - one.start
        else:
            texts += len(one.text)
    return max(1, texts // CHARACTERS)
