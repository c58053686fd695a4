"""What all trackers are told of results: numbers, settings, a table.

Only what is listed here leaves a result: neither the command that made it, which may have had a
token in it, nor anything of the environment.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from gpt2eval.errors import UsageError
from gpt2eval.report.sections import data_mark
from gpt2eval.types import Result

COLUMNS = ("task", "metric", "value", "low", "high", "unit", "n", "denominator", "interval", "note")
_STEP = re.compile(r"(?:checkpoint|step|ckpt|iter)[-_]?(\d+)$")


def need(package: str, extra: str) -> Any:
    """The package of a tracker; UsageError that names the extra where it is not installed."""
    try:
        return import_module(package)
    except ImportError as error:
        raise UsageError(
            f"--format {extra} needs the package {package} ({error}); install it:"
            f" pip install 'gpt2eval[{extra}]'"
        ) from error


@contextmanager
def environment(**values: str | None) -> Iterator[None]:
    """These variables set, or removed by None, for as long as a tracker works."""
    before = {name: os.environ.get(name) for name in values}
    _set(values)
    try:
        yield
    finally:
        _set(before)


def _set(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


def scalars(result: Result) -> dict[str, float]:
    """`task/protocol/metric` -> value, and the bounds of its interval under `_low` and `_high`.

    A slash and not "@", which MLflow refuses; a full stop before the name of a part, since MLflow
    keeps metrics as files in directories. What is not finite is left to the table.
    """
    found = {}
    for name, estimate in result.metrics.items():
        key = f"{result.task['name']}/{result.task['protocol']}/{name.replace('/', '.')}"
        for end, number in (("", estimate.value), ("_low", estimate.low), ("_high", estimate.high)):
            if number is not None and math.isfinite(number):
                found[f"{key}{end}"] = number
    return found


def table(results: Sequence[Result]) -> list[list[Any]]:
    """A row for each number, with the COLUMNS."""
    return [
        [
            result.name,
            name,
            _written(estimate.value),
            _written(estimate.low),
            _written(estimate.high),
            estimate.unit,
            estimate.n,
            estimate.denominator,
            estimate.method,
            data_mark(result),
        ]
        for result in results
        for name, estimate in result.metrics.items()
    ]


def _written(number: float | None) -> float | None:
    return number if number is None or math.isfinite(number) else None


def settings(results: Sequence[Result]) -> dict[str, Any]:
    """What was scored, and how: of the checkpoint once, of each task its signature."""
    first = results[0]
    told: Mapping[str, Any] = {
        "checkpoint": first.checkpoint["name"],
        "checkpoint_sha256": first.checkpoint.get("sha256"),
        "tokenizer_sha256": first.checkpoint.get("tokenizer_sha256"),
        "parameters": first.checkpoint.get("parameters"),
        "dtype": first.run.get("dtype"),
        "device": first.run.get("device"),
        "seed": first.run.get("seed"),
        **{f"signature/{_plain(result)}": result.signature for result in results},
    }
    return {key: value for key, value in told.items() if value not in (None, "")}


def _plain(result: Result) -> str:
    return result.name.replace("@", "/")


def step_of(label: str) -> int:
    """The step of training that a checkpoint's name ends in (`checkpoint-500`), or 0."""
    found = _STEP.search(label.partition(" (")[0])
    return int(found[1]) if found else 0
