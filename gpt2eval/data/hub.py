"""Rows of the Hugging Face hub: asked of it, or kept in a bundle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gpt2eval.data.dataset import Dataset, Hub, Loaded, Row, listed
from gpt2eval.data.files import read_text
from gpt2eval.data.rows import convert_rows
from gpt2eval.data.tables import parse_jsonl
from gpt2eval.errors import DataError, out_of_memory
from gpt2eval.manifest import Entry


def hub_of(dataset: Dataset) -> Hub:
    """Where the data set is on the hub; DataError where it is not."""
    if dataset.hub is None:
        raise DataError(
            f"{listed(dataset.files[0])} is not on the hub in a form that can be read; give a"
            " directory that holds it with --data"
        )
    return dataset.hub


def load_hub(dataset: Dataset, offline: bool) -> Loaded:
    """The rows of a data set as the hub has them now."""
    hub = hub_of(dataset)
    tables, revision = hub_tables(hub, listed(dataset.files[0]), offline)
    raw = (row for table in tables for row in table)
    return _from_hub(hub, raw, revision, {}, "read from the hub at the recorded revision")


def hub_tables(hub: Hub, instead: str, offline: bool) -> tuple[list[Any], str | None]:
    """The rows of each configuration as the hub has them, and the revision they are of.

    instead  the file that would do as well, for the error
    """
    where = f"{hub}, split {hub.split}"
    try:
        import datasets
        from huggingface_hub import HfApi, constants

        offline = offline or constants.HF_HUB_OFFLINE
        revision = (
            hub.branch
            if offline
            else HfApi().dataset_info(hub.id, revision=hub.branch, timeout=10).sha
        )
        config = datasets.DownloadConfig(local_files_only=offline)
        tables = [
            datasets.load_dataset(
                hub.id, name, split=hub.split, revision=revision, download_config=config
            )
            for name in hub.configs
        ]
    except Exception as error:  # the hub client and datasets raise many unrelated classes
        if out_of_memory(error):
            raise
        text = str(error).strip().splitlines()
        command = f"hf download --repo-type dataset {hub.id}"
        raise DataError(
            f"data set {where} could not be had from the Hugging Face hub ({type(error).__name__}:"
            f" {text[0][:200] if text else 'no reason given'}).\n"
            f"With a network, fetch it once:  {command}\n"
            f"Or give a directory that holds {instead}:  --data DIR"
        ) from error
    if revision is None and getattr(tables[0].info, "version", None):
        revision = str(tables[0].info.version)
    return tables, revision


def load_bundle(
    hub: Hub,
    paths: Sequence[Path],
    digests: Mapping[str, str],
    manifest: Mapping[str, Entry] | None,
) -> Loaded:
    """The rows that `gpt2eval fetch` kept of the hub; the result is that of the hub itself."""
    if manifest is None:
        raise DataError(
            f"{paths[0]} holds rows of the hub, but the directory has no manifest that says of"
            " which revision; copy the whole bundle, or fetch it again"
        )
    raw = (row for path in paths for row in parse_jsonl(read_text(path), path))
    revision = manifest[next(iter(digests))].get("revision")
    return _from_hub(hub, raw, revision, digests, "rows of the hub at the recorded revision")


def _from_hub(
    hub: Hub, raw: Iterable[Row], revision: str | None, files: Mapping[str, str], verdict: str
) -> Loaded:
    where = f"data set {hub}, split {hub.split}"
    rows = tuple(convert_rows(raw, hub.convert, where))
    if not rows:
        raise DataError(f"{where} holds no rows; expected at least one")
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(dict(row), sort_keys=True, ensure_ascii=False).encode())
    return Loaded(
        rows,
        {
            "source": "hub",
            "id": hub.id,
            "config": hub.config,
            "split": hub.split,
            "revision": revision,
            "files": dict(files),
            "sha256": digest.hexdigest(),
            "verdict": verdict,
        },
    )
