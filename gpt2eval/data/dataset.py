"""What a table of rows is, and every place it can be read from."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Hub:
    """A data set on the Hugging Face hub in script-free form.

    config   the configuration, or several whose rows follow each other
    convert  a row of the hub -> a row with the columns that the readers of local files give; what
             it raises becomes a DataError that names the row
    branch   of the repository; `refs/convert/parquet` is script-free where the main one is not
    """

    id: str
    config: str | tuple[str, ...] | None = None
    split: str = "test"
    convert: Callable[[Row], Row] = dict
    branch: str | None = None

    @property
    def configs(self) -> tuple[str | None, ...]:
        """The configurations to load, one after the other."""
        return self.config if isinstance(self.config, tuple) else (self.config,)

    @property
    def files(self) -> tuple[str, ...]:
        """Where a bundle keeps the rows, a file for each configuration (see `gpt2eval.bundles`)."""
        places = [self.id.replace("/", "--"), *([self.branch] if self.branch else [])]
        return tuple(
            "/".join(
                ["hub", *(_plain_name(part) for part in (*places, name or "default", self.split))]
            )
            + ".jsonl"
            for name in self.configs
        )

    def __str__(self) -> str:
        """Id and configuration, for people; of many configurations the first and how many."""
        names = [name for name in self.configs if name]
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        return f"{self.id} ({names[0]}{more})" if names else self.id


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


@dataclass(frozen=True, slots=True)
class Loaded:
    """Rows, and the `data` section of a result that says where they come from."""

    rows: tuple[Row, ...]
    provenance: Mapping[str, Any]


def listed(files: Sequence[str]) -> str:
    """Files that are read together, for people: all of them, or the first and how many."""
    return " + ".join(files) if len(files) <= 4 else f"{files[0]} and {len(files) - 1} more"


def _plain_name(text: str) -> str:
    """A part of a path, whatever a hub's names hold."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-") or "x"
