"""What turns sums of statistics into a metric, and which test that allows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isclose, isnan
from typing import TYPE_CHECKING, Literal

import numpy as np

from gpt2eval.compare.records import Run
from gpt2eval.errors import ComparisonError
from gpt2eval.metrics.bleu import _bleu, _chrf
from gpt2eval.metrics.likelihood import _bits, _exp_ratio, _ratio
from gpt2eval.metrics.rouge import _points
from gpt2eval.task import Task

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Value = Callable[[NDArray[np.float64]], NDArray[np.float64]]

Kind = Literal["share", "likelihood", "sums", "untested"]


# What the task's own plug-in would say, by the unit and the number of statistics. Used where the
# plug-in is not there, and only if it gives the very value that the run has stored.
KNOWN: dict[tuple[str, int], Value] = {
    ("fraction", 2): _ratio,
    ("unknown", 2): _ratio,  # of another tool
    ("perplexity", 2): _exp_ratio,
    ("bits", 2): _bits,
    ("points", 2): _points,
    ("points", 10): _bleu,
    ("points", 18): _chrf,
}


@dataclass(frozen=True, slots=True)
class Function:
    """What turns sums into the metric, and which test its statistics allow."""

    kind: Kind
    value: Value
    reason: str = ""


def function_of(run: Run, metric: str, tasks: Mapping[str, Task]) -> Function:
    """The function of a metric; ComparisonError where the records do not give its stored value."""
    result, estimate = run.result, run.result.metrics[metric]
    task = tasks.get(result.task["name"])
    here = task is not None and task.version == result.task["version"]
    for protocol in task.protocols if task is not None and here else ():
        for one in protocol.metrics:
            if protocol.name == result.task["protocol"] and one.name == metric:
                if one.corpus or one.interval == "none":
                    return Function("untested", one.value, "a value of all samples at once, no sum")
                kind = _kind(estimate.unit, wilson=one.interval == "wilson")
                return verified(Function(kind, one.value), run, metric)
    if metric not in run.rows:
        return Function("untested", _ratio, "a value of all samples at once, no sum")
    width = run.rows[metric][1].shape[1]
    known = KNOWN.get((estimate.unit, width))
    if known is not None:
        function = Function(_kind(estimate.unit, wilson="Wilson" in estimate.method), known)
        if _gives(function, run, metric):
            return function
    version = f"version {result.task['version']} of task {result.task['name']}"
    installed = f"version {task.version}" if task is not None else "none"
    raise ComparisonError(
        f"{result.name}: how {metric} follows from its {width} statistics is known to {version}"
        f" alone, and {installed} is here; install that version, or name the directory that has it"
        " by --tasks-dir"
    )


def shared_function(
    ours: Run,
    theirs: Run,
    metric: str,
    functions: dict[str, Function],
    tasks: Mapping[str, Task],
) -> Function:
    """The function of a metric, found once for the baseline and held against each candidate."""
    if metric not in functions:
        functions[metric] = function_of(ours, metric, tasks)
    function = functions[metric]
    return function if function.kind == "untested" else verified(function, theirs, metric)


def verified(function: Function, run: Run, metric: str) -> Function:
    """The function; ComparisonError where it does not give the value that the run has stored."""
    if metric not in run.rows or not _gives(function, run, metric):
        raise ComparisonError(
            f"{run.result.name}: the records in {run.result.path} do not give the {metric} of"
            f" {run.result.metrics[metric].value:.6g} that result.json has; one of the two files"
            " was changed. Delete the directory and run the same command again, which makes it anew"
        )
    return function


def _kind(unit: str, *, wilson: bool) -> Kind:
    if wilson:
        return "share"
    return "likelihood" if unit in ("perplexity", "bits") else "sums"


def _gives(function: Function, run: Run, metric: str) -> bool:
    """Whether the sums of the records give the value that the run has stored."""
    with np.errstate(all="ignore"):
        value = float(function.value(run.rows[metric][1].sum(axis=0)))
    stored = run.result.metrics[metric].value
    return isclose(value, stored, rel_tol=1e-9, abs_tol=1e-12) or (isnan(value) and isnan(stored))
