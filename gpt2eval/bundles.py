"""Offline bundles: the data of tasks in one directory, with a manifest of where each file is from.

Files keep the names that `--data DIR` looks for. Rows of the hub become JSON lines as the hub has
them, in `hub/<data set>/<configuration>/<split>.jsonl`; they are converted when they are read, so
that a run from the bundle has the data and the digest of a run from the hub.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from gpt2eval.data import Dataset, Row, hub_of, hub_tables, listed, load
from gpt2eval.digests import digest_files
from gpt2eval.errors import DataError, StoreError, TaskError, UsageError
from gpt2eval.fewshot import count_examples
from gpt2eval.manifest import MANIFEST, Entry, manifest_text, read_manifest, stays_inside
from gpt2eval.options import RunOptions
from gpt2eval.results import write_atomically
from gpt2eval.task import Protocol, Task, discover, select
from gpt2eval.work import check_sources, load_work


def fetch(options: RunOptions, directory: str | Path) -> dict[str, Entry]:
    """Put the data that a run with these options reads into a directory; returns what was put.

    options.data  where they come from: the hub, which is the default, or a data directory

    A file that is there already and the same stays; one of an earlier fetch is replaced. Everything
    is read back before this returns. Raises UsageError and DataError for data that cannot be had,
    StoreError where a file is in the way or the disk says no.
    """
    place = options.data or "hub"
    if place == "bundled":
        raise UsageError(
            "--data bundled: the sample texts come with gpt2eval, and are no benchmark; give 'hub'"
            " or a directory with benchmark files"
        )
    chosen = select(options.tasks, discover(options.tasks_dir))
    check_sources(chosen, place, options)
    bundle = Path(directory).expanduser()
    earlier = read_manifest(bundle) or {}
    put: dict[str, Entry] = {}
    for dataset in _datasets(chosen, options):
        _check_names(dataset)
        if place == "hub":
            put |= _fetch_rows(dataset, bundle, earlier, put, options)
        else:
            put |= _fetch_files(dataset, Path(place).expanduser(), bundle, earlier)
    write_atomically(bundle / MANIFEST, manifest_text({**earlier, **put}))
    load_work(chosen, str(bundle), options)
    return put


def _datasets(chosen: Sequence[tuple[Task, Protocol]], options: RunOptions) -> list[Dataset]:
    """All that the protocols read, each once."""
    found: dict[int, Dataset] = {}
    for _, protocol in chosen:
        found.setdefault(id(protocol.dataset), protocol.dataset)
        if protocol.fewshot and count_examples(protocol, options):
            found.setdefault(id(protocol.fewshot.dataset), protocol.fewshot.dataset)
    return list(found.values())


def _check_names(dataset: Dataset) -> None:
    for names in dataset.files:
        if not stays_inside(names):
            raise TaskError(
                f"a task reads {listed(names)}; expected names inside the data directory, with"
                " forward slashes"
            )


def _fetch_files(
    dataset: Dataset, source: Path, bundle: Path, earlier: Mapping[str, Entry]
) -> dict[str, Entry]:
    """Copy the files that a run would read from a data directory."""
    digests: Mapping[str, str] = load(dataset, source).provenance["files"]
    known = read_manifest(source) or {}
    put: dict[str, Entry] = {}
    for name, digest in digests.items():
        size, copied = _write(bundle, name, _content(source / name), earlier)
        if copied != digest:
            raise DataError(f"{source / name} changed while it was copied; fetch it again")
        entry = {"source": "directory", "what": dataset.known.get(digest, "")}
        put[name] = {**known.get(name, entry), "sha256": digest, "bytes": size}
    return put


def _fetch_rows(
    dataset: Dataset,
    bundle: Path,
    earlier: Mapping[str, Entry],
    put: Mapping[str, Entry],
    options: RunOptions,
) -> dict[str, Entry]:
    """Write the rows of the hub, unless another task had them written already."""
    hub = hub_of(dataset)
    if set(hub.files) <= put.keys():
        return {}
    tables, revision = hub_tables(hub, listed(dataset.files[0]), options.offline)
    found: dict[str, Entry] = {}
    for name, config, table in zip(hub.files, hub.configs, tables, strict=True):
        size, digest = _write(bundle, name, _lines(table, str(hub)), earlier)
        found[name] = {
            "sha256": digest,
            "bytes": size,
            "source": "hub",
            "id": hub.id,
            "config": config,
            "split": hub.split,
            "revision": revision,
        }
    return found


def _lines(table: Iterable[Row], where: str) -> Iterator[bytes]:
    for number, row in enumerate(table, 1):
        try:
            yield json.dumps(dict(row), ensure_ascii=False).encode() + b"\n"
        except (TypeError, ValueError) as error:  # an image, a date; half a surrogate pair
            raise DataError(
                f"data set {where}, row {number} cannot be kept as JSON ({error}); give a directory"
                " with its files: --data DIR"
            ) from error


def _content(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            yield block


def _write(
    bundle: Path, name: str, blocks: Iterable[bytes], earlier: Mapping[str, Any]
) -> tuple[int, str]:
    """Size and sha256 of a file of the bundle, which is there whole when this returns."""
    path = bundle / name
    partial = path.with_name(f"{path.name}.partial")
    digest, size = hashlib.sha256(), 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            for block in blocks:
                digest.update(block)
                size += file.write(block)
            file.flush()
            os.fsync(file.fileno())
        _check_in_the_way(path, digest.hexdigest(), listed=name in earlier)
        partial.replace(path)
    except OSError as error:
        raise StoreError(
            f"{error.filename or path} could not be written ({error.strerror}); make room or check"
            " permissions, and fetch again"
        ) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
    return size, digest.hexdigest()


def _check_in_the_way(path: Path, digest: str, *, listed: bool) -> None:
    """StoreError for a file that is there, is another one, and was not fetched."""
    if not os.path.lexists(path) or listed:
        return
    if path.is_file() and digest_files([path]) == digest:
        return
    raise StoreError(
        f"{path} is in the way: it is another file, and no manifest says that it was fetched. Move"
        " it, or fetch into another directory"
    )
