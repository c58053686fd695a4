"""Checkpoint x task -> Result: the one place where all of it meets.

The module is not called `run`, because a submodule of that name would replace `gpt2eval.run`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpt2eval import shards
from gpt2eval.checkpoint import BUNDLED, Checkpoint, open_groups
from gpt2eval.digests import digest_items
from gpt2eval.errors import MissingError, SampleError, UsageError
from gpt2eval.estimates import baselines, estimates
from gpt2eval.experiment import Entry, Experiment, described, of_options, read_experiment
from gpt2eval.options import RunOptions, Shard
from gpt2eval.provenance import checkpoint_section, run_section, signature
from gpt2eval.published import rows
from gpt2eval.results import (
    FORMAT,
    RESULT,
    RecordWriter,
    locked,
    prepare_output,
    read_records,
    read_result,
    run_directory,
    write_result,
    write_vocabulary,
)
from gpt2eval.scoring import Open, score
from gpt2eval.scoring import Progress as Progress
from gpt2eval.task import discover, select
from gpt2eval.types import Generate, Result
from gpt2eval.work import Work, load_work, scored, with_scorer

if TYPE_CHECKING:
    from gpt2eval.model import Model


class Silent:
    """A Progress that says nothing."""

    def begin(self, text: str) -> None:
        """Say nothing."""

    def plan(self, tokens: int) -> None:
        """Say nothing."""

    def advance(self, tokens: int) -> None:
        """Say nothing."""


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
            _run_shard(checkpoint, work, directories, own, progress)
            before += _results(directories)
        return before
    named = replace(options, models=options.models or BUNDLED)
    checkpoints = [checkpoint for checkpoint, _ in models]
    if options.ray is not None:
        from gpt2eval import cluster

        cluster.spread(named, checkpoints, work, progress)
    elif (options.workers or 1) > 1:
        from gpt2eval import workers

        workers.spread(named, checkpoints, work, progress)
    results: list[Result] = []
    hopeless: list[str] = []
    for checkpoint, own in models:
        directories = directories_of(checkpoint, work, own)
        hopeless += complete(checkpoint, work, directories, own, progress)
        results += _results(directories)
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
            _finish_all(checkpoint, work, whole, options, progress, hopeless)
        missing += [
            f"{item.work.name} of {checkpoint.name}: {item.missing} of {len(item.work.samples)}"
            f" samples are missing; {shards.state(item.directory)}"
            for item in runs
            if item.todo
        ]
        results += _results(directories)
    if missing:
        raise MissingError(
            "\n  ".join([f"{len(missing)} runs are not complete:", *missing])
            + "\nGive `gpt2eval run` the same options, with --shard for each that is named, or"
            " without it to score all that is missing; then merge again",
            results,
        )
    _check_failed(results, hopeless, options.max_failed)
    return results


def prepare(options: RunOptions) -> tuple[RunOptions, list[Checkpoint], list[Work]]:
    """All that a command asks for, read and checked; the options name every checkpoint."""
    models, work = prepare_all(of_options(options))
    named = replace(options, models=options.models or BUNDLED)
    return named, [checkpoint for checkpoint, _ in models], work


def prepare_all(
    experiment: Experiment, checkpoints: Sequence[Checkpoint] = ()
) -> tuple[list[tuple[Checkpoint, RunOptions]], list[Work]]:
    """The checkpoints of an experiment, each with its options, and what all of them are asked.

    checkpoints  that are open, in place of those that the experiment names
    """
    options = experiment.options
    if options.offline:  # a metric of Hugging Face's may be one of the hub
        os.environ["HF_EVALUATE_OFFLINE"] = "1"
    entries = experiment.models or [Entry(name) for name in BUNDLED]
    tasks = discover(options.tasks_dir)
    together: dict[RunOptions, list[str]] = {}  # what is loaded in one go shares its data
    for entry in experiment.tasks:
        together.setdefault(experiment.own(entry), []).append(entry.what)
    chosen = [(select(",".join(names), tasks), own) for own, names in together.items()]
    models = [(checkpoint, options) for checkpoint in checkpoints] or _open(experiment, entries)
    bundled = all(entry.what in BUNDLED for entry in entries)
    place = options.data or ("bundled" if bundled else "hub")
    work: list[Work] = []
    for asked, own in chosen:
        work += [item for item in load_work(asked, place, own) if not _same(item, work)]
    return models, with_scorer(work, options)


def _open(experiment: Experiment, entries: Sequence[Entry]) -> list[tuple[Checkpoint, RunOptions]]:
    """The checkpoints of these entries, each with its options."""
    groups = open_groups(
        [entry.what for entry in entries],
        names=[entry.name for entry in entries],
        offline=experiment.options.offline,
        tokenizer=experiment.options.tokenizer,
    )
    return [
        (checkpoint, experiment.own(entry))
        for entry, group in zip(entries, groups, strict=True)
        for checkpoint in group
    ]


def _same(item: Work, others: Sequence[Work]) -> bool:
    """Whether a task is there already, with the very same samples and requests."""
    return any(
        (item.name, item.protocol.options, item.provenance, item.requests)
        == (other.name, other.protocol.options, other.provenance, other.requests)
        for other in others
    )


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


def directories_of(checkpoint: Checkpoint, work: Sequence[Work], options: RunOptions) -> list[Path]:
    """Where the runs of a checkpoint are kept, one for each task@protocol."""
    return [
        run_directory(
            Path(options.output), checkpoint.name, item.name, _identity(checkpoint, item, options)
        )
        for item in work
    ]


def _results(directories: Sequence[Path]) -> list[Result]:
    return [read_result(directory) for directory in directories if (directory / RESULT).exists()]


@contextmanager
def opened(
    work: Sequence[Work], directories: Sequence[Path], shard: Shard | None = None
) -> Iterator[list[Open]]:
    """The runs without a result in these directories, locked: for this process, or its shard."""
    with ExitStack() as stack:
        for directory in directories:
            if not (directory / RESULT).exists():
                if shard:
                    stack.enter_context(locked(directory, shared=True))
                    stack.enter_context(locked(shards.place_of(directory, shard)))
                else:
                    stack.enter_context(locked(directory))
        # Asked once the lock is held: another process may have finished the run just before.
        yield [
            Open(item, directory)
            for item, directory in zip(work, directories, strict=True)
            if not (directory / RESULT).exists()
        ]


def complete(
    checkpoint: Checkpoint,
    work: Sequence[Work],
    directories: Sequence[Path],
    options: RunOptions,
    progress: Progress,
) -> list[str]:
    """Every task of one checkpoint, in one pass over all that is still missing.

    A run of which no sample could be scored has no result; why is what is returned.
    """
    hopeless: list[str] = []
    with opened(work, directories) as runs:
        for item in runs:
            shards.recover_all(item)
        _finish_all(checkpoint, work, runs, options, progress, hopeless)
    return hopeless


@dataclass(frozen=True, slots=True)
class Loaded:
    """A checkpoint in memory, and the one that scores what it writes, which may be the same."""

    model: Model
    judge: Model
    started: str

    def run_section(self, item: Open, options: RunOptions) -> dict[str, Any]:
        """The `run` section for what the model has taken so far."""
        return run_section(
            self.model,
            options,
            self.started,
            seconds=item.seconds,
            tokens=item.tokens,
            resumed=item.resumed,
        )


def load(
    checkpoint: Checkpoint, work: Sequence[Work], options: RunOptions, progress: Progress
) -> Loaded:
    """Load a checkpoint, and the scorer where some of the work has one."""
    from gpt2eval.model import load_model

    progress.begin(f"{checkpoint.name}: loading")
    model = load_model(checkpoint, options.device, options.dtype)
    scorer = next((item.scorer for item in work if item.scorer), None)
    judge = load_model(scorer, options.device, options.dtype) if scorer else model
    return Loaded(model, judge, shards.now())


def _run_shard(
    checkpoint: Checkpoint,
    work: Sequence[Work],
    directories: Sequence[Path],
    options: RunOptions,
    progress: Progress,
) -> None:
    """Score a shard of what is missing of a checkpoint's runs."""
    assert options.shard is not None
    shard = Shard.parse(options.shard)
    with opened(work, directories, shard) as runs:
        for item in runs:
            shards.recover_all(item, shards.place_of(item.directory, shard))
        if any(item.todo for item in runs):
            loaded = load(checkpoint, [item.work for item in runs], options, progress)
            # By identity: an experiment may have one task@protocol with several options.
            shares = dict(
                zip(map(id, work), shards.share_out(loaded.model, work, shard.of), strict=True)
            )
            for item in runs:
                shards.restrict(item, shares[id(item.work)], shard)
            mine = [item for item in runs if item.todo]
            _score_shard(mine, work, loaded, options, progress)
        for item in runs:
            shards.end(shards.place_of(item.directory, shard))


def _score_shard(
    runs: Sequence[Open],
    work: Sequence[Work],
    loaded: Loaded,
    options: RunOptions,
    progress: Progress,
) -> None:
    """Score what is left of a shard's runs, and keep an account of it."""
    shard = Shard.parse(options.shard or "")
    section = checkpoint_section(loaded.model)
    for item in runs:
        place = shards.place_of(item.directory, shard)
        begun = shards.process(loaded.run_section(item, options), None, str(shard))
        shards.add_process(place, section, begun)
        item.writer = RecordWriter(place)
    for item in score(loaded.model, loaded.judge, work, runs, options, progress):
        samples = item.done - item.resumed
        ended = shards.process(loaded.run_section(item, options), samples, str(shard))
        shards.replace_process(shards.place_of(item.directory, shard), ended)


def _finish_all(
    checkpoint: Checkpoint,
    work: Sequence[Work],
    runs: Sequence[Open],
    options: RunOptions,
    progress: Progress,
    hopeless: list[str],
) -> None:
    """Score what is left of runs, and write their results.

    A run of which no sample could be scored has no result; `hopeless` is told why. The checkpoint
    is loaded only where samples are left, or nobody has said what there is to say of it.
    """
    left = [item for item in runs if item.todo or not shards.account(item.directory)[1]]
    for item in runs:
        if item not in left:
            _finish(checkpoint, item, options, None, hopeless)
    if left:
        loaded = load(checkpoint, [item.work for item in left], options, progress)
        for item in score(loaded.model, loaded.judge, work, left, options, progress):
            _finish(checkpoint, item, options, loaded, hopeless)


def _finish(
    checkpoint: Checkpoint,
    item: Open,
    options: RunOptions,
    loaded: Loaded | None,
    hopeless: list[str],
) -> None:
    """Write the result of a run whose samples are all done, and let go of its shards."""
    if not item.statistics:
        first, reason = next(iter(item.failed.items()))
        hopeless.append(
            f"{item.work.name} of {checkpoint.name}: none of {len(item.failed)} samples"
            f" could be scored, so there is no result; the first, {first!r}: {reason}"
        )
        return
    shards.gather(item.directory, [sample.id for sample in item.work.samples])
    write_vocabulary(item.directory, _vocabulary(checkpoint, item, loaded))
    write_result(_result(checkpoint, item, options, loaded), item.directory)
    shards.remove(item.directory)


def _vocabulary(
    checkpoint: Checkpoint, item: Open, loaded: Loaded | None
) -> dict[str, dict[int, str]]:
    """The texts of the tokens in a run's responses."""
    if loaded:
        who = {"model": loaded.model, "scorer": loaded.judge}
        return {name: who[name].token_texts(ids) for name, ids in item.used.items()}
    from gpt2eval.model import token_texts

    whose = {"model": checkpoint, "scorer": item.work.scorer or checkpoint}
    return {name: token_texts(whose[name], ids) for name, ids in item.used.items()}


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


# ---- the result ---------------------------------------------------------------------------------


def _result(
    checkpoint: Checkpoint, item: Open, options: RunOptions, loaded: Loaded | None
) -> Result:
    work, task, judge = item.work, _task_section(item), _judge(checkpoint, item.work)
    groups = {sample.id: sample.group for sample in work.samples}
    section, run = _sections(item, options, loaded)
    return Result(
        checkpoint=section,
        task=task,
        data=work.provenance,
        run={
            **run,
            **({"scorer": {"name": judge.name, "sha256": judge.sha256}} if judge else {}),
        },
        metrics=estimates(work.protocol.metrics, item.statistics, groups, options.seed),
        ledger=item.ledger,
        signature=signature(checkpoint, task, work.provenance, options, run["n_ctx"], scorer=judge),
        baselines=baselines(scored(work, item.statistics), options.seed),
        path=item.directory,
    )


def _sections(
    item: Open, options: RunOptions, loaded: Loaded | None
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The `checkpoint` and `run` sections, by this process and all that worked on shards."""
    section, processes = shards.account(item.directory)
    if loaded:
        section, own = checkpoint_section(loaded.model), loaded.run_section(item, options)
        if not processes:
            return section, own
        if samples := item.done - item.resumed:
            processes = [*processes, shards.process(own, samples, "")]
    return section, shards.combine(processes, item.done)


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


def _judge(checkpoint: Checkpoint, work: Work) -> Checkpoint | None:
    """Who is asked the followup of a protocol; None where there is none."""
    return (work.scorer or checkpoint) if work.protocol.followup else None
