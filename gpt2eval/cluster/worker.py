"""A worker on a node."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gpt2eval import shards
from gpt2eval.cluster.units import Served, Unit
from gpt2eval.errors import StoreError
from gpt2eval.options import RunOptions
from gpt2eval.preparing import prepare
from gpt2eval.provenance import checkpoint_section
from gpt2eval.runs import Loaded, directories_of, load
from gpt2eval.scoring import Open, score
from gpt2eval.types import Record


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
