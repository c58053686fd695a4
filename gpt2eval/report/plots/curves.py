"""Curves over bins of samples or of tokens, with the interval of each bin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from gpt2eval.report.plots.marks import look, palette
from gpt2eval.report.position import Curve
from gpt2eval.report.reliability import Bin
from gpt2eval.report.samples import Rate


def draw_positions(ax: Axes, curves: Mapping[str, Curve], looks: Mapping[str, int]) -> None:
    """Mean loss against context, a line and the band of its 95 % interval for each checkpoint."""
    strength = 0.2 if len(curves) <= 4 else 0.1  # many bands on top of each other turn to mud
    for label, curve in curves.items():
        style = look(looks[label])
        low, high = curve.mean - curve.half, curve.mean + curve.half
        band = {"color": style["color"], "alpha": strength, "linewidth": 0, "zorder": 1}
        ax.fill_between(curve.centre, low, high, **band)
        # A band between neighbours does not show an interval that stands alone; a bar does.
        ends = np.concatenate([[False], np.isfinite(curve.half), [False]])
        alone = ends[1:-1] & ~ends[:-2] & ~ends[2:]
        bar = {"ecolor": style["color"], "elinewidth": 1.1, "capsize": 3.5, "fmt": "none"}
        ax.errorbar(curve.centre[alone], curve.mean[alone], curve.half[alone], **bar)
        # When the colours begin again, so does a line of another kind.
        kind = ("-", "--", ":")[looks[label] // len(palette()) % 3]
        line = {**style, "linestyle": kind, "markeredgewidth": 0}
        ax.plot(curve.centre, curve.mean, label=label, **line)
    ax.set_xscale("log", base=2)
    first = min(curve.first[0] for curve in curves.values())
    last = max(curve.last[-1] for curve in curves.values())
    ax.set_xlim(0.85 * first, 1.15 * (last + 1))
    # Every other power of two: eleven labels do not fit in a column.
    ax.xaxis.set_major_locator(LogLocator(base=4, numticks=20))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_ylim(bottom=max(0, ax.get_ylim()[0]))  # a band may reach below, a loss cannot
    ax.grid(axis="y")
    ax.set_xlabel("context (tokens)")
    ax.set_ylabel("loss (nats per token)\n← lower is better")


def draw_reliability(
    ax: Axes, curves: Mapping[str, Sequence[Bin]], looks: Mapping[str, int]
) -> None:
    """Accuracy against confidence, a point with its interval for each bin that has samples."""
    ax.plot([0, 1], [0, 1], color="#999999", linewidth=0.8, zorder=1)
    for label, bins in curves.items():
        style = look(looks[label])
        errors = [[b.accuracy - b.low for b in bins], [b.high - b.accuracy for b in bins]]
        ax.errorbar(
            [b.confidence for b in bins],
            [b.accuracy for b in bins],
            yerr=errors,
            label=label,
            elinewidth=0.6,
            linewidth=0.8,
            **style,
        )
    ax.set_xlim(0, 1.02)
    ax.set_ylim(-0.02, 1.02)
    ax.grid(axis="y")
    ax.set_xlabel("confidence")
    ax.set_ylabel("accuracy")


def draw_rates(
    ax: Axes, curves: Mapping[str, Sequence[Rate]], looks: Mapping[str, int], axis: str
) -> None:
    """Accuracy in bins, a point with its interval for each; lines moved apart by a hair."""
    span = max(r.last for rates in curves.values() for r in rates) / max(
        min(r.first for rates in curves.values() for r in rates), 1
    )
    for number, (label, rates) in enumerate(curves.items()):
        style = look(looks[label])
        shift = max(span, 2.0) ** (0.012 * (number - (len(curves) - 1) / 2))
        at = [shift * rate.centre for rate in rates]
        errors = [
            [100 * (r.value - r.low) for r in rates],
            [100 * (r.high - r.value) for r in rates],
        ]
        ax.errorbar(
            at,
            [100 * rate.value for rate in rates],
            yerr=errors,
            label=label,
            elinewidth=0.6,
            linewidth=0.8,
            markeredgewidth=0,
            **style,
        )
    ax.set_xscale("log", base=2)
    first = next(iter(curves.values()))
    # Bins have their own borders: the axis names them, not powers of two.
    ticks = [rate.centre for rate in first]
    names = [str(r.first) if r.first == r.last else f"{r.first}–{r.last}" for r in first]
    ax.xaxis.set_major_locator(FixedLocator(ticks))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xticks(ticks, names, rotation=30 if sum(map(len, names)) > 24 else 0)
    ax.set_ylim(bottom=min(0, ax.get_ylim()[0]))
    ax.set_ylim(max(0, ax.get_ylim()[0]) - 0.02 * ax.get_ylim()[1], min(ax.get_ylim()[1], 102))
    ax.grid(axis="y")
    ax.set_xlabel(axis)
    ax.set_ylabel("accuracy (%)\nhigher is better →")
