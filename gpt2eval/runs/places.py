"""Where the runs of a checkpoint are kept, and what is there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from gpt2eval import shards
from gpt2eval.checkpoint import Checkpoint
from gpt2eval.digests import digest_items
from gpt2eval.options import RunOptions, Shard
from gpt2eval.results import FORMAT, RESULT, locked, read_result, run_directory
from gpt2eval.scoring import Open
from gpt2eval.types import Result
from gpt2eval.work import Work


def directories_of(checkpoint: Checkpoint, work: Sequence[Work], options: RunOptions) -> list[Path]:
    """Where the runs of a checkpoint are kept, one for each task@protocol."""
    return [
        run_directory(
            Path(options.output), checkpoint.name, item.name, _identity(checkpoint, item, options)
        )
        for item in work
    ]


def _identity(checkpoint: Checkpoint, work: Work, options: RunOptions) -> dict[str, Any]:
    """All that can change the numbers of a run, and nothing else."""
    return {
        "format": FORMAT,
        "weights": checkpoint.sha256,
        "tokenizer": checkpoint.tokenizer_sha256,
        "config": digest_items([sorted(checkpoint.config.items(), key=str)]),
        "dtype": options.dtype,
        "task": work.name,
        "version": work.task.version,
        "options": work.protocol.options,
        "metrics": [[metric.name, metric.signature] for metric in work.protocol.metrics],
        "data": work.provenance["sha256"],
        "source": work.provenance["source"],
        "subset": work.provenance["subset"],
        "requests": digest_items(work.requests),
        "references": digest_items(sample.references for sample in work.samples),
        "seed": options.seed,
        **({"scorer": [work.scorer.sha256, work.scorer.tokenizer_sha256]} if work.scorer else {}),
    }


def results_in(directories: Sequence[Path]) -> list[Result]:
    """The results that are there."""
    return [read_result(directory) for directory in directories if (directory / RESULT).exists()]


@contextmanager
def opened(
    work: Sequence[Work], directories: Sequence[Path], shard: Shard | None = None
) -> Iterator[list[Open]]:
    """The runs without a result in these directories, locked: for this process, or its shard."""
    with ExitStack() as stack:
        for directory in directories:
            if not (directory / RESULT).exists():
                if shard:
                    stack.enter_context(locked(directory, shared=True))
                    stack.enter_context(locked(shards.place_of(directory, shard)))
                else:
                    stack.enter_context(locked(directory))
        # Asked once the lock is held: another process may have finished the run just before.
        yield [
            Open(item, directory)
            for item, directory in zip(work, directories, strict=True)
            if not (directory / RESULT).exists()
        ]
