"""Linear layers, by the kernel that is fastest on the processor at hand.

torch multiplies float32 matrices with MKL, which reaches its peak on some processors and less than
half of it on others, where oneDNN with weights in its own layout ("packed") does not fall short. In
half precision packed weights always win. Which one a float32 model gets is measured when it is
loaded, with a margin, so that the same machine takes the same path every time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

GAIN = 1.4  # how much faster packed float32 weights must be than plain ones to be taken
ROWS = 256  # positions in the measurement


@dataclass(frozen=True, slots=True)
class Linear:
    """`x @ weight + bias`, its weight [in, out] plain or packed."""

    weight: Tensor
    bias: Tensor
    packed: bool

    def __call__(self, x: Tensor) -> Tensor:
        """[n, in] -> [n, out]."""
        if self.packed:
            return _packed(x, self.weight, self.bias)
        return torch.addmm(self.bias, x, self.weight)

    def gelu(self, x: Tensor) -> Tensor:
        """[n, in] -> [n, out], through the tanh form of GELU."""
        if self.packed:
            return _packed(x, self.weight, self.bias, "gelu", "tanh")
        return torch.nn.functional.gelu(self(x), approximate="tanh")

    def add_to(self, x: Tensor, hidden: Tensor) -> Tensor:
        """`x` + the layer's output for `hidden`; the memory of x [n, out] may be used for it."""
        if self.packed:
            return x.add_(self(hidden))
        return x.add_(self.bias).addmm_(hidden, self.weight)


def linear(weight: Tensor, bias: Tensor) -> Linear:
    """A layer from a plain weight [in, out] that is on its device and in its dtype."""
    if _packing_pays(weight.device.type, weight.dtype):
        return Linear(_pack(weight), bias, packed=True)
    return Linear(weight, bias, packed=False)


def times_transposed(x: Tensor, weight: Tensor, *, few: bool = False) -> Tensor:
    """Multiply x [n, in] by the transpose of a plain weight [out, in].

    few  whether there are only a few rows, with which oneDNN is faster than MKL everywhere
    """
    device, dtype = weight.device.type, weight.dtype
    if _can_pack(device, dtype) if few else _packing_pays(device, dtype):
        return _packed(x, weight, None)
    return x @ weight.t()


@cache
def _can_pack(device: str, dtype: torch.dtype) -> bool:
    """Whether this build of torch and this processor have oneDNN's kernels for the dtype."""
    if device != "cpu" or not torch._C._has_mkldnn:
        return False
    weight, bias = torch.ones(2, 2, dtype=dtype), torch.ones(2, dtype=dtype)
    try:
        _packed(weight, _pack(weight), bias)
    except (RuntimeError, AttributeError, NotImplementedError):
        return False
    return True


@cache
def _packing_pays(device: str, dtype: torch.dtype) -> bool:
    """Whether packed weights are to be used; measured once in a process, for float32 only."""
    if not _can_pack(device, dtype):
        return False
    if dtype != torch.float32:
        return True
    weight, bias = torch.ones(768, 3072), torch.ones(3072)
    packed, x = _pack(weight), torch.ones(ROWS, 768)
    plain, own = _seconds(lambda: torch.addmm(bias, x, weight), lambda: _packed(x, packed, bias))
    return plain > GAIN * own


def _seconds(*works: Callable[[], Tensor], repeats: int = 6) -> list[float]:
    """The shortest time of each, in turn, on one thread.

    In processor time, which a busy machine does not stretch.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    shortest = [float("inf")] * len(works)
    for _ in range(repeats):
        for number, work in enumerate(works):
            begin = time.thread_time()
            work()
            shortest[number] = min(shortest[number], time.thread_time() - begin)
    torch.set_num_threads(threads)
    return shortest


def _pack(weight: Tensor) -> Tensor:
    # The number of rows is a hint about the layout: the one for a single row is as good for many
    # in half precision, and its GELU is faster.
    rows = ROWS if weight.dtype == torch.float32 else 1
    packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.t().contiguous(), rows)
    return packed


def _packed(
    x: Tensor, weight: Tensor, bias: Tensor | None, activation: str = "none", form: str = ""
) -> Tensor:
    out: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, activation, [], form)
    return out
