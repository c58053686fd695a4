"""Drawing: each function puts data that are ready on the axes it is given and computes nothing."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, TypeGuard

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import (
    FixedLocator,
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullLocator,
    ScalarFormatter,
)

from gpt2eval.report.position import Curve
from gpt2eval.report.reliability import Bin
from gpt2eval.report.text import direction, format_parameters

SINGLE, DOUBLE = 3.4, 7.0  # inches: one and two columns of a paper

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same letters on every machine
    "font.size": 7,
    "axes.titlesize": 7,
    "axes.labelsize": 7,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "legend.fontsize": 6.5,
    "figure.titlesize": 7,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.8,
    "legend.frameon": False,
    "legend.handlelength": 1.8,
    "savefig.dpi": 200,
    "pdf.fonttype": 42,  # TrueType: publishers refuse the Type 3 default
    "svg.fonttype": "path",  # looks the same where the font is not installed
    "svg.hashsalt": "gpt2eval",
    "text.parse_math": False,  # a checkpoint may be called "$x$"
}

# Okabe and Ito's colours, told apart with any kind of colour vision, without their yellow, which is
# lost on white. The markers tell the lines apart without any colour.
COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#000000",
    "#56B4E9",
    "#E69F00",
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
GREY = "#666666"


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
    def title(self) -> str:
        """The label, and under it where better lies, if anywhere."""
        if self.higher_is_better is None:
            return self.label
        words = direction(self.higher_is_better)
        return f"{self.label}\n{f'{words} →' if self.higher_is_better else f'← {words}'}"


def look(index: int) -> dict[str, Any]:
    """Colour and marker of the checkpoint with that number; 63 pairs before one comes again."""
    return {"color": COLOURS[index % len(COLOURS)], "marker": MARKERS[index % len(MARKERS)]}


def draw_scores(ax: Axes, rows: Sequence[tuple[str, str]], dots: Sequence[Dot], axis: Axis) -> None:
    """Dots with interval bars, one line for each of `rows` (kind, label), the first on top."""
    height = {row: len(rows) - 1 - position for position, row in enumerate(rows)}
    left, right = _score_scale(ax, "x", _edges(dots, axis))
    for dot in dots:
        y = height[dot.row]
        if not _finite(dot.value):
            ax.text(right, y, f"{dot.value} →", ha="right", va="center", color=GREY)
            continue
        if dot.low is not None and dot.high is not None:
            # A bound at infinity ends at the frame.
            low, high = (min(max(axis.factor * x, left), right) for x in (dot.low, dot.high))
            colour = look(dot.look)["color"] if dot.kind == "checkpoint" else GREY
            ax.hlines(y, low, high, color=colour, linewidth=1.1)
        ax.plot(axis.factor * dot.value, y, **_dot_style(dot))
    ax.set_yticks([height[row] for row in rows], [label for _, label in rows])
    ax.set_ylim(-0.7, len(rows) - 0.3)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.grid(axis="y")
    ax.set_xlabel(axis.title)


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
        kind = ("-", "--", ":")[looks[label] // len(COLOURS) % 3]
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
    bottom, top = _score_scale(ax, "y", _edges((dot for _, dot in dots), axis) + published)
    for x, dot in _side_by_side(dots, limits[1] / limits[0]):
        if not _finite(dot.value):
            continue
        if dot.low is not None and dot.high is not None:
            low, high = (min(max(axis.factor * y, bottom), top) for y in (dot.low, dot.high))
            ax.vlines(x, low, high, color=look(dot.look)["color"], linewidth=1.1)
        ax.plot(x, axis.factor * dot.value, label=dot.label, **_dot_style(dot))
    _size_scale(ax, *limits)
    ax.grid(axis="y")
    ax.set_xlabel("parameters")
    ax.set_ylabel(axis.title)


def _reference_style(number: int) -> dict[str, Any]:
    """Lines of published values: grey, thin, each source with its own dashes."""
    dashes = ("--", ":", "-.")[number % 3]
    return {"color": GREY, "linestyle": dashes, "linewidth": 0.9, "marker": "."}


def legend_below(figure: Figure, columns: int) -> None:
    """One legend for all axes, under them: inside it would cover data."""
    handles: dict[str, Any] = {}
    for ax in figure.axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    if handles:
        figure.legend(
            list(handles.values()), list(handles), loc="outside lower center", ncols=columns
        )


def save(figure: Figure) -> dict[str, bytes]:
    """The figure as png, svg and pdf, without dates: equal figures are equal bytes."""
    # Hidden dates would make every report differ from the one before.
    metadata: dict[str, dict[str, Any]] = {
        "png": {"Software": None},
        "svg": {"Date": None, "Creator": None},
        "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    }
    # The layout is solved once; it is the slow part, and so the three agree.
    files = {}
    with warnings.catch_warnings():
        # A name in a script that the font lacks shows as boxes; tables have it in full.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        for ending, fields in metadata.items():
            out = io.BytesIO()
            figure.savefig(out, format=ending, metadata=fields)
            files[ending] = out.getvalue()
    return files


def style() -> Any:
    """A context in which figures are built and saved: matplotlib's defaults, then STYLE.

    The reader's own matplotlibrc has no say, or reports would differ between machines.
    """
    defaults: dict[Any, Any] = dict(mpl.rcParamsDefault)
    settings = {key: value for key, value in defaults.items() if not key.startswith("backend")}
    return mpl.rc_context({**settings, **STYLE})


def _side_by_side(dots: Sequence[tuple[float, Dot]], span: float) -> Iterator[tuple[float, Dot]]:
    """Dots of equal size moved apart by 2.5 % of the axis, so that no bar hides another."""
    sizes = [x for x, _ in dots]
    for number, (x, dot) in enumerate(dots):
        middle = (sizes.count(x) - 1) / 2
        yield x * max(span, 2.0) ** (0.025 * (sizes[:number].count(x) - middle)), dot


def _dot_style(dot: Dot) -> dict[str, Any]:
    if dot.kind == "published":
        return {"color": GREY, "marker": "|", "markersize": 8, "linestyle": "none"}
    if dot.kind == "baseline":
        return {"color": GREY, "marker": "o", "markerfacecolor": "white", "linestyle": "none"}
    return {**look(dot.look), "markeredgewidth": 0, "linestyle": "none"}


def _finite(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


def _edges(dots: Iterable[Dot], axis: Axis) -> list[float]:
    """All finite values and bounds, in the unit of the axis."""
    bounds = (x for dot in dots for x in (dot.value, dot.low, dot.high))
    return [axis.factor * x for x in bounds if _finite(x)]


def _score_scale(ax: Axes, which: Literal["x", "y"], edges: Sequence[float]) -> tuple[float, float]:
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
    ticks.set_major_formatter(FuncFormatter(_short_number))
    if ticks.get_scale() == "linear" and high < 1000:
        same_decimals = ScalarFormatter(useOffset=False)
        same_decimals.set_scientific(False)
        ticks.set_major_formatter(same_decimals)
    return low, high


def _size_scale(ax: Axes, low: float, high: float) -> None:
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


def _short_number(value: float, _: int | None = None) -> str:
    """A tick label: "0.5", "30", "1.2k", "1e6"."""
    if abs(value) >= 1e6:
        return f"{value:.0e}".replace("e+0", "e").replace("e+", "e")
    if abs(value) >= 1e3:
        return f"{value / 1000:g}k"
    return f"{value:g}".replace("-", "\N{MINUS SIGN}")
