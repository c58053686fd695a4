"""The language-model head on chosen positions: float32 logits, whatever the dtype of the weights.

The vocabulary is taken in pieces that stay in the processor's cache, so there never is a
[positions, vocabulary] tensor; maximum and log-sum-exp are carried from piece to piece.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from gpt2eval.model.linear import times_transposed

# Positions and tokens of the vocabulary in one piece: 4 MB of logits. An accelerator, which has no
# such cache to stay in, takes larger ones.
ROWS = {"cpu": 1024, "mps": 4096, "cuda": 8192}
TOKENS = {"cpu": 1024, "mps": 8192, "cuda": 8192}
CANDIDATES = 16  # tokens whose logits are computed again in float32 where one position is decoded


def log_probs(
    hidden: Tensor, head: Tensor, targets: Tensor, excluded: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """What the head says of the targets.

    hidden [n, width], head [vocabulary, width], targets [n]; excluded [vocabulary] bool: tokens
    out of the competition. -> log-probability float32 [n], whether the target is the arg-max bool
    [n], and whether it is once the excluded are out, bool [n]; all on the device.
    """
    found = [
        _log_probs(hidden[begin : begin + rows], head, targets[begin : begin + rows], excluded)
        for rows in [ROWS[hidden.device.type]]
        for begin in range(0, len(targets), rows)
    ]
    columns = [torch.cat(column) for column in zip(*found, strict=True)]
    return columns[0], columns[1], columns[2]


def _log_probs(
    hidden: Tensor, head: Tensor, targets: Tensor, excluded: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    hidden = hidden.float()
    wanted = torch.zeros(len(targets), device=hidden.device)
    total = torch.zeros_like(wanted)
    best = torch.full_like(wanted, -torch.inf)
    first = torch.zeros_like(targets)
    best_allowed, first_allowed = best.clone(), first.clone()
    step = TOKENS[hidden.device.type]
    with exact_products(head.dtype):
        for begin in range(0, len(head), step):
            logits = times_transposed(hidden, head[begin : begin + step].float())
            here = targets - begin
            inside = (here >= 0) & (here < logits.shape[1])
            column = here.clamp(0, logits.shape[1] - 1)[:, None]
            wanted = torch.where(inside, logits.gather(1, column)[:, 0], wanted)
            highest, first = _highest(logits, begin, best, first)
            # Before the first piece, best is -inf and total 0: exp gives 0, and nothing is kept.
            total.mul_((best - highest).exp_())
            best = highest
            if excluded is not None:
                out = excluded[begin : begin + step]
                best_allowed, first_allowed = _highest(
                    logits.masked_fill(out, -torch.inf), begin, best_allowed, first_allowed
                )
            total.add_(logits.sub_(best[:, None]).exp_().sum(1))
    greedy = first == targets
    allowed = greedy if excluded is None else first_allowed == targets
    return wanted - best - total.log(), greedy, allowed


def _highest(logits: Tensor, begin: int, best: Tensor, first: Tensor) -> tuple[Tensor, Tensor]:
    """The maximum so far and the first token that has it, with one more piece seen."""
    highest, where = logits.max(1)
    higher = highest > best
    return torch.where(higher, highest, best), torch.where(higher, where + begin, first)


def logits(hidden: Tensor, head: Tensor) -> Tensor:
    """float32 logits [n, vocabulary] of a few positions: what decoding needs.

    In half precision the products are rounded to the dtype, in which logits of 50 are a quarter
    apart; so those of the likeliest tokens are computed again in float32.
    """
    if head.dtype == torch.float32:
        return times_transposed(hidden, head)
    rough = (hidden @ head.t()).float()
    top = rough.topk(min(CANDIDATES, rough.shape[1]), dim=1).indices
    exact = (head[top].float() @ hidden.float()[:, :, None])[:, :, 0]
    return rough.scatter_(1, top, exact)


@contextmanager
def exact_products(dtype: torch.dtype) -> Iterator[None]:
    """Let float32 matrices that hold values of `dtype` be multiplied at that dtype's speed.

    bfloat16 times bfloat16 is exact in bfloat16 (on a processor) and in TF32 (on a GPU), both with
    float32 sums: the same numbers, faster. float32 weights are left alone.
    """
    if dtype != torch.bfloat16:
        yield
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
