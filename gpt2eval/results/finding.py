"""From names, directories and globs to the results they mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from glob import glob, has_magic
from pathlib import Path

from gpt2eval.errors import StoreError, UsageError
from gpt2eval.naming import natural_key
from gpt2eval.results.document import read_result
from gpt2eval.results.layout import RECORDS, RESULT, SHARDS
from gpt2eval.types import Result


def load_results(*paths: str | Path) -> list[Result]:
    """All finished runs in these directories or below, sorted by path.

    Raises StoreError where there is none.
    """
    directories: set[Path] = set()
    for path in map(Path, paths):
        found = {file.parent for file in path.rglob(RESULT)}
        if not found:
            raise StoreError(without_result(path))
        directories |= found
    return [read_result(directory) for directory in sorted(directories)]


@dataclass(frozen=True, slots=True)
class Found:
    """Results by name, and the directories of runs that were left out because they never ended."""

    results: list[Result]
    unfinished: list[Path]


def find_results(names: Sequence[str | Path], output: str | Path = "results") -> Found:
    """All runs that are named, each once, in the order of the names.

    names   directories or result.json files; names of checkpoints, or of anything else below
            `output`; globs over either
    output  where runs are kept

    Raises UsageError for a name that leads to no finished run; StoreError for a run that is not
    ours, and for copies of one run that differ.
    """
    if not names:
        raise UsageError("no results were named; give the --output of a run, or runs below it")
    finished: dict[Path, Path] = {}
    unfinished: dict[Path, Path] = {}
    for name in map(str, names):
        places = _places(name, Path(output))
        ended, torn = (
            sorted({run for place in places for run in _holding(place, file)}, key=_in_order)
            for file in (RESULT, RECORDS)
        )
        known = set(ended)
        torn = [run for run in torn if run not in known]
        if not ended:
            raise UsageError(_nothing(name, Path(output), places, torn))
        for kept, runs in ((finished, ended), (unfinished, torn)):
            for run in runs:
                kept.setdefault(run.resolve(), run)
    results = [read_result(directory) for directory in finished.values()]
    return Found(_each_once(results), list(unfinished.values()))


def _in_order(run: Path) -> list[tuple[int, int, str]]:
    """checkpoint-500 before checkpoint-1000."""
    return natural_key(str(run))


def _places(name: str, output: Path) -> list[Path]:
    """What a name leads to: as it stands, or below the output directory if that has no results.

    A directory of the same name may be the checkpoint itself.
    """
    known: list[Path] = []
    for path in (Path(name).expanduser(), output / name):
        if path.exists() or not has_magic(str(path)):
            places = [path] if path.exists() else []
        else:
            places = sorted(map(Path, glob(str(path), recursive=True)), key=_in_order)
        if any(_holding(place, RESULT) for place in places):
            return places
        known += places
    return known


def _holding(place: Path, file: str) -> list[Path]:
    """The directories at a place or below that hold this file."""
    if place.is_dir():
        return [_run_of(found) for found in place.rglob(file)]
    return [place.parent] if place.name == file else []


def _run_of(file: Path) -> Path:
    """The directory of the run that a file belongs to, which may be that of a shard."""
    return file.parents[2] if file.parents[1].name == SHARDS else file.parent


def _nothing(name: str, output: Path, places: Sequence[Path], torn: Sequence[Path]) -> str:
    """Why a name leads to no result."""
    expected = (
        "Expected a directory that `gpt2eval run` wrote, the name of a checkpoint in it, or a glob"
    )
    if torn:
        more = f" and {len(torn) - 1} more" if len(torn) > 1 else ""
        return (
            f"{name!r} holds no finished run, only {torn[0]}{more}, {how_far(torn[0])}; give the"
            " command that made it again, and it goes on where it stopped"
        )
    if places and all(place.is_file() for place in places):
        return f"{name!r} is a file without results. {expected}"
    if places:
        return f"{name!r} holds no {RESULT}. {expected}"
    known = sorted({file.parents[2].name for file in output.glob(f"*/*/*/{RESULT}")})
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    there = f"; there are {', '.join(known[:10])}" if known else ""
    return f"no results are called {name!r}, here or in {str(output)!r}{hint}{there}. {expected}"


def without_result(path: Path) -> str:
    """Why there is nothing to read below a path."""
    begun = sorted({_run_of(file) for file in path.rglob(RECORDS)})
    more = f". There is {begun[0]}, {how_far(begun[0])}" if begun else ""
    return f"{str(path)!r} holds no {RESULT}; expected the --output of a run{more}"


def how_far(directory: Path) -> str:
    """What there is of a run without a result, in words."""
    shards = sorted(path.parent.name for path in directory.glob(f"{SHARDS}/*/{RECORDS}"))
    if not shards:
        return "interrupted"
    names = ", ".join(name.replace("-of-", "/") for name in shards)
    return f"of which shards are there ({names}), to be merged by `gpt2eval merge`"


def _each_once(results: Sequence[Result]) -> list[Result]:
    """A run that was copied counts once; StoreError where the copies differ."""
    kept: dict[tuple[str, str, str], Result] = {}
    for result in results:
        run = result.path.name if result.path else ""
        other = kept.setdefault((str(result.checkpoint.get("name")), result.name, run), result)
        if other is not result and (other.metrics, other.data) != (result.metrics, result.data):
            raise StoreError(
                f"{other.path} and {result.path} are one run ({run}) with different numbers; one of"
                " the two was changed. Leave out the one that was"
            )
    return list(kept.values())
