"""Grouping work into batches, and halving them when memory runs out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from gpt2eval.errors import ModelError, out_of_memory
from gpt2eval.model import Cache, Model
from gpt2eval.room import activations
from gpt2eval.runner.failures import of_the_device

Item = TypeVar("Item")
Out = TypeVar("Out")

# Tokens of one batch on a processor: more do not raise throughput once the matrices are this tall,
# and fewer stay in its cache.
CPU_TOKENS = 1024
# The most that the cache of a processor's decoding batch may take, in bytes and of the machine's
# memory. Many rows share one reading of the weights; a few are worth any cache.
CPU_CACHE = 768_000_000
CPU_CACHE_SHARE = 1 / 16
CPU_ROWS = 4
SHARE = 0.5  # of an accelerator's free memory that a batch may fill


def token_budget(model: Model) -> int:
    """How many tokens a batch may hold, by the memory there is."""
    if model.device.type != "cuda":
        return CPU_TOKENS
    import torch

    free, _ = torch.cuda.mem_get_info(model.device)
    size = activations(1, model.transformer.width, model.dtype.itemsize)
    return max(model.n_ctx, int(SHARE * free) // size)


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


def cache_rows(model: Model, capacity: int) -> int:
    """How many texts of `capacity` tokens may be written at a time, by the memory there is."""
    size = Cache.bytes_per_token(model.transformer) * capacity
    if model.device.type != "cuda":
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return max(CPU_ROWS, int(min(CPU_CACHE, CPU_CACHE_SHARE * memory)) // size)
    import torch

    free, _ = torch.cuda.mem_get_info(model.device)
    return max(1, int(SHARE * free) // size)


def halving(
    work: Callable[[list[Item]], Out],
    batch: list[Item],
    split: Callable[[Item], list[Item]] = lambda _item: [],
    give_up: Callable[[Item, Exception], None] | None = None,
) -> Iterator[tuple[list[Item], Out]]:
    """Run `work` on a batch; where memory runs out, on its halves. Yields what each part gave.

    split    what a single item can be divided into; nothing: it cannot
    give_up  told of an item on which `work` fails for another reason than memory, once it is alone;
             without it such an error passes
    """
    waiting = [batch]
    while waiting:
        part = waiting.pop()
        try:
            out = work(part)
        except Exception as error:
            memory = out_of_memory(error)
            if not memory and (give_up is None or of_the_device(error)):
                raise
            pieces = [[item] for item in split(part[0])] if len(part) == 1 else []
            if memory and not pieces:
                half = fewer(len(part), error)
                pieces = [part[:half], part[half:]]
            elif len(part) > 1:
                pieces = [part[: len(part) // 2], part[len(part) // 2 :]]
            elif not pieces and give_up:
                give_up(part[0], error)
            waiting += reversed(pieces)
            continue
        yield part, out


def fewer(sequences: int, error: Exception) -> int:
    """Half as many; ModelError where there was only one. Lets go of memory that is held back."""
    if sequences == 1:
        reason = str(error) or type(error).__name__
        raise ModelError(
            f"out of memory with a single sequence in the batch ({reason}); use a smaller"
            " --dtype, or a machine with more memory"
        ) from error
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return sequences // 2
