"""LoRA merged into a base while the base is read, so that memory never holds both whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from gpt2eval.formats.config import HEAD
from gpt2eval.formats.opened import Adapter


def merged(adapter: Adapter, base: Iterator[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
    """The tensors of the base, with what the adapter adds to them or puts in their place.

    Sums are made in float32 at least. A module that was saved whole and is tied in the base stands
    alone here: the head keeps the embedding of the base, or the embedding is not the head's.
    """
    read = _reader(adapter)
    seen = set()
    for name, tensor in base:
        seen.add(name)
        if name == "wte.weight" and adapter.own_head and HEAD not in adapter.replaced:
            yield HEAD, tensor
        if name == HEAD and adapter.own_head and HEAD not in adapter.replaced:
            continue
        if name in adapter.replaced:
            yield name, read(adapter.replaced[name])
        elif name in adapter.pairs:
            pair = adapter.pairs[name]
            a, b = read(pair.a).float(), read(pair.b).float()
            kind = torch.promote_types(tensor.dtype, torch.float32)
            yield name, tensor.to(kind) + (a.t() @ b.t()).to(kind) * pair.scaling
        else:
            yield name, tensor
    for name in adapter.replaced.keys() - seen:
        yield name, read(adapter.replaced[name])


def _reader(adapter: Adapter) -> Callable[[str], Tensor]:
    """A function that reads a tensor of the adapter's file by its name there."""
    path = adapter.weights
    if path.suffix == ".safetensors":
        from safetensors import safe_open

        def read(name: str) -> Tensor:
            with safe_open(path, framework="pt") as file:
                tensor: Tensor = file.get_tensor(name)
                return tensor

        return read
    content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    return lambda name: content[name]
