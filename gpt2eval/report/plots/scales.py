"""Axes of scores and of sizes, and the numbers beside them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.ticker import (
    FixedLocator,
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullLocator,
    ScalarFormatter,
)

from gpt2eval.report.text import format_parameters


def score_scale(ax: Axes, which: Literal["x", "y"], edges: Sequence[float]) -> tuple[float, float]:
    """Limits that hold all edges, which are returned.

    Logarithmic where they differ twentyfold; percentages and points, which end at 100, never are.
    """
    low, high = (min(edges), max(edges)) if edges else (0.0, 1.0)
    ticks = ax.xaxis if which == "x" else ax.yaxis
    if low > 0 and high > 100 and high / low > 20:
        ax.set(**{f"{which}scale": "log"})
        room = (high / low) ** 0.06
        low, high = low / room, high * room
        steps = (1.0, 3.0) if high / low < 200 else (1.0,)
        ticks.set_major_locator(LogLocator(base=10, subs=steps, numticks=6))
        ticks.set_minor_locator(NullLocator())
    else:
        room = 0.06 * (high - low) or 0.05 * abs(high) or 0.05
        # Nothing but zeros: an axis to 1, since no score here is below 0.
        low, high = low - room, high + room if high or low else 1.0
        # Round steps only: nobody reads 21.6, 22.4, 23.2 with ease.
        ticks.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 2.5, 5, 10], min_n_ticks=3))
    ax.set(**{f"{which}lim": (low, high)})
    ticks.set_major_formatter(FuncFormatter(short_number))
    if ticks.get_scale() == "linear" and high < 1000:
        same_decimals = ScalarFormatter(useOffset=False)
        same_decimals.set_scientific(False)
        ticks.set_major_formatter(same_decimals)
    return low, high


def size_scale(ax: Axes, low: float, high: float) -> None:
    """A logarithmic axis of parameter counts with as many labels as fit side by side."""
    ax.set_xscale("log")
    room = max((high / low) ** 0.08, 1.2)
    left, right = low / room, high * room
    ax.set_xlim(left, right)
    ticks = [low, high] if high / low > 1.2 else [low]
    for steps in ((1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        round_numbers = (step * 10.0**power for power in range(13) for step in steps)
        inside = [tick for tick in round_numbers if left <= tick <= right]
        apart = [math.log(after / before) for before, after in pairwise(inside)]
        if apart and min(apart) >= 0.19 * math.log(right / left):  # a label takes a sixth
            ticks = inside
            break
    ax.xaxis.set_major_locator(FixedLocator(ticks))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: format_parameters(x)))


def short_number(value: float, _: int | None = None) -> str:
    """A tick label: "0.5", "30", "1.2k", "1e6"."""
    if abs(value) >= 1e6:
        return f"{value:.0e}".replace("e+0", "e").replace("e+", "e")
    if abs(value) >= 1e3:
        return f"{value / 1000:g}k"
    return f"{value:g}".replace("-", "\N{MINUS SIGN}")
