"""Embed: texts as vectors, the hidden states at their last tokens."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from gpt2eval.errors import reason_of
from gpt2eval.model import Model
from gpt2eval.runner.batches import batches, halving, token_budget
from gpt2eval.runner.failures import Failed, encode
from gpt2eval.types import Embed, Embedded


@dataclass(frozen=True, slots=True)
class Row:
    """Tokens that are read, and who asked for them: number of the request -> tokens cut off."""

    tokens: tuple[int, ...]
    askers: dict[int, int] = field(default_factory=dict)


def embed(
    model: Model,
    requests: Sequence[tuple[int, Embed]],
    batch_size: int | None,
    plan_done: Callable[[int], None],
    failed: Failed,
) -> Iterator[tuple[int, Embedded, int, float]]:
    """Answer numbered requests, in any order: (number, response, tokens fed, seconds).

    What is the same in tokens is computed once. plan_done is called once with the number of tokens
    that will be fed to the model; `failed` is as in `answer`.
    """
    rows = _rows(model, requests, failed)
    plan_done(sum(map(_size, rows)))

    def give_up(row: Row, error: Exception) -> None:
        for number in row.askers:
            failed(number, reason_of(error))

    def run(batch: list[Row]) -> tuple[NDArray[np.float32], float]:
        begin = time.perf_counter()
        return _vectors(model, batch), time.perf_counter() - begin

    for planned in batches(rows, _size, token_budget(model), batch_size):
        for batch, (vectors, seconds) in halving(run, planned, give_up=give_up):
            fed = sum(map(_size, batch))
            for row, vector in zip(batch, vectors, strict=True):
                share = seconds * len(row.tokens) / fed
                tokens = np.asarray(row.tokens, dtype=np.int32)
                for number, cut in row.askers.items():
                    if np.isfinite(vector).all():
                        response = Embedded(vector, tokens, truncated=cut)
                        yield number, response, len(row.tokens), share
                    else:
                        failed(number, model.not_finite(row.tokens))


def _rows(model: Model, requests: Sequence[tuple[int, Embed]], failed: Failed) -> list[Row]:
    """The tokens that have to be read, each distinct sequence once."""
    rows: dict[tuple[int, ...], Row] = {}
    texts = encode(model, [request.text for _, request in requests])
    for (number, request), tokens in zip(requests, texts, strict=True):
        if isinstance(tokens, str):
            failed(number, tokens)
        elif not tokens:
            failed(number, f"nothing to embed in {request!r:.200}: it has no tokens")
        else:
            kept = tuple(tokens[: model.n_ctx])
            rows.setdefault(kept, Row(kept)).askers[number] = len(tokens) - len(kept)
    return list(rows.values())


def _size(row: Row) -> int:
    return len(row.tokens)


@torch.inference_mode()
def _vectors(model: Model, batch: Sequence[Row]) -> NDArray[np.float32]:
    """The state at the last token of each row, [rows, width]."""
    longest = max(map(_size, batch))
    last = [number * longest + len(row.tokens) - 1 for number, row in enumerate(batch)]
    keep = torch.tensor(last, device=model.device)
    vectors = model.hidden([row.tokens for row in batch], keep=keep).float().cpu().numpy()
    return np.asarray(vectors, dtype=np.float32)
