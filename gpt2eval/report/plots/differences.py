"""Differences from a baseline: all in a forest plot, of two checkpoints sample by sample."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from gpt2eval.report.plots.marks import GREY, Difference, is_finite, palette
from gpt2eval.report.text import direction


def draw_differences(
    ax: Axes, rows: Sequence[Difference], unit: str, baseline: str, higher_is_better: bool | None
) -> None:
    """Differences as dots with bars, under the name of each candidate; the first on top."""
    edges = [0.0]
    edges += [x for row in rows for x in (row.value, row.low, row.high) if is_finite(x)]
    room = 0.04 * (max(edges) - min(edges)) or 1.0
    left, right = min(edges) - room, max(edges) + room
    # As many decimals in every row as the largest difference needs for three figures.
    decimals = max(0, 2 - math.floor(math.log10(max(map(abs, edges)) or 1.0)))
    heights: list[float] = []
    labels: list[str] = []
    y, group = 0.0, None
    ax.axvline(0, color=GREY, linewidth=0.8, zorder=1)
    for row in rows:
        if row.group != group:
            group = row.group
            _write(ax, group, (0, y), -4, ha="right", weight="bold")
            y -= 1
        colour = palette()[0] if row.clear else GREY
        if row.low is not None and row.high is not None:
            low, high = (min(max(x, left), right) for x in (row.low, row.high))
            ax.hlines(y, low, high, color=colour, linewidth=1.1)
        if is_finite(row.value):
            face = colour if row.clear else "white"
            ax.plot(row.value, y, "o", color=colour, markerfacecolor=face)
        number = f"{row.value:+.{decimals}f}".replace("-", "\N{MINUS SIGN}")
        _write(ax, number, (1, y), 40, ha="right")
        _write(ax, row.note, (1, y), 46, ha="left")
        heights.append(y)
        labels.append(row.label)
        y -= 1
    ax.set_yticks(heights, labels)
    ax.set_ylim(y + 0.3, 0.7)
    ax.set_xlim(left, right)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    better = f"better than {baseline}"
    pointer = {True: f"{better} →", False: f"← {better}", None: direction(None)}[higher_is_better]
    ax.set_xlabel(f"difference from {baseline} ({unit})\n{pointer}")


def _write(ax: Axes, text: str, place: tuple[float, float], shift: float, **look: Any) -> None:
    """A text outside the frame: a share of its width, a row, and so many points further."""
    ax.annotate(
        text,
        place,
        xycoords=ax.get_yaxis_transform(),
        xytext=(shift, 0),
        textcoords="offset points",
        va="center",
        annotation_clip=False,
        **look,
    )


def draw_scatter(
    ax: Axes,
    points: Sequence[tuple[float, float]],
    names: tuple[str, str],
    what: str,
    higher_is_better: bool | None,
) -> None:
    """A dot for each sample on equal axes, the diagonal, and who is better on which side."""
    xs, ys = zip(*points, strict=True)
    low, high = min(*xs, *ys), max(*xs, *ys)
    room = 0.04 * (high - low) or 0.5
    limits = (low - room, high + room)
    ax.plot(limits, limits, color=GREY, linewidth=0.8, zorder=1)
    many = len(points) > 1000
    ax.plot(
        xs,
        ys,
        "o",
        color=palette()[0],
        markersize=1.6 if many else 2.6,
        markeredgewidth=0,
        alpha=0.25 if many else 0.6,
        rasterized=many,
        zorder=2,
    )
    ax.set_xlim(limits)
    ax.set_ylim(limits)
    ax.set_aspect("equal")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 2.5, 5, 10]))
    # Inside the axes the words would meet dots.
    above = names[1] if higher_is_better else names[0]
    said = "" if higher_is_better is None else f"\n{above} is better above the line"
    ax.set_xlabel(f"{what}, {names[0]}{said}")
    ax.set_ylabel(f"{what}, {names[1]}")
