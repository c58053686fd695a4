"""Whether there is room for what comes next, asked before it is needed.

torch raises an error where memory cannot be had; oneDNN and the tokenizers, beneath it, end the
process. So where a process may not have all it asks for (`ulimit -v`, a scheduler that sets it, a
kernel that does not overcommit), the whole room of the next step is asked for at once and given
back untouched: a refusal is an error like any other, and a smaller batch can be tried.
"""

from __future__ import annotations

import math
import os

import numpy as np

from gpt2eval.checkpoint import Checkpoint
from gpt2eval.formats.config import expected_shapes

# Elements that a token of a batch takes up at its widest, in multiples of the model's width.
ACTIVATIONS = 24
# Bytes for what does not grow with the batch: kernels and their work space, pieces of logits.
RESERVE = 100_000_000
# Bytes for what loading takes besides weights: transformers, the tokenizer, threads.
LOADING = 300_000_000
# Bytes for what a report takes: pandas, matplotlib, work space of numpy's products.
REPORT = 100_000_000


def activations(tokens: int, width: int, element_size: int) -> int:
    """Bytes that a batch of so many tokens takes up on its way through the model, at most."""
    return ACTIVATIONS * tokens * width * element_size


def weights(checkpoint: Checkpoint, element_size: int) -> int:
    """Bytes that the weights of a checkpoint take up while they are read: file and tensors."""
    numbers = sum(math.prod(shape) for shape in dict(expected_shapes(checkpoint.config)).values())
    return numbers * element_size + sum(os.stat(path).st_size for path in checkpoint.weights)


def make_sure_of(size: int, what: str) -> None:
    """Raise MemoryError where `size` bytes cannot be had; `what` they are for."""
    try:
        np.empty(size, np.uint8)
    except MemoryError as error:
        raise MemoryError(f"no room for {what}, about {size / 1e6:,.0f} MB") from error
