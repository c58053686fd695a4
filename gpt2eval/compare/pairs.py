"""One metric of two checkpoints, over the units that both have."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gpt2eval.compare.comparable import check_comparable
from gpt2eval.compare.functions import Function, shared_function
from gpt2eval.compare.records import Common, Reader, Run, align, restricted, units_of
from gpt2eval.compare.settings import Settings
from gpt2eval.errors import ComparisonError
from gpt2eval.task import Task
from gpt2eval.types import Estimate, Result

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Pair:
    """One metric of two checkpoints over the units that both have.

    estimates     of baseline and candidate, over all samples of each
    ours, theirs  statistics [units, k] of baseline and candidate
    n             samples
    grouped       whether units are groups of samples
    """

    metric: str
    baseline: str
    candidate: str
    estimates: tuple[Estimate, Estimate]
    function: Function
    ours: NDArray[np.float64]
    theirs: NDArray[np.float64]
    n: int
    grouped: bool
    notes: Sequence[str]

    @property
    def estimate(self) -> Estimate:
        """Either, for what they have in common."""
        return self.estimates[0]

    @property
    def unit(self) -> str:
        """What is resampled."""
        return "group" if self.grouped else "sample"

    @property
    def obstacle(self) -> str:
        """What keeps the pair from being tested; empty where nothing does."""
        if self.function.kind == "untested":
            return self.function.reason
        if len(self.ours) < 2:
            return f"one {self.unit} says nothing about others"
        return ""

    @property
    def mcnemar(self) -> bool:
        """Whether each sample is right or wrong, and stands alone."""
        return self.function.kind == "share" and not self.grouped

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return bool((self.ours == self.theirs).all())

    @property
    def differences(self) -> NDArray[np.float64] | None:
        """[units] of a ratio whose denominators agree, positive where the candidate has more."""
        if self.ours.shape[1] != 2 or (self.ours[:, 1] != self.theirs[:, 1]).any():
            return None
        return np.asarray(self.theirs[:, 0] - self.ours[:, 0])


def find_pairs(
    first: str,
    runs: Mapping[str, Result],
    metrics: Collection[str],
    settings: Settings,
    tasks: Mapping[str, Task],
    read: Reader,
) -> tuple[list[Pair], list[ComparisonError]]:
    """All candidates with the baseline, metric by metric, on one task@protocol; and who cannot."""
    pairs: list[Pair] = []
    problems: list[ComparisonError] = []
    try:
        ours = read(runs[first])
    except ComparisonError as error:
        return [], [error]
    functions: dict[str, Function] = {}
    for name, result in runs.items():
        if name == first:
            continue
        try:
            theirs, common, notes = _meet((first, ours), (name, result), settings, read)
            pairs += [
                _pair(
                    (first, ours),
                    (name, theirs),
                    metric,
                    shared_function(ours, theirs, metric, functions, tasks),
                    common,
                    notes,
                )
                for metric in runs[first].metrics
                if metric in result.metrics and metric in metrics
            ]
        except ComparisonError as error:
            problems.append(error)
    return pairs, problems


def _meet(
    baseline: tuple[str, Run],
    candidate: tuple[str, Result],
    settings: Settings,
    read: Reader,
) -> tuple[Run, Common, list[str]]:
    """The candidate's records, what they have in common with the baseline's, and words on that."""
    (first, ours), (name, result) = baseline, candidate
    allowed = check_comparable(
        (first, ours.result), candidate, samples=not settings.allow_intersection
    )
    theirs = read(result)
    common, notes = align(baseline, (name, theirs), allowed, settings)
    if settings.only is not None:
        common, more = restricted(common, ours, settings.only[result.name])
        notes += more
    scorers = [run.result.run.get("scorer", {}).get("name") for run in (ours, theirs)]
    if scorers[0] != scorers[1]:
        notes.append(f"scored by {scorers[0]} and {scorers[1]}")
    return theirs, common, notes


def _pair(
    baseline: tuple[str, Run],
    candidate: tuple[str, Run],
    metric: str,
    function: Function,
    common: Common,
    notes: Sequence[str],
) -> Pair:
    (first, ours), (second, theirs) = baseline, candidate
    estimates = ours.result.metrics[metric], theirs.result.metrics[metric]
    if function.kind == "untested":
        n, nothing = len(ours.ids), np.zeros((0, 1))
        whole = [] if common.ours is None else ["values over all samples of each"]
        notes = [*notes, *whole]
        return Pair(metric, first, second, estimates, function, nothing, nothing, n, False, notes)
    (a, n), (b, m) = units_of(ours, metric, common.ours), units_of(theirs, metric, common.theirs)
    if a.shape != b.shape or n != m:
        raise ComparisonError(
            f"{ours.result.name}: {first} has {metric} on {n} samples and {second} on {m};"
            " score both by the same version of the task"
        )
    grouped = len(a) < n
    held = a.any(axis=1) | b.any(axis=1)  # an empty text adds nothing to any sum
    if not held.all():
        a, b = a[held], b[held]
    return Pair(metric, first, second, estimates, function, a, b, n, grouped, notes)
