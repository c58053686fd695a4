"""Units of work over a Ray cluster: `--ray`, the extra `gpt2eval[ray]`.

A unit is a shard of one task of one checkpoint. A worker is a Ray actor with a GPU of its own, or
with cores; it keeps a checkpoint in memory and serves its units one after the other. Records come
back to this process, which alone writes: nodes need the checkpoints and the data, but not the
store. The unit of a worker that dies is given to another; what it had done of it is lost, and so
nothing counts twice.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import time
from collections import Counter, defaultdict, deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from gpt2eval import shards
from gpt2eval.checkpoint import Checkpoint
from gpt2eval.errors import Gpt2EvalError, StoreError, UsageError, WorkerError
from gpt2eval.evaluation import Loaded, Silent, complete, directories_of, load, opened, prepare
from gpt2eval.options import RunOptions, Shard
from gpt2eval.provenance import checkpoint_section
from gpt2eval.results import RESULT, SHARDS, RecordWriter
from gpt2eval.scoring import Open, Progress, score
from gpt2eval.types import Generate, Record, Request, Rolling, Score
from gpt2eval.work import Work

TRIES = 3  # of a unit whose worker dies
UNITS = 4  # for each worker, so that the last ones to end do not end much later
PLACE = "ray"  # the name of the shard that records are kept in until they are merged
PATIENCE = 300  # seconds that nothing may happen for want of a worker
ANSWER = 10  # seconds in which a cluster must answer
LOOK = 0.5  # seconds between two looks at the workers
CHARACTERS = 4  # of a token, roughly: for the bar, until a unit is done and says its tokens


@dataclass(frozen=True, slots=True)
class Unit:
    """A shard of one task of one checkpoint.

    checkpoint  its number among those of the command
    """

    checkpoint: int
    task: str
    shard: Shard


@dataclass(frozen=True, slots=True)
class Served:
    """What a worker made of a unit.

    records    `task@protocol` -> the records of its samples
    processes  `task@protocol` -> what it took, as `shards.process` has it
    tokens     fed to the model
    """

    checkpoint: Mapping[str, Any]
    records: Mapping[str, Sequence[Record]]
    processes: Mapping[str, Mapping[str, Any]]
    tokens: int


def spread(
    options: RunOptions, checkpoints: Sequence[Checkpoint], work: Sequence[Work], progress: Progress
) -> None:
    """Score what is missing on the cluster that `options.ray` names.

    Results are written as their checkpoints are complete. Raises UsageError where Ray or the
    cluster is not there, WorkerError for a unit whose workers died, and whatever else a worker
    raises. What was scored is kept.
    """
    store = _Store(options, checkpoints, work)
    missing = store.missing()
    if not any(missing):
        return
    progress.begin("Ray: starting workers")
    with _connected(options.ray or "auto") as ray:
        count, resources = _workers(ray, options)
        expected = [directory.name for directory in store.directories[0]]
        values = {**asdict(options), "ray": None, "workers": None}
        arguments = (values, os.getcwd(), list(sys.argv), expected)
        sizes = task_sizes(work)
        units = plan_units(missing, sizes, count)
        progress.begin(f"Ray: {len(units)} units, {count} workers")
        try:
            _Pool(ray, count, resources, arguments, units, store, progress).work_off(sizes)
            store.wait()
        finally:
            store.close()


# ---- the cluster --------------------------------------------------------------------------------


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    """Ray, connected to a cluster."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # of a cluster that we begin
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # what it would warn of
    try:
        ray: Any = import_module("ray")
    except ImportError as error:
        raise UsageError(
            f"--ray {address!r} needs Ray, which is not installed: pip install 'gpt2eval[ray]'"
        ) from error
    more = {"include_dashboard": False} if address == "local" else {}
    try:
        _knock(address)
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **more)
    except (OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(
            f"--ray {address!r}: no cluster answers there ({reason:.200}); expected its address as"
            " `ray start` shows it, auto on a machine that is in one, or local"
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """OSError where nobody listens at HOST:PORT; Ray itself would wait for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=ANSWER).close()


def _workers(ray: Any, options: RunOptions) -> tuple[int, dict[str, int]]:
    """How many workers, and what each asks of the cluster."""
    nodes = [
        node["Resources"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")
    ]
    gpus = sum(int(node.get("GPU", 0)) for node in nodes)
    cpus = sum(int(node["CPU"]) for node in nodes)
    if gpus and options.device.startswith(("auto", "cuda")):
        count, most, what = options.workers or gpus, gpus, "GPUs"
        resources = {"num_gpus": 1, "num_cpus": 1}
    else:
        count, most, what = options.workers or len(nodes), cpus, "CPUs"
        smallest = min((int(node["CPU"]) for node in nodes), default=0)
        resources = {"num_gpus": 0, "num_cpus": max(1, min(smallest, cpus // max(count, 1)))}
    if not 1 <= count <= most:
        raise UsageError(
            f"--workers {count}: the cluster has {most} {what} on {len(nodes)} nodes; expected at"
            " most as many workers"
        )
    return count, resources


def task_sizes(work: Sequence[Work]) -> dict[str, int]:
    """Name of a task -> roughly its tokens, over all its protocols."""
    sizes: dict[str, int] = defaultdict(int)
    for item in work:
        sizes[item.task.name] += sum(map(_size, item.requests))
    return sizes


def plan_units(
    missing: Sequence[Collection[str]], sizes: Mapping[str, int], workers: int
) -> list[Unit]:
    """The units of what is missing: few where there is much to share out, more where there is not.

    missing  names of tasks that lack results, for each checkpoint
    """
    total = sum(sizes[task] for tasks in missing for task in tasks)
    fair = max(1, total // (UNITS * workers))
    return [
        Unit(checkpoint, task, Shard(number, of))
        for checkpoint, tasks in enumerate(missing)
        for task in tasks
        for of in [max(1, round(sizes[task] / fair))]
        for number in range(1, of + 1)
    ]


def _size(requests: Sequence[Request]) -> int:
    """Roughly the tokens of requests."""
    texts = 0
    for one in requests:
        if isinstance(one, Score):
            texts += len(one.context) + len(one.continuation)
        elif isinstance(one, Generate):
            texts += len(one.prompt) + CHARACTERS * one.max_new_tokens
        elif isinstance(one, Rolling):
            texts += (len(one.text) if one.end is None else one.end) - one.start
        else:
            texts += len(one.text)
    return max(1, texts // CHARACTERS)


# ---- in this process ----------------------------------------------------------------------------


class _Store:
    """Where the records of units go: a shard of each run, which is written here and only here.

    The runs of a checkpoint are opened, and locked, when the first of its units is given out, and
    finished when the last one is done: a thousand checkpoints are not open at a time. Results are
    made beside, in a thread, so that no worker waits for intervals.
    """

    def __init__(
        self,
        options: RunOptions,
        checkpoints: Sequence[Checkpoint],
        work: Sequence[Work],
    ) -> None:
        self.options, self.checkpoints, self.work = options, checkpoints, work
        self.directories = [directories_of(one, work, options) for one in checkpoints]
        self.runs: dict[int, dict[str, Open]] = {}
        self.stacks: dict[int, ExitStack] = {}
        self.beside = ThreadPoolExecutor(1)
        self.finishing: list[Future[list[str]]] = []

    def missing(self) -> list[list[str]]:
        """Names of the tasks that lack a result, for each checkpoint."""
        return [
            list(
                dict.fromkeys(
                    item.task.name
                    for item, directory in zip(self.work, directories, strict=True)
                    if not (directory / RESULT).exists()
                )
            )
            for directories in self.directories
        ]

    def open(self, number: int) -> dict[str, Open]:
        """The runs of a checkpoint, by `task@protocol`."""
        if number not in self.runs:
            stack = self.stacks[number] = ExitStack()
            runs = stack.enter_context(opened(self.work, self.directories[number]))
            for item in runs:
                shards.recover_all(item)
            self.runs[number] = {item.work.name: item for item in runs}
        return self.runs[number]

    def done(self, unit: Unit) -> dict[str, list[str]]:
        """`task@protocol` -> ids of the samples that need not be scored, of the runs of a unit."""
        return {
            name: [sample.id for sample in item.work.samples if item.has(sample.id)]
            for name, item in self.open(unit.checkpoint).items()
            if item.work.task.name == unit.task
        }

    def keep(self, unit: Unit, served: Served) -> None:
        """Save what a worker made of a unit."""
        for name, records in served.records.items():
            item = self.runs[unit.checkpoint][name]
            place = item.directory / SHARDS / PLACE
            if records and item.writer is None:
                item.writer = RecordWriter(place)
                self.stacks[unit.checkpoint].callback(item.writer.close)
            if records:
                shards.add_process(place, served.checkpoint, served.processes[name])
            for record in records:
                if record.id in item.todo:
                    item.write(record)

    def finish(self, number: int) -> None:
        """See to the results of a checkpoint whose units are all done."""
        self.stacks.pop(number).close()
        del self.runs[number]
        given = self.checkpoints[number], self.work, self.directories[number], self.options
        self.finishing.append(self.beside.submit(complete, *given, Silent()))

    def wait(self) -> None:
        """Return when all results are written; raises what kept one from it."""
        for each in self.finishing:
            each.result()

    def close(self) -> None:
        """Let go of all that is open."""
        self.beside.shutdown(cancel_futures=True)
        for stack in self.stacks.values():
            stack.close()


@dataclass(slots=True)
class _Member:
    """A worker: its actor, and what it is at.

    awaited   what it is to answer next
    unit      that it works on; None: it is still starting, or idle
    loaded    number of the checkpoint that it has in memory, or is loading
    reported  tokens of the unit that were shown so far
    """

    actor: Any
    awaited: Any = None
    unit: Unit | None = None
    loaded: int | None = None
    reported: int = 0


@dataclass(slots=True)
class _Pool:
    """Workers, and the units that are waiting for them."""

    ray: Any
    count: int
    resources: Mapping[str, int]
    arguments: tuple[Any, ...]
    units: Sequence[Unit]
    store: _Store
    progress: Progress
    members: list[_Member] = field(default_factory=list)
    waiting: dict[int, deque[Unit]] = field(default_factory=dict)  # by checkpoint; none is empty
    left: Counter[int] = field(default_factory=Counter)  # units of a checkpoint that are not done
    deaths: Counter[Unit] = field(default_factory=Counter)
    sizes: dict[Unit, int] = field(default_factory=dict)

    def work_off(self, sizes: Mapping[str, int]) -> None:
        """See all units done.

        sizes  of the tasks, see `task_sizes`
        """
        for unit in self.units:
            self.waiting.setdefault(unit.checkpoint, deque()).append(unit)
            self.left[unit.checkpoint] += 1
            self.sizes[unit] = sizes[unit.task] // unit.shard.of
            self.progress.plan(self.sizes[unit])
        moved = time.monotonic()
        while any(self.left.values()):
            while len(self.members) < self.count:
                self._start()
            for member in self.members:
                if member.awaited is None and self.waiting:
                    self._give(member)
            awaited = {one.awaited: one for one in self.members if one.awaited is not None}
            ready, _ = self.ray.wait(list(awaited), timeout=LOOK)
            for answer in ready:
                self._hear(awaited[answer])
            self._look()
            if ready or any(member.unit for member in self.members):
                moved = time.monotonic()
            elif time.monotonic() - moved > PATIENCE:
                raise WorkerError(
                    f"the cluster gave no worker for {PATIENCE} seconds, while"
                    f" {self.left.total()} units wait; what was scored is saved. Add nodes, or end"
                    " what holds them, and run the same command again"
                )

    def _start(self) -> None:
        actor = self.ray.remote(Worker).options(**self.resources, max_concurrency=2)
        member = _Member(actor.remote(*self.arguments))
        member.awaited = member.actor.ready.remote()
        self.members.append(member)

    def _give(self, member: _Member) -> None:
        """Give a worker a unit of the checkpoint that it has, or of the one with fewest workers."""
        number = member.loaded
        if number not in self.waiting:
            busy = Counter(one.loaded for one in self.members)
            number = min(self.waiting, key=lambda one: busy[one])
        unit = self.waiting[number].popleft()
        if not self.waiting[number]:
            del self.waiting[number]
        member.unit, member.loaded, member.reported = unit, unit.checkpoint, 0
        member.awaited = member.actor.serve.remote(unit, self.store.done(unit))

    def _hear(self, member: _Member) -> None:
        """Take what a worker answers: that it is ready, what it made of a unit, or its death."""
        awaited, unit = member.awaited, member.unit
        member.awaited = member.unit = None
        try:
            served = self.ray.get(awaited)
        except self.ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, Gpt2EvalError):
                raise error.cause from None
            self._lose(member, unit, error)
        except self.ray.exceptions.RayError as error:
            self._lose(member, unit, error)
        else:
            if unit:
                self.store.keep(unit, served)
                self.progress.plan(served.tokens - self.sizes[unit])
                self.progress.advance(served.tokens - member.reported)
                self.left[unit.checkpoint] -= 1
                if not self.left[unit.checkpoint]:
                    self.store.finish(unit.checkpoint)

    def _lose(self, member: _Member, unit: Unit | None, error: Exception) -> None:
        """Replace a worker, and let another repeat its unit."""
        self.members.remove(member)
        self.ray.kill(member.actor)
        if unit is None:  # it died before it was ready: of its node, or of what it read
            unit = Unit(-1, "", Shard(1, 1))
        else:
            self.waiting.setdefault(unit.checkpoint, deque()).appendleft(unit)
            self.progress.advance(-member.reported)
        self.deaths[unit] += 1
        if self.deaths[unit] >= TRIES:
            what = f"{unit.task}, shard {unit.shard}" if unit.task else "the start of a worker"
            reason = " ".join(str(error).split())
            raise WorkerError(
                f"{what}: {TRIES} workers died of it, the last with: {reason:.300}\nWhat was scored"
                " is saved, and the same command goes on with the rest"
            )

    def _look(self) -> None:
        """Show what workers have done of their units so far."""
        asked = {one.actor.tokens.remote(): one for one in self.members if one.unit}
        answers: list[Any] = []
        if asked:
            answers, _ = self.ray.wait(list(asked), num_returns=len(asked), timeout=LOOK)
        for answer in answers:
            try:
                tokens = self.ray.get(answer)
            except self.ray.exceptions.RayError:  # told by what is awaited of it
                continue
            self.progress.advance(tokens - asked[answer].reported)
            asked[answer].reported = tokens


# ---- on a node ----------------------------------------------------------------------------------


class _Kept:
    """A writer that keeps records in memory."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def write(self, record: Record) -> None:
        """Keep a record."""
        self.records.append(record)

    def close(self) -> None:
        """Nothing is held open."""


class Worker:
    """Serves units; a Ray actor. It is a Progress of its own work."""

    def __init__(
        self, values: Mapping[str, Any], directory: str, argv: list[str], expected: list[str]
    ) -> None:
        """Remember what the work is; `ready` reads it.

        directory  that the command was given in, for relative paths
        expected   the names of the first checkpoint's runs
        """
        self.values, self.directory, self.argv, self.expected = values, directory, argv, expected
        self.loaded: Loaded | None = None
        self.number = -1
        self.shares: dict[tuple[int, str, int], dict[str, list[int]]] = {}
        self.fed = 0

    def ready(self) -> bool:
        """Read the work as the command did, in its directory where this node has that.

        Other data, or another checkpoint under the same name, make other runs, and are refused.
        """
        if Path(self.directory).is_dir():
            os.chdir(self.directory)
        sys.argv = self.argv
        given = RunOptions(**{**self.values, "models": tuple(self.values["models"])})
        self.options, self.checkpoints, self.work = prepare(given)
        found = directories_of(self.checkpoints[0], self.work, self.options)
        if [one.name for one in found] != self.expected:
            raise StoreError(
                f"node {os.uname().nodename} reads other data, tasks or checkpoints than the"
                " command under the same names; put the same files on all nodes"
            )
        return True

    def tokens(self) -> int:
        """How many tokens of its unit were fed to the model so far."""
        return self.fed

    def begin(self, text: str) -> None:
        """The bar has one text for all."""

    def plan(self, tokens: int) -> None:
        """The bar knows by itself."""

    def advance(self, tokens: int) -> None:
        """So many tokens were fed to the model."""
        self.fed += tokens

    def serve(self, unit: Unit, done: Mapping[str, Sequence[str]]) -> Served:
        """Score the samples of a unit but those that are done."""
        self.fed = 0
        loaded = self._load(unit.checkpoint)
        work = [item for item in self.work if item.task.name == unit.task]
        key = (unit.checkpoint, unit.task, unit.shard.of)
        if key not in self.shares:
            shares = shards.share_out(loaded.model, work, unit.shard.of)
            self.shares[key] = dict(zip((item.name for item in work), shares, strict=True))
        writers = {item.name: _Kept() for item in work}
        runs = []
        for item in work:
            if item.name in done:
                run = Open(item, Path(), writers[item.name])
                shards.restrict(run, self.shares[key][item.name], unit.shard)
                run.todo -= set(done[item.name])
                runs.append(run)
        for _ in score(loaded.model, loaded.judge, self.work, runs, self.options, self):
            pass
        name = f"{unit.task} {unit.shard}"
        return Served(
            checkpoint_section(loaded.model),
            {run.work.name: writers[run.work.name].records for run in runs},
            {
                run.work.name: shards.process(
                    loaded.run_section(run, self.options),
                    len(writers[run.work.name].records),
                    name,
                )
                for run in runs
            },
            self.fed,
        )

    def _load(self, number: int) -> Loaded:
        """The checkpoint of that number, in the place of the one before."""
        if self.loaded is None or self.number != number:
            self.loaded, self.number = None, number
            self.loaded = load(self.checkpoints[number], self.work, self.options, self)
        return replace(self.loaded, started=shards.now())
