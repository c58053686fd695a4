"""The same questions to two answerers: the engine under a setting, and the reference."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gpt2eval.errors import MACHINE, reason_of
from gpt2eval.estimates import final
from gpt2eval.model import Model, Reference
from gpt2eval.runner import answer
from gpt2eval.runner.failures import Failed
from gpt2eval.runner.reference import answer_alone
from gpt2eval.scoring import Progress
from gpt2eval.types import Request, Response
from gpt2eval.work import Work, check_requests

Margins = NDArray[np.float64]
# requests, the task of each, who is told of failures -> number, response, margins
Answerer = Callable[
    [Sequence[Request], Sequence[str], Failed], Iterator[tuple[int, Response, Margins | None]]
]


@dataclass(frozen=True, slots=True)
class Given:
    """The answers to all that a sample asks, its followup included; margins of the reference."""

    requests: tuple[Request, ...]
    responses: tuple[Response, ...]
    margins: tuple[Margins | None, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """Sample id -> its answers, and why others have none."""

    given: Mapping[str, Given]
    failed: Mapping[str, str]


def engine(model: Model, seed: int, batch_size: int | None, progress: Progress) -> Answerer:
    """The engine, with the batches that it would make of these requests."""

    def ask(
        requests: Sequence[Request], parts: Sequence[str], failed: Failed
    ) -> Iterator[tuple[int, Response, Margins | None]]:
        for reply in answer(
            model,
            requests,
            seed=seed,
            batch_size=batch_size,
            on_plan=progress.plan,
            on_failed=failed,
            parts=parts,
        ):
            progress.advance(reply.tokens)
            yield reply.number, reply.response, None

    return ask


def alone(reference: Reference, model: Model, seed: int, progress: Progress) -> Answerer:
    """transformers, one text at a time; `model` tokenises."""

    def ask(
        requests: Sequence[Request], _parts: Sequence[str], failed: Failed
    ) -> Iterator[tuple[int, Response, Margins | None]]:
        for told in answer_alone(
            reference, model, requests, seed=seed, on_plan=progress.plan, on_failed=failed
        ):
            progress.advance(told.tokens)
            yield told.number, told.response, told.margins

    return ask


def ask(work: Sequence[Work], answerer: Answerer) -> list[Asked]:
    """The answers of each work. Identical requests are asked once, followups at the end."""
    failed: list[dict[str, str]] = [dict(item.broken) for item in work]
    first = _answers([(item, dict(_requests(item))) for item in work], answerer, failed)
    more: list[tuple[Work, dict[str, tuple[Request, ...]]]] = []
    for item, answers, broken in zip(work, first, failed, strict=True):
        more.append((item, {}))
        if item.protocol.followup is None:
            continue
        for sample in item.samples:
            if sample.id not in answers:
                continue
            try:
                given = answers[sample.id].responses
                asked = tuple(item.protocol.followup(sample, given))
                if asked:
                    check_requests(item.name, sample, asked)
                    more[-1][1][sample.id] = asked
            except MACHINE:
                raise
            except Exception as error:  # a task's function may raise anything
                broken[sample.id] = reason_of(error)
    later = _answers(more, answerer, failed)
    return [
        Asked(
            {
                name: _joined(given, after.get(name))
                for name, given in answers.items()
                if name not in broken
            },
            broken,
        )
        for answers, after, broken in zip(first, later, failed, strict=True)
    ]


def _requests(work: Work) -> Iterator[tuple[str, tuple[Request, ...]]]:
    for sample, asked in zip(work.samples, work.requests, strict=True):
        if asked:
            yield sample.id, asked


def _answers(
    work: Sequence[tuple[Work, Mapping[str, tuple[Request, ...]]]],
    answerer: Answerer,
    failed: Sequence[dict[str, str]],
) -> list[dict[str, Given]]:
    tasks: dict[Request, str] = {}
    for item, asked in work:
        for requests in asked.values():
            for request in requests:
                tasks.setdefault(request, item.task.name)
    distinct, reasons = list(tasks), dict[Request, str]()
    if not distinct:
        return [{} for _ in work]
    found: dict[Request, tuple[Response, Margins | None]] = {}

    def lost(number: int, reason: str) -> None:
        reasons[distinct[number]] = reason

    for number, response, margins in answerer(distinct, list(tasks.values()), lost):
        found[distinct[number]] = response, margins
    answers: list[dict[str, Given]] = []
    for (item, asked), broken in zip(work, failed, strict=True):
        answers.append({})
        for name, requests in asked.items():
            if missing := [request for request in requests if request not in found]:
                broken.setdefault(name, reasons[missing[0]])
                continue
            responses = tuple(found[request][0] for request in requests)
            margins_of = tuple(found[request][1] for request in requests)
            done = tuple(final(item.protocol, response) for response in responses)
            answers[-1][name] = Given(requests, done, margins_of)
    return answers


def _joined(given: Given, more: Given | None) -> Given:
    if more is None:
        return given
    return Given(
        given.requests + more.requests,
        given.responses + more.responses,
        given.margins + more.margins,
    )
