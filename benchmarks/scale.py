"""A store of very many results, and how long it takes to list, read, compare, report and share out.

    gpt2eval run --tasks core --limit 10 --output /tmp/two
    python -m benchmarks.scale make /tmp/two /tmp/many --checkpoints 1000 --tasks 20
    python -m benchmarks.scale measure /tmp/many --compare 10,30,100 --report 10,30,100

Each made checkpoint is a mixture of two real ones: every sample has the record of the one or of the
other, drawn from a seed, and the numbers are made of these records. From some number on they come
again, under other names. Figures are in docs/scaling.md.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import resource
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import numpy as np

from gpt2eval import stats
from gpt2eval.cluster.pool import Pool
from gpt2eval.cluster.units import Served, plan_units
from gpt2eval.errors import Gpt2EvalError
from gpt2eval.estimates import estimates
from gpt2eval.options import RunOptions, Shard
from gpt2eval.results import (
    RECORDS,
    RESULT,
    VOCABULARY,
    find_results,
    load_results,
    read_records,
    replace_records,
    write_result,
)
from gpt2eval.task import discover, select
from gpt2eval.types import Generate, Record, Result
from gpt2eval.work import load_work

RESAMPLES = 100  # of the intervals in the made results


@click.group()
def main() -> None:
    """Make a store of very many results, and measure what reads it."""


@main.command()
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--checkpoints", default=1000, show_default=True)
@click.option("--tasks", default=20, show_default=True, help="The first so many of SOURCE.")
@click.option("--distinct", default=100, show_default=True, help="The others repeat these.")
def make(source: Path, output: Path, checkpoints: int, tasks: int, distinct: int) -> None:
    """Mix the two checkpoints whose results are in SOURCE."""
    stats.bootstrap = partial(stats.bootstrap, resamples=RESAMPLES)  # type: ignore[assignment]
    known = discover()
    by_task: dict[str, list[Result]] = {}
    for result in load_results(source):
        by_task.setdefault(result.name, []).append(result)
    pairs = [pair for _, pair in sorted(by_task.items()) if len(pair) == 2][:tasks]
    if len(pairs) < tasks:
        raise click.UsageError(f"{source} has two results of {len(pairs)} tasks, not of {tasks}")
    for pair in pairs:
        (result, _), paths = pair, [one.path for one in pair if one.path]
        task = known[result.task["name"]]
        (protocol,) = [one for one in task.protocols if one.name == result.task["protocol"]]
        ours, theirs = ({record.id: record for record in read_records(path)} for path in paths)
        made = []
        for number in range(min(distinct, checkpoints)):
            first = np.random.default_rng((number, len(made))).random(len(ours)) < 0.5
            records = [
                (ours if mine else theirs)[name] for name, mine in zip(ours, first, strict=True)
            ]
            statistics = {record.id: record.statistics for record in records}
            groups = {record.id: record.group for record in records}
            numbers = estimates(protocol.metrics, statistics, groups, 0)
            made.append(_write(output, number, replace(result, metrics=numbers), records))
        for number in range(distinct, checkpoints):
            _write(output, number, made[number % distinct], None)


def _write(output: Path, number: int, result: Result, records: list[Record] | None) -> Result:
    """Write a result under the name of a checkpoint; without records, with those that it has."""
    name = f"run-{number // 20:02}-step-{number % 20:02}"
    directory = output / name / result.name / "0123456789ab"
    directory.mkdir(parents=True, exist_ok=True)
    assert result.path is not None
    shutil.copyfile(result.path / VOCABULARY, directory / VOCABULARY)
    if records is None:
        shutil.copyfile(result.path / RECORDS, directory / RECORDS)
    else:
        replace_records(directory, records)
    sha256 = hashlib.sha256(name.encode()).hexdigest()
    checkpoint = {**result.checkpoint, "name": name, "path": name, "sha256": sha256}
    made = replace(result, checkpoint=checkpoint, path=directory)
    write_result(made, directory)
    return made


# ---- what a suite asks --------------------------------------------------------------------------


@main.command()
@click.argument("tokenizer", type=click.Path(exists=True, path_type=Path))
@click.option("--tasks", default="core", show_default=True)
@click.option("--data", required=True, help="Directory with benchmark files.")
@click.option("--width", default=768, show_default=True, help="Of the model: 768 is GPT-2 small's.")
def tokens(tokenizer: Path, tasks: str, data: str, width: int) -> None:
    """Count the tokens that tasks feed to GPT-2, each beginning read once, and those they write.

    TOKENIZER is a checkpoint, or a directory with its tokenizer.
    """
    from transformers import AutoTokenizer

    from gpt2eval.model import Model
    from gpt2eval.runner import generate, score
    from gpt2eval.runner.batches import CPU_TOKENS

    model: Any = SimpleNamespace(
        tokenizer=AutoTokenizer.from_pretrained(tokenizer, local_files_only=True),
        n_ctx=1024,
        transformer=SimpleNamespace(width=width),
    )
    model.tokenizer.model_max_length = int(1e30)
    model.prefix_id = model.tokenizer.bos_token_id
    model.encode = partial(Model.encode, model)
    model.encode_with_starts = partial(Model.encode_with_starts, model)
    click.echo("| task | samples | read | prompts | written at most |")
    for name in dict.fromkeys(task.name for task, _ in select(tasks, discover())):
        options = RunOptions(tasks=tasks, data=data)
        try:
            work = load_work(
                [pair for pair in select(tasks, discover()) if pair[0].name == name], data, options
            )
        except Gpt2EvalError as error:
            click.echo(f"{name}: {' '.join(str(error).split()):.80}", err=True)
            continue
        asked = dict.fromkeys(
            one for item in work for requests in item.requests for one in requests
        )
        numbered = list(enumerate(asked))
        read = [(n, one) for n, one in numbered if not isinstance(one, Generate)]
        written = [(n, one) for n, one in numbered if isinstance(one, Generate)]
        batches = score.plan_batches(
            model, score.plan(model, read, lambda *_: None), None, CPU_TOKENS
        )
        jobs = generate.plan(model, written, 0, lambda *_: None)
        fed = sum(score.size_of(row) for batch in batches for row in batch)
        prompts, limits = sum(len(job.prompt) for job in jobs), sum(job.limit for job in jobs)
        samples = max(len(item.samples) for item in work)
        click.echo(f"| {name} | {samples:,} | {fed:,} | {prompts:,} | {limits:,} |")


# ---- measuring ----------------------------------------------------------------------------------


def _sizes(_context: Any, _option: Any, value: str) -> list[int]:
    return [int(text) for text in value.split(",") if text]


@main.command()
@click.argument("store", type=click.Path(exists=True, path_type=Path))
@click.option("--compare", "compared", default="", callback=_sizes, help="Checkpoints, by commas.")
@click.option("--report", "reported", default="", callback=_sizes, help="Checkpoints, by commas.")
@click.option("--workers", default=64, show_default=True, help="That the scheduler serves.")
def measure(store: Path, compared: list[int], reported: list[int], workers: int) -> None:
    """Time what reads the store. Memory is the most that this process has held so far."""
    os.environ.setdefault("MPLBACKEND", "agg")
    names = sorted(path.name for path in store.iterdir())
    files = _timed(f"list {RESULT}", lambda: list(store.rglob(RESULT)))
    results = _timed(
        f"read {len(files)} results of {len(names)} checkpoints",
        lambda: find_results([store]).results,
    )
    tasks = Counter(result.name for result in results)
    _timed(
        f"share out {len(names)} x {len(tasks)} over {workers} workers",
        lambda: _schedule(len(names), list(tasks), workers),
    )
    for count in compared:
        from gpt2eval.compare import compare

        some = [result for result in results if result.checkpoint["name"] in names[:count]]
        found = _timed(f"compare {count} checkpoints", partial(compare, some))
        click.echo(f"  {len(found)} comparisons")
    for count in reported:
        from gpt2eval.reporting import report_results

        some = [result for result in results if result.checkpoint["name"] in names[:count]]
        page = _timed(
            f"report of {count} checkpoints",
            partial(report_results, some, store.with_name(f"{store.name}-report-{count}")),
        )
        click.echo(f"  report.html: {page.with_name('report.html').stat().st_size / 1e6:.1f} MB")


def _timed(what: str, work: Callable[[], Any]) -> Any:
    begin = time.perf_counter()
    out = work()
    seconds = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    click.echo(f"{what}: {seconds:.2f} s, {peak // 1024} MiB")
    return out


class _NoRay:
    """What the pool asks of Ray, answered at once: what is left is the pool's own time."""

    class exceptions:  # noqa: N801 (Ray's name)
        RayTaskError = RayError = ()

    def __init__(self) -> None:
        self.answers: dict[int, Any] = {}
        self.numbers = itertools.count()

    def remote(self, _kind: Any) -> _NoRay:
        """An actor class, which is this too."""
        return self

    def options(self, **_options: Any) -> Any:
        """An actor of it."""
        return _NoActor(self)

    def wait(self, asked: list[int], timeout: float, num_returns: int = 1) -> Any:
        """All are ready."""
        return asked, []

    def get(self, asked: int) -> Any:
        """The answer."""
        return self.answers.pop(asked)


class _NoActor:
    def __init__(self, ray: _NoRay) -> None:
        self.ray = ray

    def remote(self, *_arguments: Any) -> Any:
        """The actor."""
        return _NoMethods(self.ray)


class _NoMethods:
    def __init__(self, ray: _NoRay) -> None:
        self.ready = self.tokens = _NoMethod(ray, 0)
        self.serve = _NoMethod(ray, Served({}, {}, {}, 0))


class _NoMethod:
    def __init__(self, ray: _NoRay, answer: Any) -> None:
        self.ray, self.answer = ray, answer

    def remote(self, *_arguments: Any) -> int:
        """A reference to the answer."""
        number = next(self.ray.numbers)
        self.ray.answers[number] = self.answer
        return number


class _NoStore:
    """A store that keeps nothing."""

    work: tuple[Any, ...] = ()

    def done(self, _unit: Any) -> dict[str, list[str]]:
        """Nothing is done yet."""
        return {}

    def keep(self, _unit: Any, _served: Any) -> None:
        """Keep nothing."""

    def finish(self, _number: int) -> None:
        """Write nothing."""


def _schedule(checkpoints: int, tasks: list[str], workers: int) -> int:
    from gpt2eval.scoring import Silent

    sizes = dict.fromkeys(tasks, 1000)
    units = plan_units([tasks] * checkpoints, sizes, workers)
    assert Shard(1, 1) in {unit.shard for unit in units}
    ray: Any = _NoRay()
    store: Any = _NoStore()
    pool = Pool(ray, workers, {}, (), units, store, Silent())
    pool.work_off(sizes)
    return len(units)


if __name__ == "__main__":
    sys.exit(main())
