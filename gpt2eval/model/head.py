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
    total = torch.zeros(len(targets), device=hidden.device)
    all_tokens = _Race(targets)
    allowed = all_tokens if excluded is None else _Race(targets)
    step = TOKENS[hidden.device.type]
    with exact_products(head.dtype):
        for begin in range(0, len(head), step):
            logits = times_transposed(hidden, head[begin : begin + step].float())
            before = all_tokens.best
            all_tokens.see(logits, begin)
            if excluded is not None:
                out = excluded[begin : begin + step]
                allowed.see(logits.masked_fill(out, -torch.inf), begin)
            # Before the first piece, best is -inf and total 0: exp gives 0, and nothing is kept.
            total.mul_((before - all_tokens.best).exp_())
            total.add_(logits.sub_(all_tokens.best[:, None]).exp_().sum(1))
    found = all_tokens.wanted - all_tokens.best - total.log()
    return found, all_tokens.won(), allowed.won()


class _Race:
    """Whether each position's target is the arg-max, the first of equals, piece by piece.

    An arg-max of every piece would take five times as long as its maximum. It is asked only of the
    few rows whose target lies in the piece; for the others the maximum is enough.

    best, wanted  the highest logit so far and that of the target, each [n]
    """

    def __init__(self, targets: Tensor) -> None:
        self.targets = targets
        self.best = torch.full(targets.shape, -torch.inf, device=targets.device)
        self.wanted = self.best.clone()
        self.ahead = torch.zeros_like(targets, dtype=torch.bool)  # of all tokens before it

    def see(self, logits: Tensor, begin: int) -> None:
        """Take one more piece of the vocabulary, logits [n, tokens] from token `begin` on."""
        columns = self.targets - begin
        rows = ((columns >= 0) & (columns < logits.shape[1])).nonzero()[:, 0]
        here, columns = logits[rows], columns[rows]
        wanted = here.gather(1, columns[:, None])[:, 0]
        self.wanted[rows] = wanted
        self.ahead[rows] = (here.argmax(1) == columns) & (wanted > self.best[rows])
        self.best = torch.maximum(self.best, logits.amax(1))

    def won(self) -> Tensor:
        """Whether nothing came after the target that is higher, and nothing before that equals."""
        return self.ahead & (self.wanted == self.best)


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
