"""What `compare` is asked besides the results."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from gpt2eval.stats import LEVEL


@dataclass(frozen=True, slots=True)
class Settings:
    """What `compare` is asked besides the results; the fields are its arguments."""

    seed: int = 0
    level: float = LEVEL
    allow_intersection: bool = False
    metrics: tuple[str, ...] = ()
    tasks_dir: str | Path | None = None
    only: Mapping[str, Collection[str]] | None = None
