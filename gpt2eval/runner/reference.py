"""Requests answered by transformers, one text at a time: the reference of an audit.

What is asked is planned as always: which tokens stand in which window, which of them are scored,
and how a text ends. Everything that a model computes comes from `model.reference`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from gpt2eval.errors import UsageError
from gpt2eval.model import Model, Reference
from gpt2eval.runner.failures import Failed
from gpt2eval.runner.generate import Job, _choose, _end
from gpt2eval.runner.generate import plan as plan_texts
from gpt2eval.runner.score import Slice, Stream, _Excluder, plan
from gpt2eval.runner.windows import Window
from gpt2eval.types import Embed, Generate, Request, Response, Rolling, Score

NOT_FINITE = "transformers gives log-probabilities that are not finite"


@dataclass(frozen=True, slots=True)
class Told:
    """The response to `requests[number]`.

    margins  by how many nats each token of the response was ahead of the next best one, or behind
             the best
    tokens   fed to the model for it; what serves several requests is charged to the first
    """

    number: int
    response: Response
    margins: NDArray[np.float64]
    tokens: int


def answer_alone(
    reference: Reference,
    model: Model,
    requests: Sequence[Request],
    *,
    seed: int = 0,
    on_plan: Callable[[int], None],
    on_failed: Failed,
) -> Iterator[Told]:
    """Answer requests, each distinct text in one pass of its own; `model` tokenises.

    seed, on_plan, on_failed  as in `answer`
    """
    if any(isinstance(each, Embed) for each in requests):
        raise UsageError(
            "an audit compares log-probabilities and texts; a task that asks for vectors of texts"
            " has none. Leave its protocol out of --tasks"
        )
    scored = [(n, each) for n, each in enumerate(requests) if isinstance(each, Score | Rolling)]
    written = [(n, each) for n, each in enumerate(requests) if isinstance(each, Generate)]
    streams = plan(model, scored, on_failed)
    jobs = plan_texts(model, written, seed, on_failed)
    on_plan(sum(w.end - w.begin for stream in streams for w in stream.windows))
    on_plan(sum(job.size for job in jobs))
    excluded = _Excluder(model)
    for stream in streams:
        margins = _score(reference, stream, excluded)
        fed = sum(window.end - window.begin for window in stream.windows)
        for piece in stream.slices:
            yield from _told(stream, piece, margins, fed, on_failed)
            fed = 0  # charged once
    for job in jobs:
        yield from _write(reference, model, job, on_failed)


def window_of(model: Model, request: Request, place: int) -> list[int]:
    """The tokens that stand in the window of the `place`-th token that a request has scored.

    The last of them is scored, not read.
    """
    if isinstance(request, Generate):
        (job,) = plan_texts(model, [(0, request)], 0, lambda *_: None)
        return job.prompt
    assert not isinstance(request, Embed)
    (stream,) = plan(model, [(0, request)], lambda *_: None)
    (piece,) = stream.slices
    for window in stream.windows:
        _cover(stream, window)
    (wanted,) = np.nonzero(stream.context[piece.begin : piece.end])[0][[place]]
    index = piece.begin + int(wanted)
    # The last window that scores a token is the one that counts.
    window = [each for each in stream.windows if each.first <= index <= each.end][-1]
    return stream.tokens[window.begin : window.end + 1]


def _told(
    stream: Stream, piece: Slice, margins: NDArray[np.float64], fed: int, on_failed: Failed
) -> Iterator[Told]:
    response = stream.answer(piece)
    if not np.isfinite(response.logprobs).all():
        on_failed(piece.request, NOT_FINITE)
        return
    kept = stream.context[piece.begin : piece.end] > 0
    yield Told(piece.request, response, margins[piece.begin : piece.end][kept], fed)


def _score(reference: Reference, stream: Stream, excluded: _Excluder) -> NDArray[np.float64]:
    """Fill a stream in; the margin at each of its tokens."""
    margins = np.zeros(len(stream.tokens))
    for window in stream.windows:
        to = slice(window.first, window.end + 1)
        found = reference.log_probs(stream.tokens[window.begin : window.end], window.count)
        targets = torch.tensor(stream.tokens[to], device=found.device)
        stream.log_probs[to] = found.gather(1, targets[:, None])[:, 0].cpu().numpy()
        best = found.topk(2, dim=1).values
        greedy = (found.argmax(1) == targets).cpu().numpy()
        other = np.where(greedy, best[:, 1].cpu().numpy(), stream.log_probs[to])
        margins[to] = best[:, 0].cpu().numpy() - other
        stream.greedy[to] = stream.greedy_excluding[to] = greedy
        if stream.excluded and window.first == stream.slices[0].begin:
            allowed = found[0].masked_fill(excluded.mask(stream.excluded), -torch.inf)
            stream.greedy_excluding[window.first] = bool(allowed.argmax() == targets[0])
        _cover(stream, window)
    return margins


def _cover(stream: Stream, window: Window) -> None:
    to = slice(window.first, window.end + 1)
    stream.context[to] = np.arange(window.first, window.end + 1) - window.begin
    stream.weights[to] = window.weight


def _write(reference: Reference, model: Model, job: Job, on_failed: Failed) -> Iterator[Told]:
    after = reference.writer(job.prompt)
    margins: list[float] = []
    token = None
    while not job.done:
        found = after(token)
        token = int(_choose(found[None], [job])[0])
        log_prob = float(found[token])
        if not np.isfinite(log_prob):
            for number in job.numbers:
                on_failed(number, NOT_FINITE)
            return
        best = found.topk(2).values
        margins.append(float(best[0] - best[1]))
        job.tokens.append(token)
        job.log_probs.append(log_prob)
        _end(model, job)
    for number in job.numbers:
        yield Told(number, job.answer(), np.array(margins), len(job.prompt) + len(job.tokens))
