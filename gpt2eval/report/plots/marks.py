"""What is put on axes, and what it looks like."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeGuard

import matplotlib as mpl

from gpt2eval.report.text import direction

# The markers tell checkpoints apart without any colour.
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
GREY = "#666666"
RING: dict[str, Any] = {"marker": "o", "markersize": 7, "markeredgewidth": 0.7}


@dataclass(frozen=True, slots=True)
class Dot:
    """A value with its interval on the row of its label; `look` picks colour and marker."""

    label: str
    value: float
    low: float | None = None
    high: float | None = None
    kind: str = "checkpoint"
    look: int = 0

    @property
    def row(self) -> tuple[str, str]:
        """What tells rows apart: a checkpoint may have the name of a baseline."""
        return (self.kind, self.label)


@dataclass(frozen=True, slots=True)
class Axis:
    """What a score axis says: its label, the direction of better, and the factor to its unit."""

    label: str
    higher_is_better: bool | None
    factor: float = 1.0

    @property
    def pointer(self) -> str:
        """The direction of better in words, with an arrow along the axis."""
        words = direction(self.higher_is_better)
        arrows = {True: f"{words} →", False: f"← {words}", None: words}
        return arrows[self.higher_is_better]


@dataclass(frozen=True, slots=True)
class Difference:
    """A row of a forest plot; `clear`: the interval is of a difference that is significant."""

    group: str
    label: str
    value: float
    low: float | None
    high: float | None
    note: str
    clear: bool


def look(index: int) -> dict[str, Any]:
    """Colour and marker of the checkpoint with that number; 63 pairs before one comes again."""
    colours = palette()
    return {"color": colours[index % len(colours)], "marker": MARKERS[index % len(MARKERS)]}


def palette() -> list[str]:
    """The colours of the style."""
    cycle: Any = mpl.rcParams["axes.prop_cycle"]
    return list(cycle.by_key().get("color", ["black"]))


def dot_style(dot: Dot) -> dict[str, Any]:
    """How a dot is drawn: a checkpoint has its look, all else is grey."""
    if dot.kind == "published":
        return {"color": GREY, "marker": "|", "markersize": 8, "linestyle": "none"}
    if dot.kind == "baseline":
        return {"color": GREY, "marker": "o", "markerfacecolor": "white", "linestyle": "none"}
    return {**look(dot.look), "markeredgewidth": 0, "linestyle": "none"}


def is_finite(value: float | None) -> TypeGuard[float]:
    """Whether there is a value that an axis has a place for."""
    return value is not None and math.isfinite(value)


def edges_of(dots: Iterable[Dot], axis: Axis) -> list[float]:
    """All finite values and bounds, in the unit of the axis."""
    bounds = (x for dot in dots for x in (dot.value, dot.low, dot.high))
    return [axis.factor * x for x in bounds if is_finite(x)]
