"""What a run would compute and what is there already, without a model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gpt2eval import shards
from gpt2eval.experiment import Experiment
from gpt2eval.preparing import prepare_all
from gpt2eval.results import RESULT, recover_records
from gpt2eval.runs import directories_of


@dataclass(frozen=True, slots=True)
class Outlook:
    """A run that an experiment asks for, and what of it is there.

    done, failed  samples that have a record, those that could not be scored among them
    finished      whether there is a result
    """

    checkpoint: str
    task: str
    directory: Path
    samples: int
    done: int
    failed: int
    finished: bool


def outlook(experiment: Experiment) -> list[Outlook]:
    """What `run_experiment` would compute and what it would read."""
    models, work = prepare_all(experiment)
    return [
        _outlook(checkpoint.name, item.name, directory, len(item.samples))
        for checkpoint, options in models
        for item, directory in zip(work, directories_of(checkpoint, work, options), strict=True)
    ]


def _outlook(checkpoint: str, task: str, directory: Path, samples: int) -> Outlook:
    errors = {
        record.id: bool(record.error)
        for place in shards.places(directory)
        for record in recover_records(place, repair=False)
    }
    done, failed = len(errors), sum(errors.values())
    finished = (directory / RESULT).exists()
    return Outlook(checkpoint, task, directory, samples, done, failed, finished)
