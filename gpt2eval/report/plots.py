"""Drawing: each function puts data that are ready on the axes it is given and computes nothing."""

from __future__ import annotations

import io
import logging
import math
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from types import MappingProxyType
from typing import Any, Literal, TypeGuard

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.ticker import (
    FixedLocator,
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullLocator,
    ScalarFormatter,
)

from gpt2eval.errors import UsageError
from gpt2eval.report.position import Curve
from gpt2eval.report.reliability import Bin
from gpt2eval.report.samples import Rate
from gpt2eval.report.text import direction, format_parameters

SINGLE, DOUBLE = 3.3, 6.9  # inches: one and two columns of a paper
# What a reader's style may not change: equal results make equal files, publishers refuse the Type 3
# fonts that are the default, and a checkpoint may be called "$x$".
FIXED: dict[Any, Any] = {
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "svg.hashsalt": "gpt2eval",
    "text.parse_math": False,
    "text.usetex": False,
}

# The markers tell checkpoints apart without any colour.
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
GREY = "#666666"
RING: dict[str, Any] = {"marker": "o", "markersize": 7, "markeredgewidth": 0.7}
FEW, SHORT = 4, 16  # lines, and characters of their names, that names at the ends leave room for

_HOUSE = files("gpt2eval") / "report" / "gpt2eval.mplstyle"


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


def draw_scores(ax: Axes, rows: Sequence[tuple[str, str]], dots: Sequence[Dot], axis: Axis) -> None:
    """Dots with interval bars, one line for each of `rows` (kind, label), the first on top."""
    height = {row: len(rows) - 1 - position for position, row in enumerate(rows)}
    left, right = _score_scale(ax, "x", _edges(dots, axis))
    bars: list[tuple[float, float, float, str]] = []
    for dot in dots:
        y = height[dot.row]
        if not _finite(dot.value):
            ax.text(right, y, f"{dot.value} →", ha="right", va="center", color=GREY)
            continue
        if dot.low is not None and dot.high is not None:
            # A bound at infinity ends at the frame.
            low, high = (min(max(axis.factor * x, left), right) for x in (dot.low, dot.high))
            colour = look(dot.look)["color"] if dot.kind == "checkpoint" else GREY
            bars.append((y, low, high, colour))
        ax.plot(axis.factor * dot.value, y, **_dot_style(dot))
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


def draw_differences(
    ax: Axes, rows: Sequence[Difference], unit: str, baseline: str, higher_is_better: bool | None
) -> None:
    """Differences as dots with bars, under the name of each candidate; the first on top."""
    edges = [0.0]
    edges += [x for row in rows for x in (row.value, row.low, row.high) if _finite(x)]
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
            ax.annotate(
                group,
                (0, y),
                xycoords=ax.get_yaxis_transform(),
                xytext=(-4, 0),
                textcoords="offset points",
                ha="right",
                va="center",
                weight="bold",
                annotation_clip=False,
            )
            y -= 1
        colour = palette()[0] if row.clear else GREY
        if row.low is not None and row.high is not None:
            low, high = (min(max(x, left), right) for x in (row.low, row.high))
            ax.hlines(y, low, high, color=colour, linewidth=1.1)
        if _finite(row.value):
            face = colour if row.clear else "white"
            ax.plot(row.value, y, "o", color=colour, markerfacecolor=face)
        beside: Any = {"xycoords": ax.get_yaxis_transform(), "textcoords": "offset points"}
        beside |= {"va": "center", "annotation_clip": False}
        number = f"{row.value:+.{decimals}f}".replace("-", "\N{MINUS SIGN}")
        ax.annotate(number, (1, y), xytext=(40, 0), ha="right", **beside)
        ax.annotate(row.note, (1, y), xytext=(46, 0), ha="left", **beside)
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
    edges = _edges((dot for dots in runs.values() for _, dot in dots), axis)
    bottom, top = _score_scale(ax, "y", edges)
    ends = []
    for run, dots in runs.items():
        style = look(looks[run])
        line = [(step, axis.factor * dot.value) for step, dot in dots if _finite(dot.value)]
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
    ax.xaxis.set_major_formatter(FuncFormatter(_short_number))
    ax.grid(axis="y")
    ax.set_xlabel("training step")
    ax.set_ylabel(f"{axis.label}\n{axis.pointer}")


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
    ax.set_ylabel(f"{axis.label}\n{axis.pointer}")


def _reference_style(number: int) -> dict[str, Any]:
    """Lines of published values: grey, thin, each source with its own dashes."""
    dashes = ("--", ":", "-.")[number % 3]
    return {"color": GREY, "linestyle": dashes, "linewidth": 0.9, "marker": "."}


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
    names = {"handles": list(handles.values()), "labels": list(handles)}
    legend = figure.legend(**names, loc="outside lower center", ncols=columns)
    while columns > 1 and legend.get_window_extent().width > figure.bbox.width:
        rows = math.ceil(len(handles) / columns)
        columns -= 1
        more = math.ceil(len(handles) / columns) - rows
        figure.set_figheight(figure.get_figheight() + 0.14 * more)
        legend.remove()
        legend = figure.legend(**names, loc="outside lower center", ncols=columns)


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
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for ending, fields in metadata.items():
        out = io.BytesIO()
        figure.savefig(out, format=ending, metadata=fields)
        files[ending] = out.getvalue()
    return files


@contextmanager
def style(name: str = "") -> Iterator[None]:
    """A context in which figures are built and saved: the house's style, then the reader's.

    name  a style of matplotlib, or a .mplstyle file; UsageError for one that is neither

    The reader's own matplotlibrc has no say, or reports would differ between machines.
    """
    defaults: dict[Any, Any] = dict(mpl.rcParamsDefault)
    settings = {key: value for key, value in defaults.items() if not key.startswith("backend")}
    house = mpl.rc_params_from_file(str(_HOUSE), use_default_template=False)
    with mpl.rc_context({**settings, **house, **_reader(name), **FIXED}), warnings.catch_warnings():
        # A name in a script that the font lacks shows as boxes; tables have it in full.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def _reader(name: str) -> dict[Any, Any]:
    """The settings of the style that a reader asked for."""
    if not name:
        return {}
    from matplotlib import style as styles

    known = {key: value for key, value in styles.library.items() if not key.startswith("_")}
    if name in known:
        return dict(known[name])
    path = Path(name).expanduser()
    if not path.is_file():
        near = get_close_matches(name, known, n=1, cutoff=0.5)
        meant = f"; did you mean {near[0]!r}?" if near else ""
        raise UsageError(
            f"--style {name!r} is neither a style of matplotlib nor a file{meant}; expected a"
            f" .mplstyle file, or one of {', '.join(known)}"
        )
    # matplotlib warns of a bad line and goes on; whoever wrote the line wants to know.
    with warnings.catch_warnings(), _matplotlib_speaks() as said:
        warnings.simplefilter("error")
        try:
            found = mpl.rc_params_from_file(str(path), use_default_template=False)
        except (OSError, UnicodeDecodeError, ValueError, Warning) as error:
            raise UsageError(
                f"--style {name!r} cannot be read as a style ({error}); expected lines"
                " `key: value` with the keys of matplotlibrc"
            ) from error
    if said:
        raise UsageError(
            f"--style {name!r} cannot be read as a style ({' '.join(said[0].split())}); expected"
            " lines `key: value` with the keys of matplotlibrc"
        )
    return {key: value for key, value in found.items() if not key.startswith("backend")}


@contextmanager
def _matplotlib_speaks() -> Iterator[list[str]]:
    """Collects what matplotlib logs, and keeps it from the terminal."""
    said: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    logger, listener = logging.getLogger("matplotlib"), Listener(logging.WARNING)
    propagates = logger.propagate
    logger.addHandler(listener)
    logger.propagate = False
    try:
        yield said
    finally:
        logger.removeHandler(listener)
        logger.propagate = propagates


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
