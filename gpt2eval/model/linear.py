"""Linear layers, by the fastest kernel of the device.

On a processor that is oneDNN's, with weights in its own layout ("packed"). Next to MKL, which torch
takes for plain float32 weights, it is as fast where MKL is at its best and more than twice as fast
where MKL is not; it wins a fifth with the few rows of decoding, and applies GELU on the way out.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

# oneDNN keeps a kernel for each shape it has seen, a thousand of them. Batches hardly ever have the
# shape of an earlier one; within a batch there are fewer than ten.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "32")

ROWS = 256  # positions that float32 weights are laid out for


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
            return _packed_sum(hidden, x, self.weight, self.bias)
        return x.add_(self.bias).addmm_(hidden, self.weight)


def linear(weight: Tensor, bias: Tensor) -> Linear:
    """A layer from a plain weight [in, out] that is on its device and in its dtype."""
    if _can_pack(weight.device.type, weight.dtype):
        return Linear(_pack(weight), bias, packed=True)
    return Linear(weight, bias, packed=False)


def times_transposed(x: Tensor, weight: Tensor) -> Tensor:
    """Multiply x [n, in] by the transpose of a plain weight [out, in]."""
    if _can_pack(weight.device.type, weight.dtype):
        return _packed(x, weight, None)
    return x @ weight.t()


@cache
def _can_pack(device: str, dtype: torch.dtype) -> bool:
    """Whether this build of torch and this processor have oneDNN's kernels for the dtype."""
    if device != "cpu" or not torch._C._has_mkldnn:
        return False
    weight, bias = torch.ones(2, 2, dtype=dtype), torch.ones(2, dtype=dtype)
    try:
        _packed_sum(weight, weight, _pack(weight), bias)
    except (RuntimeError, AttributeError, NotImplementedError):
        return False
    return True


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


def _packed_sum(x: Tensor, other: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    out: Tensor = torch.ops.mkldnn._linear_pointwise.binary(x, other, weight, bias, "add")
    return out
