"""Workers, and the units that are waiting for them."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gpt2eval.cluster.store import Store
from gpt2eval.cluster.units import Unit
from gpt2eval.cluster.worker import Worker
from gpt2eval.errors import Gpt2EvalError, WorkerError
from gpt2eval.options import Shard
from gpt2eval.scoring import Progress

TRIES = 3  # of a unit whose worker dies
PATIENCE = 300  # seconds that nothing may happen for want of a worker
LOOK = 0.5  # seconds between two looks at the workers


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
class Pool:
    """Workers, and the units that are waiting for them."""

    ray: Any
    count: int
    resources: Mapping[str, int]
    arguments: tuple[Any, ...]
    units: Sequence[Unit]
    store: Store
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
