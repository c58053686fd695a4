"""A data set read from the place that the user chose."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from gpt2eval.data.dataset import Dataset, Loaded, listed
from gpt2eval.data.hub import load_bundle, load_hub
from gpt2eval.digests import digest_files
from gpt2eval.errors import DataError
from gpt2eval.manifest import check_files, read_manifest

UNKNOWN_FILE = "unknown file: its sha256 is not on record"


def bundled_directory() -> Path:
    """The sample texts that ship with gpt2eval."""
    return Path(str(files("gpt2eval") / "samples"))


def load(dataset: Dataset, place: str | Path, *, offline: bool = False) -> Loaded:
    """Read a data set from `place`: "bundled", "hub", or a data directory.

    Raises DataError naming what is missing or malformed, and for a file that is not the one which
    the directory's manifest lists.
    """
    if place == "hub":
        return load_hub(dataset, offline)
    directory = _directory(dataset, place)
    names = _find(dataset, directory)
    paths = [directory / name for name in names]
    try:
        digests = {name: digest_files([directory / name]) for name in names}
    except OSError as error:
        raise DataError(f"{error.filename} cannot be read: {error.strerror}") from error
    manifest = read_manifest(directory)
    if manifest is not None:
        check_files(directory, manifest, digests)
    if dataset.hub and names == dataset.hub.files:
        return load_bundle(dataset.hub, paths, digests, manifest)
    rows = tuple(dataset.read(paths))
    if not rows:
        raise DataError(f"{paths[0]} holds no rows; expected at least one")
    return Loaded(
        rows,
        {
            "source": "bundled" if place == "bundled" else "directory",
            "files": digests,
            "sha256": digest_files(paths),
            "verdict": _verdict(dataset, digests, bundled=place == "bundled"),
        },
    )


def lacking(dataset: Dataset, place: str | Path) -> str:
    """The files that `place` would need for the data set and lacks; empty where it can be read."""
    if place == "hub":
        found = dataset.hub is not None
    else:
        found = _present(dataset, _directory(dataset, place)) is not None
    return "" if found else " or ".join(map(listed, dataset.files))


def _directory(dataset: Dataset, place: str | Path) -> Path:
    directory = bundled_directory() if place == "bundled" else Path(place).expanduser()
    if not directory.is_dir():
        state = "is a file" if directory.exists() else "does not exist"
        raise DataError(
            f"data directory {str(directory)!r} {state}; expected a directory with"
            f" {' or '.join(map(listed, dataset.files))}"
        )
    return directory


def _present(dataset: Dataset, directory: Path) -> tuple[str, ...] | None:
    """The first alternative of which all files are there; the rows of a bundle are the last."""
    for names in (*dataset.files, *([dataset.hub.files] if dataset.hub else [])):
        if all((directory / name).is_file() for name in names):
            return names
    return None


def _find(dataset: Dataset, directory: Path) -> tuple[str, ...]:
    found = _present(dataset, directory)
    if found is not None:
        return found
    names = dataset.files[0]
    missing = [name for name in names if not (directory / name).is_file()]
    others = [listed(names) for names in dataset.files[1:]]
    raise DataError(
        f"{directory} lacks {', '.join(missing)}"
        + (f" (or {'; or '.join(others)})" if others else "")
        + "; put the file there, or leave --data out to use the bundled samples or the hub"
    )


def _verdict(dataset: Dataset, digests: Mapping[str, str], *, bundled: bool) -> str:
    if bundled:
        return "sample texts of gpt2eval"
    known = [dataset.known.get(digest) for digest in digests.values()]
    if all(known):
        return "; ".join(dict.fromkeys(str(text) for text in known))
    if not dataset.known:
        return "no digest on record"
    return UNKNOWN_FILE
