"""Where rows come from: bundled samples, a directory, or the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Hub:
    """A data set on the Hugging Face hub in script-free form."""

    id: str
    config: str | None = None
    split: str = "test"


@dataclass(frozen=True, slots=True)
class Dataset:
    """One table of rows and every place it can be read from.

    files   alternatives, best first; each is the tuple of files, relative to the data directory,
            that are read together
    read    paths of one alternative -> rows in the schema of the hub
    hub     the same rows on the hub
    known   sha256 of a file -> what that file is, in words ("official test set, 5,153 passages")
    """

    files: tuple[tuple[str, ...], ...]
    read: Callable[[Sequence[Path]], Iterable[Row]]
    hub: Hub | None = None
    known: Mapping[str, str] = field(default_factory=dict)
