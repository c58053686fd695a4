"""What is missing of a checkpoint's runs, scored; and their results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gpt2eval import shards
from gpt2eval.checkpoint import Checkpoint
from gpt2eval.estimates import baselines, estimates
from gpt2eval.options import RunOptions
from gpt2eval.provenance import checkpoint_section, signature
from gpt2eval.published import rows
from gpt2eval.results import write_result, write_vocabulary
from gpt2eval.runs.loading import Loaded, load
from gpt2eval.runs.places import opened
from gpt2eval.scoring import Open, Progress, score
from gpt2eval.types import Generate, Result
from gpt2eval.work import Work, scored


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
        finish_all(checkpoint, work, runs, options, progress, hopeless)
    return hopeless


def finish_all(
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
