"""GPT-2's forward pass over plain tensors, with a KV cache that is written in place.

It is ours rather than `GPT2Model` because of what evaluation needs: hidden states without the
language-model head, a cache that never copies itself to grow, and rows of different lengths
padded on the right, so that position ids stay 0, 1, 2, ... and prompts need no mask. The test suite
holds it to the logits of transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


class Cache:
    """Keys and values of a batch: [layers, batch, heads, capacity, head width] each.

    length  number of slots filled, the same for all rows
    valid   [batch, capacity] bool; False where a slot holds padding
    """

    def __init__(self, shape: tuple[int, int, int, int, int], device: Any, dtype: torch.dtype):
        self.keys = torch.empty(shape, device=device, dtype=dtype)
        self.values = torch.empty(shape, device=device, dtype=dtype)
        self.valid = torch.ones((shape[1], shape[3]), device=device, dtype=torch.bool)
        self.length = 0

    def select(self, rows: Tensor) -> None:
        """Keep only these rows, in this order."""
        self.keys = self.keys.index_select(1, rows)
        self.values = self.values.index_select(1, rows)
        self.valid = self.valid.index_select(0, rows)


class Transformer:
    """The blocks of GPT-2, from the tensors of a checkpoint (names without `transformer.`)."""

    def __init__(
        self, config: Any, tensors: Mapping[str, Tensor], activation: Callable[..., Tensor]
    ):
        self.tensors = tensors
        self.layers: int = config.n_layer
        self.heads: int = config.n_head
        self.head_width: int = config.n_embd // config.n_head
        self.epsilon: float = config.layer_norm_epsilon
        self.activation = activation
        base = self.head_width**-0.5 if config.scale_attn_weights else 1.0
        by_layer = config.scale_attn_by_inverse_layer_idx
        self.scales = [base / (i + 1) if by_layer else base for i in range(self.layers)]

    def new_cache(self, batch: int, capacity: int) -> Cache:
        """An empty cache for `batch` rows of at most `capacity` tokens."""
        wte = self.tensors["wte.weight"]
        shape = (self.layers, batch, self.heads, capacity, self.head_width)
        return Cache(shape, wte.device, wte.dtype)

    def forward(self, ids: Tensor, positions: Tensor, cache: Cache | None = None) -> Tensor:
        """Hidden states after the last layer norm.

        ids [batch, time], positions [batch, time] or [1, time] -> [batch, time, width]. With a
        cache, the new tokens see its valid slots and are appended to it.
        """
        x = F.embedding(ids, self.tensors["wte.weight"]) + F.embedding(
            positions, self.tensors["wpe.weight"]
        )
        mask = self._mask(ids.shape[1], cache)
        for layer in range(self.layers):
            x = x + self._attend(layer, self._norm(f"h.{layer}.ln_1", x), cache, mask)
            x = x + self._feed(layer, self._norm(f"h.{layer}.ln_2", x))
        if cache is not None:
            cache.length += ids.shape[1]
        return self._norm("ln_f", x)

    def _mask(self, time: int, cache: Cache | None) -> Tensor | None:
        """What each new token may see; None where plain causal attention says it all."""
        if cache is None or cache.length == 0:
            return None
        end = cache.length + time
        seen = cache.valid[:, None, None, :end]
        if time == 1:
            return seen
        order = torch.ones(time, end, dtype=torch.bool, device=seen.device).tril(cache.length)
        return seen & order

    def _attend(self, layer: int, x: Tensor, cache: Cache | None, mask: Tensor | None) -> Tensor:
        batch, time, width = x.shape
        split = self._linear(f"h.{layer}.attn.c_attn", x).view(
            batch, time, 3, self.heads, self.head_width
        )
        query, key, value = split.permute(2, 0, 3, 1, 4)  # each [batch, heads, time, head width]
        if cache is not None:
            end = cache.length + time
            cache.keys[layer, :, :, cache.length : end] = key
            cache.values[layer, :, :, cache.length : end] = value
            key, value = cache.keys[layer, :, :, :end], cache.values[layer, :, :, :end]
        mixed = F.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, is_causal=mask is None, scale=self.scales[layer]
        )
        return self._linear(
            f"h.{layer}.attn.c_proj", mixed.transpose(1, 2).reshape(batch, time, width)
        )

    def _feed(self, layer: int, x: Tensor) -> Tensor:
        hidden = self.activation(self._linear(f"h.{layer}.mlp.c_fc", x))
        return self._linear(f"h.{layer}.mlp.c_proj", hidden)

    def _linear(self, name: str, x: Tensor) -> Tensor:
        """OpenAI's Conv1D: a linear layer whose weight is stored as [in, out]."""
        weight, bias = self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"]
        return torch.addmm(bias, x.reshape(-1, x.shape[-1]), weight).view(*x.shape[:-1], -1)

    def _norm(self, name: str, x: Tensor) -> Tensor:
        weight, bias = self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"]
        return F.layer_norm(x, (x.shape[-1],), weight, bias, self.epsilon)
