"""LoRA merged into a base while the base is read, so that memory never holds both whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from gpt2eval.formats.config import HEAD
from gpt2eval.formats.opened import Adapter, Pair


def merged(adapter: Adapter, base: Iterator[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
    """The tensors of the base, with what the adapter adds to them or puts in their place.

    Sums are made in float32 at least. An embedding or a head that is changed and is tied in the
    base stands alone here: the head keeps the embedding of the base, or the embedding is not the
    head's.
    """
    read = _reader(adapter)

    def changed(name: str, tensor: Tensor) -> Tensor:
        if name in adapter.replaced:
            tensor = read(adapter.replaced[name])
        pair = adapter.pairs.get(name)
        if pair is None:
            return tensor
        # The head is a Linear, [out, in]; everything else is [in, out] here.
        return _sum(tensor.t(), pair, read).t() if name == HEAD else _sum(tensor, pair, read)

    seen = set()
    for name, tensor in base:
        seen.add(name)
        if name == "wte.weight" and adapter.own_head:
            seen.add(HEAD)
            yield HEAD, changed(HEAD, tensor)
        if name != HEAD or not adapter.own_head:
            yield name, changed(name, tensor)
    for name in adapter.replaced.keys() - seen:
        yield name, read(adapter.replaced[name])


def _sum(weight: Tensor, pair: Pair, read: Callable[[str], Tensor]) -> Tensor:
    """A weight [in, out] with the product of the two matrices; of DoRA, with its magnitudes."""
    kind = torch.promote_types(weight.dtype, torch.float32)
    a, b = read(pair.a).float(), read(pair.b).float()
    added = weight.to(kind) + (a.t() @ b.t()).to(kind) * pair.scaling
    if not pair.magnitude:
        return added
    lengths: Tensor = torch.linalg.vector_norm(added, dim=0)
    return added * (read(pair.magnitude).to(kind) / lengths)


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
