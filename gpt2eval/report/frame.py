"""Results as one long data frame: a row for each number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from gpt2eval.report.sections import checkpoint_labels, data_digests, data_mark
from gpt2eval.types import Estimate, Result

_ESTIMATE = ["value", "low", "high", "level", "method", "n", "unit", "denominator"]
_ESTIMATE += ["higher_is_better", "part"]
COLUMNS = ["checkpoint", "kind", "task", "protocol", "metric", *_ESTIMATE, "metric_signature"]
COLUMNS += ["data", "data_sha256", "subset", "selected", "available", "notice", "parameters"]
COLUMNS += ["dtype", "device", "seed", "checkpoint_sha256", "signature", "run_directory"]


def to_frame(results: Sequence[Result]) -> pd.DataFrame:
    """One row for each checkpoint or baseline, task@protocol and metric.

    Values are as measured, in `unit` (a fraction lies in 0..1); `low` and `high` are NaN where
    there is no interval. `kind` is "checkpoint" or "baseline"; a baseline has no parameters. Equal
    rows of a baseline that was scored along with several checkpoints appear once.
    """
    rows = [
        {key: _text(value) for key, value in row.items()}
        for label, result in zip(checkpoint_labels(results), results, strict=True)
        for row in _rows(label, result)
    ]
    frame = pd.DataFrame(rows, columns=COLUMNS).drop_duplicates(ignore_index=True)
    numbers = {"value": "float64", "low": "float64", "high": "float64", "parameters": "Int64"}
    return frame.astype(numbers)


def _text(value: Any) -> Any:
    """Half a surrogate pair, from the name of a directory say, is nothing that Arrow can keep."""
    return value.encode(errors="replace").decode() if isinstance(value, str) else value


def _rows(label: str, result: Result) -> Iterator[dict[str, Any]]:
    checkpoint, run = result.checkpoint, result.run
    made_by = {
        "parameters": checkpoint.get("parameters"),
        "dtype": run.get("dtype", ""),
        "device": run.get("device", ""),
        "seed": str(run.get("seed", "")),
        "checkpoint_sha256": checkpoint.get("sha256", ""),
        "signature": result.signature,
        "run_directory": str(result.path or ""),
    }
    shared = _shared(result)
    for metric, estimate in result.metrics.items():
        yield (
            {"checkpoint": label, "kind": "checkpoint", "metric": metric}
            | shared
            | made_by
            | (_estimate(estimate))
        )
    nobody: dict[str, Any] = {**dict.fromkeys(made_by, ""), "parameters": None}
    for name, metrics in result.baselines.items():
        for metric, estimate in metrics.items():
            yield (
                {"checkpoint": name, "kind": "baseline", "metric": metric}
                | shared
                | nobody
                | (_estimate(estimate))
            )


def _shared(result: Result) -> dict[str, Any]:
    data = result.data
    return {
        "task": result.task["name"],
        "protocol": result.task["protocol"],
        "data": data.get("source", ""),
        "data_sha256": " ".join(data_digests(result).values()),
        "subset": data.get("subset", "all"),
        "selected": data.get("selected"),
        "available": data.get("available"),
        "notice": data_mark(result),
    }


def _estimate(estimate: Estimate) -> dict[str, Any]:
    return {name: getattr(estimate, name) for name in _ESTIMATE} | {
        "metric_signature": estimate.signature
    }
