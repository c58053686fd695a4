"""A shard of what is missing of a checkpoint's runs: `--shard`, and each of `--workers`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gpt2eval import shards
from gpt2eval.checkpoint import Checkpoint
from gpt2eval.options import RunOptions, Shard
from gpt2eval.provenance import checkpoint_section
from gpt2eval.results import RecordWriter
from gpt2eval.runs.loading import Loaded, load
from gpt2eval.runs.places import opened
from gpt2eval.scoring import Open, Progress, score
from gpt2eval.work import Work


def run_shard(
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
