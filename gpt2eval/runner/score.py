"""Score and Rolling: token log-probabilities from windows over streams.

Requests are first turned into streams. Requests over the same tokens share a stream, so what two
protocols both ask is computed once; each then takes its slice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray

from gpt2eval.errors import out_of_memory, reason_of
from gpt2eval.model import Model
from gpt2eval.runner.batches import batches, halving, token_budget
from gpt2eval.runner.failures import Failed, encode, encode_with_starts
from gpt2eval.runner.sharing import Bundle, bundle
from gpt2eval.runner.windows import Window, continuation, disjoint, hf_docs, sliding
from gpt2eval.types import Rolling, Score, Scored


@dataclass(slots=True)
class Slice:
    """The part of a stream one request wants: scored tokens with index in [begin, end).

    waiting          windows that are still to be computed for it
    tokens, seconds  what it cost; a window that serves several slices is charged to the first, and
                     to those that want the very same tokens
    """

    request: int
    begin: int
    end: int
    truncated: int = 0
    waiting: int = 0
    tokens: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class Stream:
    """Tokens, the windows over them, and room for what is computed (one entry a token).

    broken  why some of it could not be computed; empty where all could
    """

    tokens: list[int]
    windows: list[Window]
    excluded: tuple[str, ...] = ()
    slices: list[Slice] = field(default_factory=list)
    broken: str = ""
    log_probs: np.ndarray = field(init=False)
    greedy: np.ndarray = field(init=False)
    greedy_excluding: np.ndarray = field(init=False)
    context: np.ndarray = field(init=False)
    weights: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        size = len(self.tokens)
        self.log_probs = np.full(size, np.nan, dtype=np.float32)
        self.greedy = np.zeros(size, dtype=bool)
        self.greedy_excluding = np.zeros(size, dtype=bool)
        self.context = np.zeros(size, dtype=np.int32)
        self.weights = np.zeros(size)

    def answer(self, part: Slice) -> Scored:
        """What one request gets: the scored tokens of its slice."""
        here = slice(part.begin, part.end)
        scored = self.context[here] > 0
        return Scored(
            tokens=np.asarray(self.tokens[here], dtype=np.int32)[scored],
            logprobs=self.log_probs[here][scored],
            greedy=self.greedy[here][scored],
            context=self.context[here][scored],
            weights=self.weights[here][scored],
            greedy_excluding=self.greedy_excluding[here][scored],
            truncated=part.truncated,
        )

    def lose(self, window: Window, reason: str) -> None:
        """Mark what a window was to score as not computed."""
        here = slice(window.first, window.end + 1)
        self.broken = reason
        self.log_probs[here], self.context[here] = np.nan, 1

    def served(self, window: Window) -> list[Slice]:
        """The slices that want tokens of this window."""
        return [s for s in self.slices if window.first < s.end and s.begin <= window.end]


Row = Bundle[tuple[Stream, Window]]


def score(
    model: Model,
    requests: Sequence[tuple[int, Score | Rolling]],
    batch_size: int | None,
    plan_done: Callable[[int], None],
    failed: Failed,
    parts: Sequence[Hashable] | None,
    wanted: Collection[int],
) -> Iterator[tuple[int, Scored, int, float]]:
    """Answer numbered requests, in any order: (number, response, tokens fed, seconds).

    plan_done is called once with the number of tokens that will be fed to the model; `failed`,
    `parts` and `wanted` are as in `answer`.
    """

    def untold(number: int, reason: str) -> None:
        if number in wanted:
            failed(number, reason)

    streams = plan(model, requests, untold)
    for stream in streams:
        for piece in stream.slices:
            # A text of one token, say: there is nothing to condition it on.
            if not piece.waiting and piece.request in wanted:
                yield piece.request, stream.answer(piece), 0, 0.0

    def needed(batch: list[Row]) -> bool:
        return any(piece.request in wanted for piece in served(batch))

    # Batches of an accelerator follow from the memory that is free: they are never the same again,
    # and may be so large that a few of them are all there is to share among processes.
    varying = model.device.type == "cuda" and batch_size is None
    keep = (lambda row: needed([row])) if varying else (lambda _row: True)
    every = plan_batches(model, streams, parts, token_budget(model), batch_size, keep)
    planned = [batch for batch in every if needed(batch)]
    plan_done(sum(size_of(row) for batch in planned for row in batch))
    excluded = _Excluder(model)

    most = max(map(_padded, planned), default=0)  # tokens of a batch, fewer once memory ran out
    lost: list[Row] = []

    def run(batch: list[Row]) -> float:
        nonlocal most
        begin = time.perf_counter()
        try:
            for stream, window in _run_batch(model, batch, excluded):
                _look_again(model, stream, window, excluded)
        except Exception as error:
            if out_of_memory(error):
                most = min(most, _padded(batch) // 2)
            raise
        return time.perf_counter() - begin

    def split(row: Row) -> list[Row]:
        """The texts of a row in two, if it has several."""
        half = len(row.items) // 2
        parts = (row.items[:half], row.items[half:]) if half else ()
        return [one for part in parts for one in bundle(part, _tokens, model.transformer.width)]

    def give_up(row: Row, error: Exception) -> None:
        ((stream, window),) = row.items
        stream.lose(window, reason_of(error))
        lost.append(row)

    for batch in planned:
        for fitting in batches(batch, size_of, most, None):
            for part, seconds in halving(run, fitting, split, give_up):
                yield from _finished(part, seconds, failed, wanted)
            yield from _finished(lost, 0.0, failed, wanted)
            lost.clear()


def plan_batches(
    model: Model,
    streams: Sequence[Stream],
    parts: Sequence[Hashable] | None,
    budget: int,
    batch_size: int | None = None,
    keep: Callable[[Row], bool] = lambda _row: True,
) -> Iterator[list[Row]]:
    """All batches, part by part; those of a part do not depend on the others.

    keep  whether a row is to be in one
    """
    by_part: dict[Hashable, list[Stream]] = {}
    for stream in streams:
        part = parts[stream.slices[0].request] if parts else None
        by_part.setdefault(part, []).append(stream)
    for alike in by_part.values():
        work = [(stream, window) for stream in alike for window in stream.windows]
        rows = list(bundle(work, _tokens, model.transformer.width))
        # Rows of one length stay in the order of the texts, so that answers are complete early.
        order = {id(item): number for number, item in enumerate(work)}
        rows.sort(key=lambda row: order[id(row.items[0])])
        for kind in (False, True):  # a row that branches needs a mask, the others none
            chosen = [row for row in rows if row.branches == kind and keep(row)]
            yield from batches(chosen, size_of, budget, batch_size)


def _tokens(item: tuple[Stream, Window]) -> list[int]:
    stream, window = item
    return stream.tokens[window.begin : window.end]


def size_of(row: Row) -> int:
    """Tokens that a row takes up in its batch."""
    return len(row.tokens)


def _padded(batch: list[Row]) -> int:
    return len(batch) * max(map(size_of, batch))


def served(batch: list[Row]) -> Iterator[Slice]:
    """The slices that want something of a batch."""
    for row in batch:
        for stream, window in row.items:
            yield from stream.served(window)


def _alone(model: Model, stream: Stream, window: Window) -> list[Row]:
    return list(bundle([(stream, window)], _tokens, model.transformer.width))


def _look_again(model: Model, stream: Stream, window: Window, excluded: _Excluder) -> None:
    """Compute a window that was not finite without others beside it; if that is no help, say why.

    In a row that branches a text without a number takes the others with it.
    """
    if _run_batch(model, _alone(model, stream, window), excluded):
        stream.broken = model.not_finite(_tokens((stream, window)))


def _finished(
    batch: list[Row], seconds: float, failed: Failed, wanted: Collection[int]
) -> Iterator[tuple[int, Scored, int, float]]:
    """Answers to the requests that a batch completed, with what they cost."""
    fed = sum(len(row.tokens) for row in batch)
    for row in batch:
        for (stream, window), fresh in zip(row.items, row.fresh, strict=True):
            served = stream.served(window)
            first = served[0]
            for piece in served:
                if (piece.begin, piece.end) == (first.begin, first.end):
                    piece.tokens += fresh
                    piece.seconds += seconds * fresh / fed
                piece.waiting -= 1
                if piece.waiting or piece.request not in wanted:
                    continue
                answer = stream.answer(piece)
                if stream.broken and not np.isfinite(answer.logprobs).all():
                    failed(piece.request, stream.broken)
                else:
                    yield piece.request, answer, piece.tokens, piece.seconds


def plan(
    model: Model, requests: Sequence[tuple[int, Score | Rolling]], failed: Failed
) -> list[Stream]:
    """Streams that answer all requests, each distinct stream once, without windows none needs."""
    streams: dict[object, Stream] = {}
    scores = [(number, r) for number, r in requests if isinstance(r, Score)]
    _plan_scores(model, scores, streams, failed)
    rolling = [(number, r) for number, r in requests if isinstance(r, Rolling)]
    _plan_rolling(model, rolling, streams, failed)
    for stream in streams.values():
        stream.windows = [window for window in stream.windows if stream.served(window)]
        for window in stream.windows:
            for part in stream.served(window):
                part.waiting += 1
    return list(streams.values())


def _plan_scores(
    model: Model,
    requests: Sequence[tuple[int, Score]],
    streams: dict[object, Stream],
    failed: Failed,
) -> None:
    pairs = [_move_spaces(request.context, request.continuation) for _, request in requests]
    contexts = encode(model, [context for context, _ in pairs])
    wholes = encode(model, [context + continued for context, continued in pairs])
    for (number, request), context, whole in zip(requests, contexts, wholes, strict=True):
        if isinstance(whole, str) or isinstance(context, str):
            failed(number, whole if isinstance(whole, str) else str(context))
            continue
        if not whole:
            failed(number, f"nothing to score in {request!r:.200}: it has no tokens")
            continue
        # A token may span the two texts; then the cut by length leaves it to the continuation.
        cut = min(len(context), len(whole) - 1)
        given = cut or (len(whole) > 1 and whole[0] == model.prefix_id)
        tokens = whole if given else [model.prefix_id, *whole]
        cut = max(cut, 1)
        key = ("score", tuple(tokens), cut, request.exclude)
        if key not in streams:
            windows = list(continuation(cut, len(tokens) - cut, model.n_ctx))
            streams[key] = Stream(tokens, windows, request.exclude)
        stream = streams[key]
        stream.slices.append(Slice(number, cut, len(tokens), truncated=stream.windows[0].begin))


def _move_spaces(context: str, continued: str) -> tuple[str, str]:
    """White space at the end of the context belongs to the continuation, as in lm-eval."""
    stripped = context.rstrip()
    return stripped, context[len(stripped) :] + continued


def _plan_rolling(
    model: Model,
    requests: Sequence[tuple[int, Rolling]],
    streams: dict[object, Stream],
    failed: Failed,
) -> None:
    encoded: dict[str, tuple[list[int], list[int]] | str] = {}
    for number, request in requests:
        if request.text not in encoded:
            encoded[request.text] = encode_with_starts(model, request.text)
        found = encoded[request.text]
        if isinstance(found, str):
            failed(number, found)
            continue
        tokens, starts = found
        stride = min(request.stride or model.n_ctx, model.n_ctx)
        key = ("rolling", request.text, request.windows, stride)
        prefix = [] if request.windows == "hf-docs" else [model.prefix_id]
        if key not in streams:
            windows = _windows(model, request.windows, stride, len(tokens))
            streams[key] = Stream([*prefix, *tokens], list(windows))
        end = len(request.text) if request.end is None else request.end
        begin_token, end_token = np.searchsorted(starts, [request.start, end])
        if end == len(request.text):
            end_token = len(tokens)
        streams[key].slices.append(
            Slice(number, int(begin_token) + len(prefix), int(end_token) + len(prefix))
        )


def _windows(model: Model, kind: str, stride: int, tokens: int) -> Iterator[Window]:
    if kind == "disjoint":
        return disjoint(tokens, model.n_ctx)
    if kind == "hf-docs":
        return hf_docs(tokens, model.n_ctx, stride)
    return sliding(tokens, model.n_ctx, stride)


class _Excluder:
    """Word list -> mask over the vocabulary of the tokens that are one of these words."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.masks: dict[tuple[str, ...], torch.Tensor] = {}

    def mask(self, words: tuple[str, ...]) -> torch.Tensor:
        if words not in self.masks:
            rows = self.model.head.shape[0]
            size = min(len(self.model.tokenizer), rows)
            wanted = set(words)
            hits = [i for i in range(size) if self.model.decode([i]).strip().lower() in wanted]
            mask = torch.zeros(rows, dtype=torch.bool)
            mask[hits] = True
            self.masks[words] = mask.to(self.model.device)
        return self.masks[words]


@torch.inference_mode()
def _run_batch(model: Model, batch: list[Row], excluded: _Excluder) -> list[tuple[Stream, Window]]:
    """Compute a batch and write log-probabilities into its streams.

    Returns the windows that have some that are not finite.
    """
    width = max(len(row.tokens) for row in batch)
    parts = [
        _Part(stream, window, path[len(path) - window.count :] + number * width)
        for number, row in enumerate(batch)
        for (stream, window), path in zip(row.items, row.paths, strict=True)
    ]
    # In the order of the excluded words, so that those with the same ones go together.
    parts.sort(key=lambda part: part.stream.excluded)
    mask = None
    if batch[0].branches:
        masks = np.stack([row.mask(width) for row in batch])
        mask = torch.from_numpy(masks)[:, None].to(model.device)
    where = torch.from_numpy(np.concatenate([part.where for part in parts])).to(model.device)
    hidden = model.hidden(
        [row.tokens for row in batch],
        model.transformer.causal(mask),
        positions=[row.positions for row in batch],
        keep=where,
    )
    done, broken = 0, []
    for words, group in groupby(parts, key=lambda part: part.stream.excluded):
        alike = list(group)
        size = sum(part.window.count for part in alike)
        mask = excluded.mask(words) if words else None
        broken += _run_head(model, hidden[done : done + size], alike, mask)
        done += size
    return [(part.stream, part.window) for part in broken]


@dataclass(frozen=True, slots=True)
class _Part:
    """A window in a batch; `where` are the states that predict its scored tokens, [count]."""

    stream: Stream
    window: Window
    where: NDArray[np.int64]


def _run_head(
    model: Model, hidden: torch.Tensor, parts: list[_Part], excluded: torch.Tensor | None
) -> list[_Part]:
    """Log-probabilities of the scored tokens of these parts, written into their streams.

    Returns the parts that have some that are not finite.
    """
    targets = np.concatenate(
        [np.asarray(p.stream.tokens[p.window.first : p.window.end + 1]) for p in parts]
    )
    found = model.log_probs(hidden, torch.from_numpy(targets).to(model.device), excluded)
    log_probs, greedy, greedy_excluding = (column.cpu().numpy() for column in found)
    finite = bool(np.isfinite(log_probs).all())
    broken = []
    done = 0
    for part in parts:
        stream, window = part.stream, part.window
        here, to = slice(done, done + window.count), slice(window.first, window.end + 1)
        stream.log_probs[to] = log_probs[here]
        stream.greedy[to] = stream.greedy_excluding[to] = greedy[here]
        if stream.excluded and window.first == stream.slices[0].begin:
            # Words are excluded at the first token of the continuation only.
            stream.greedy_excluding[window.first] = greedy_excluding[done]
        stream.context[to] = np.arange(window.first, window.end + 1) - window.begin
        stream.weights[to] = window.weight
        if not finite and not np.isfinite(log_probs[here]).all():
            broken.append(part)
        done += window.count
    return broken
