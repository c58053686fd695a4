"""Checkpoint x task -> Result: the one place where all of it meets.

The module is not called `run`, because a submodule of that name would replace `gpt2eval.run`.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any
from typing import Protocol as Interface

import numpy as np

from gpt2eval.checkpoint import BUNDLED, Checkpoint, open_checkpoints
from gpt2eval.digests import digest_items
from gpt2eval.errors import MACHINE, SampleError, StoreError, reason_of
from gpt2eval.estimates import baselines, estimates, final, metrics_of, statistics_of
from gpt2eval.options import RunOptions
from gpt2eval.provenance import checkpoint_section, run_section, signature
from gpt2eval.published import rows
from gpt2eval.results import (
    FORMAT,
    RECORDS,
    RESULT,
    RecordWriter,
    common_beginning,
    encode_requests,
    encode_response,
    locked,
    own_responses,
    prepare_output,
    read_records,
    read_result,
    recover_records,
    run_directory,
    write_result,
    write_vocabulary,
)
from gpt2eval.task import Metric, discover, select
from gpt2eval.types import Generate, Record, Request, Response, Result, Sample
from gpt2eval.work import Work, check_requests, load_work, scored, with_scorer

if TYPE_CHECKING:
    from gpt2eval.model import Model


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

    writer      of its records, while it is scored
    statistics  sample id -> metric -> statistics; the responses are on disk and let go
    failed      sample id -> why it could not be scored
    ledger      what happened to samples besides being scored
    resumed     samples that an earlier, interrupted process had done
    used        "model", "scorer" (of followups) -> ids of the tokens in the responses of each
    beginning   what all samples' contexts and prompts begin with: examples, instructions
    """

    work: Work
    directory: Path
    writer: RecordWriter | None = None
    statistics: dict[str, Mapping[str, Sequence[float]]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    ledger: dict[str, int] = field(default_factory=lambda: dict.fromkeys(LEDGER, 0))
    resumed: int = 0
    used: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    beginning: str = field(init=False)
    tokens: int = 0
    seconds: float = 0.0

    def __post_init__(self) -> None:
        firsts = [requests[0] for requests in self.work.requests if requests]
        texts = [x.prompt if isinstance(x, Generate) else getattr(x, "context", "") for x in firsts]
        self.beginning = common_beginning(texts)

    def has(self, sample: str) -> bool:
        """Whether a sample is done: scored, or failed."""
        return sample in self.statistics or sample in self.failed

    @property
    def complete(self) -> bool:
        """Whether every sample is done."""
        return len(self.statistics) + len(self.failed) == len(self.work.samples)

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


def run(
    *,
    models: str | Path | Sequence[str | Path] = (),
    tasks: str = "core",
    progress: Progress | None = None,
    **options: Any,
) -> list[Result]:
    """Score checkpoints on tasks, and keep the results.

    models    directories, hub ids, or bundled names; none: the bundled demo checkpoints
    tasks     names, groups and globs with commas, each with an optional `@protocol`
    options   the fields of `gpt2eval.options.RunOptions`: data, output, limit, dtype, device, ...

    Returns one Result for each checkpoint and task@protocol. Runs that are complete in the output
    directory are read, not repeated; interrupted ones go on. Raises Gpt2EvalError for anything that
    is wrong with the input, before a model is loaded where possible; and SampleError, once all is
    saved, where more samples failed than `max_failed`: it has the results.
    """
    given = (str(models),) if isinstance(models, (str, Path)) else tuple(map(str, models))
    return run_with(RunOptions(models=given, tasks=tasks, **options), progress or Silent())


def run_with(options: RunOptions, progress: Progress) -> list[Result]:
    """`run` with its options as one value."""
    options = replace(options, models=options.models or BUNDLED)
    if options.offline:  # a metric of Hugging Face's may be one of the hub
        os.environ["HF_EVALUATE_OFFLINE"] = "1"
    chosen = select(options.tasks, discover(options.tasks_dir))
    checkpoints = open_checkpoints(options.models, offline=options.offline)
    place = options.data or ("bundled" if set(options.models) <= set(BUNDLED) else "hub")
    work = with_scorer(load_work(chosen, place, options), options)
    prepare_output(Path(options.output))
    results: list[Result] = []
    hopeless: list[str] = []
    for checkpoint in checkpoints:
        results += _run_checkpoint(checkpoint, work, options, progress, hopeless)
    _check_failed(results, hopeless, options.max_failed)
    return results


def _check_failed(results: list[Result], hopeless: Sequence[str], allowed: str) -> None:
    """SampleError where more samples of a run failed than `allowed`, as `--max-failed` has it.

    hopeless  what there is to say of runs of which no sample could be scored
    """
    number = float(allowed.removesuffix("%"))
    lines = []
    for result in results:
        failed, selected = result.ledger["failed"], result.data["selected"]
        if failed > (number / 100 * selected if allowed.endswith("%") else number):
            lines.append(
                f"{result.name} of {result.checkpoint['name']}: {failed} of {selected} samples"
                f" failed and are not in its numbers{_first_failure(result)}"
            )
    if lines or hopeless:
        raise SampleError(
            "\n  ".join(
                [f"more samples failed than --max-failed {allowed} allows:", *hopeless, *lines]
            )
            + "\nAll else is scored and saved. The reasons are in records.jsonl; a run is made"
            " anew once its directory is deleted",
            results,
        )


def _first_failure(result: Result) -> str:
    assert result.path is not None
    for record in read_records(result.path, responses=False):
        if record.error:
            return f"; the first, {record.id!r}: {record.error}"
    return ""


# ---- one checkpoint -----------------------------------------------------------------------------


def _run_checkpoint(
    checkpoint: Checkpoint,
    work: Sequence[Work],
    options: RunOptions,
    progress: Progress,
    hopeless: list[str],
) -> list[Result]:
    """Every task of one checkpoint, in one pass over all that is still missing.

    A run of which no sample could be scored has no result; `hopeless` is told why.
    """
    directories = [
        run_directory(
            Path(options.output), checkpoint.name, item.name, _identity(checkpoint, item, options)
        )
        for item in work
    ]
    with ExitStack() as stack:
        for directory in directories:
            if not (directory / RESULT).exists():
                stack.enter_context(locked(directory))
        # Asked once the lock is held: another process may have finished the run just before.
        runs = [
            Open(item, directory)
            for item, directory in zip(work, directories, strict=True)
            if not (directory / RESULT).exists()
        ]
        if runs:
            from gpt2eval.model import load_model

            progress.begin(f"{checkpoint.name}: loading")
            model = load_model(checkpoint, options.device, options.dtype)
            scorer = next((item.work.scorer for item in runs if item.work.scorer), None)
            judge = load_model(scorer, options.device, options.dtype) if scorer else model
            started = datetime.now(UTC).isoformat(timespec="seconds")
            for item in _score(model, judge, work, runs, options, progress):
                if item.statistics:
                    who = {"model": model, "scorer": judge}
                    texts = {name: who[name].token_texts(ids) for name, ids in item.used.items()}
                    write_vocabulary(item.directory, texts)
                    write_result(_result(model, item, options, started), item.directory)
                else:
                    first, reason = next(iter(item.failed.items()))
                    hopeless.append(
                        f"{item.work.name} of {checkpoint.name}: none of {len(item.failed)} samples"
                        f" could be scored, so there is no result; the first, {first!r}: {reason}"
                    )
    return [read_result(directory) for directory in directories if (directory / RESULT).exists()]


def _identity(checkpoint: Checkpoint, work: Work, options: RunOptions) -> dict[str, Any]:
    """All that can change the numbers of a run, and nothing else."""
    return {
        "format": FORMAT,
        "weights": checkpoint.sha256,
        "tokenizer": checkpoint.tokenizer_sha256,
        "config": digest_items([sorted(checkpoint.config.items(), key=str)]),
        "dtype": options.dtype,
        "task": work.name,
        "version": work.task.version,
        "options": work.protocol.options,
        "metrics": [[metric.name, metric.signature] for metric in work.protocol.metrics],
        "data": work.provenance["sha256"],
        "source": work.provenance["source"],
        "subset": work.provenance["subset"],
        "requests": digest_items(work.requests),
        "references": digest_items(sample.references for sample in work.samples),
        "seed": options.seed,
        **({"scorer": [work.scorer.sha256, work.scorer.tokenizer_sha256]} if work.scorer else {}),
    }


def _score(
    model: Model,
    judge: Model,
    work: Sequence[Work],
    runs: Sequence[Open],
    options: RunOptions,
    progress: Progress,
) -> Iterator[Open]:
    """Answer what the runs ask, each distinct request once; yields each run when it is complete.

    What protocols ask about the responses (`followup`) is answered by `judge`, once the model is
    done. Records are written as their samples complete, so that whatever stops the process costs
    only the batch it was at; samples with a followup complete with that.

    work  all that the command asks for, of which `runs` are what is not finished: batches are
          planned from the whole, so that the same command makes the same ones when it goes on
    """
    from gpt2eval.runner import answer

    for item in runs:
        _recover(item)
    askers = _askers(runs)
    later: dict[Request, list[tuple[int, int, int]]] = {}
    wanted: dict[tuple[int, int], int] = {}  # responses of a sample, once it has asked a followup
    answers: dict[tuple[int, int], dict[int, Response]] = defaultdict(dict)
    waiting = dict(enumerate(runs))
    with ExitStack() as stack:
        for item in runs:
            item.writer = RecordWriter(item.directory)
            stack.callback(item.writer.close)
            for sample in item.work.samples:
                if sample.id in item.work.broken:
                    item.fail(sample, item.work.broken[sample.id])
        for answerer, asked in ((model, askers), (judge, later)):
            yield from _complete(waiting)
            if not asked:
                continue
            requests, parts, missing = _plan(work if asked is askers else (), asked)
            names = ", ".join(item.work.name for item in waiting.values())
            progress.begin(f"{answerer.checkpoint.name}: {names}")

            def failed(
                request: int,
                reason: str,
                asked: Askers = asked,
                requests: Sequence[Request] = requests,
            ) -> None:
                for number, index, _ in asked[requests[request]]:
                    runs[number].fail(runs[number].work.samples[index], reason)
                    answers.pop((number, index), None)

            for reply in answer(
                answerer,
                requests,
                seed=options.seed,
                batch_size=options.batch_size,
                on_plan=progress.plan,
                on_failed=failed,
                parts=parts,
                wanted=missing,
            ):
                progress.advance(reply.tokens)
                who = asked[requests[reply.number]]
                for number in {number for number, *_ in who}:  # once, however many samples ask
                    runs[number].tokens += reply.tokens
                    runs[number].seconds += reply.seconds
                for number, index, position in who:
                    item, key = runs[number], (number, index)
                    sample = item.work.samples[index]
                    if item.has(sample.id):  # another of its requests has failed
                        continue
                    answers[key][position] = reply.response
                    if len(answers[key]) < wanted.get(key, len(item.work.requests[index])):
                        continue
                    try:
                        given = [final(item.work.protocol, one) for one in _in_order(answers[key])]
                        if asked is askers and (more := _followup(item.work, index, given)):
                            wanted[key] = len(given) + len(more)
                            for place, request in enumerate(more, len(given)):
                                later.setdefault(request, []).append((number, index, place))
                            continue
                        record = _record(item, index, given)
                    except MACHINE:
                        raise
                    except Exception as error:  # a task's or a metric's function may raise anything
                        item.fail(sample, reason_of(error))
                    else:
                        item.write(record)
                    del answers[key]
                    if item.complete:
                        yield from _complete(waiting)
        yield from _complete(waiting)


def _complete(waiting: dict[int, Open]) -> Iterator[Open]:
    """The runs that have become complete, which are waited for no longer."""
    for number in [number for number, item in waiting.items() if item.complete]:
        item = waiting.pop(number)
        assert item.writer is not None
        item.writer.close()
        yield item


def _recover(item: Open) -> None:
    """Count what an interrupted process had scored; StoreError for what this run did not write."""
    samples = {sample.id: sample for sample in item.work.samples}
    widths: dict[str, int] = {}
    for record in recover_records(item.directory):
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
    item.resumed = len(item.statistics) + len(item.failed)


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
            if not item.has(sample.id):
                for position, request in enumerate(item.work.requests[index]):
                    askers.setdefault(request, []).append((number, index, position))
    return askers


def _plan(work: Sequence[Work], asked: Askers) -> tuple[list[Request], list[str], Collection[int]]:
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


# ---- the result ---------------------------------------------------------------------------------


def _result(model: Model, item: Open, options: RunOptions, started: str) -> Result:
    work, task, judge = item.work, _task_section(item), _judge(model, item.work)
    groups = {sample.id: sample.group for sample in work.samples}
    return Result(
        checkpoint=checkpoint_section(model),
        task=task,
        data=work.provenance,
        run={
            **run_section(
                model,
                options,
                started,
                seconds=item.seconds,
                tokens=item.tokens,
                resumed=item.resumed,
            ),
            **({"scorer": {"name": judge.name, "sha256": judge.sha256}} if judge else {}),
        },
        metrics=estimates(work.protocol.metrics, item.statistics, groups, options.seed),
        ledger=item.ledger,
        signature=signature(
            model.checkpoint, task, work.provenance, options, model.n_ctx, scorer=judge
        ),
        baselines=baselines(scored(work, item.statistics), options.seed),
        path=item.directory,
    )


def _task_section(item: Open) -> dict[str, Any]:
    work, protocol = item.work, item.work.protocol
    generates = any(isinstance(r, Generate) for requests in work.requests for r in requests)
    return {
        "name": work.task.name,
        "protocol": protocol.name,
        "version": work.task.version,
        "options": dict(protocol.options),
        "kind": "generation" if generates else "likelihood",
        "summary": protocol.summary,
        "detail": protocol.detail,
        "beginning": item.beginning,
        "source": work.task.source,
        "bibtex": work.task.bibtex,
        "story": work.task.story,
        "references": [
            dict(row) for row in (*protocol.references, *rows(work.task.name, protocol.name))
        ],
    }


def _judge(model: Model, work: Work) -> Checkpoint | None:
    """Who is asked the followup of a protocol; None where there is none."""
    return (work.scorer or model.checkpoint) if work.protocol.followup else None
