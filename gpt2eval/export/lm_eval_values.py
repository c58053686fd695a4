"""The numbers of a result as lm-evaluation-harness has them: names, values, standard errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isclose, log
from statistics import NormalDist
from typing import Any

import numpy as np

from gpt2eval.compare.records import Run
from gpt2eval.peers.lm_eval_names import metric_name, twin
from gpt2eval.types import Estimate, Result


@dataclass(frozen=True, slots=True)
class Column:
    """A metric of a task as lm-eval has it.

    name, filter  its key is `name,filter`
    aggregation   how lm-eval would make the value of what it has of samples; "" where it could not
    samples       sample id -> what a samples file has: a number, or log-likelihood and units
    error         standard error; None where nothing is known of it
    """

    name: str
    filter: str
    estimate: Estimate
    aggregation: str = ""
    samples: Mapping[str, float | list[float]] = field(default_factory=dict)
    error: float | None = None

    @property
    def key(self) -> str:
        """How the value is found in `results`."""
        return f"{self.name},{self.filter}"


@dataclass(frozen=True, slots=True)
class Part:
    """One entry of `results`: a task with its metrics; a task of a group has the group's name.

    version  lm-eval's of its task; that of ours, where it has none
    """

    name: str
    result: Result
    columns: Sequence[Column]
    version: float | str | None
    group: str = ""


def parts_of(name: str, result: Result, run: Run, version: float | str | None) -> Iterator[Part]:
    """The task; where lm-eval has a group of that name, the parts as the tasks of it, too."""
    whole = {key: each for key, each in result.metrics.items() if not each.part}
    grouped = twin(name).group
    shown = whole if grouped else result.metrics
    columns = [_column(name, key, each, run) for key, each in shown.items()]
    yield Part(name, result, columns, version)
    members: dict[str, list[Column]] = {}
    for key, each in result.metrics.items() if grouped else ():
        if each.part:
            member, metric = f"{name}_{each.part}", key.removesuffix(f"/{each.part}")
            members.setdefault(member, []).append(_column(member, key, each, run, metric))
    for member, columns in members.items():
        yield Part(member, result, columns, twin(member).version, group=name)


def _column(task: str, name: str, estimate: Estimate, run: Run, called: str = "") -> Column:
    """A metric, with what its samples are worth in lm-eval's form.

    called  its name where that is not `name`: that of a part is `accuracy/part`
    """
    told = dict(part.partition(":")[::2] for part in estimate.signature.split("|"))
    own = metric_name(task, called or name.partition(",")[0])
    filter = told.get("filter", twin(task).filter)  # told where the value came from there
    if name in run.rows:
        numbers, table = run.rows[name]
        ids = [run.ids[number] for number in numbers]
        found = _samples(estimate, table)
        if found is not None:
            aggregation, values = found
            error = _error(estimate, values if aggregation == "mean" else [])
            return Column(
                own, filter, estimate, aggregation, dict(zip(ids, values, strict=True)), error
            )
    return Column(own, filter, estimate, error=_error(estimate, []))


def _samples(
    estimate: Estimate, table: np.ndarray[Any, np.dtype[np.float64]]
) -> tuple[str, list[Any]] | None:
    """lm-eval's aggregation and what it is of, if that gives the value; None where none does."""
    if table.shape[1] != 2 or not (table[:, 1] > 0).all():
        return None
    part, whole = table.T
    with np.errstate(all="ignore"):
        ratio = float(part.sum() / whole.sum())
        found: tuple[str, list[Any], float]
        if estimate.unit == "perplexity" and (whole == 1).all():
            found = "perplexity", (0.0 - part).tolist(), float(np.exp(ratio))
        elif estimate.unit in ("perplexity", "bits"):
            bits = estimate.unit == "bits"
            pairs = np.column_stack([0.0 - part, whole]).tolist()
            value = ratio / log(2) if bits else float(np.exp(ratio))
            found = "bits_per_byte" if bits else "weighted_perplexity", pairs, value
        else:
            scale = 100 if estimate.unit == "points" else 1
            values = scale * part / whole
            found = "mean", values.tolist(), float(values.mean())
    aggregation, values, value = found
    return (aggregation, values) if isclose(value, estimate.value, rel_tol=1e-9) else None


def _error(estimate: Estimate, values: Sequence[float]) -> float | None:
    """The standard error of a mean of these values; without any, what the interval says."""
    if len(values) > 1 and "group" not in estimate.method:
        return float(np.std(values, ddof=1) / np.sqrt(len(values)))
    if estimate.low is None or estimate.high is None:
        return None
    error = (estimate.high - estimate.low) / (2 * NormalDist().inv_cdf((1 + estimate.level) / 2))
    return error if np.isfinite(error) else None


def values_of(part: Part) -> dict[str, Any]:
    """An entry of `results` or `groups`."""
    counts = [column.estimate.n for column in part.columns]
    found: dict[str, Any] = {"name": part.name, "alias": part.name, "sample_len": max(counts)}
    for column in part.columns:
        error = "N/A" if column.error is None else column.error
        found |= {column.key: column.estimate.value}
        found |= {f"{column.name}_stderr,{column.filter}": error}
    return found
