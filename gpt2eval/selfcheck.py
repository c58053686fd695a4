"""Does this machine, dtype and batch policy give the numbers that are known to be right?

The bundled checkpoints have answers on record, made by transformers in float64
(`gpt2eval.demo.answers`); of OpenAI's checkpoints there are published numbers, where their texts
can be had. What may lie between an answer and its record depends on the dtype alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpt2eval.checkpoint import BUNDLED, Checkpoint, open_checkpoints
from gpt2eval.data import lacking
from gpt2eval.errors import DataError, UsageError
from gpt2eval.evaluation import run_with
from gpt2eval.model import Model, load_model
from gpt2eval.options import RunOptions
from gpt2eval.published import DIFFERS, MATCH, entries, judge, known_model, models
from gpt2eval.runner import answer
from gpt2eval.scoring import Progress
from gpt2eval.task import Protocol, Task, discover
from gpt2eval.types import Embedded, Estimate, Generate, Request, Response, Result, Rolling, Score


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far answers of a dtype may lie from those of float64, in nats.

    text   mean over the tokens of a text
    token  the worst single token
    """

    text: float
    token: float


# Four to thirty times what a processor was seen to be off: another one adds up in another order.
TOLERANCES = {
    "float32": Tolerance(text=1e-5, token=1e-4),
    "float16": Tolerance(text=1e-3, token=3e-2),
    "bfloat16": Tolerance(text=1e-2, token=5e-1),
}


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was asked, and how the answer compares with the one that is known.

    expected, found  in `unit`
    off, tolerance   how far apart the two are and may be: in nats, or where `relative`, as a share
                     of what is expected
    """

    checkpoint: str
    name: str
    unit: str
    expected: float
    found: float
    off: float
    tolerance: float
    relative: bool = False

    @property
    def passed(self) -> bool:
        """Whether the answer is right; what is not a number is not."""
        return self.off <= self.tolerance


def selfcheck(options: RunOptions, progress: Progress) -> list[Check]:
    """Ask each checkpoint of `options.models`, by default the bundled ones, what is known of it.

    Raises UsageError for a checkpoint of which nothing is known, DataError where the texts that
    numbers were published of are not there.
    """
    checks: list[Check] = []
    sources = options.models or BUNDLED
    for checkpoint in open_checkpoints(
        sources, offline=options.offline, tokenizer=options.tokenizer
    ):
        recorded = _recorded(checkpoint)
        if recorded is not None:
            progress.begin(f"{checkpoint.name}: selfcheck")
            model = load_model(checkpoint, options.device, options.dtype)
            checks += _compare(model, recorded, options)
        else:
            checks += _published(checkpoint.source, checkpoint, options, progress)
    return checks


# ---- answers on record --------------------------------------------------------------------------


@cache
def _content() -> Mapping[str, Any]:
    text = (files("gpt2eval") / "demo" / "answers.json").read_text(encoding="utf-8")
    content: Mapping[str, Any] = json.loads(text)
    return content


def _recorded(checkpoint: Checkpoint) -> Mapping[str, Any] | None:
    """What is on record of these weights, wherever they lie."""
    for answers in _content()["answers"].values():
        if answers["sha256"] == checkpoint.sha256:
            known: Mapping[str, Any] = answers
            return known
    return None


def _compare(model: Model, recorded: Mapping[str, Any], options: RunOptions) -> Iterator[Check]:
    asked, allowed = _content()["questions"], TOLERANCES[options.dtype]
    name = model.checkpoint.name
    ends = [Score(one["context"], one["continuation"]) for one in asked["continuations"]]
    long = {
        "disjoint": Rolling(asked["long"]),
        "sliding": Rolling(asked["long"], windows="sliding", stride=asked["stride"]),
        "hf-docs": Rolling(asked["long"], windows="hf-docs", stride=asked["stride"]),
    }
    prompts = [Generate(one["context"], asked["new_tokens"]) for one in asked["continuations"]]
    requests: list[Request] = [*ends, *long.values(), *prompts]
    replies = _answer(model, requests, options.batch_size)

    expected = np.concatenate([np.array(one) for one in recorded["continuations"]])
    found = _nats(replies[: len(ends)])
    yield Check(
        name,
        "words after a context",
        "nats",
        float(expected.mean()),
        float(found.mean()),
        _worst(found, expected),
        allowed.token,
    )
    for windows, reply in zip(long, replies[len(ends) :], strict=False):
        nats, weights = _nats([reply]), reply.weights  # type: ignore[union-attr]
        mean = float(weights @ nats / weights.sum())
        yield Check(
            name,
            f"long text, {windows} windows",
            "nats",
            recorded[windows],
            mean,
            abs(mean - recorded[windows]),
            allowed.text,
        )
    yield _written(name, replies[-len(prompts) :], recorded, allowed)
    alone = _nats(_answer(model, ends, 1))
    yield Check(
        name,
        "batches of one or of many",
        "nats",
        float(alone.mean()),
        float(found.mean()),
        _worst(found, alone),
        allowed.token,
    )


def _answer(model: Model, requests: Sequence[Request], batch_size: int | None) -> list[Response]:
    found: dict[int, Response] = {
        reply.number: reply.response for reply in answer(model, requests, batch_size=batch_size)
    }
    return [found[number] for number in range(len(requests))]


def _nats(replies: Sequence[Response]) -> NDArray[np.float64]:
    """Of each scored token, one text after the other."""
    scored = [reply.logprobs for reply in replies if not isinstance(reply, Embedded)]
    return -np.concatenate(scored).astype(np.float64)


def _worst(found: NDArray[np.float64], expected: NDArray[np.float64]) -> float:
    """The largest difference of a token; infinite where there are more or fewer of them."""
    if len(found) != len(expected):
        return float("inf")
    return float(np.abs(found - expected).max())


def _written(
    name: str, replies: Sequence[Response], recorded: Mapping[str, Any], allowed: Tolerance
) -> Check:
    """Texts token by token. Two tokens may change places if they were as good as equally likely.

    What follows such a place is another text, and is not compared.
    """
    same, off = 0, 0.0
    for reply, tokens, margins in zip(
        replies, recorded["written"], recorded["margins"], strict=True
    ):
        # A text that ended too early differs where it ended.
        found = [*reply.tokens.tolist(), *[-1] * len(tokens)]
        alike = [one == other for one, other in zip(tokens, found, strict=False)]
        place = [*alike, False].index(False)
        same += place
        if place < len(tokens):
            off = max(off, margins[place])
    total = sum(map(len, recorded["written"]))
    return Check(name, "greedy texts, tokens", "tokens", total, same, off, allowed.token)


# ---- published numbers --------------------------------------------------------------------------


def _published(
    source: str, checkpoint: Checkpoint, options: RunOptions, progress: Progress
) -> list[Check]:
    """The numbers of the battery that were published of this checkpoint."""
    model = known_model(
        {"path": checkpoint.source, "revision": checkpoint.revision, "sha256": checkpoint.sha256}
    )
    if not model:
        raise UsageError(
            f"--model {source!r}: nothing is known of these weights ({checkpoint.sha256[:12]});"
            f" expected {', '.join(BUNDLED)}, or one of {', '.join(models())} from the hub. Leave"
            " --model out to check the machine"
        )
    place = options.data or "hub"
    wanted = _battery(model, options.tasks_dir)
    there = [
        f"{task.name}@{protocol.name}"
        for task, protocol in wanted
        if not lacking(protocol.dataset, place)
    ]
    results = (
        run_with(replace(options, models=(source,), tasks=",".join(there)), progress)
        if there
        else []
    )
    checks = [
        _reproduced(result, one.row, one.found)
        for result in results
        for one in judge(result)
        if one.found is not None and one.verdict in (MATCH, DIFFERS)
    ]
    if not checks:
        names = ", ".join(f"{task.name}@{protocol.name}" for task, protocol in wanted)
        raise DataError(
            f"{source!r}: numbers were published of it on {names or 'no task of the battery'},"
            f" whose whole texts are not in {place!r}; name a directory with them by --data"
        )
    return checks


def _battery(model: str, tasks_dir: str | None) -> list[tuple[Task, Protocol]]:
    """The protocols of which a number of the battery was published for this model."""
    return [
        (task, protocol)
        for task in discover(tasks_dir).values()
        for protocol in task.protocols
        if any(
            entry.get("battery")
            and model in entry["values"]
            and protocol.name in entry["protocols"]
            for entry in entries(task.name)
        )
    ]


def _reproduced(result: Result, row: Mapping[str, Any], found: Estimate) -> Check:
    return Check(
        result.checkpoint["name"],
        f"{result.name}, {row['metric']} ({row['source']})",
        found.unit,
        row["value"],
        found.value,
        abs(found.value - row["value"]) / abs(row["value"]),
        row["tolerance"],
        relative=True,
    )
