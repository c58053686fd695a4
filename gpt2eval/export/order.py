"""What a form is asked to write, and what it wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from gpt2eval.labels import checkpoint_labels
from gpt2eval.task import Task
from gpt2eval.types import Estimate, Result


@dataclass(frozen=True, slots=True)
class Order:
    """The results, the directory for them, and what else a form may read.

    tasks   what is installed
    report  directory of a report, to be kept beside the numbers
    into    README.md of a model
    """

    results: Sequence[Result]
    output: Path
    tasks: Mapping[str, Task]
    report: Path | None = None
    into: Path | None = None

    def by_checkpoint(self) -> dict[str, list[Result]]:
        """The label of each checkpoint -> its results."""
        found: dict[str, list[Result]] = {}
        for label, result in zip(checkpoint_labels(self.results), self.results, strict=True):
            found.setdefault(label, []).append(result)
        return found


@dataclass(frozen=True, slots=True)
class Written:
    """The files or directories, and sentences on what was left out or is to be done next."""

    paths: Sequence[Path]
    notes: Sequence[str] = field(default_factory=list)


def whole(result: Result) -> dict[str, Estimate]:
    """The metrics over all samples, without those of parts."""
    return {name: each for name, each in result.metrics.items() if not each.part}


def began(results: Sequence[Result]) -> datetime:
    """When the last of the results was begun, so that equal results make equal files.

    1970 where none says when.
    """
    known = [str(result.run["started"]) for result in results if result.run.get("started")]
    # fromisoformat reads no "Z" before Python 3.11.
    return datetime.fromisoformat(max(known, default="1970-01-01T00:00:00Z").replace("Z", "+00:00"))
