"""Is a result what its run made? Digests find any edit; the records say which number was edited.

No model is needed. The numbers are made again from the records (`gpt2eval.rescore`); where the data
of the run are there, the statistics in the records are made again from the responses too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from math import isclose
from pathlib import Path
from typing import Any

from gpt2eval.data import Loaded
from gpt2eval.errors import Gpt2EvalError, StoreError
from gpt2eval.rescore import TOLERANCE, Number, Rescored, rescore
from gpt2eval.results import (
    DIGESTS,
    RECORDS,
    RESULT,
    digests_of,
    read_content,
    read_records,
    read_result,
    without_result,
)
from gpt2eval.task import Task, discover
from gpt2eval.types import Estimate, Record, Result

NAMED = 5  # samples that a finding names; it counts the others


@dataclass(frozen=True, slots=True)
class Verified:
    """A run directory, and all that does not hold together in it.

    findings  what was edited or is damaged, in words; empty: nothing
    source    what the numbers were made from: "responses", "statistics", or "" where they could not
              be made
    note      what could not be looked at, and why; empty where everything was
    """

    path: Path
    name: str
    findings: Sequence[str]
    source: str = ""
    note: str = ""


def verify_all(
    paths: Sequence[str | Path],
    *,
    data: str | None = None,
    tasks_dir: str | None = None,
    offline: bool = False,
) -> list[Verified]:
    """Verify every result in these directories or below.

    data  directory with the benchmark files, for runs that read one

    Raises StoreError where there is no result.
    """
    tasks, loaded = discover(tasks_dir), dict[Any, Loaded]()
    directories: dict[Path, None] = {}
    for path in map(Path, paths):
        place = path.parent if path.name == RESULT else path
        found = sorted(file.parent for file in place.rglob(RESULT))
        if not found:
            raise StoreError(without_result(path))
        directories |= dict.fromkeys(found)
    return [verify(path, tasks, data=data, offline=offline, loaded=loaded) for path in directories]


def verify(
    directory: Path,
    tasks: Mapping[str, Task],
    *,
    data: str | None = None,
    offline: bool = False,
    loaded: dict[Any, Loaded] | None = None,
) -> Verified:
    """Hold the result in a directory against its digests and its records."""
    name, findings = str(directory), list[str]()
    try:
        content, result = read_content(directory), read_result(directory)
        name = result.name
        findings += _digests(content, directory)
        if not (directory / RECORDS).exists() and RECORDS not in content.get(DIGESTS, {}):
            return Verified(directory, name, findings, note="a result without records")
        records = {record.id: record for record in reversed(list(read_records(directory)))}
        if result.ledger:  # an imported result has none
            findings += _ledger(result, records.values())
    except Gpt2EvalError as error:
        return Verified(directory, name, [*findings, str(error)])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        damaged = f"{RESULT} or {RECORDS} is damaged: {error!r}"
        return Verified(directory, name, [*findings, damaged])
    try:
        again = rescore(result, tasks, data=data, offline=offline, loaded=loaded)
    except Gpt2EvalError as error:
        return Verified(directory, name, [*findings, f"no numbers from it: {error}"])
    findings += [words for number in again.numbers for words in _number(number, again)]
    if again.source == "responses":
        findings += _samples(records, again)
    return Verified(directory, name, findings, again.source, again.note)


def _digests(content: Mapping[str, Any], directory: Path) -> Iterator[str]:
    kept = content.get(DIGESTS)
    if not isinstance(kept, dict):
        yield f"{RESULT} has no {DIGESTS}; they were removed, or an earlier gpt2eval wrote it"
        return
    found = digests_of(content, directory)
    for name in dict.fromkeys([*kept, *found]):
        what = name if name == RECORDS else f"{RESULT}, {name}"
        if name not in found:
            yield f"{what}: is missing"
        elif name not in kept:
            yield f"{what}: was added since the run ended"
        elif kept[name] != found[name]:
            yield (
                f"{what}: edited since the run ended (sha256 {found[name][:12]}, recorded"
                f" {str(kept[name])[:12]})"
            )


def _ledger(result: Result, records: Any) -> Iterator[str]:
    counts = dict.fromkeys(result.ledger, 0)
    for record in records:
        for key in _events(record):
            counts[key] = counts.get(key, 0) + 1
    for key, count in counts.items():
        if result.ledger.get(key) != count:
            yield f"ledger, {key}: recorded {result.ledger.get(key)}, the records have {count}"


def _events(record: Record) -> Iterator[str]:
    """What the ledger counts of a sample."""
    if record.error:
        yield "failed"
    for response in record.responses:
        if response["truncated"] > 0:
            yield "contexts_truncated"
        if response["type"] == "generated":
            if not response["prediction"]:
                yield "empty_generations"
            yield f"stopped_by_{response['stopped']}"


def _number(number: Number, again: Rescored) -> Iterator[str]:
    """What of a number is not what the records give."""
    if number.system and again.source != "responses":
        return  # a system without a model reads the data
    whose = f"{number.system}, " if number.system else ""
    name = f"{whose}{number.metric}"
    if number.recorded is None or number.found is None:
        only = "the result has it" if number.found is None else "the records give it"
        yield f"{name}: only {only}"
        return
    for item in fields(Estimate):
        recorded, found = getattr(number.recorded, item.name), getattr(number.found, item.name)
        if not _same(recorded, found):
            yield f"{name}, {item.name}: recorded {recorded!r}, the records give {found!r}"


def _samples(records: Mapping[str, Record], again: Rescored) -> Iterator[str]:
    """Samples whose statistics are not what their responses give."""
    wrong = [
        name
        for name, record in records.items()
        if not record.error and not _alike(record.statistics, again.statistics[name])
    ]
    if wrong:
        more = f" and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
        names = ", ".join(map(repr, sorted(wrong)[:NAMED]))
        yield f"{RECORDS}: responses give other statistics than recorded: samples {names}{more}"


def _alike(recorded: Mapping[str, Sequence[float]], found: Mapping[str, Sequence[float]]) -> bool:
    return (
        all(
            len(recorded[name]) == len(found[name]) and all(map(_same, recorded[name], found[name]))
            for name in recorded.keys() & found.keys()
        )
        and not recorded.keys() - found.keys()
    )


def _same(one: object, other: object) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        both_nan = one != one and other != other
        return one == other or both_nan or isclose(one, other, rel_tol=TOLERANCE)
    return one == other
