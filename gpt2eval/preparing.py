"""What a command asks for, read and checked before a model is loaded."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from gpt2eval.checkpoint import BUNDLED, Checkpoint, open_groups
from gpt2eval.experiment import Entry, Experiment, of_options
from gpt2eval.options import RunOptions
from gpt2eval.task import discover, select
from gpt2eval.work import Work, load_work, with_scorer


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
