"""Scores: of checkpoints side by side, by training step, by size."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from gpt2eval.report.plots.marks import GREY, RING, Axis, Dot, dot_style, edges_of, is_finite, look
from gpt2eval.report.plots.names import label_ends
from gpt2eval.report.plots.scales import score_scale, short_number, size_scale


def draw_scores(ax: Axes, rows: Sequence[tuple[str, str]], dots: Sequence[Dot], axis: Axis) -> None:
    """Dots with interval bars, one line for each of `rows` (kind, label), the first on top."""
    height = {row: len(rows) - 1 - position for position, row in enumerate(rows)}
    left, right = score_scale(ax, "x", edges_of(dots, axis))
    bars: list[tuple[float, float, float, str]] = []
    for dot in dots:
        y = height[dot.row]
        if not is_finite(dot.value):
            ax.text(right, y, f"{dot.value} →", ha="right", va="center", color=GREY)
            continue
        if dot.low is not None and dot.high is not None:
            # A bound at infinity ends at the frame.
            low, high = (min(max(axis.factor * x, left), right) for x in (dot.low, dot.high))
            colour = look(dot.look)["color"] if dot.kind == "checkpoint" else GREY
            bars.append((y, low, high, colour))
        ax.plot(axis.factor * dot.value, y, **dot_style(dot))
    # One collection each: fifty rows of single lines take seconds.
    grid = {"color": mpl.rcParams["grid.color"], "linewidth": mpl.rcParams["grid.linewidth"]}
    across = ax.get_yaxis_transform()
    ax.hlines(list(height.values()), 0, 1, transform=across, zorder=0.5, **grid)
    if bars:
        ys, lows, highs, colours = zip(*bars, strict=True)
        ax.hlines(ys, lows, highs, color=colours, linewidth=1.1, zorder=1.9)  # under the dots
    ax.set_yticks([height[row] for row in rows], [label for _, label in rows])
    ax.set_ylim(-0.7, len(rows) - 0.3)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.set_xlabel(f"{axis.label}\n{axis.pointer}")


def draw_learning(
    ax: Axes,
    runs: Mapping[str, Sequence[tuple[int, Dot]]],
    looks: Mapping[str, int],
    axis: Axis,
    marks: Mapping[str, tuple[int, Collection[int]]] = MappingProxyType({}),
) -> None:
    """Score by training step, a line for each training run, its name at its end.

    marks  run -> step of its best checkpoint, and steps of those that may be the best as well
    """
    edges = edges_of((dot for dots in runs.values() for _, dot in dots), axis)
    bottom, top = score_scale(ax, "y", edges)
    ends = []
    for run, dots in runs.items():
        style = look(looks[run])
        line = [(step, axis.factor * dot.value) for step, dot in dots if is_finite(dot.value)]
        ax.plot(*zip(*line, strict=True), **style, markeredgewidth=0) if line else None
        for step, dot in dots:
            if dot.low is not None and dot.high is not None:
                low, high = (min(max(axis.factor * y, bottom), top) for y in (dot.low, dot.high))
                ax.vlines(step, low, high, color=style["color"], linewidth=0.8, alpha=0.6)
        best, members = marks.get(run, (None, ()))
        for step, value in line:
            if step == best or step in members:
                shape = {"marker": "*", "markersize": 9} if step == best else RING
                filling = style["color"] if step == best else "none"
                ax.plot(step, value, color=style["color"], markerfacecolor=filling, **shape)
        if line:
            ends.append((*line[-1], run, str(style["color"])))
    label_ends(ax, ends)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 2.5, 5, 10], integer=True))
    ax.xaxis.set_major_formatter(FuncFormatter(short_number))
    ax.grid(axis="y")
    ax.set_xlabel("training step")
    ax.set_ylabel(f"{axis.label}\n{axis.pointer}")


def draw_sizes(
    ax: Axes,
    dots: Sequence[tuple[float, Dot]],
    curves: Mapping[str, Sequence[tuple[float, float]]],
    axis: Axis,
    limits: tuple[float, float],
) -> None:
    """Scores against parameters; published values of one source are joined to a dashed line.

    limits  smallest and largest parameter count of the axis
    """
    for number, (source, points) in enumerate(curves.items()):
        line = sorted(points)
        values = [axis.factor * value for _, value in line]
        ax.plot([x for x, _ in line], values, label=source, **_reference_style(number))
    published = [axis.factor * value for points in curves.values() for _, value in points]
    bottom, top = score_scale(ax, "y", edges_of((dot for _, dot in dots), axis) + published)
    for x, dot in _side_by_side(dots, limits[1] / limits[0]):
        if not is_finite(dot.value):
            continue
        if dot.low is not None and dot.high is not None:
            low, high = (min(max(axis.factor * y, bottom), top) for y in (dot.low, dot.high))
            ax.vlines(x, low, high, color=look(dot.look)["color"], linewidth=1.1)
        ax.plot(x, axis.factor * dot.value, label=dot.label, **dot_style(dot))
    size_scale(ax, *limits)
    ax.grid(axis="y")
    ax.set_xlabel("parameters")
    ax.set_ylabel(f"{axis.label}\n{axis.pointer}")


def _reference_style(number: int) -> dict[str, Any]:
    """Lines of published values: grey, thin, each source with its own dashes."""
    dashes = ("--", ":", "-.")[number % 3]
    return {"color": GREY, "linestyle": dashes, "linewidth": 0.9, "marker": "."}


def _side_by_side(dots: Sequence[tuple[float, Dot]], span: float) -> Iterator[tuple[float, Dot]]:
    """Dots of equal size moved apart by 2.5 % of the axis, so that no bar hides another."""
    sizes = [x for x, _ in dots]
    for number, (x, dot) in enumerate(dots):
        middle = (sizes.count(x) - 1) / 2
        yield x * max(span, 2.0) ** (0.025 * (sizes[:number].count(x) - middle)), dot
