"""Do two results answer the same question?"""

from __future__ import annotations

from collections.abc import Iterator

from gpt2eval.errors import ComparisonError
from gpt2eval.types import Result

OF_SAMPLES = ("data digest", "subset", "samples")


def check_comparable(
    one: tuple[str, Result], other: tuple[str, Result], *, samples: bool
) -> list[str]:
    """Words on what differs and is allowed; ComparisonError for what is not.

    samples  whether the samples have to be the same
    """
    (first, ours), (second, theirs) = one, other
    allowed = []
    for name, a, b in differing(ours, theirs):
        if name in OF_SAMPLES and not samples:
            allowed.append(f"{name} {a} and {b}")
            continue
        remedy = (
            "score both on the same samples, or pass --allow-intersection to compare those that"
            " both have"
            if name in OF_SAMPLES
            else "score both by the same version of the task, with the same options"
        )
        raise ComparisonError(
            f"{ours.name}: {first} and {second} cannot be compared: {name} is {a!r} in {ours.path}"
            f" and {b!r} in {theirs.path}; {remedy}"
        )
    for metric in ours.metrics.keys() & theirs.metrics.keys():
        a, b = ours.metrics[metric].signature, theirs.metrics[metric].signature
        if a != b:
            raise ComparisonError(
                f"{ours.name}: {first} and {second} cannot be compared: the signature of {metric}"
                f" is {a!r} in {ours.path} and {b!r} in {theirs.path}; score both with the same"
                " versions of the libraries"
            )
    return allowed


def differing(one: Result, other: Result) -> Iterator[tuple[str, object, object]]:
    """(field, value, value) of what keeps two results of a task@protocol from being compared."""
    if one.task.get("version") != other.task.get("version"):
        yield "version", one.task.get("version"), other.task.get("version")
    ours, theirs = one.task.get("options", {}), other.task.get("options", {})
    for key in dict.fromkeys((*ours, *theirs)):
        if ours.get(key) != theirs.get(key):
            yield f"option {key}", ours.get(key), theirs.get(key)
    for key, name in (("sha256", "data digest"), ("subset", "subset"), ("selected", "samples")):
        if one.data.get(key) != other.data.get(key):
            yield name, _short(one.data.get(key)), _short(other.data.get(key))


def _short(value: object) -> object:
    return value[:12] if isinstance(value, str) and len(value) == 64 else value
