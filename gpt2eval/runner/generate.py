"""Generate: batched decoding with a KV cache, each row with its own end.

Prompts are padded on the right, so they are read without a mask at positions 0, 1, 2, ...; while
decoding, the padding slots of the cache are masked and each row goes on at its own position. A
prompt beginning that all rows of a batch share is read once.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from gpt2eval.errors import ModelError
from gpt2eval.model import Cache, Model
from gpt2eval.runner.batches import TOKEN_BUDGET, batches, halving
from gpt2eval.types import Generate, Generated

# Rows of a decoding batch hold their whole context in the cache, so the budget counts that.
ROWS_BUDGET = 4
SHARED_PREFIX = 16  # tokens from which reading a common beginning once pays


@dataclass(slots=True)
class Job:
    """One distinct request on its way: its prompt, and what has been written so far."""

    request: Generate
    numbers: list[int]
    prompt: list[int]
    limit: int  # tokens that may still be written
    truncated: int
    random: np.random.Generator
    tokens: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    text: str = ""
    stopped: Literal["stop", "eos", "length"] | None = None

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
) -> Iterator[tuple[int, Generated, int, float]]:
    """Answer numbered requests, in any order: (number, response, tokens fed, seconds)."""
    jobs = plan(model, requests, seed)
    plan_done(sum(len(job.prompt) + job.limit for job in jobs))

    def run(batch: list[Job]) -> float:
        begin = time.perf_counter()
        for job in batch:  # a batch that ran out of memory is begun again
            job.tokens, job.log_probs, job.text, job.stopped = [], [], "", None
            job.random = _random(job.request, seed)
        _run_batch(model, batch)
        return time.perf_counter() - begin

    budget = ROWS_BUDGET * TOKEN_BUDGET[model.device.type]
    for group in _by_sampling(jobs):
        for batch in batches(group, lambda job: len(job.prompt) + job.limit, budget, batch_size):
            for part, seconds in halving(run, batch):
                for job in part:
                    fed = len(job.prompt) + len(job.tokens)
                    for number in job.numbers:
                        yield number, job.answer(), fed, seconds / len(part)


def plan(model: Model, requests: Sequence[tuple[int, Generate]], seed: int) -> list[Job]:
    """One job for each distinct request, its prompt cut from the left so that the answer fits."""
    distinct: dict[Generate, list[int]] = {}
    for number, request in requests:
        distinct.setdefault(request, []).append(number)
    prompts = model.encode([request.prompt for request in distinct])
    jobs = []
    for (request, numbers), ids in zip(distinct.items(), prompts, strict=True):
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


def _by_sampling(jobs: Sequence[Job]) -> list[list[Job]]:
    groups: dict[tuple[float, int, float], list[Job]] = {}
    for job in jobs:
        request = job.request
        key = (request.temperature, request.top_k, request.top_p)
        groups.setdefault(key, []).append(job)
    return list(groups.values())


@torch.inference_mode()
def _run_batch(model: Model, batch: list[Job]) -> None:
    """Write every job of the batch to its end."""
    live = list(batch)
    hidden, cache, lengths = _read_prompts(model, live)
    while True:
        logits = model.logits(hidden)
        chosen = _choose(logits, live)
        _append(model, live, logits, chosen)
        going = [row for row, job in enumerate(live) if job.stopped is None]
        if not going:
            return
        if len(going) < len(live):
            live = [live[row] for row in going]
            keep = torch.tensor(going, device=model.device)
            cache.select(keep)
            lengths, chosen = lengths[keep], chosen[keep.cpu()]
        ids = chosen.to(model.device)[:, None]
        hidden = model.transformer.forward(ids, lengths[:, None], cache)[:, 0]
        lengths = lengths + 1


def _read_prompts(model: Model, jobs: list[Job]) -> tuple[Tensor, Cache, Tensor]:
    """Last hidden state of each prompt, the filled cache, and the prompts' lengths."""
    prompts = [job.prompt for job in jobs]
    longest = max(map(len, prompts))
    cache = model.transformer.new_cache(len(jobs), longest + max(job.limit for job in jobs))
    shared = _shared_beginning(prompts)
    if shared:
        single = model.transformer.new_cache(1, shared)
        model.hidden([prompts[0][:shared]], single)
        cache.keys[:, :, :, :shared] = single.keys
        cache.values[:, :, :, :shared] = single.values
        cache.length = shared
    lengths = torch.tensor([len(prompt) for prompt in prompts], device=model.device)
    hidden = model.hidden([prompt[shared:] for prompt in prompts], cache)
    slots = torch.arange(cache.valid.shape[1], device=model.device)
    cache.valid = (slots < lengths[:, None]) | (slots >= longest)
    last = lengths - shared - 1
    return hidden[torch.arange(len(jobs), device=model.device), last], cache, lengths


def _shared_beginning(prompts: list[list[int]]) -> int:
    """Tokens that all prompts begin with, at least one left to each; 0 where it would not pay."""
    if len(prompts) < 2:
        return 0
    shortest, first, last = min(map(len, prompts)), min(prompts), max(prompts)
    shared = 0
    # The lexicographically first and last differ where any two differ.
    while shared < shortest - 1 and first[shared] == last[shared]:
        shared += 1
    return shared if shared >= SHARED_PREFIX else 0


def _choose(logits: Tensor, jobs: list[Job]) -> Tensor:
    """The next token of each row, on the CPU. All rows share the sampling parameters."""
    request = jobs[0].request
    if request.temperature == 0:
        return logits.argmax(-1).cpu()
    tokens, probabilities = _candidates(logits, request)
    cumulated = probabilities.cumsum(-1)
    draws = torch.tensor([job.random.random() for job in jobs], dtype=cumulated.dtype)
    picked = (cumulated <= (draws * cumulated[:, -1])[:, None]).sum(-1)
    return tokens.gather(1, picked.clamp(max=tokens.shape[1] - 1)[:, None])[:, 0]


def _candidates(logits: Tensor, request: Generate) -> tuple[Tensor, Tensor]:
    """Tokens and probabilities left by temperature, top-k and top-p in that order, likeliest first.

    Both [rows, candidates], on the CPU, probabilities in float64; a token that top-p removes has
    probability 0.
    """
    scaled = logits / request.temperature
    k = min(request.top_k or scaled.shape[-1], scaled.shape[-1])
    values, tokens = scaled.topk(k, dim=-1)
    probabilities = values.double().softmax(-1).cpu()
    if request.top_p < 1:
        before = probabilities.cumsum(-1) - probabilities
        probabilities = probabilities.masked_fill(before >= request.top_p, 0)
    return tokens.cpu(), probabilities


def _append(model: Model, jobs: list[Job], logits: Tensor, chosen: Tensor) -> None:
    """Write the chosen tokens into their jobs and mark those that have ended."""
    log_probs = (
        logits.gather(1, chosen.to(logits.device)[:, None])[:, 0] - logits.logsumexp(1)
    ).tolist()
    for job, token, log_prob in zip(jobs, chosen.tolist(), log_probs, strict=True):
        if not np.isfinite(log_prob):
            raise ModelError(
                f"the model gave log-probabilities that are not finite ({model.dtype}); try --dtype"
                " float32, and check the checkpoint"
            )
        job.tokens.append(token)
        job.log_probs.append(log_prob)
        _end(model, job)


def _end(model: Model, job: Job) -> None:
    """Decide whether a job has ended, and set its text if so."""
    if job.tokens[-1] == model.eos_id:
        job.stopped, job.text = "eos", model.decode(job.tokens[:-1])
        return
    if job.request.stop:
        text = model.decode(job.tokens)
        ends = [text.find(stop) for stop in job.request.stop if stop in text]
        if ends:
            job.stopped, job.text = "stop", text[: min(ends)]
            return
    if len(job.tokens) >= job.limit:
        job.stopped, job.text = "length", model.decode(job.tokens)
