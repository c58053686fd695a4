"""How fast a checkpoint is on this machine, as Results like any other.

Workloads go through the engine that scores benchmarks. Beside the rate stands the share of the
machine's power that arrives in the answer: the operations the answer takes at least, over the time,
over the rate that the model's own linear layers reach on tall matrices in the same process.
Padding, work done twice and time that is not spent multiplying all lower it.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from itertools import cycle
from pathlib import Path
from typing import Any

import torch

from gpt2eval.checkpoint import Checkpoint, open_checkpoints
from gpt2eval.data import bundled_directory, read_jsonl, read_text
from gpt2eval.digests import digest_files
from gpt2eval.errors import UsageError
from gpt2eval.model import Model, load_model
from gpt2eval.model.linear import linear
from gpt2eval.options import RunOptions
from gpt2eval.provenance import checkpoint_section, peak_memory, run_section, signature
from gpt2eval.results import FORMAT, prepare_output, read_result, run_directory, write_result
from gpt2eval.runner import answer
from gpt2eval.runner.windows import disjoint
from gpt2eval.scoring import LEDGER, Progress
from gpt2eval.types import Estimate, Generate, Generated, Request, Response, Result, Rolling, Score

VERSION = 1  # raised when a workload changes: its numbers are not set beside older ones
TEXTS = ("wikitext2/wiki.test.raw", "lambada/lambada_test.jsonl")

# Where the peak is looked for: rows, in, out. Matrices so tall leave nothing to wait for.
GEMM = (2048, 1024, 4096)
GEMM_SECONDS = 0.3
GEMM_CALLS = 3

# What is read for an answer: the tokens, and after how many of the last ones the model is asked
# what comes next.
Reading = tuple[Sequence[int], int]


@dataclass(frozen=True, slots=True)
class Workload:
    """Requests of one kind.

    options  their sizes
    item     what is answered at a time ("window", "passage"), and how many of them there are
    """

    name: str
    summary: str
    requests: tuple[Request, ...]
    options: dict[str, int]
    item: str
    items: int

    @property
    def writes(self) -> bool:
        """Whether the model writes; then the rate counts what it wrote, else what it read."""
        return isinstance(self.requests[0], Generate)


@dataclass(frozen=True, slots=True)
class Cost:
    """What answers take at least: tokens read, tokens predicted, floating-point operations."""

    read: int
    predicted: int
    operations: int


def bench(options: RunOptions, repeats: int, progress: Progress) -> list[Result]:
    """Time the workloads with each checkpoint of `options.models`; one Result a workload.

    Of the options, the models, tokenizer, output, batch_size, dtype, device and offline count.
    Every call measures anew. The value is the median over the repeats, its bounds are their range.
    """
    if repeats < 1:
        raise UsageError(f"--repeats {repeats}: expected a whole number of at least 1")
    checkpoints = open_checkpoints(
        options.models, offline=options.offline, tokenizer=options.tokenizer
    )
    prepare_output(Path(options.output))
    return [
        result
        for checkpoint in checkpoints
        for result in _bench_checkpoint(checkpoint, options, repeats, progress)
    ]


def _bench_checkpoint(
    checkpoint: Checkpoint, options: RunOptions, repeats: int, progress: Progress
) -> Iterator[Result]:
    progress.begin(f"{checkpoint.name}: loading")
    # No token has the id -1: texts are written to their full length.
    model = replace(load_model(checkpoint, options.device, options.dtype), eos_id=-1)
    started = datetime.now(timezone.utc).isoformat()
    todo = workloads(model)
    progress.begin(f"{checkpoint.name}: bench")
    for workload in todo:  # libraries set themselves up when they are first called
        _answer(model, workload.requests[:1], options, progress)
    seconds: dict[str, list[float]] = {workload.name: [] for workload in todo}
    peak, costs = 0.0, {}
    for _ in range(repeats):  # in turn, so that a slow minute of the machine meets all alike
        peak = max(peak, gemm_peak(model))
        for workload in todo:
            begin = time.perf_counter()
            responses = _answer(model, workload.requests, options, progress)
            seconds[workload.name].append(time.perf_counter() - begin)
            costs[workload.name] = least_cost(model, _readings(model, workload, responses))
    for workload in todo:
        name = workload.name
        metrics = _estimates(workload, costs[name], seconds[name], peak, peak_memory(model))
        yield _save(model, workload, costs[name], seconds[name], metrics, options, started)


def _answer(
    model: Model, requests: Sequence[Request], options: RunOptions, progress: Progress
) -> list[Response]:
    responses: dict[int, Response] = {}
    for reply in answer(model, requests, batch_size=options.batch_size, on_plan=progress.plan):
        progress.advance(reply.tokens)
        responses[reply.number] = reply.response
    return [responses[number] for number in range(len(requests))]


# ---- what is asked ------------------------------------------------------------------------------


def workloads(model: Model) -> list[Workload]:
    """The five kinds of work, from the bundled texts, cut by the model's own tokenizer.

    Sizes are in tokens, and shrink where the model is too short for them. They are upper bounds: a
    text ends with a word.
    """
    window, words = model.n_ctx, _Words(model)
    passage, context = min(96, window // 2), min(64, window // 4)
    ending, prompt, written = min(16, window // 8), min(128, window // 2), min(32, window // 4)
    alone = min(64, window // 2)
    rolling = words.take(4 * window)
    passages = [words.take(passage).rpartition(" ") for _ in range(48)]
    questions = [(words.take(context), [words.take(ending) for _ in range(4)]) for _ in range(16)]
    prompts = [words.take(prompt) for _ in range(16)]
    return [
        Workload(
            "rolling",
            "a long text in full windows, every token scored",
            (Rolling(rolling),),
            {"windows": 4, "window": window},
            "window",
            4,
        ),
        Workload(
            "last-word",
            "short passages, the last word of each scored",
            tuple(Score(begin, f" {word}") for begin, _, word in passages),
            {"passages": 48, "passage": passage},
            "passage",
            48,
        ),
        Workload(
            "choice",
            "questions with four endings each, all of them scored",
            tuple(Score(asked, f" {end}") for asked, ends in questions for end in ends),
            {"questions": 16, "context": context, "ending": ending},
            "question",
            16,
        ),
        Workload(
            "generation",
            "texts written together, greedily",
            tuple(Generate(text, written) for text in prompts),
            {"texts": 16, "prompt": prompt, "written": written},
            "text",
            16,
        ),
        Workload(
            "single-stream",
            "one text written alone, greedily",
            (Generate(prompts[0], alone),),
            {"prompt": prompt, "written": alone},
            "token",
            alone,
        ),
    ]


class _Words:
    """The words of the bundled texts, over and over, dealt out by the number of their tokens."""

    def __init__(self, model: Model) -> None:
        wikitext, lambada = (bundled_directory() / name for name in TEXTS)
        rows = read_jsonl([lambada], "text")
        text = " ".join([read_text(wikitext), *(str(row["text"]) for row in rows)])
        words = text.split()
        sizes = [len(ids) for ids in model.encode([f" {word}" for word in words])]
        self.endless = cycle(zip(words, sizes, strict=True))

    def take(self, tokens: int) -> str:
        """The next two words, and more as long as they are no more tokens than that."""
        taken: list[str] = []
        used = 0
        for word, size in self.endless:
            if len(taken) >= 2 and used + size > tokens:
                break
            taken.append(word)
            used += size
        return " ".join(taken)


# ---- what it takes ------------------------------------------------------------------------------


def _readings(model: Model, workload: Workload, responses: Sequence[Response]) -> Iterator[Reading]:
    for request, response in zip(workload.requests, responses, strict=True):
        if isinstance(request, Rolling):
            stream = [model.prefix_id, *model.encode([request.text])[0]]
            for window in disjoint(len(stream) - 1, model.n_ctx):
                yield stream[window.begin : window.end], window.count
        elif isinstance(request, Score):
            (whole,) = model.encode([request.context + request.continuation])
            yield whole[:-1], len(response.tokens)
        elif isinstance(request, Generate) and isinstance(response, Generated):
            (prompt,) = model.encode([request.prompt])
            written = response.tokens.tolist()
            yield [*prompt, *written[:-1]], len(written)


def least_cost(model: Model, readings: Iterable[Reading]) -> Cost:
    """The least that a model with these sizes must do, every beginning that recurs read once.

    A multiplication and an addition are two operations; norms, softmax and GELU are left out. A
    token takes 2 operations for each weight of the linear layers and 4 * width in each layer for
    each token it sees, itself included. In the last layer only keys and values are needed of tokens
    after which nothing is asked. A prediction takes the head, 2 * width * vocabulary.
    """
    checkpoint = model.checkpoint
    layers, width = checkpoint.size("n_layer"), checkpoint.size("n_embd")
    inner = checkpoint.config.get("n_inner") or 4 * width
    places = _places(readings)
    asked = [depth for depth, is_asked in places if is_asked]
    read, seen, seen_asked = len(places), sum(depth for depth, _ in places), sum(asked)
    keys_values = 2 * 2 * width * width
    others = 2 * 2 * width * width + 2 * 2 * width * inner  # query, output, the two of the MLP
    operations = (
        (layers - 1) * (read * (keys_values + others) + 4 * width * seen)
        + read * keys_values
        + len(asked) * others
        + 4 * width * seen_asked
        + len(asked) * 2 * width * model.head.shape[0]
    )
    return Cost(read, len(asked), operations)


def _places(readings: Iterable[Reading]) -> list[tuple[int, bool]]:
    """(tokens seen, whether the next is asked for) of every token behind a distinct beginning."""
    root: dict[int, Any] = {}
    found: dict[int, list[Any]] = {}
    for tokens, last in readings:
        branch = root
        for depth, token in enumerate(tokens, 1):
            branch = branch.setdefault(token, {})
            place = found.setdefault(id(branch), [depth, False])
            place[1] |= depth > len(tokens) - last
    return [(depth, is_asked) for depth, is_asked in found.values()]


def gemm_peak(model: Model) -> float:
    """Operations a second of the model's kernel for linear layers, in its dtype, at its best."""
    rows, inside, outside = GEMM

    def ones(*shape: int) -> torch.Tensor:
        return torch.ones(shape, device=model.device, dtype=model.dtype)

    layer, x = linear(ones(inside, outside), ones(outside)), ones(rows, inside)
    layer(x)[0, 0].item()
    best, end, calls = 0.0, time.perf_counter() + GEMM_SECONDS, 0
    while calls < GEMM_CALLS or time.perf_counter() < end:
        begin = time.perf_counter()
        layer(x)[0, 0].item()  # a number of the result: an accelerator must have finished
        best = max(best, 2 * rows * inside * outside / (time.perf_counter() - begin))
        calls += 1
    return best


# ---- the result ---------------------------------------------------------------------------------


def _estimates(
    workload: Workload, cost: Cost, seconds: Sequence[float], peak: float, memory: int
) -> dict[str, Estimate]:
    counted = cost.predicted if workload.writes else cost.read
    verb = "written" if workload.writes else "read"
    items = f"{workload.items} {workload.item}{'s' if workload.items > 1 else ''}"
    method = f"median and range of {len(seconds)} repeats"
    if len(seconds) == 1:
        method = "no interval: measured once"

    def median(values: Sequence[float], unit: str, per: str, higher: bool) -> Estimate:
        low, high = (min(values), max(values)) if len(values) > 1 else (None, None)
        value = statistics.median(values)
        return Estimate(value, low, high, 1.0, method, workload.items, unit, per, higher)

    return {
        "tokens_per_second": median(
            [counted / s for s in seconds], "tokens/s", f"{counted} tokens {verb}", True
        ),
        "latency": median(
            [1000 * s / workload.items for s in seconds], f"ms per {workload.item}", items, False
        ),
        "gemm_fraction": median(
            [cost.operations / s / peak for s in seconds],
            "fraction",
            f"{peak / 1e9:.1f} GFLOP/s of the linear layers alone",
            True,
        ),
        "peak_memory": Estimate(
            memory / 2**20,
            None,
            None,
            1.0,
            "no interval: the most that the process had held when all workloads were done",
            workload.items,
            "MiB",
            "1 process",
            False,
        ),
    }


def _save(
    model: Model,
    workload: Workload,
    cost: Cost,
    seconds: Sequence[float],
    metrics: dict[str, Estimate],
    options: RunOptions,
    started: str,
) -> Result:
    checkpoint = model.checkpoint
    task = {
        "name": "bench",
        "protocol": workload.name,
        "version": VERSION,
        "options": {**workload.options, "repeats": len(seconds), **_machine(model)},
        "kind": "speed",
        "summary": workload.summary,
        "source": "",
        "references": [],
    }
    paths = [bundled_directory() / name for name in TEXTS]
    data = {
        "source": "workload",
        "files": {name: digest_files([path]) for name, path in zip(TEXTS, paths, strict=True)},
        "sha256": digest_files(paths),
        "verdict": "words of the bundled texts; what they say does not matter",
        "available": workload.items,
        "selected": workload.items,
        "subset": "all",
    }
    identity = {
        "format": FORMAT,
        "weights": checkpoint.sha256,
        "task": task,
        "dtype": options.dtype,
        "started": started,
    }
    name = f"bench@{workload.name}"
    directory = run_directory(Path(options.output), checkpoint.name, name, identity)
    result = Result(
        checkpoint=checkpoint_section(model),
        task=task,
        data=data,
        run=run_section(
            model,
            options,
            started,
            seconds=sum(seconds),
            tokens=len(seconds) * (cost.predicted if workload.writes else cost.read),
        ),
        metrics=metrics,
        ledger=dict.fromkeys(LEDGER, 0),
        signature=signature(checkpoint, task, data, options, model.n_ctx),
    )
    directory.mkdir(parents=True, exist_ok=True)
    write_result(result, directory)
    return read_result(directory)


def _machine(model: Model) -> dict[str, Any]:
    """What does the work: two machines are not two rows of one table."""
    if model.device.type == "cuda":
        return {"processor": torch.cuda.get_device_name(model.device)}
    return {"processor": processor(), "threads": torch.get_num_threads()}


def processor() -> str:
    """The processor's name, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else f"{platform.machine()}, {os.cpu_count()} cores"
