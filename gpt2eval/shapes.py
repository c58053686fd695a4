"""What a result.json has to be like, so that all who read it can take it at its word.

Anybody may have edited the file, and what is wrong in it should be said once, with its place, and
not come up as a nonsensical number in a table. Entries that are not listed here are free: nobody
computes with them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

DEEPEST = 50  # levels of nesting; what is written by this house has six
_MOST = 2**63  # what a count may not reach


@dataclass(frozen=True, slots=True)
class Shape:
    """What an entry may be; `needed`: it has to be there."""

    fits: Callable[[Any], bool]
    words: str
    needed: bool = False


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST


def _number(value: Any) -> bool:
    real = isinstance(value, (int, float)) and not isinstance(value, bool)
    return real and abs(value) < _MOST  # neither is one that is no number


def _measured(value: Any) -> bool:
    """A number; one that JSON has no sign for is kept as a text."""
    if isinstance(value, str):
        return value in ("inf", "-inf", "nan")
    return isinstance(value, float) or _number(value)


def _texts(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())


def _or_none(shape: Shape) -> Shape:
    return Shape(lambda value: value is None or shape.fits(value), f"{shape.words} or null")


TEXT = Shape(lambda value: isinstance(value, str), "a text")
NAME = Shape(TEXT.fits, "a text", needed=True)
SECTION = Shape(lambda value: isinstance(value, dict), "an object", needed=True)
OBJECT = Shape(SECTION.fits, "an object")
COUNT = Shape(_whole, "a whole number from 0 up")
NUMBER = Shape(_number, "a number")
MEASURED = Shape(_measured, 'a number, "inf", "-inf" or "nan"', needed=True)
BOUND = Shape(_or_none(MEASURED).fits, f"{MEASURED.words} or null", needed=True)
SCALAR = Shape(
    lambda value: value is None or isinstance(value, str) or _number(value), "a text or a number"
)
FLAG = Shape(lambda value: isinstance(value, bool), "true or false")

CHECKPOINT = {
    "name": NAME,
    "parameters": _or_none(COUNT),
    **dict.fromkeys(("path", "kind"), TEXT),
    **dict.fromkeys(("revision", "sha256", "tokenizer_sha256"), _or_none(TEXT)),
}
TASK = {
    "name": NAME,
    "protocol": NAME,
    "version": SCALAR,
    "options": OBJECT,
    "references": Shape(lambda value: isinstance(value, list), "a list"),
    **dict.fromkeys(
        ("kind", "summary", "detail", "source", "story", "bibtex", "beginning"), _or_none(TEXT)
    ),
}
DATA = {
    "files": Shape(lambda value: isinstance(value, (str, list, dict)), "names"),
    "sha256": Shape(lambda value: TEXT.fits(value) or _texts(value), "a text, or one a file"),
    "available": _or_none(COUNT),
    "selected": _or_none(COUNT),
    "subset": TEXT,
    **dict.fromkeys(("source", "verdict", "id", "config", "split", "revision"), _or_none(TEXT)),
}
RUN = {
    "versions": OBJECT,
    "scorer": _or_none(OBJECT),
    **dict.fromkeys(("tokens", "peak_memory_bytes", "n_ctx"), _or_none(COUNT)),
    **dict.fromkeys(("seconds", "tokens_per_second"), _or_none(NUMBER)),
    **dict.fromkeys(
        ("tool", "device", "dtype", "batch_policy", "seed", "git_commit", "command", "started"),
        SCALAR,
    ),
}
ESTIMATE = {
    "value": MEASURED,
    "low": BOUND,
    "high": BOUND,
    "level": Shape(
        lambda value: _number(value) and 0 < value <= 1, "above 0 and at most 1", needed=True
    ),
    "n": Shape(_whole, COUNT.words, needed=True),
    "higher_is_better": Shape(_or_none(FLAG).fits, "true, false or null", needed=True),
    **dict.fromkeys(("method", "unit", "denominator"), NAME),
    **dict.fromkeys(("signature", "part", "note"), TEXT),
}
REFERENCE = {
    "value": Shape(_number, "a number", needed=True),
    "parameters": _or_none(COUNT),
    "tolerance": _or_none(NUMBER),
    "same": FLAG,
    **dict.fromkeys(("model", "metric", "source"), NAME),
    **dict.fromkeys(("how", "unit"), TEXT),
}
SECTIONS = {
    "checkpoint": CHECKPOINT,
    "task": TASK,
    "data": DATA,
    "run": RUN,
}
WHOLE = {
    **dict.fromkeys((*SECTIONS, "metrics", "ledger", "baselines"), SECTION),
    "signature": NAME,
}


def misshapen(content: Mapping[str, Any]) -> str:
    """What is wrong with a result, and where; empty where nothing is."""
    if _too_deep(content):
        return f"it is nested more than {DEEPEST} levels deep"
    return next(_wrong(content), "")


def _wrong(content: Mapping[str, Any]) -> Iterator[str]:
    """Each entry that is not what it has to be; what hangs on one is looked at after it."""
    yield from _of(content, WHOLE, "")
    for name, shapes in SECTIONS.items():
        yield from _of(content[name], shapes, f"{name}.")
    ledger = content["ledger"]
    yield from _of(ledger, dict.fromkeys(ledger, COUNT), "ledger.")
    yield from _estimates(content["metrics"], "metrics")
    for system, metrics in content["baselines"].items():
        yield from _of({system: metrics}, {system: SECTION}, "baselines.")
        yield from _estimates(metrics, f"baselines.{system}")
    for number, row in enumerate(content["task"].get("references", ())):
        where = f"task.references[{number}]"
        yield from _of({where: row}, {where: SECTION}, "")
        yield from _of(row, REFERENCE, f"{where}.")
    scorer = content["run"].get("scorer") or {}
    yield from _of(scorer, dict.fromkeys(("name", "sha256"), TEXT), "run.scorer.")


def _estimates(metrics: Mapping[str, Any], where: str) -> Iterator[str]:
    for name, entry in metrics.items():
        yield from _of({name: entry}, {name: SECTION}, f"{where}.")
        yield from _of(entry, ESTIMATE, f"{where}.{name}.")
        for unknown in sorted(entry.keys() - ESTIMATE.keys()):
            yield f"{where}.{name} has {unknown!r}, which no estimate has"


def _of(section: Mapping[str, Any], shapes: Mapping[str, Shape], where: str) -> Iterator[str]:
    for key, shape in shapes.items():
        if key not in section:
            if shape.needed:
                yield f"{where}{key} is missing"
        elif not shape.fits(section[key]):
            yield f"{where}{key} is {_shown(section[key])}; expected {shape.words}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _too_deep(content: object) -> bool:
    """Whether something is nested deeper than any reader should have to follow."""
    level = [content]
    for _ in range(DEEPEST):
        inside = [
            value
            for each in level
            if isinstance(each, (dict, list))
            for value in (each.values() if isinstance(each, dict) else each)
        ]
        level = [value for value in inside if isinstance(value, (dict, list))]
        if not level:
            return False
    return True
