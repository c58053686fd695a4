"""What a data directory says of its files: `manifest.json`, as `gpt2eval fetch` writes it.

A directory with a manifest is read only as the manifest describes it: each file that a run uses has
to be listed, with the digest that it has. That proves that a bundle arrived whole, not who made it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gpt2eval.errors import DataError

MANIFEST = "manifest.json"
# 1: the first format: files, each with sha256 and source
FORMAT = "gpt2eval data 1"
SIZE_LIMIT = 50_000_000  # bytes

Entry = Mapping[str, Any]


def read_manifest(directory: Path) -> dict[str, Entry] | None:
    """File, relative to the directory -> its entry; None where there is no manifest.

    An entry has `sha256` and `source`: "directory", "bundled" or "hub"; of the hub also `id`,
    `config`, `split` and `revision`. Raises DataError for a manifest that `fetch` did not write.
    """
    path = directory / MANIFEST
    if not path.is_file():
        return None
    try:
        if path.stat().st_size > SIZE_LIMIT:
            raise ValueError(f"{path.stat().st_size} bytes; expected at most {SIZE_LIMIT}")
        content = json.loads(path.read_text(encoding="utf-8"))
        form, files = content["format"], content["files"]
        if form != FORMAT:
            raise ValueError(f"format {form!r}; expected {FORMAT!r}")
        for name, entry in files.items():
            if not re.fullmatch("[0-9a-f]{64}", entry["sha256"]) or not entry["source"]:
                raise ValueError(f"the entry of {name!r} lacks a sha256 or a source")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(
            f"{path} is not a manifest of gpt2eval fetch ({error!r}); fetch the data again, or move"
            " the file away if it belongs to something else"
        ) from error
    return dict(files)


def check_files(directory: Path, manifest: Mapping[str, Entry], digests: Mapping[str, str]) -> None:
    """DataError for a file that the manifest does not list, or lists with another digest."""
    for name, digest in digests.items():
        if name not in manifest:
            raise DataError(
                f"{directory / MANIFEST} does not list {name}; fetch it into the directory too, or"
                " move it to a directory without a manifest"
            )
        expected = manifest[name]["sha256"]
        if digest != expected:
            raise DataError(
                f"{directory / name} is not the file that was fetched: expected sha256 {expected},"
                f" found {digest}. It was damaged or changed; copy the bundle or fetch the data"
                " again"
            )


def manifest_text(files: Mapping[str, Entry]) -> str:
    """The content of a manifest, files in order of their names."""
    content = {"format": FORMAT, "files": dict(sorted(files.items()))}
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def stays_inside(names: Iterable[str]) -> bool:
    """Whether these are files in a directory or below it, on every system."""
    return all(
        name and not re.search(r"[\\:\0]", name) and not {"", ".", ".."} & set(name.split("/"))
        for name in names
    )
