"""`gpt2eval report`: from names of results on disk to a report, without a model or torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from glob import glob, has_magic
from pathlib import Path

from gpt2eval.errors import StoreError, UsageError
from gpt2eval.report import write_report
from gpt2eval.report.sections import checkpoint_labels
from gpt2eval.results import RECORDS, RESULT, read_result
from gpt2eval.types import Comparison, Result


@dataclass(frozen=True, slots=True)
class Found:
    """Results by name, and the directories of runs that were left out because they never ended."""

    results: list[Result]
    unfinished: list[Path]


def report(
    names: Sequence[str],
    directory: str | Path,
    *,
    baseline: str = "",
    title: str = "",
    style: str = "",
    intervals: bool = False,
) -> tuple[Path, Found]:
    """Write the report of the results with these names; its page, and what was found.

    names     run directories, directories above them, or globs over both
    baseline  label of the checkpoint that the others are compared with

    The other arguments are those of `write_report`. Raises UsageError for a name that leads to no
    result and for a baseline that is not among the checkpoints.
    """
    found = find_results(names)
    check_baseline(found.results, baseline)
    page = write_report(
        found.results,
        directory,
        title=title,
        comparisons=comparisons_of(found.results, baseline),
        baseline=baseline,
        style=style,
        intervals=intervals,
    )
    return page, found


def comparisons_of(results: Sequence[Result], baseline: str) -> Sequence[Comparison]:
    """The checkpoints of each task compared with the baseline; nothing to compare, no comparisons.

    Comparisons are made by a room that this version does not have: there are none yet.
    """
    return ()


def find_results(names: Sequence[str]) -> Found:
    """The results in these places, each run once, in the order of the names."""
    directories: dict[Path, None] = {}
    unfinished: dict[Path, None] = {}
    for name in names:
        places = _places(name)
        finished = {file.parent for place in places for file in place.rglob(RESULT)}
        begun = {file.parent for place in places for file in place.rglob(RECORDS)}
        if not finished:
            raise UsageError(_nothing(name, places, begun))
        directories |= dict.fromkeys(sorted(finished))
        unfinished |= dict.fromkeys(sorted(begun - finished))
    if not directories:
        raise UsageError("no results were named; give the --output of a run, or runs below it")
    return Found(_each_once([read_result(each) for each in directories]), list(unfinished))


def check_baseline(results: Sequence[Result], baseline: str) -> None:
    """UsageError where the baseline is none of the checkpoints."""
    labels = list(dict.fromkeys(checkpoint_labels(results)))
    if baseline and baseline not in labels:
        near = get_close_matches(baseline, labels, n=1, cutoff=0.5)
        meant = f"; did you mean {near[0]!r}?" if near else ""
        raise UsageError(
            f"--baseline {baseline!r} is none of the checkpoints{meant}; expected one of"
            f" {', '.join(map(repr, labels))}"
        )


def _places(name: str) -> list[Path]:
    """A directory of that name, or all that a glob leads to."""
    path = Path(name).expanduser()
    if path.name == RESULT and path.is_file():
        return [path.parent]
    if path.exists() or not has_magic(name):
        return [path]
    found = [Path(each) for each in sorted(glob(str(path), recursive=True))]
    return [each.parent if each.name == RESULT else each for each in found]


def _nothing(name: str, places: Sequence[Path], begun: set[Path]) -> str:
    if begun:
        some = sorted(begun)[0]
        return (
            f"{name!r} holds runs that have not finished ({len(begun)}, such as {some}); give the"
            " command that began them once more, it goes on where it stopped"
        )
    if not any(place.exists() for place in places):
        return (
            f"{name!r} does not exist; expected a run directory, a directory above, or a glob that"
            " matches some. `gpt2eval run` keeps its runs in results/ unless --output says else"
        )
    if all(place.is_file() for place in places):
        return f"{name!r} is a file; expected a run directory, or a directory above some"
    return f"{name!r} holds no {RESULT}; expected the --output of a run, or a part of it"


def _each_once(results: Sequence[Result]) -> list[Result]:
    """A run that was copied counts once; StoreError where the copies differ."""
    kept: dict[tuple[str, str, str], Result] = {}
    for result in results:
        run = result.path.name if result.path else ""
        key = (str(result.checkpoint.get("name")), result.name, run)
        other = kept.setdefault(key, result)
        if other is not result and (other.metrics, other.data) != (result.metrics, result.data):
            raise StoreError(
                f"{other.path} and {result.path} are one run ({run}) with different numbers; one of"
                " the two was changed. Leave out the one that was"
            )
    return list(kept.values())
