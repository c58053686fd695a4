"""Numbers made again from what a run kept: no model, no torch.

`records.jsonl` holds two things of a sample: the statistics of each metric, and the responses they
were taken from. The statistics alone give every value and every interval again. The responses,
together with the samples, give the statistics again, those of metrics that the run did not have
included; the samples are read from where the run read them, if they are still there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from math import isclose
from pathlib import Path
from typing import Any, Literal

from gpt2eval.data import Loaded, load
from gpt2eval.errors import DataError, Gpt2EvalError, StoreError, TaskError, UsageError
from gpt2eval.estimates import baselines, estimates, final, statistics_of
from gpt2eval.provenance import git_commit, versions
from gpt2eval.results import (
    RECORDS,
    decode_response,
    find_results,
    read_records,
    replace_records,
    write_result,
)
from gpt2eval.task import Protocol, Task, discover
from gpt2eval.types import Estimate, Record, Result, Sample
from gpt2eval.work import Work, check_packages

TOLERANCE = 1e-9
"""Relative; another version of numpy may add up in another order."""

Statistics = Mapping[str, Mapping[str, Sequence[float]]]
Verdict = Literal["same", "differs", "new", "gone"]


@dataclass(frozen=True, slots=True)
class Number:
    """One number, as it was recorded and as it is now.

    system    name of the model-free system; empty: the checkpoint
    recorded  None: the result does not have it
    found     None: the task has no such metric any more, or it needs what is not there
    """

    system: str
    metric: str
    recorded: Estimate | None
    found: Estimate | None

    @property
    def verdict(self) -> Verdict:
        """Whether value, interval and number of samples are the same, to TOLERANCE."""
        if self.recorded is None:
            return "new"
        if self.found is None:
            return "gone"
        pairs = [
            (getattr(self.recorded, key), getattr(self.found, key))
            for key in ("value", "low", "high", "n")
        ]
        return "same" if all(_agree(one, other) for one, other in pairs) else "differs"


@dataclass(frozen=True, slots=True)
class Rescored:
    """A result, and its numbers from its records.

    result      as recorded
    source      what the numbers were made from: "responses", or the "statistics" as recorded
    statistics  id of a sample -> metric -> statistics
    note        why the responses could not be used; empty where they were
    problem     why there are no numbers; empty where there are
    """

    result: Result
    source: Literal["responses", "statistics", ""] = ""
    metrics: Mapping[str, Estimate] = field(default_factory=dict)
    baselines: Mapping[str, Mapping[str, Estimate]] = field(default_factory=dict)
    statistics: Statistics = field(default_factory=dict)
    note: str = ""
    problem: str = ""

    @property
    def numbers(self) -> list[Number]:
        """Every number that was recorded or is found now; none where there is a problem."""
        if self.problem:
            return []
        before = {"": self.result.metrics, **self.result.baselines}
        now = {"": self.metrics, **self.baselines}
        return [
            Number(system, name, old.get(name), new.get(name))
            for system in dict.fromkeys([*before, *now])
            for old, new in [(before.get(system, {}), now.get(system, {}))]
            for name in dict.fromkeys([*old, *new])
        ]

    @property
    def reproduced(self) -> bool:
        """Whether every recorded number came out the same."""
        verdicts = {number.verdict for number in self.numbers}
        return not self.problem and verdicts <= {"same", "new"}


def rescore_all(
    paths: Sequence[str | Path],
    *,
    data: str | None = None,
    tasks_dir: str | None = None,
    offline: bool = False,
) -> list[Rescored]:
    """`rescore` of every result in these directories or below; one that cannot be says why."""
    tasks = discover(tasks_dir)
    results = [one for one in find_results(paths).results if one.task.get("kind") != "speed"]
    if not results:
        raise UsageError(
            f"{', '.join(map(str, paths))}: timings only, which are not made of records; expected"
            " the --output of `gpt2eval run`"
        )
    if data is not None and not any(one.data["source"] == "directory" for one in results):
        raise UsageError(
            f"--data {data!r}: none of these runs read a directory, but bundled samples or the hub;"
            " leave it out"
        )
    loaded: dict[Any, Loaded] = {}
    found = []
    for result in results:
        try:
            found.append(rescore(result, tasks, data=data, offline=offline, loaded=loaded))
        except Gpt2EvalError as error:
            found.append(Rescored(result, problem=str(error)))
    return found


def rescore(
    result: Result,
    tasks: Mapping[str, Task],
    *,
    data: str | None = None,
    offline: bool = False,
    loaded: dict[Any, Loaded] | None = None,
) -> Rescored:
    """The numbers of a result from its records, by the metrics that its task has now.

    tasks   by name, as `discover` finds them
    data    directory with the benchmark files, for runs that read one
    loaded  data sets that have been read already, and are to be kept for the next call

    Where the samples can be had, the statistics are taken from the responses anew; otherwise those
    in the records are used, and `note` says what is missing. Raises TaskError where the task is not
    here or has changed, UsageError for a metric whose package is not installed, StoreError for
    records that are damaged or incomplete.
    """
    task, protocol = _protocol_of(result, tasks)
    check_packages([(task, protocol)])
    try:
        place = _place(result, data)
        samples = _samples(result, protocol, place, offline, {} if loaded is None else loaded)
        note = ""
    except DataError as error:
        samples, note = (), f"statistics as recorded: {error}"
    by_id = {sample.id: sample for sample in samples}
    statistics: dict[str, Mapping[str, Sequence[float]]] = {}
    groups = {}
    for record in _records(result):
        if record.error:
            continue
        groups[record.id] = record.group
        statistics[record.id] = (
            record.statistics if note else _statistics(protocol, by_id, record, result)
        )
    seed, systems = int(result.run["seed"]), result.baselines
    if not note:
        kept = tuple(sample for sample in samples if sample.id in statistics)
        requests = tuple(tuple(protocol.requests(sample)) for sample in kept)
        systems = baselines(Work(task, protocol, result.data, kept, requests), seed)
    try:
        metrics = estimates(protocol.metrics, statistics, groups, seed)
    except (IndexError, TypeError, ValueError) as error:
        raise _damaged(result, f"statistics that do not fit its metrics ({error!r})") from error
    source: Literal["responses", "statistics"] = "statistics" if note else "responses"
    return Rescored(result, source, metrics, systems, statistics, note)


def write_rescored(rescored: Rescored) -> Result:
    """Put the new numbers where the old ones are: the statistics first, then the result.

    The `run` section says when and by what it was done. The directory keeps its name, so that a run
    with metrics that were not there before does not take it for its own.
    """
    result, directory = rescored.result, rescored.result.path
    if rescored.problem or directory is None:
        raise UsageError(f"{directory}: nothing to write. {rescored.problem}")
    if rescored.source == "responses":
        replace_records(
            directory,
            (
                replace(record, statistics=rescored.statistics.get(record.id, {}))
                for record in read_records(directory)
            ),
        )
    written = replace(
        result,
        metrics=rescored.metrics,
        baselines=rescored.baselines,
        run={
            **result.run,
            "rescored": {
                "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
                "from": rescored.source,
                "versions": versions(),
                "git_commit": git_commit(),
            },
        },
    )
    write_result(written, directory)
    return written


def _protocol_of(result: Result, tasks: Mapping[str, Task]) -> tuple[Task, Protocol]:
    """What the result was made with, as it is here."""
    task = tasks.get(result.task["name"])
    protocols = {protocol.name: protocol for protocol in task.protocols} if task else {}
    if task is None or result.task["protocol"] not in protocols:
        raise TaskError(
            f"{result.path}: there is no {result.name} here, and its metrics are needed; install"
            " what brings it, or name the directory of its task file with --tasks-dir"
        )
    if task.version != result.task["version"]:
        raise TaskError(
            f"{result.path} is of version {result.task['version']} of {task.name}; here it has"
            f" version {task.version}, whose numbers may mean something else. Use the gpt2eval that"
            f" made it ({result.run['versions']['gpt2eval']}), or run it anew"
        )
    return task, protocols[result.task["protocol"]]


def _place(result: Result, data: str | None) -> str:
    """Where the data of a run are, for `data.load`."""
    source = str(result.data["source"])
    if source != "directory":
        return source
    if data is None:
        raise DataError(
            f"the run read {', '.join(result.data['files'])} from a directory; name it with --data"
        )
    return data


def _samples(
    result: Result, protocol: Protocol, place: str, offline: bool, loaded: dict[Any, Loaded]
) -> tuple[Sample, ...]:
    """The samples of the run's data set, also those it left out; DataError if it is another one."""
    key = id(protocol.dataset), place
    if key not in loaded:
        loaded[key] = load(protocol.dataset, place, offline=offline)
    digest = loaded[key].provenance["sha256"]
    if digest != result.data["sha256"]:
        raise DataError(
            f"the data are not those of the run: sha256 {digest[:12]}, expected"
            f" {result.data['sha256'][:12]}"
        )
    return tuple(protocol.samples(loaded[key].rows))


def _records(result: Result) -> Iterator[Record]:
    """One record a sample: the first of each; StoreError where there are fewer than the run had."""
    assert result.path is not None
    seen: set[str] = set()
    for record in read_records(result.path):
        if record.id not in seen:
            seen.add(record.id)
            yield record
    if len(seen) != result.data["selected"]:
        raise _damaged(result, f"{len(seen)} samples; the result is of {result.data['selected']}")


def _statistics(
    protocol: Protocol, samples: Mapping[str, Sample], record: Record, result: Result
) -> Mapping[str, Sequence[float]]:
    """The statistics of a sample from its responses."""
    if (sample := samples.get(record.id)) is None:
        raise TaskError(
            f"{result.path}: the data of the run have no sample {record.id!r}; its task makes other"
            " samples of them here. Run it anew"
        )
    try:
        responses = [final(protocol, decode_response(one)) for one in record.responses]
        return statistics_of(protocol.metrics, sample, responses)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        what = f"a record of sample {sample.id!r} whose responses cannot be read ({error!r})"
        raise _damaged(result, what) from error


def _damaged(result: Result, what: str) -> StoreError:
    assert result.path is not None
    return StoreError(
        f"{result.path / RECORDS} holds {what}; delete {result.path} and run the same command"
        " again, which makes it anew"
    )


def _agree(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return one == other or isclose(one, other, rel_tol=TOLERANCE) or (one != one and other != other)
