"""The report directory: what may be replaced, what is refused, and how files get there."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from gpt2eval.errors import StoreError, UsageError

MARKER = "sources.json"
# 1: the first format: files, versions, results
FORMAT = "gpt2eval report 1"


def replace_report(directory: Path, files: Mapping[str, bytes], sources: Mapping[str, Any]) -> None:
    """Make `directory` hold exactly this report, besides files that never were ours.

    files    path relative to the directory -> content
    sources  what the report was made from; with the marker and the list of files it becomes
             `sources.json`

    StoreError, with nothing changed, if the directory holds anything but an earlier report.
    """
    before = _earlier_files(directory)
    _refuse_clashes(directory, before, set(files))
    stale = sorted(before - set(files))
    try:
        # The marker goes first and claims old and new files, so that a report that was cut short
        # is still recognised as ours; it is written again when the rest stands.
        _write(directory / MARKER, _marker(sources, before | set(files)))
        for name, content in files.items():
            _write(directory / name, content)
        for name in stale:
            (directory / name).unlink(missing_ok=True)
        _write(directory / MARKER, _marker(sources, set(files)))
    except OSError as error:
        raise StoreError(
            f"the report could not be written to {directory}: {error}; "
            "make room or choose another directory, then run the same command again"
        ) from error


def check_directory(directory: str | Path, flag: str = "--report") -> None:
    """UsageError if a report could not go there; to be asked before the work, not after it."""
    path = Path(directory)
    try:
        _earlier_files(path)
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except StoreError as error:
        raise UsageError(f"{flag} {str(directory)!r} cannot be used: {error}") from error
    except OSError as error:
        raise UsageError(
            f"{flag} {str(directory)!r} cannot be written ({error.strerror}); give another"
            " directory"
        ) from error


def _marker(sources: Mapping[str, Any], files: Iterable[str]) -> bytes:
    content = {"format": FORMAT, **sources, "files": sorted(files)}
    text = json.dumps(content, indent=1, ensure_ascii=False, default=str) + "\n"
    # Half a surrogate pair, from a file name say, becomes the escape that JSON has for it.
    return text.encode(errors="backslashreplace")


def _earlier_files(directory: Path) -> set[str]:
    """The files of the report that stands there; empty for a new or empty directory."""
    if not directory.exists():
        return set()
    if not directory.is_dir():
        raise StoreError(f"{directory} is a file; name a directory for the report")
    found = sorted(path.name for path in directory.iterdir())
    if not found:
        return set()
    marker = directory / MARKER
    if not marker.is_file():
        shown = ", ".join(found[:5]) + (", ..." if len(found) > 5 else "")
        raise StoreError(
            f"{directory} is neither empty nor a report (it has no {MARKER}; found {shown}); "
            "choose another directory, or empty this one yourself"
        )
    try:
        content = json.loads(marker.read_text(encoding="utf-8"))
        form, files = content["format"], content["files"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{marker} was not written by gpt2eval ({error!r}); choose another directory"
        ) from error
    if form != FORMAT:
        raise StoreError(
            f'{marker} has format {form!r}, expected "{FORMAT}"; choose another directory'
        )
    # The list comes from a file that anybody may have edited: names that lead out are not ours.
    return {name for name in files if isinstance(name, str) and _stays_inside(name)}


def _stays_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and len(path.parts) in (1, 2)


def _refuse_clashes(directory: Path, before: set[str], files: set[str]) -> None:
    """StoreError where a link would lead out of the directory, or a file is not ours."""
    for folder in sorted({PurePosixPath(name).parent.as_posix() for name in before | files}):
        path = directory / folder
        if folder != "." and path.is_symlink():
            raise StoreError(f"{path} is a link that leads elsewhere; remove it and try again")
        if path.exists() and not path.is_dir():
            raise StoreError(f"{path} is a file, expected a directory; move it and try again")
    for name in sorted(files - before):
        if os.path.lexists(directory / name):
            raise StoreError(
                f"{directory / name} is in the way and was not written by an earlier report; "
                "move it and try again"
            )


def _write(path: Path, content: bytes) -> None:
    """Write through a temporary file beside the target, so that no reader sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(temporary, 0o644)  # mkstemp keeps its files private; a report is to be read
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
