"""Many tests: p-values corrected over all that were made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gpt2eval.significance import CORRECTIONS
from gpt2eval.types import Comparison

Tested = tuple[Comparison, object]
"""A comparison, and what its test is made of: equal ones are one test. None: not in the family."""


def correct(found: Sequence[Tested], correction: str) -> list[Comparison]:
    """The comparisons with p corrected over all tests that are in the family, each counted once."""
    p_of: dict[object, float] = {}
    keys = [None if key is None else (comparison.task, key) for comparison, key in found]
    for (comparison, _), key in zip(found, keys, strict=True):
        if key is not None and comparison.p is not None:
            p_of[key] = comparison.p
    corrected = dict(zip(p_of, CORRECTIONS[correction](list(p_of.values())), strict=True))
    return [
        replace(
            comparison, p_corrected=None if key is None else corrected[key], correction=correction
        )
        for (comparison, _), key in zip(found, keys, strict=True)
    ]
