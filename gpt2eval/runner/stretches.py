"""The work in stretches of about as many tokens, for processes that share it."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Sequence

from gpt2eval.model import Model
from gpt2eval.runner import generate, score
from gpt2eval.runner.batches import CPU_TOKENS
from gpt2eval.types import Embed, Generate, Request, Rolling, Score


def stretches(
    model: Model, requests: Sequence[Request], parts: Sequence[Hashable] | None, count: int
) -> list[int]:
    """For each request the number, from 0, of the stretch that it is in.

    A stretch is some of the batches that `answer` makes on a processor, one after the other, so
    that no two stretches need the same one; and as large a part of the texts that are written,
    which take longer a token, and of those that become vectors. What a request is in depends on the
    requests, the tokenizer and the model's width, not on the device nor on the batch size:
    processes anywhere find the same.

    parts  as in `answer`
    """
    found = [0] * len(requests)
    read = [(n, one) for n, one in enumerate(requests) if isinstance(one, (Score, Rolling))]
    written = [(n, one) for n, one in enumerate(requests) if isinstance(one, Generate)]
    streams = score.plan(model, read, _ignore)
    batches = score.plan_batches(model, streams, parts, CPU_TOKENS)
    _cut(
        [
            ({piece.request for piece in score.served(batch)}, sum(map(score.size_of, batch)))
            for batch in batches
        ],
        count,
        found,
    )
    jobs = generate.plan(model, written, 0, _ignore)
    ordered = (
        sorted(group, key=lambda job: job.size, reverse=True)
        for group in generate.by_sampling(jobs)
    )
    _cut([(job.numbers, job.size) for group in ordered for job in group], count, found)
    vectors = [(n, one.text) for n, one in enumerate(requests) if isinstance(one, Embed)]
    vectors.sort(key=lambda pair: len(pair[1]), reverse=True)
    _cut([([number], len(text)) for number, text in vectors], count, found)
    return found


def _ignore(_request: int, _reason: str) -> None:
    """What has no answer is told when it is asked for."""


def _cut(pieces: Iterable[tuple[Collection[int], int]], count: int, found: list[int]) -> None:
    """Note for the requests of each piece in which stretch its middle lies; the first piece counts.

    pieces  (numbers of requests, tokens), in order
    """
    pieces = list(pieces)
    total = sum(tokens for _, tokens in pieces)
    before = 0
    noted: set[int] = set()
    for numbers, tokens in pieces:
        stretch = count * (2 * before + tokens) // (2 * total) if total else 0
        for number in numbers:
            if number not in noted:
                found[number] = min(stretch, count - 1)
        noted.update(numbers)
        before += tokens
