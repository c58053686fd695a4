"""Published numbers: which there are, whose checkpoint this is, and whether a number agrees.

`reference_numbers.json` is the one place for what others have published of the tasks that are here;
a task of somebody else's brings its own by `Protocol.references`. A published number is judged only
where the checkpoint, the protocol and the whole text are known to be the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from gpt2eval.data import UNKNOWN_FILE
from gpt2eval.types import Estimate, Result

MATCH, DIFFERS, OTHER = "match", "differs", "not the same protocol"

Row = Mapping[str, Any]


@cache
def _content() -> Mapping[str, Any]:
    text = (files("gpt2eval") / "reference_numbers.json").read_text(encoding="utf-8")
    content: Mapping[str, Any] = json.loads(text)
    return content


def models() -> Mapping[str, Row]:
    """The checkpoints that numbers were published of: name -> parameters, hub ids, sha256."""
    found: Mapping[str, Row] = _content()["models"]
    return found


def known_model(checkpoint: Row) -> str:
    """The name of a published checkpoint, by its weights or where on the hub it came from.

    checkpoint  the section of a result; a directory that only has the name is nobody's
    """
    for name, facts in models().items():
        from_hub = checkpoint.get("revision") and checkpoint.get("path") in facts["hub"]
        if from_hub or checkpoint.get("sha256") in facts["sha256"]:
            return name
    return ""


def entries(task: str) -> list[Row]:
    """What was published of a task, an entry for each time somebody measured something.

    Keys: metric, unit, how, values (by model), protocols (those of the task that do the same) and
    then tolerance; source and where, in words.
    """
    sources = _content()["sources"]
    return [
        {
            **entry,
            "protocols": entry.get("protocols", []),
            "source": sources[entry["source"]]["title"],
            "where": sources[entry["source"]]["where"],
        }
        for entry in _content()["numbers"]
        if entry["task"] == task
    ]


def rows(task: str, protocol: str) -> list[Row]:
    """The published numbers of a task one by one, for the references of a result.

    Keys: model, parameters (of a checkpoint), metric, unit, value, how, source; `same`, if it is a
    number of this protocol, and then `tolerance`, relative.
    """
    return [
        {
            "model": model,
            **({"parameters": models()[model]["parameters"]} if model in models() else {}),
            **{key: entry[key] for key in ("metric", "unit", "how", "source")},
            "value": value,
            "same": same,
            **({"tolerance": entry["tolerance"]} if same else {}),
        }
        for entry in entries(task)
        for same in [protocol in entry["protocols"]]
        for model, value in entry["values"].items()
    ]


@dataclass(frozen=True, slots=True)
class Judged:
    """A published number of the checkpoint that was scored, beside what was found.

    found    None where the protocol is another
    verdict  MATCH, DIFFERS, OTHER, or "not judged" and why
    """

    row: Row
    found: Estimate | None
    verdict: str

    @property
    def words(self) -> str:
        """The verdict with the tolerance it was made by."""
        how = {MATCH: "to", DIFFERS: "by more than"}.get(self.verdict)
        return f"{self.verdict} {how} {100 * self.row['tolerance']:g} %" if how else self.verdict


def judge(result: Result) -> list[Judged]:
    """What was published of this checkpoint on this task, and whether the result agrees with it.

    Numbers of the same protocol come first.

    Nothing for a checkpoint that is not known, and nothing beside sample data. A number matches if
    it lies no further from the published one than `tolerance` times that.
    """
    model = known_model(result.checkpoint)
    if not model or result.data.get("source") == "bundled":
        return []
    own = [row for row in result.task.get("references", ()) if row["model"] == model]
    judged = []
    for row in own:
        found = result.metrics.get(row["metric"]) if row.get("same", True) else None
        judged.append(Judged(row, found, _verdict(row, found, result)))
    return sorted(judged, key=lambda one: one.found is None)


def _verdict(row: Row, found: Estimate | None, result: Result) -> str:
    if found is None:
        return OTHER
    if result.data.get("subset", "all") != "all":
        return "not judged: a subset"
    if result.data.get("verdict") == UNKNOWN_FILE:
        return "not judged: a file that is not on record"
    if (tolerance := row.get("tolerance")) is None:
        return "not judged: no tolerance given"
    return MATCH if agrees(found.value, row["value"], tolerance) else DIFFERS


def agrees(found: float, expected: float, tolerance: float) -> bool:
    """Whether a number lies within `tolerance`, relative, of the expected one."""
    return abs(found - expected) <= tolerance * abs(expected)
