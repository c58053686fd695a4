"""`gpt2eval report`: from names of results on disk to a report, without a model or torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path

from gpt2eval.compare import compare_where_possible
from gpt2eval.errors import StoreError, UsageError
from gpt2eval.report import write_report
from gpt2eval.results import RECORDS, RESULT, read_result
from gpt2eval.types import Result


@dataclass(frozen=True, slots=True)
class Found:
    """Results by name, and the directories of runs that were left out because they never ended."""

    results: list[Result]
    unfinished: list[Path]


def report(
    names: Sequence[str],
    directory: str | Path,
    *,
    baseline: str | None = None,
    title: str = "",
    style: str = "",
    intervals: bool = False,
    tasks_dir: str | Path | None = None,
) -> tuple[Path, Found]:
    """Write the report of the results with these names; its page, and what was found.

    names     run directories, directories above them, or globs over both
    baseline  checkpoint that the others are compared with; None: the first
    tasks_dir  directory with task files of the user's own

    The other arguments are those of `write_report`. Raises UsageError for a name that leads to no
    result and for a baseline that is not among the checkpoints.
    """
    found = find_results(names)
    page = report_results(
        found.results,
        directory,
        baseline=baseline,
        title=title,
        style=style,
        intervals=intervals,
        tasks_dir=tasks_dir,
    )
    return page, found


def report_results(
    results: Sequence[Result],
    directory: str | Path,
    *,
    baseline: str | None = None,
    title: str = "",
    style: str = "",
    intervals: bool = False,
    tasks_dir: str | Path | None = None,
) -> Path:
    """`report` of results that are at hand; the path of its page.

    Checkpoints are compared on every task that they share, with the first where no baseline is
    named. What cannot be compared is left out, and the page says why.
    """
    comparisons, left_out = compare_where_possible(results, baseline=baseline, tasks_dir=tasks_dir)
    return write_report(
        results,
        directory,
        title=title,
        comparisons=comparisons,
        left_out=left_out,
        baseline=comparisons[0].baseline if comparisons else "",
        style=style,
        intervals=intervals,
    )


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
