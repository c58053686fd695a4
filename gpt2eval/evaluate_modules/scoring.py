"""What the modules of `evaluate` share: a checkpoint's answers to requests."""

from __future__ import annotations

from collections.abc import Sequence

from gpt2eval.checkpoint import open_checkpoint
from gpt2eval.model import load_model
from gpt2eval.runner import answer
from gpt2eval.types import Request, Response


def responses(
    model_id: str,
    requests: Sequence[Request],
    *,
    device: str = "auto",
    dtype: str = "float32",
    batch_size: int | None = None,
) -> list[Response]:
    """The response to each request; what is asked twice is computed once."""
    distinct = list(dict.fromkeys(requests))
    model = load_model(open_checkpoint(model_id), device, dtype)
    replies = answer(model, distinct, batch_size=batch_size)
    found = {distinct[reply.number]: reply.response for reply in replies}
    return [found[request] for request in requests]
