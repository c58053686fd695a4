"""Where a difference that rounding does not account for comes from, by narrowing it down."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from gpt2eval.audit.asking import Given
from gpt2eval.audit.differences import Pair, nats
from gpt2eval.audit.types import Allowed, Place
from gpt2eval.audit.verdicts import TIMES
from gpt2eval.model import Model, Reference
from gpt2eval.runner import answer
from gpt2eval.runner.reference import window_of
from gpt2eval.types import Request, Response, Sample

# Units in the last place of a dtype by which a part of the model may be off, however well another
# implementation does.
ULPS = 16


def cause_of(
    model: Model,
    reference: Reference,
    rounded: Reference,
    pair: Pair,
    place: Place,
    allowed: Allowed,
    seed: int,
) -> str:
    """What is wrong, in words.

    First the text is read alone, as one plain row: if it is wrong even so, the first part of the
    model that is off is named. Then it is asked of the engine alone. What is right in either way is
    wrong only beside others.

    rounded  transformers in the dtype of the model: how far off rounding makes each part
    """
    request = pair.right.requests[place.request]
    response = pair.right.responses[place.request]
    tokens = window_of(model, request, place.token)
    if hasattr(response, "stopped"):
        tokens = [*tokens, *response.tokens[: place.token + 1].tolist()]
    if part := first_part(model, reference, rounded, tokens[:-1]):
        return f"first in the output of {part}, for this text alone"
    if _head_off(model, reference, tokens) > allowed.largest:
        return "in the head: the states before it are right"
    if _off(model, pair, place, [request], 1, seed) > allowed.largest:
        return (
            "the model is right on this text as a plain row, the engine is not: windows, positions"
            " or the cache of what is written"
        )
    together = list(dict.fromkeys(pair.right.requests))
    if len(together) > 1 and _off(model, pair, place, together, 1, seed) > allowed.largest:
        return (
            "only where the requests of the sample share a context: positions or mask of rows that"
            " branch"
        )
    return "only in a batch with others: positions, mask or padding of batches, or memory"


def first_part(
    model: Model, reference: Reference, rounded: Reference, tokens: Sequence[int]
) -> str:
    """The first part of the model whose output is off by more than rounding; empty: none is."""
    known, usual = reference.parts(tokens), rounded.parts(tokens)
    found: dict[str, torch.Tensor] = {}

    def watch(name: str, x: torch.Tensor) -> None:
        found[name] = x.float().clone()

    with torch.inference_mode():
        ids = torch.tensor([list(tokens)], device=model.device)
        places = torch.arange(len(tokens), device=model.device)[None]
        model.transformer.forward(ids, places, model.transformer.causal(), watch=watch)
    least = ULPS * torch.finfo(model.dtype).eps
    for name, expected in known.items():
        limit = max(least, TIMES * _distance(usual[name], expected))
        if not _distance(found[name], expected) <= limit:  # what is not a number is off
            return name
    return ""


def _distance(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Of the worst token: length of the difference over the length of what is expected."""
    gaps = (found.to(expected.device) - expected).norm(dim=-1)
    return float((gaps / expected.norm(dim=-1).clamp_min(1e-30)).max())


def _head_off(model: Model, reference: Reference, tokens: Sequence[int]) -> float:
    with torch.inference_mode():
        states = model.hidden([list(tokens[:-1])])[-1:]
        target = torch.tensor([tokens[-1]], device=model.device)
        found = float(model.log_probs(states, target)[0][0])
    return abs(found - float(reference.log_probs(tokens[:-1], 1)[0, tokens[-1]]))


def _off(
    model: Model,
    pair: Pair,
    place: Place,
    requests: Sequence[Request],
    batch_size: int | None,
    seed: int,
) -> float:
    """How far off the answer at the place is when these requests are asked and no others."""
    found: dict[int, Response] = {
        reply.number: reply.response
        for reply in answer(
            model, requests, seed=seed, batch_size=batch_size, on_failed=lambda *_: None
        )
    }
    number = list(requests).index(pair.right.requests[place.request])
    if number not in found:
        return float("inf")
    request = (requests[number],)
    left = Given(request, (found[number],), (None,))
    right = Given(request, (pair.right.responses[place.request],), (np.zeros(0),))
    return nats([Pair(Sample("", {}), left, right)], lambda _: "").largest
