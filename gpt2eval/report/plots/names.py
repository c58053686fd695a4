"""Names of lines: where they end, or in a legend below."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

FEW, SHORT = 4, 16  # lines, and characters of their names, that names at the ends leave room for


def name_lines(figure: Figure, columns: int) -> None:
    """Names at the ends of the lines, where one panel has few and short ones; else a legend."""
    handles = _handles(figure)
    short = all(len(label) <= SHORT for label in handles)
    if len(figure.axes) == 1 and len(handles) <= FEW and short:
        (ax,) = figure.axes
        figure.draw_without_rendering()  # where a line ends is known once the layout is
        ends = [(*_end(handle), label) for label, handle in handles.items()]
        width, right = ax.bbox.width, ax.bbox.x1
        if all(right - ax.transData.transform((x, y))[0] < 0.1 * width for x, y, *_ in ends):
            last = max(x for x, *_ in ends)  # beside all markers, those of other lines too
            label_ends(ax, [(last, y, label, colour) for _, y, colour, label in ends])
            return
    legend_below(figure, columns)


def _handles(figure: Figure) -> dict[str, Any]:
    """What has a name in a figure, each name once."""
    handles: dict[str, Any] = {}
    for ax in figure.axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    return handles


def _end(handle: Any) -> tuple[float, float, str]:
    """Where a line ends, and its colour."""
    line = handle[0] if isinstance(handle, ErrorbarContainer) else handle
    return float(line.get_xdata()[-1]), float(line.get_ydata()[-1]), str(line.get_color())


def legend_below(figure: Figure, columns: int) -> None:
    """One legend for all axes, under them: inside it would cover data.

    It has fewer columns where names are long, and the figure more room for the rows.
    """
    handles = _handles(figure)
    if not handles:
        return
    names: Any = {"handles": list(handles.values()), "labels": list(handles)}
    legend = figure.legend(**names, loc="outside lower center", ncols=columns)
    while columns > 1 and legend.get_window_extent().width > figure.bbox.width:
        rows = math.ceil(len(handles) / columns)
        columns -= 1
        more = math.ceil(len(handles) / columns) - rows
        figure.set_figheight(figure.get_figheight() + 0.14 * more)
        legend.remove()
        legend = figure.legend(**names, loc="outside lower center", ncols=columns)


def label_ends(ax: Axes, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Names (x, y, text, colour) right of where lines end, moved apart where they would overlap."""
    height = 8.0  # points of a line of text
    limits = ax.get_ylim()
    place = ax.transData.transform
    points = 72 / ax.figure.dpi
    ordered = sorted(ends, key=lambda end: place((end[0], end[1]))[1])
    inside = [(x, min(max(y, limits[0]), limits[1])) for x, y, *_ in ordered]
    wanted = [float(place(point)[1] * points) for point in inside]
    moved = [new - old for new, old in zip(apart(wanted, height), wanted, strict=True)]
    for (x, y, text, colour), shift in zip(ordered, moved, strict=True):
        ax.annotate(
            text,
            (x, y),
            xytext=(7, shift),
            textcoords="offset points",
            color=colour,
            va="center",
            ha="left",
            annotation_clip=False,
        )


def apart(wanted: Sequence[float], distance: float) -> list[float]:
    """Places at least so far apart, in the order of `wanted`, which ascends, and as near as can be.

    Those that would touch move as one, up and down alike (pool adjacent violators).
    """
    blocks: list[list[float]] = []
    for number, place in enumerate(wanted):
        blocks.append([place - number * distance])
        while len(blocks) > 1 and fmean(blocks[-2]) >= fmean(blocks[-1]):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    levels = [fmean(block) for block in blocks for _ in block]
    return [level + number * distance for number, level in enumerate(levels)]
