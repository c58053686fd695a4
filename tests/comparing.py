"""Results with records, made by hand or drawn, for the tests of comparisons."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gpt2eval.metrics import answer_f1, bleu, exact_match
from gpt2eval.results import RecordWriter, read_result, write_result
from gpt2eval.stats import estimate
from gpt2eval.task import Metric
from gpt2eval.types import Record, Result
from tests.report.building import result

Rows = Mapping[str, Sequence[Sequence[float]]]


def _metric(
    name: str, value: Callable[[Any], Any], unit: str, better: bool, interval: str
) -> Metric:
    return Metric(name, lambda _s, _r: [], value, unit, "samples", better, interval=interval)


METRICS = {
    "accuracy": _metric("accuracy", lambda s: s[..., 0] / s[..., 1], "fraction", True, "wilson"),
    "perplexity": _metric(
        "perplexity", lambda s: np.exp(s[..., 0] / s[..., 1]), "perplexity", False, "bootstrap"
    ),
    "f1": answer_f1(),
    "exact_match": exact_match(),
    "bleu": bleu(),
}


def write_run(
    output: Path,
    checkpoint: str,
    rows: Rows,
    *,
    on: str = "made@p",
    groups: Sequence[str] | None = None,
    ids: Sequence[str] | None = None,
    run_id: str = "0123456789ab",
    **changes: Any,
) -> Result:
    """A run of a task that no plug-in knows, as `gpt2eval run` leaves it on disk."""
    directory = output / checkpoint / on / run_id
    n = len(next(iter(rows.values())))
    names = ids if ids is not None else [f"s{i}" for i in range(n)]
    of = groups if groups is not None else [""] * n
    writer = RecordWriter(directory)
    for i in np.random.default_rng(len(checkpoint)).permutation(n):  # as they happened to end
        statistics = {metric: list(map(float, values[i])) for metric, values in rows.items()}
        response = {"type": "generated", "text": f'}}, "responses": [ {checkpoint} {i}'}
        writer.write(Record(names[i], of[i], statistics, [response], ["gold"]))
    writer.close()
    metrics = {
        metric: estimate(METRICS[metric], np.array(values), of, np.random.default_rng(0))
        for metric, values in rows.items()
    }
    made = result(checkpoint, on, metrics, selected=n, available=n, path=directory)
    sections = {
        key: {**getattr(made, key), **changes.pop(key, {})}
        for key in ("task", "data", "run", "checkpoint")
    }
    write_result(replace(made, **sections, **changes), directory)
    return read_result(directory)


def answers(n: int, seed: int, right: float = 0.5, loss: float = 3.0) -> Rows:
    """Accuracy and perplexity on n samples that are as hard for every seed."""
    hard, own = np.random.default_rng(99).normal(size=n), np.random.default_rng(seed)
    correct = hard + own.normal(0, 0.5, n) < np.quantile(hard, right)
    nll = loss + 0.5 * hard + own.normal(0, 0.1, n)
    return {
        "accuracy": [(float(c), 1.0) for c in correct],
        "perplexity": [(float(x), 1.0) for x in nll],
    }
