"""How comparisons become text, for terminals and files: differences, p-values, effects."""

from __future__ import annotations

import math

from gpt2eval.report.text import NOTHING, format_value
from gpt2eval.types import Comparison

MARKS = ((0.001, "***"), (0.01, "**"), (0.05, "*"))
"""A corrected p-value below -> how it is marked."""


def format_side(comparison: Comparison, value: float, spread: float | None) -> str:
    """The value of one side; over seeds, with its standard deviation: "37.37 ± 0.21"."""
    shown = format_value(value, comparison.unit)
    if spread is None:
        return shown
    return f"{shown} ± {_size(comparison, spread)}"


def format_difference(comparison: Comparison) -> str:
    """Like "+1.20 [-0.31, +2.70] pt": differences of percentages are in percentage points."""
    shown = _signed(comparison, comparison.difference)
    if comparison.low is not None and comparison.high is not None:
        low, high = (_signed(comparison, bound) for bound in (comparison.low, comparison.high))
        shown += f" [{low}, {high}]"
    return f"{shown}{_points(comparison)}"


def format_smallest(comparison: Comparison) -> str:
    """The smallest difference that would have shown: "1.52 pt"."""
    if comparison.smallest is None:
        return NOTHING
    return _size(comparison, comparison.smallest) + _points(comparison)


def format_effect(comparison: Comparison) -> str:
    """Like "d_z +0.12"; positive where the candidate is better."""
    if comparison.effect is None:
        return NOTHING
    return f"{comparison.effect_name} {comparison.effect:+.2f}"


def format_p(p: float | None) -> str:
    """Like "0.0123" or "<0.0001"; a dash where there was no test."""
    if p is None:
        return NOTHING
    return f"{p:.4f}" if p >= 0.0001 else "<0.0001"


def mark(comparison: Comparison) -> str:
    """Stars for the corrected p-value: three below 0.001, two below 0.01, one below 0.05."""
    p = comparison.p_corrected
    return next((stars for limit, stars in MARKS if p is not None and p < limit), "")


def _points(comparison: Comparison) -> str:
    return " pt" if comparison.unit == "fraction" else ""


def _signed(comparison: Comparison, difference: float) -> str:
    if not math.isfinite(difference):
        return f"{difference:+}"
    return ("-" if difference < 0 else "+") + _size(comparison, abs(difference))


def _size(comparison: Comparison, number: float) -> str:
    """A number without its sign, with the decimals that the values have."""
    return format_value(number, comparison.unit).removesuffix(" %")
