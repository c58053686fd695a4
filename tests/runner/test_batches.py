"""Batches: laws over any items, and what happens when memory runs out."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gpt2eval.errors import ModelError
from gpt2eval.runner.batches import batches, halving

SIZES = st.lists(st.integers(1, 50), max_size=60)
MOST = st.none() | st.integers(1, 9)


@given(SIZES, st.integers(1, 200), MOST)
def test_batches(sizes: list[int], budget: int, most: int | None) -> None:
    items = list(enumerate(sizes))
    found = list(batches(items, lambda item: item[1], budget, most))
    assert sorted(item for batch in found for item in batch) == items
    for batch in found:
        assert batch
        widest = max(size for _, size in batch)
        assert widest * len(batch) <= budget or len(batch) == 1
        assert most is None or len(batch) <= most
    flat = [size for batch in found for _, size in batch]
    assert flat == sorted(flat, reverse=True)


@given(SIZES, st.integers(1, 200), MOST)
def test_batches_are_as_full_as_they_may_be(
    sizes: list[int], budget: int, most: int | None
) -> None:
    found = list(batches(sizes, int, budget, most))
    for batch in found[:-1]:
        assert (len(batch) + 1) * batch[0] > budget or len(batch) == most


# ---- out of memory ------------------------------------------------------------------------------

ERRORS: list[Callable[[], Exception]] = [
    lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
    lambda: RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"),
    lambda: RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate"),
    lambda: RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: not enough memory"),
    MemoryError,
]


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("fits", [1, 2, 3, 7, 100])
def test_halves_until_it_fits(fits: int, error: Callable[[], Exception]) -> None:
    tried = []

    def work(part: list[int]) -> int:
        tried.append(len(part))
        if len(part) > fits:
            raise error()
        return sum(part)

    found = list(halving(work, list(range(11))))
    assert [item for part, _ in found for item in part] == list(range(11))
    assert all(out == sum(part) for part, out in found)
    assert max(len(part) for part, _ in found) <= fits
    assert tried[0] == 11


def test_gives_up_at_a_single_item() -> None:
    def work(part: list[int]) -> None:
        raise MemoryError

    with pytest.raises(ModelError, match=r"single sequence.*--dtype") as caught:
        list(halving(work, [1, 2, 3]))
    assert isinstance(caught.value.__cause__, MemoryError)


def test_what_is_done_before_is_kept() -> None:
    def work(part: list[int]) -> None:
        if 3 in part:
            raise MemoryError

    found = halving(work, [0, 1, 2, 3])
    assert next(found)[0] == [0, 1]
    assert next(found)[0] == [2]
    with pytest.raises(ModelError):
        next(found)


@pytest.mark.parametrize(
    "error", [RuntimeError("shape mismatch"), ValueError("no memory"), KeyError]
)
def test_other_errors_pass(error: Exception) -> None:
    tried = []

    def work(part: list[int]) -> None:
        tried.append(part)
        raise error

    kind = error if isinstance(error, type) else type(error)
    with pytest.raises(kind):
        list(halving(work, [1, 2, 3]))
    assert len(tried) == 1
