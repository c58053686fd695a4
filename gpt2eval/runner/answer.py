"""One stream of answers to requests of all kinds."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import starmap

from gpt2eval.model import Model
from gpt2eval.runner.embed import embed
from gpt2eval.runner.failures import Failed, stop
from gpt2eval.runner.generate import Wrote, generate
from gpt2eval.runner.score import score
from gpt2eval.types import Embed, Generate, Request, Response, Rolling, Score


@dataclass(frozen=True, slots=True)
class Answer:
    """The response to `requests[number]` and what it cost.

    tokens   fed to the model for it
    seconds  its share of the time of its batches
    Requests that ask the same each carry the whole cost; what serves different ones is charged
    once.
    """

    number: int
    response: Response
    tokens: int
    seconds: float


def answer(
    model: Model,
    requests: Sequence[Request],
    *,
    seed: int = 0,
    batch_size: int | None = None,
    on_plan: Callable[[int], None] = lambda _tokens: None,
    on_failed: Failed = stop,
    parts: Sequence[Hashable] | None = None,
    wanted: Collection[int] | None = None,
    wrote: Wrote = lambda _number, _tokens: None,
) -> Iterator[Answer]:
    """Answer requests in the order that suits the machine; each is answered exactly once.

    The batches of log-probabilities are planned from all requests, so that the last bit of an
    answer does not depend on which of them are wanted.

    seed        of sampled generations
    batch_size  most sequences in a batch; None: as many as the token budget holds
    on_plan     called with the number of tokens each part of the work will feed to the model
    on_failed   called for each request that has no answer; default: ModelError at the first
    parts       for each request, what may share a batch with it; None: everything
    wanted      numbers of the requests to answer; None: all
    wrote       called with the number of a Generate and its tokens so far, after each but the last
    """
    wanted = range(len(requests)) if wanted is None else wanted
    scored = [
        (n, request) for n, request in enumerate(requests) if isinstance(request, (Score, Rolling))
    ]
    written = [
        (n, request)
        for n, request in enumerate(requests)
        if isinstance(request, Generate) and n in wanted
    ]
    read = [
        (n, request)
        for n, request in enumerate(requests)
        if isinstance(request, Embed) and n in wanted
    ]
    if scored:
        found = score(model, scored, batch_size, on_plan, on_failed, parts, wanted)
        yield from starmap(Answer, found)
    if written:
        texts = generate(model, written, seed, batch_size, on_plan, on_failed, wrote)
        yield from starmap(Answer, texts)
    if read:
        yield from starmap(Answer, embed(model, read, batch_size, on_plan, on_failed))
