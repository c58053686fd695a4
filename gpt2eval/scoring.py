"""Answers to what runs ask, written down as samples complete."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any
from typing import Protocol as Interface

import numpy as np

from gpt2eval.errors import MACHINE, StoreError, reason_of
from gpt2eval.estimates import final, metrics_of, statistics_of
from gpt2eval.options import RunOptions
from gpt2eval.results import (
    RECORDS,
    RecordWriter,
    common_beginning,
    encode_requests,
    encode_response,
    own_responses,
)
from gpt2eval.task import Metric
from gpt2eval.types import Generate, Record, Request, Response, Sample
from gpt2eval.work import Work, check_requests

if TYPE_CHECKING:
    from gpt2eval.model import Model
    from gpt2eval.runner import Answer


class Progress(Interface):
    """What a run reports while it works; `silent` ignores it."""

    def begin(self, text: str) -> None:
        """A new piece of work, in words."""

    def plan(self, tokens: int) -> None:
        """So many tokens more will be fed to the model."""

    def advance(self, tokens: int) -> None:
        """So many of them were."""


class Silent:
    """A Progress that says nothing."""

    def begin(self, text: str) -> None:
        """Say nothing."""

    def plan(self, tokens: int) -> None:
        """Say nothing."""

    def advance(self, tokens: int) -> None:
        """Say nothing."""


class Writer(Interface):
    """Where records go; `results.RecordWriter` is one."""

    def write(self, record: Record) -> None:
        """Keep a record."""

    def close(self) -> None:
        """No more will come; closing twice is harmless."""


# Request -> (run, sample, position among the sample's requests) of all who ask it.
Askers = dict[Request, list[tuple[int, int, int]]]

LEDGER = (
    "failed",
    "contexts_truncated",
    "empty_generations",
    "stopped_by_length",
    "stopped_by_stop",
    "stopped_by_eos",
)


@dataclass(slots=True)
class Open:
    """A run under way: where it is kept, what is known of its samples, what it cost so far.

    directory   of the run
    writer      of the records of samples that are still to do
    todo        ids of these samples; of a shard, those that are its own
    statistics  sample id -> metric -> statistics; the responses are on disk and let go
    failed      sample id -> why it could not be scored
    ledger      what happened to samples besides being scored
    resumed     samples that earlier, interrupted processes had done
    used        "model", "scorer" (of followups) -> ids of the tokens in the responses of each
    beginning   what all samples' contexts and prompts begin with: examples, instructions
    """

    work: Work
    directory: Path
    writer: Writer | None = None
    todo: set[str] = field(init=False)
    statistics: dict[str, Mapping[str, Sequence[float]]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    ledger: dict[str, int] = field(default_factory=lambda: dict.fromkeys(LEDGER, 0))
    resumed: int = 0
    used: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    beginning: str = field(init=False)
    tokens: int = 0
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.todo = {sample.id for sample in self.work.samples}
        firsts = [requests[0] for requests in self.work.requests if requests]
        texts = [x.prompt if isinstance(x, Generate) else getattr(x, "context", "") for x in firsts]
        self.beginning = common_beginning(texts)

    def has(self, sample: str) -> bool:
        """Whether a sample is done: scored, or failed."""
        return sample in self.statistics or sample in self.failed

    @property
    def done(self) -> int:
        """How many samples are done."""
        return len(self.statistics) + len(self.failed)

    @property
    def missing(self) -> int:
        """How many samples of the run are not done, whoever is to do them."""
        return len(self.work.samples) - self.done

    def write(self, record: Record) -> None:
        """Save the record of a sample, and count it as done."""
        assert self.writer is not None
        self.writer.write(record)
        self.keep(record)

    def fail(self, sample: Sample, reason: str) -> None:
        """The same of a sample that cannot be scored; the first reason counts."""
        if not self.has(sample.id):
            references = list(sample.references)
            self.write(Record(sample.id, sample.group, {}, references=references, error=reason))

    def keep(self, record: Record) -> None:
        """Count a sample as done."""
        self.todo.discard(record.id)
        if record.error:
            self.failed[record.id] = record.error
            self.ledger["failed"] += 1
            return
        self.statistics[record.id] = record.statistics
        own = own_responses(record)
        for number, response in enumerate(record.responses):
            who = "model" if number < len(own) else "scorer"
            self.used[who].update(map(int, response["tokens"]))
            self.ledger["contexts_truncated"] += response["truncated"] > 0
            if response["type"] == "generated":
                self.ledger["empty_generations"] += not response["prediction"]
                self.ledger[f"stopped_by_{response['stopped']}"] += 1


def score(
    model: Model,
    judge: Model,
    work: Sequence[Work],
    runs: Sequence[Open],
    options: RunOptions,
    progress: Progress,
) -> Iterator[Open]:
    """Answer what the runs have to do, each distinct request once; yields each when that is done.

    What protocols ask about the responses (`followup`) is answered by `judge`, once the model is
    done. Records are written as their samples complete, so that whatever stops the process costs
    only the batch it was at; samples with a followup complete with that.

    work  all that the command asks for, of which `runs` are what is not finished: batches are
          planned from the whole, so that the same command makes the same ones when it goes on
    """
    from gpt2eval.runner import answer

    scoring = _Scoring(runs)
    waiting = list(runs)
    with ExitStack() as stack:
        for item in runs:
            item.writer = item.writer or RecordWriter(item.directory)
            stack.callback(item.writer.close)
        scoring.fail_broken()
        for answerer, asked in ((model, scoring.first), (judge, scoring.later)):
            yield from _complete(waiting)
            if not asked:
                continue
            requests, parts, missing = plan(work if asked is scoring.first else (), asked)
            names = ", ".join(item.work.name for item in waiting)
            progress.begin(f"{answerer.checkpoint.name}: {names}")
            replies = answer(
                answerer,
                requests,
                seed=options.seed,
                batch_size=options.batch_size,
                on_plan=progress.plan,
                on_failed=scoring.failing(requests, asked),
                parts=parts,
                wanted=missing,
            )
            for reply in replies:
                progress.advance(reply.tokens)
                scoring.take(reply, asked[requests[reply.number]])
                yield from _complete(waiting)
        yield from _complete(waiting)


class _Scoring:
    """Answers on their way to records.

    first    who asks what
    later    the same of followups, which are known once the model has answered
    wanted   (run, sample) -> its responses, followups included, once it has asked some
    answers  (run, sample) -> position -> response, of samples that have some of theirs
    """

    def __init__(self, runs: Sequence[Open]) -> None:
        self.runs = runs
        self.first = _askers(runs)
        self.later: Askers = {}
        self.wanted: dict[tuple[int, int], int] = {}
        self.answers: dict[tuple[int, int], dict[int, Response]] = defaultdict(dict)

    def fail_broken(self) -> None:
        """Record samples whose requests could not be made."""
        for item in self.runs:
            for sample in item.work.samples:
                if sample.id in item.work.broken and sample.id in item.todo:
                    item.fail(sample, item.work.broken[sample.id])

    def failing(self, requests: Sequence[Request], asked: Askers) -> Any:
        """What the runner is to call for a request that has no answer."""

        def failed(request: int, reason: str) -> None:
            for number, index, _ in asked[requests[request]]:
                self.runs[number].fail(self.runs[number].work.samples[index], reason)
                self.answers.pop((number, index), None)

        return failed

    def take(self, reply: Answer, who: Sequence[tuple[int, int, int]]) -> None:
        """Give a response to all who asked for it, and charge each run for it once."""
        for number in {number for number, *_ in who}:
            self.runs[number].tokens += reply.tokens
            self.runs[number].seconds += reply.seconds
        for number, index, position in who:
            item, key = self.runs[number], (number, index)
            if item.has(item.work.samples[index].id):  # another of its requests has failed
                continue
            self.answers[key][position] = reply.response
            if len(self.answers[key]) == self.wanted.get(key, len(item.work.requests[index])):
                self._complete(number, index)

    def _complete(self, number: int, index: int) -> None:
        """Record a sample that has all its responses, or ask what they lead to."""
        item, key = self.runs[number], (number, index)
        try:
            given = [final(item.work.protocol, one) for one in _in_order(self.answers[key])]
            if key not in self.wanted and (more := _followup(item.work, index, given)):
                self.wanted[key] = len(given) + len(more)
                for place, request in enumerate(more, len(given)):
                    self.later.setdefault(request, []).append((number, index, place))
                return
            record = _record(item, index, given)
        except MACHINE:
            raise
        except Exception as error:  # a task's or a metric's function may raise anything
            item.fail(item.work.samples[index], reason_of(error))
        else:
            item.write(record)
        del self.answers[key]


def _complete(waiting: list[Open]) -> Iterator[Open]:
    """The runs that have nothing left to do, which are waited for no longer."""
    for item in [item for item in waiting if not item.todo]:
        waiting.remove(item)
        assert item.writer is not None
        item.writer.close()
        yield item


def recover(item: Open, records: Iterable[Record]) -> None:
    """Count what earlier processes had scored; StoreError for what this run did not write."""
    samples = {sample.id: sample for sample in item.work.samples}
    widths: dict[str, int] = {}
    for record in records:
        if item.has(record.id):
            continue
        try:
            if record.id not in samples:
                raise ValueError("no sample of this run")
            if record.error:
                item.keep(record)
                continue
            metrics = metrics_of(item.work.protocol.metrics, samples[record.id])
            if record.statistics.keys() != {metric.name for metric in metrics}:
                raise ValueError("other metrics")
            for metric in metrics:
                _check_statistics(metric, record.statistics[metric.name], widths)
            item.keep(record)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise StoreError(
                f"{item.directory / RECORDS}: the record of sample {record.id!r} cannot be used"
                f" ({error!r}); delete {item.directory} and run the same command again, which makes"
                " it anew"
            ) from error
    item.resumed = item.done


def _check_statistics(metric: Metric, numbers: Sequence[Any], widths: dict[str, int]) -> None:
    """Numbers, as many as `widths` says of the metric; the first to come says it."""
    if not all(isinstance(number, (int, float)) and isfinite(number) for number in numbers):
        raise ValueError(f"statistics {numbers!r:.80}; expected finite numbers")
    if metric.corpus:  # of any length, as far as the metric can read them
        metric.value([np.asarray(numbers, dtype=np.float64)])
    elif len(numbers) != widths.setdefault(metric.name, len(numbers) or 1):
        raise ValueError(
            f"{len(numbers)} statistics of {metric.name}; expected {widths[metric.name]}"
        )


def _askers(runs: Sequence[Open]) -> Askers:
    """All who ask what is still to be asked."""
    askers: Askers = {}
    for number, item in enumerate(runs):
        for index, sample in enumerate(item.work.samples):
            if sample.id in item.todo:
                for position, request in enumerate(item.work.requests[index]):
                    askers.setdefault(request, []).append((number, index, position))
    return askers


def plan(work: Sequence[Work], asked: Askers) -> tuple[list[Request], list[str], Collection[int]]:
    """Requests, the task whose batches each belongs to, and the numbers of those that are asked.

    A request belongs to the first task that has it. Of tasks from which something is asked all
    requests are there, also those that an earlier process had answers to.
    """
    tasks: dict[Request, str] = {}
    for item in work:
        for requests in item.requests:
            for request in requests:
                tasks.setdefault(request, item.task.name)
    for request in asked:  # what is asked about responses belongs to none
        tasks.setdefault(request, "")
    needed = {tasks[request] for request in asked}
    kept = [request for request, task in tasks.items() if task in needed]
    missing = {number for number, request in enumerate(kept) if request in asked}
    return kept, [tasks[request] for request in kept], missing


def _in_order(responses: Mapping[int, Response]) -> list[Response]:
    return [responses[position] for position in range(len(responses))]


def _followup(work: Work, index: int, responses: Sequence[Response]) -> tuple[Request, ...]:
    """What the scorer is asked about the responses of a sample."""
    if work.protocol.followup is None:
        return ()
    sample = work.samples[index]
    asked = tuple(work.protocol.followup(sample, responses))
    if asked:
        check_requests(work.name, sample, asked)
    return asked


def _record(item: Open, index: int, responses: Sequence[Response]) -> Record:
    """What is kept of a sample."""
    work, sample, protocol = item.work, item.work.samples[index], item.work.protocol
    first = work.requests[index]
    more = _followup(work, index, responses[: len(first)])
    scorer = range(len(first), len(responses))
    choices, gold = _choices(sample)
    return Record(
        id=sample.id,
        group=sample.group,
        statistics=statistics_of(protocol.metrics, sample, responses),
        responses=[encode_response(response) for response in responses],
        references=list(sample.references),
        asked=encode_requests([*first, *more], item.beginning, scorer),
        choices=choices,
        gold=gold,
    )


def _choices(sample: Sample) -> tuple[list[str], int | None]:
    """The answers to choose from and the right one, where the fields have their form."""
    choices, gold = sample.fields.get("choices"), sample.fields.get("gold")
    if not isinstance(choices, (list, tuple)) or not all(isinstance(x, str) for x in choices):
        return [], None
    return list(choices), gold if isinstance(gold, int) and 0 <= gold < len(choices) else None
