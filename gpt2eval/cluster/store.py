"""Where the records of units go, in the process that began them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack

from gpt2eval import shards
from gpt2eval.checkpoint import Checkpoint
from gpt2eval.cluster.units import Served, Unit
from gpt2eval.options import RunOptions
from gpt2eval.results import RESULT, SHARDS, RecordWriter
from gpt2eval.runs import complete, directories_of, opened
from gpt2eval.scoring import Open, Silent
from gpt2eval.work import Work

PLACE = "ray"  # the name of the shard that records are kept in until they are merged


class Store:
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
