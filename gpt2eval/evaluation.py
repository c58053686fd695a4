"""Checkpoint x task -> Result: the one place where all of it meets.

The module is not called `run`, because a submodule of that name would replace `gpt2eval.run`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gpt2eval import cluster, shards, workers
from gpt2eval.checkpoint import BUNDLED, Checkpoint
from gpt2eval.errors import MissingError, SampleError, UsageError
from gpt2eval.experiment import Experiment, described, of_options, read_experiment
from gpt2eval.options import RunOptions
from gpt2eval.preparing import prepare, prepare_all
from gpt2eval.results import prepare_output, read_records
from gpt2eval.runs import (
    complete,
    directories_of,
    finish_all,
    opened,
    results_in,
    run_shard,
)
from gpt2eval.scoring import Progress, Silent
from gpt2eval.types import Result


def run(
    *,
    models: str | Path | Sequence[str | Path] = (),
    tasks: str | None = None,
    experiment: str | Path | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> list[Result]:
    """Score checkpoints on tasks, and keep the results.

    models      directories, globs over them, hub ids, or bundled names; none: those of the
                experiment, or the bundled demo checkpoints
    tasks       names, groups and globs with commas, each with an optional `@protocol`; none: those
                of the experiment, or `core`
    experiment  a YAML file of models, tasks and options, see `gpt2eval.experiment`; what is given
                beside it replaces what it says
    options     the fields of `gpt2eval.options.RunOptions`: data, output, limit, dtype, device, ...

    Returns one Result for each checkpoint and task@protocol. Runs that are complete in the output
    directory are read, not repeated; interrupted ones go on. Raises Gpt2EvalError for anything that
    is wrong with the input, before a model is loaded where possible; and SampleError, once all is
    saved, where more samples failed than `max_failed`: it has the results.
    """
    given = dict(options)
    if isinstance(models, (str, Path)):
        given["models"] = (str(models),)
    elif models:
        given["models"] = tuple(map(str, models))
    if tasks is not None:
        given["tasks"] = tasks
    if experiment is not None:
        return run_experiment(read_experiment(experiment, given), progress or Silent())
    return run_with(RunOptions(**given), progress or Silent())


def run_with(
    options: RunOptions, progress: Progress, *, checkpoints: Sequence[Checkpoint] = ()
) -> list[Result]:
    """`run` with its options as one value; open `checkpoints` stand in for those it names."""
    return run_experiment(of_options(options), progress, checkpoints=checkpoints)


def run_experiment(
    experiment: Experiment, progress: Progress, *, checkpoints: Sequence[Checkpoint] = ()
) -> list[Result]:
    """`run` with all that it is given as one value.

    With `shard` the results are those that were there before: the shard has none of its own.

    checkpoints  that are open, in place of those that the experiment names
    """
    options = experiment.options
    if experiment.particular and (options.ray is not None or (options.workers or 1) > 1):
        raise UsageError(
            f"--{'workers' if options.ray is None else 'ray'}: the experiment file has models or"
            " tasks with names or options of their own, which workers are not told; leave it out,"
            " use --shard, or make a file of each kind"
        )
    models, work = prepare_all(experiment, checkpoints)
    prepare_output(Path(options.output))
    if options.shard is not None:
        before: list[Result] = []
        for checkpoint, own in models:
            directories = directories_of(checkpoint, work, own)
            run_shard(checkpoint, work, directories, own, progress)
            before += results_in(directories)
        return before
    named = replace(options, models=options.models or BUNDLED)
    checkpoints = [checkpoint for checkpoint, _ in models]
    if options.ray is not None:
        cluster.spread(named, checkpoints, work, progress)
    elif (options.workers or 1) > 1:
        workers.spread(named, checkpoints, work, progress)
    results: list[Result] = []
    hopeless: list[str] = []
    for checkpoint, own in models:
        directories = directories_of(checkpoint, work, own)
        hopeless += complete(checkpoint, work, directories, own, progress)
        results += results_in(directories)
    results = described(results, experiment)
    _check_failed(results, hopeless, options.max_failed)
    return results


def merge_with(options: RunOptions, progress: Progress) -> list[Result]:
    """The results of runs whose samples are all scored, in shards or otherwise.

    Raises MissingError, once all that is complete is saved, where samples are missing.
    """
    options, checkpoints, work = prepare(replace(options, shard=None, workers=None, ray=None))
    prepare_output(Path(options.output))
    results: list[Result] = []
    hopeless: list[str] = []
    missing: list[str] = []
    for checkpoint in checkpoints:
        directories = directories_of(checkpoint, work, options)
        with opened(work, directories) as runs:
            for item in runs:
                shards.recover_all(item)
            whole = [item for item in runs if not item.todo]
            finish_all(checkpoint, work, whole, options, progress, hopeless)
        missing += [
            f"{item.work.name} of {checkpoint.name}: {item.missing} of {len(item.work.samples)}"
            f" samples are missing; {shards.state(item.directory)}"
            for item in runs
            if item.todo
        ]
        results += results_in(directories)
    if missing:
        raise MissingError(
            "\n  ".join([f"{len(missing)} runs are not complete:", *missing])
            + "\nGive `gpt2eval run` the same options, with --shard for each that is named, or"
            " without it to score all that is missing; then merge again",
            results,
        )
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
