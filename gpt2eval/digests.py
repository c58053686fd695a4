"""sha256 of files and of plain data: what results are known by."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

BLOCK = 1 << 20


def digest_files(paths: Sequence[Path]) -> str:
    """sha256 of one file, or of the `digest  name` lines of several, sorted by name."""
    return _combined((path.name, _sha256(path)) for path in paths)


def digest_named(contents: Mapping[str, Path | bytes]) -> str:
    """The same of files, or bytes that might be, by the names given; empty for none."""
    pairs = (
        (name, hashlib.sha256(one).hexdigest() if isinstance(one, bytes) else _sha256(one))
        for name, one in contents.items()
    )
    return _combined(pairs)


def _combined(pairs: Iterable[tuple[str, str]]) -> str:
    digests = sorted(pairs)
    if len(digests) == 1:
        return digests[0][1]
    lines = "".join(f"{digest}  {name}\n" for name, digest in digests)
    return hashlib.sha256(lines.encode()).hexdigest()


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def digest_items(items: Iterable[Any]) -> str:
    """sha256 over the repr of plain data, item by item."""
    digest = hashlib.sha256()
    for item in items:
        digest.update(repr(item).encode())
        digest.update(b"\n")
    return digest.hexdigest()
