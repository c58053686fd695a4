"""Generate: decoding with a KV cache, every row at its own age.

A batch is a number of rows of the cache. A text that has ended gives its row to the next prompt, so
rows never wait for the slowest; a beginning that all prompts share is read once and stays in every
row.
"""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from gpt2eval.errors import Gpt2EvalError, out_of_memory, reason_of
from gpt2eval.model import Cache, Model, RecordedStep
from gpt2eval.runner.batches import cache_rows, fewer, token_budget
from gpt2eval.runner.failures import Failed, encode, of_the_device
from gpt2eval.types import Generate, Generated

SHARED_BEGINNING = 16  # tokens from which reading a common beginning once pays

Wrote = Callable[[int, Sequence[int]], None]
"""Called with the number of a request and the tokens of its answer so far."""


@dataclass(slots=True)
class Job:
    """One distinct request on its way: its prompt, and what has been written so far.

    limit    tokens that may be written
    failed   why it has no answer; empty otherwise
    seconds  its share of the time of the batches it was in
    """

    request: Generate
    numbers: list[int]
    prompt: list[int]
    limit: int
    truncated: int
    random: np.random.Generator
    tokens: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    text: str = ""
    stopped: Literal["stop", "eos", "length"] | None = None
    failed: str = ""
    seconds: float = 0.0

    @property
    def done(self) -> bool:
        """Whether nothing more will be written."""
        return bool(self.stopped or self.failed)

    @property
    def size(self) -> int:
        """Tokens of the prompt and the longest answer."""
        return len(self.prompt) + self.limit

    def answer(self) -> Generated:
        """The response; only valid once `stopped` is set."""
        assert self.stopped is not None
        return Generated(
            text=self.text,
            tokens=np.asarray(self.tokens, dtype=np.int32),
            logprobs=np.asarray(self.log_probs, dtype=np.float32),
            stopped=self.stopped,
            truncated=self.truncated,
        )


def generate(
    model: Model,
    requests: Sequence[tuple[int, Generate]],
    seed: int,
    batch_size: int | None,
    plan_done: Callable[[int], None],
    failed: Failed,
    wrote: Wrote = lambda _number, _tokens: None,
) -> Iterator[tuple[int, Generated, int, float]]:
    """Answer numbered requests, in any order: (number, response, tokens fed, seconds).

    wrote  told after each token of an answer that goes on; one that has ended is yielded
    """
    jobs = plan(model, requests, seed, failed)
    plan_done(sum(job.size for job in jobs))
    groups = by_sampling(jobs)
    while groups:
        group = groups.pop(0)
        held = cache_rows(model, max(job.size for job in group))
        rows = min(len(group), batch_size or held, held)
        while group:
            try:
                for job in _write(model, group, rows, wrote):
                    fed = len(job.prompt) + len(job.tokens)
                    for number in job.numbers:
                        if job.failed:
                            failed(number, job.failed)
                        else:
                            yield number, job.answer(), fed, job.seconds
            except Gpt2EvalError:
                raise
            except Exception as error:
                left = [job for job in group if not job.done]
                if out_of_memory(error):
                    rows = fewer(rows, error)
                elif of_the_device(error) or not left:
                    raise
                elif len(left) == 1:
                    left[0].failed = reason_of(error)
                    for number in left[0].numbers:
                        failed(number, left[0].failed)
                else:  # one of them is to blame; the other half goes on without it
                    group, other = left[: len(left) // 2], left[len(left) // 2 :]
                    groups.insert(0, other)
            group = [job for job in group if not job.done]
            for job in group:  # what was under way is begun again, and drawn the same again
                job.tokens, job.log_probs = [], []
                job.random = _random(job.request, seed)


def plan(
    model: Model, requests: Sequence[tuple[int, Generate]], seed: int, failed: Failed
) -> list[Job]:
    """One job for each distinct request, its prompt cut from the left so that the answer fits."""
    distinct: dict[Generate, list[int]] = {}
    for number, request in requests:
        distinct.setdefault(request, []).append(number)
    prompts = encode(model, [request.prompt for request in distinct])
    jobs = []
    for (request, numbers), ids in zip(distinct.items(), prompts, strict=True):
        if isinstance(ids, str):
            for number in numbers:
                failed(number, ids)
            continue
        # A model too short for prompt and answer gives each half of its positions.
        room = max(model.n_ctx - request.max_new_tokens, model.n_ctx // 2)
        prompt = (ids or [model.prefix_id])[-room:]
        jobs.append(
            Job(
                request=request,
                numbers=numbers,
                prompt=prompt,
                limit=min(request.max_new_tokens, model.n_ctx - len(prompt)),
                truncated=max(0, len(ids) - room),
                random=_random(request, seed),
            )
        )
    return jobs


def _random(request: Generate, seed: int) -> np.random.Generator:
    """A generator of the request's own, so that its text does not depend on its batch."""
    digest = hashlib.sha256(f"{seed}\0{request!r}".encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))


def by_sampling(jobs: Sequence[Job]) -> list[list[Job]]:
    """Jobs in groups that are written together: those of one group are sampled alike."""
    groups: dict[tuple[float, ...], list[Job]] = {}
    for job in jobs:
        request = job.request
        key = (request.temperature, request.top_k, request.top_p, request.repetition_penalty)
        groups.setdefault(key, []).append(job)
    return list(groups.values())


@torch.inference_mode()
def _write(model: Model, jobs: Sequence[Job], rows: int, wrote: Wrote) -> Iterator[Job]:
    """Write jobs to their ends, so many at a time; yields each when it has ended."""
    # The longest first: what is written last is short, and few rows wait for it.
    waiting = deque(sorted(jobs, key=lambda job: job.size, reverse=True))
    cache = Cache(model.transformer, rows, waiting[0].size)
    shared = _read_beginning(model, jobs, cache)
    step = RecordedStep(cache) if model.device.type == "cuda" else _plain_step(model, cache)
    live: list[Job] = []
    while waiting or live:
        begin = time.perf_counter()
        if waiting and len(live) < rows:
            fresh = _next_prompts(waiting, rows - len(live), token_budget(model))
            hidden = _read_prompts(model, fresh, cache, len(live), shared)
            writing, live = fresh, [*live, *fresh]
        else:
            lengths = [len(job.prompt) + len(job.tokens) - 1 for job in live]
            hidden = step([job.tokens[-1] for job in live], lengths)
            writing = live
        _append(model, writing, model.logits(hidden))
        seconds = time.perf_counter() - begin
        for job in writing:
            job.seconds += seconds / len(writing)
            for number in () if job.done else job.numbers:
                wrote(number, job.tokens)
        yield from (job for job in writing if job.done)
        _close_gaps(live, cache)


def _read_beginning(model: Model, jobs: Sequence[Job], cache: Cache) -> int:
    """Put what all prompts begin with into every row; how many tokens that is."""
    shared = _shared_beginning([job.prompt for job in jobs])
    if shared:
        single = Cache(model.transformer, 1, shared)
        attention = single.read(torch.zeros(1, dtype=torch.long), 0, shared)
        model.hidden([jobs[0].prompt[:shared]], attention, keep=torch.zeros(0, dtype=torch.long))
        cache.share(single, shared)
    return shared


def _next_prompts(waiting: deque[Job], most: int, budget: int) -> list[Job]:
    """The next jobs whose prompts are read together."""
    jobs: list[Job] = []
    while waiting and len(jobs) < most:
        longest = max(len(job.prompt) for job in [*jobs, waiting[0]])
        if jobs and (len(jobs) + 1) * longest > budget:
            break
        jobs.append(waiting.popleft())
    return jobs


def _read_prompts(
    model: Model, jobs: Sequence[Job], cache: Cache, first: int, shared: int
) -> Tensor:
    """Read prompts into the cache, from row `first` on; the state of the last token of each."""
    prompts = [job.prompt[shared:] for job in jobs]
    longest = max(map(len, prompts))
    rows = torch.arange(first, first + len(jobs), device=model.device)
    last = [number * longest + len(prompt) - 1 for number, prompt in enumerate(prompts)]
    return model.hidden(
        prompts,
        cache.read(rows, shared, longest),
        begin=shared,
        keep=torch.tensor(last, device=model.device),
    )


def _plain_step(model: Model, cache: Cache) -> Callable[[Sequence[int], Sequence[int]], Tensor]:
    """A function that reads a token of each of the first rows, at these slots: their states."""

    def step(tokens: Sequence[int], lengths: Sequence[int]) -> Tensor:
        attention = cache.step(torch.tensor(lengths, device=model.device), max(lengths))
        return model.hidden(
            [[token] for token in tokens],
            attention,
            positions=[[length] for length in lengths],
        )

    return step


def _close_gaps(live: list[Job], cache: Cache) -> None:
    """Take jobs that have ended out; the last row moves into each gap."""
    for row in reversed(range(len(live))):
        if live[row].done:
            if live[row].failed:
                cache.clear(row)
            if row < len(live) - 1:
                cache.move(len(live) - 1, row)
                live[row] = live[-1]
            live.pop()


def _shared_beginning(prompts: list[list[int]]) -> int:
    """Tokens that all prompts begin with, at least one left to each; 0 where it would not pay."""
    if len(prompts) < 2:
        return 0
    shortest, first, last = min(map(len, prompts)), min(prompts), max(prompts)
    shared = 0
    # The lexicographically first and last differ where any two differ.
    while shared < shortest - 1 and first[shared] == last[shared]:
        shared += 1
    return shared if shared >= SHARED_BEGINNING else 0


def _choose(logits: Tensor, jobs: Sequence[Job]) -> Tensor:
    """The next token of each row, on the CPU. All rows share the sampling parameters."""
    request = jobs[0].request
    if request.repetition_penalty != 1:
        logits = _penalised(logits, jobs)
    if request.temperature == 0:
        return logits.argmax(-1).cpu()
    tokens, probabilities = _candidates(logits, request)
    cumulated = probabilities.cumsum(-1)
    draws = torch.tensor([job.random.random() for job in jobs], dtype=cumulated.dtype)
    picked = (cumulated <= (draws * cumulated[:, -1])[:, None]).sum(-1)
    return tokens.gather(1, picked.clamp(max=tokens.shape[1] - 1)[:, None])[:, 0]


def _penalised(logits: Tensor, jobs: Sequence[Job]) -> Tensor:
    """Logits with those of tokens that a text holds already lowered, its prompt included."""
    logits = logits.clone()
    for row, job in zip(logits, jobs, strict=True):
        seen = torch.tensor(sorted({*job.prompt, *job.tokens}), device=row.device)
        old, penalty = row[seen], job.request.repetition_penalty
        row[seen] = torch.where(old < 0, old * penalty, old / penalty)
    return logits


def _candidates(logits: Tensor, request: Generate) -> tuple[Tensor, Tensor]:
    """Tokens and probabilities left by temperature, top-k and top-p in that order, likeliest first.

    Both [rows, candidates], on the CPU, probabilities in float64; a token that top-p removes has
    probability 0.
    """
    scaled = logits / request.temperature
    k = min(request.top_k or scaled.shape[-1], scaled.shape[-1])
    values, tokens = scaled.topk(k, dim=-1)
    probabilities = values.cpu().double().softmax(-1)  # not every device has float64
    if request.top_p < 1:
        before = probabilities.cumsum(-1) - probabilities
        probabilities = probabilities.masked_fill(before >= request.top_p, 0)
    return tokens.cpu(), probabilities


def _append(model: Model, jobs: Sequence[Job], logits: Tensor) -> None:
    """Choose a token for each job, write it, and mark those that have ended."""
    chosen = _choose(logits, jobs)
    log_probs = (
        logits.gather(1, chosen.to(logits.device)[:, None])[:, 0] - logits.logsumexp(1)
    ).tolist()
    for job, token, log_prob in zip(jobs, chosen.tolist(), log_probs, strict=True):
        if not np.isfinite(log_prob):
            job.failed = model.not_finite([*job.prompt, *job.tokens])
            continue
        job.tokens.append(token)
        job.log_probs.append(log_prob)
        _end(model, job)


def _end(model: Model, job: Job) -> None:
    """Decide whether a job has ended, and set its text if so."""
    if job.tokens[-1] == model.eos_id:
        job.stopped, job.text = "eos", model.decode(job.tokens[:-1])
    elif (found := _find_stop(model, job)) is not None:
        job.stopped, job.text = "stop", found
    elif len(job.tokens) >= job.limit:
        job.stopped, job.text = "length", model.decode(job.tokens)


def _find_stop(model: Model, job: Job) -> str | None:
    """The text before the first stop string, if the last token completed one."""
    if not job.request.stop:
        return None
    # A token is a byte or more, so what the last one completes lies within so many.
    reach = max(len(stop.encode()) for stop in job.request.stop)
    tail = model.decode(job.tokens[-reach:])
    if not any(stop in tail for stop in job.request.stop):
        return None
    text = model.decode(job.tokens)
    ends = [text.find(stop) for stop in job.request.stop if stop in text]
    return text[: min(ends)] if ends else None
