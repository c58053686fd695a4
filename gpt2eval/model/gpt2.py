"""GPT-2's forward pass over plain tensors.

It is ours rather than `GPT2Model` because of what evaluation needs: hidden states without the
language-model head, the last block only where somebody looks, many continuations of one context in
a single row, and a cache whose rows are of different ages and never copied to grow. The test suite
holds it to the logits of transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from gpt2eval.model.linear import Linear

# layer, query, key, value (each [batch, heads, time, head width]) -> mixed values, like query
Attention = Callable[[int, Tensor, Tensor, Tensor], Tensor]


class Transformer:
    """The blocks of GPT-2, from the parts of a checkpoint (names without `transformer.`)."""

    def __init__(
        self,
        config: Any,
        tensors: Mapping[str, Tensor],
        linears: Mapping[str, Linear],
        activation: Callable[[Tensor], Tensor] | None,
    ):
        """`activation` is None for the tanh form of GELU, which the linear layers bring along."""
        self.tensors = tensors
        self.linears = linears
        self.layers: int = config.n_layer
        self.heads: int = config.n_head
        self.width: int = config.n_embd
        self.epsilon: float = config.layer_norm_epsilon
        self.activation = activation
        base = (self.width // self.heads) ** -0.5 if config.scale_attn_weights else 1.0
        by_layer = config.scale_attn_by_inverse_layer_idx
        self.scales = [base / (i + 1) if by_layer else base for i in range(self.layers)]

    def forward(
        self,
        ids: Tensor,
        positions: Tensor,
        attention: Attention,
        keep: Tensor | None = None,
        watch: Callable[[str, Tensor], None] | None = None,
    ) -> Tensor:
        """Hidden states after the last layer norm.

        ids [batch, time], positions [batch, time] or [1, time] -> [batch * time, width]; with
        `keep`, indices into batch * time, only those rows: [len(keep), width]. `watch` is shown
        what each part of the model adds up to, with the name of the part.
        """
        batch, time = ids.shape
        x = F.embedding(ids, self.tensors["wte.weight"]) + F.embedding(
            positions, self.tensors["wpe.weight"]
        )
        x = x.flatten(0, 1)
        if watch:
            watch("the embedding", x)
        for layer in range(self.layers):
            qkv = self.linears[f"h.{layer}.attn.c_attn"](self._norm(f"h.{layer}.ln_1", x))
            # One copy to whole heads: attention over strided ones takes half as long again.
            query, key, value = (
                qkv.view(batch, time, 3, self.heads, -1).permute(2, 0, 3, 1, 4).contiguous()
            )
            mixed = attention(layer, query, key, value).transpose(1, 2).reshape(-1, self.width)
            if keep is not None and layer == self.layers - 1:
                x, mixed = x[keep], mixed[keep]
            x = self.linears[f"h.{layer}.attn.c_proj"].add_to(x, mixed)
            if watch:
                watch(f"h.{layer}.attn", x)
            hidden = self._feed(layer, self._norm(f"h.{layer}.ln_2", x))
            x = self.linears[f"h.{layer}.mlp.c_proj"].add_to(x, hidden)
            if watch:
                watch(f"h.{layer}.mlp", x)
        x = self._norm("ln_f", x)
        if watch:
            watch("ln_f", x)
        return x

    def causal(self, mask: Tensor | None = None) -> Attention:
        """Attention of rows that stand alone.

        mask [batch, 1, time, time] bool: what each token sees; None: all before it, and itself.
        """
        bias = None if mask is None else self._bias(mask)

        def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            return F.scaled_dot_product_attention(
                query, key, value, bias, is_causal=bias is None, scale=self.scales[layer]
            )

        return attend

    def _bias(self, mask: Tensor) -> Tensor:
        """A bool mask as what is added to attention scores; converted once, not in every layer."""
        wte = self.tensors["wte.weight"]
        return torch.zeros(mask.shape, device=wte.device, dtype=wte.dtype).masked_fill_(
            ~mask, -torch.inf
        )

    def _feed(self, layer: int, x: Tensor) -> Tensor:
        linear = self.linears[f"h.{layer}.mlp.c_fc"]
        return linear.gelu(x) if self.activation is None else self.activation(linear(x))

    def _norm(self, name: str, x: Tensor) -> Tensor:
        weight, bias = self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"]
        return F.layer_norm(x, (self.width,), weight, bias, self.epsilon)


class Cache:
    """Keys and values of texts that are being written, each row as far as it has come.

    keys, values  [layers, rows, heads, capacity, head width]; a row is written from slot 0 on, and
                  what lies behind its end is never read
    """

    def __init__(self, transformer: Transformer, rows: int, capacity: int):
        wte = transformer.tensors["wte.weight"]
        shape = (
            transformer.layers,
            rows,
            transformer.heads,
            capacity,
            transformer.width // transformer.heads,
        )
        self.transformer = transformer
        # Zeros rather than whatever is there: a masked slot is multiplied by 0, and 0 * nan is nan.
        self.keys = torch.zeros(shape, device=wte.device, dtype=wte.dtype)
        self.values = torch.zeros_like(self.keys)

    @staticmethod
    def bytes_per_token(transformer: Transformer) -> int:
        """What a token of one row takes up."""
        width = transformer.width * transformer.tensors["wte.weight"].element_size()
        return 2 * transformer.layers * width

    def share(self, beginning: Cache, length: int) -> None:
        """Let every row begin with the first `length` slots of the only row of another cache."""
        self.keys[:, :, :, :length] = beginning.keys[:, :, :, :length]
        self.values[:, :, :, :length] = beginning.values[:, :, :, :length]

    def clear(self, row: int) -> None:
        """Let go of a row that is not finite: the next text in it would be multiplied by it."""
        self.keys[:, row] = 0
        self.values[:, row] = 0

    def move(self, source: int, target: int) -> None:
        """Copy a row over another."""
        self.keys[:, target] = self.keys[:, source]
        self.values[:, target] = self.values[:, source]

    def read(self, rows: Tensor, begin: int, time: int) -> Attention:
        """Attention of `time` tokens of each of these rows, all of which begin at slot `begin`.

        They see the slots before and, causally, each other; they are written to the cache.
        """
        end = begin + time
        bias = None
        if begin:
            order = torch.ones(time, end, dtype=torch.bool, device=self.keys.device).tril(begin)
            bias = self.transformer._bias(order)

        def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            self.keys[layer, rows, :, begin:end] = key
            self.values[layer, rows, :, begin:end] = value
            if begin:
                key, value = self.keys[layer, rows, :, :end], self.values[layer, rows, :, :end]
            return F.scaled_dot_product_attention(
                query,
                key,
                value,
                bias,
                is_causal=bias is None,
                scale=self.transformer.scales[layer],
            )

        return attend

    def step(self, lengths: Tensor, longest: int) -> Attention:
        """Attention of one more token of each of the first rows, at slots `lengths` [rows].

        longest  the largest of the lengths
        """
        count, end = len(lengths), longest + 1
        _, _, heads, capacity, width = self.keys.shape
        # Where the new slot of each row and head lies among all of a layer.
        every = torch.arange(count * heads, device=lengths.device).view(count, heads)
        where = (every * capacity + lengths[:, None]).flatten()
        slots = torch.arange(end, device=lengths.device)
        bias = self.transformer._bias((slots <= lengths[:, None])[:, None, None])

        def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            for kept, new in ((self.keys, key), (self.values, value)):
                kept[layer].view(-1, width).index_copy_(0, where, new.reshape(-1, width))
            return F.scaled_dot_product_attention(
                query,
                self.keys[layer, :count, :, :end],
                self.values[layer, :count, :, :end],
                bias,
                scale=self.transformer.scales[layer],
            )

        return attend
