"""What is asked of the runs of one task, so that each run's records are read once."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from gpt2eval.beside import in_halves
from gpt2eval.compare.best import Best, best
from gpt2eval.compare.family import Tested
from gpt2eval.compare.pairs import find_pairs
from gpt2eval.compare.records import reader
from gpt2eval.compare.settings import Settings
from gpt2eval.compare.verdicts import judge
from gpt2eval.errors import ComparisonError, UsageError
from gpt2eval.results import records_size
from gpt2eval.task import discover
from gpt2eval.types import Result


@dataclass(frozen=True, slots=True)
class Choice:
    """Checkpoints, and the metric of a task@protocol by which the best of them is chosen.

    key  under which the answer is found: a section and a training run
    """

    key: tuple[str, str]
    task: str
    results: Sequence[Result]
    metric: str


@dataclass(frozen=True, slots=True)
class Job:
    """The runs of a task@protocol by label, and what is asked of them.

    first    label of the baseline; nothing is compared where it is not among the runs, or alone
    metrics  that are compared
    draws    of a small p-value
    choices  which are the best
    """

    first: str
    runs: Mapping[str, Result]
    metrics: Collection[str]
    settings: Settings
    draws: int
    choices: Sequence[Choice] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """The tests of a job, and why others could not be made.

    chosen  key of a choice -> the best, or why there is none
    """

    tests: Sequence[Tested]
    problems: Sequence[ComparisonError]
    chosen: Mapping[tuple[str, str], Best | ComparisonError | UsageError]


def answers(jobs: Sequence[Job]) -> list[Answer]:
    """Answer all jobs, half of them in a second process where there is much to read."""
    return in_halves(_answer, jobs, [_size(job) for job in jobs])


def _answer(job: Job) -> Answer:
    read = reader()
    tests: list[Tested] = []
    problems: list[ComparisonError] = []
    if job.first in job.runs and len(job.runs) > 1:
        tasks = discover(job.settings.tasks_dir)
        pairs, problems = find_pairs(job.first, job.runs, job.metrics, job.settings, tasks, read)
        tests = judge(job.runs[job.first].name, pairs, job.settings, job.draws)
    chosen: dict[tuple[str, str], Best | ComparisonError | UsageError] = {}
    for choice in job.choices:
        metric, tasks_dir = f"{choice.task}/{choice.metric}", job.settings.tasks_dir
        try:
            chosen[choice.key] = best(choice.results, metric, tasks_dir=tasks_dir, read=read)
        except (ComparisonError, UsageError) as error:
            chosen[choice.key] = error
    return Answer(tests, problems, chosen)


def _size(job: Job) -> int:
    """Bytes of records that are read."""
    chosen_from = (result for choice in job.choices for result in choice.results)
    return records_size([*job.runs.values(), *chosen_from])
