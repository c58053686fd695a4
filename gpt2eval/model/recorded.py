"""A decoding step on CUDA, recorded once and replayed.

A step is more than a hundred small kernels, and launching them one by one takes longer than running
them. A CUDA graph launches all at once; in return every shape is fixed: all rows of the cache take
part, whether or not there is a text in them, and attention spans its whole capacity.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gpt2eval.model.gpt2 import Cache


class RecordedStep:
    """One more token for each row of a cache, by a CUDA graph."""

    def __init__(self, cache: Cache):
        transformer = cache.transformer
        device, (_, rows, _, self.capacity, _) = cache.keys.device, cache.keys.shape
        # The last slot of a row without a text: whoever comes to it writes it before it is read.
        self.ids = torch.zeros((rows, 1), dtype=torch.long, device=device)
        self.lengths = torch.full((rows,), self.capacity - 1, dtype=torch.long, device=device)

        def step() -> Tensor:
            attention = cache.step(self.lengths, self.capacity - 1)
            return transformer.forward(self.ids, self.lengths[:, None], attention)

        step()  # libraries set themselves up in a first run, which must not be recorded
        torch.cuda.synchronize(device)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.hidden = step()

    def __call__(self, tokens: Sequence[int], lengths: Sequence[int]) -> Tensor:
        """The states of these tokens, one of each of the first rows, at slots `lengths`."""
        count = len(tokens)
        self.ids[:count, 0] = (
            torch.tensor(tokens).pin_memory().to(self.ids.device, non_blocking=True)
        )
        self.lengths.fill_(self.capacity - 1)
        self.lengths[:count] = (
            torch.tensor(lengths).pin_memory().to(self.ids.device, non_blocking=True)
        )
        self.graph.replay()
        return self.hidden[:count]
