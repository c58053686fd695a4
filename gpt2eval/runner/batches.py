"""Grouping work into batches, and halving them when memory runs out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from gpt2eval.errors import ModelError

Item = TypeVar("Item")
Out = TypeVar("Out")

# Tokens of one batch. On a processor more rows do not raise throughput once the matrices are this
# tall; an accelerator wants much more.
TOKEN_BUDGET = {"cpu": 4096, "mps": 8192, "cuda": 32768}


def batches(
    items: Sequence[Item], size: Callable[[Item], int], budget: int, most: int | None
) -> Iterator[list[Item]]:
    """Items of like size together, longest first, so that padding is small and memory is known.

    size    tokens an item takes up in its batch
    budget  padded tokens of one batch; one item may exceed it
    most    items of one batch; None: no limit
    """
    batch: list[Item] = []
    for item in sorted(items, key=size, reverse=True):
        widest = size(batch[0]) if batch else size(item)
        full = (len(batch) + 1) * widest > budget or (most is not None and len(batch) >= most)
        if batch and full:
            yield batch
            batch = []
        batch.append(item)
    if batch:
        yield batch


def halving(
    work: Callable[[list[Item]], Out], batch: list[Item]
) -> Iterator[tuple[list[Item], Out]]:
    """Run `work` on a batch; where memory runs out, on its halves. Yields what each part gave."""
    waiting = [batch]
    while waiting:
        part = waiting.pop()
        try:
            out = work(part)
        except (RuntimeError, MemoryError) as error:
            if not _out_of_memory(error):
                raise
            if len(part) == 1:
                raise ModelError(
                    "out of memory with a single sequence in the batch; use a smaller --dtype, or a"
                    " machine with more memory"
                ) from error
            _release()
            half = len(part) // 2
            waiting += [part[half:], part[:half]]
            continue
        yield part, out


def _out_of_memory(error: Exception) -> bool:
    import torch

    texts = ("out of memory", "not enough memory", "can't allocate memory")
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(
        text in str(error).lower() for text in texts
    )


def _release() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
