"""Which figures a report has: picks the data of each and lays out the axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from textwrap import wrap
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gpt2eval.report import plots
from gpt2eval.report.plots import DOUBLE, SINGLE, Axis, Dot
from gpt2eval.report.position import FEWEST, Curve, loss_by_position
from gpt2eval.report.reliability import METRIC as CALIBRATION
from gpt2eval.report.reliability import Bin, reliability
from gpt2eval.report.sections import Section, data_mark, distinguish, file_stems
from gpt2eval.report.tables import all_labels, systems
from gpt2eval.report.text import format_level, plain, shorten
from gpt2eval.results import RECORDS, read_records
from gpt2eval.types import Estimate

_LABEL = 24  # characters of a name that a plot has room for; tables print it whole
_TITLE = 34  # characters that fit over the narrowest panel
_PANELS = 6  # panels of one figure; more become a second one


@dataclass(frozen=True, slots=True)
class Picture:
    """A finished figure.

    stem     file name without ending
    alt      what it shows, for readers who cannot see it
    caption  what a paper prints under it
    files    ending ("png", "svg", "pdf") -> content
    section  title of the section it belongs to; empty: the whole report
    data     the plotted numbers as a header and rows, where no table has them
    """

    stem: str
    alt: str
    caption: str
    files: Mapping[str, bytes]
    section: str = ""
    data: tuple[Sequence[str], Sequence[Sequence[Any]]] = field(default=((), ()))


def draw_all(sections: Sequence[Section]) -> list[Picture]:
    """Every figure the sections have data for."""
    names = _plot_names(sections)
    sections = [section for section in sections if section.metrics]
    with plots.style():
        return [
            *_score_pictures(sections, names),
            *_size_pictures(sections, names),
            *_position_pictures(sections, names),
            *_reliability_pictures(sections, names),
        ]


def _plot_names(sections: Sequence[Section]) -> dict[str, str]:
    """Each label cut to what fits, still unique; one name per checkpoint in all figures."""
    labels = all_labels(sections)
    return dict(zip(labels, distinguish([shorten(x, _LABEL) for x in labels]), strict=True))


def _score_pictures(sections: Sequence[Section], names: Mapping[str, str]) -> Iterator[Picture]:
    """The main metric of each section, panels of one unit and one kind of task together."""
    grouped: dict[tuple[str, str], list[Section]] = {}
    for section in sections:
        unit = _main(section)[1].unit
        grouped.setdefault((unit, str(section.first.task.get("kind", ""))), []).append(section)
    kinds = [unit for unit, _ in grouped]
    stems = file_stems(distinguish(kinds, [kind for _, kind in grouped]))
    for stem, members in zip(stems, grouped.values(), strict=True):
        for page, start in enumerate(range(0, len(members), _PANELS), start=1):
            panels = members[start : start + _PANELS]
            pages = f"-{page}" if len(members) > _PANELS else ""
            yield _score_picture(f"scores-{stem}{pages}", panels, names)


def _score_picture(stem: str, panels: Sequence[Section], names: Mapping[str, str]) -> Picture:
    dots = [_dots(section, names) for section in panels]
    order = {"checkpoint": 0, "baseline": 1, "published": 2}
    present = sorted((dot for panel in dots for dot in panel), key=lambda dot: order[dot.kind])
    rows = list(dict.fromkeys(dot.row for dot in present))

    def draw(ax: Axes, number: int) -> None:
        plots.draw_scores(ax, rows, dots[number], _axis(panels[number]))

    figure = _grid(panels, draw, height=0.62 + 0.16 * max(len(rows), 2), share_rows=True)
    said = [f"Bars are {_levels(panels)} intervals."]
    if any(len({dot.row for dot in panel}) < len(rows) for panel in dots):
        said.append("A row without a mark has no value there.")
    if any(dot.kind == "baseline" for dot in present):
        said.append("Open circles are systems without a model.")
    sources = _sources(panels)
    if sources:
        said.append(f"Grey ticks are published values: {'; '.join(sources)}.")
    shown = ", ".join(f"{section.title} ({_main(section)[0]})" for section in panels)
    files = plots.save(figure)
    return Picture(stem, f"scores with intervals of {shown}", " ".join([f"{shown}.", *said]), files)


def _dots(section: Section, names: Mapping[str, str]) -> list[Dot]:
    metric = _main(section)[0]
    dots = []
    for label, kind, estimates in systems(section):
        estimate = estimates.get(metric)
        if estimate is None:
            continue
        name = names[label] if kind == "checkpoint" else shorten(label, _LABEL)
        number = list(names).index(label) if kind == "checkpoint" else 0
        dots.append(Dot(name, estimate.value, estimate.low, estimate.high, kind, number))
    for row in section.references:
        if row["metric"] == metric:
            name = f"{shorten(row['model'], 14)}, {_author(row)}"
            dots.append(Dot(name, float(row["value"]), kind="published"))
    return dots


def _size_pictures(sections: Sequence[Section], names: Mapping[str, str]) -> Iterator[Picture]:
    """Score against parameters, where there are at least two sizes to compare."""
    panels = [section for section in sections if len(_sizes(section)) > 1]
    for page, start in enumerate(range(0, len(panels), _PANELS), start=1):
        suffix = f"-{page}" if len(panels) > _PANELS else ""
        yield _size_picture(f"size{suffix}", panels[start : start + _PANELS], names)


def _size_picture(stem: str, panels: Sequence[Section], names: Mapping[str, str]) -> Picture:
    curves = [_reference_curves(section) for section in panels]
    # One axis for all panels, or the eye compares places that mean different sizes.
    every = [size for section in panels for size in _sizes(section)]
    limits = (min(every), max(every))

    def draw(ax: Axes, number: int) -> None:
        section = panels[number]
        sizes = {
            names[label]: float(result.checkpoint.get("parameters") or 0)
            for label, result in section.results.items()
        }
        dots = [
            (sizes[dot.label], dot)
            for dot in _dots(section, names)
            if dot.kind == "checkpoint" and sizes[dot.label]
        ]
        plots.draw_sizes(ax, dots, curves[number], _axis(section), limits)

    figure = _grid(panels, draw, height=1.95)
    plots.legend_below(figure, columns=2 if len(panels) == 1 else 4)
    shown = ", ".join(f"{section.title} ({_main(section)[0]})" for section in panels)
    caption = f"Score against number of parameters: {shown}. "
    caption += f"Bars are {_levels(panels)} intervals; dots of one size stand side by side."
    sources = _sources(panels)
    if any(curves):
        caption += f" Dashed lines join published values: {'; '.join(sources)}."
    files = plots.save(figure)
    return Picture(stem, f"score against number of parameters of {shown}", caption, files)


def _sizes(section: Section) -> set[float]:
    """The distinct parameter counts that the main metric has a value for."""
    metric = _main(section)[0]
    sizes = {
        float(result.checkpoint.get("parameters") or 0)
        for result in section.results.values()
        if metric in result.metrics and math.isfinite(result.metrics[metric].value)
    }
    for points in _reference_curves(section).values():
        sizes |= {size for size, _ in points}
    return sizes - {0.0}


def _reference_curves(section: Section) -> dict[str, list[tuple[float, float]]]:
    """Published values of the main metric by source; a source with one size makes no curve."""
    found: dict[str, list[tuple[float, float]]] = {}
    for row in section.references:
        if row["metric"] == _main(section)[0] and row.get("parameters"):
            source = f"published: {_author(row)}"
            found.setdefault(source, []).append((float(row["parameters"]), float(row["value"])))
    return {source: points for source, points in found.items() if len(points) > 1}


def _position_pictures(sections: Sequence[Section], names: Mapping[str, str]) -> Iterator[Picture]:
    """Loss by position for each section whose records hold long scored texts."""
    for section in sections:
        if section.first.task.get("kind") != "likelihood":
            continue
        curves = {label: curve for label, curve in _curves(section) if curve is not None}
        if curves:
            yield _position_picture(section, curves, names)


def _curves(section: Section) -> Iterator[tuple[str, Curve | None]]:
    for label, result in section.results.items():
        if result.path and (result.path / RECORDS).is_file():
            yield label, loss_by_position(read_records(result.path))


def _position_picture(
    section: Section, curves: Mapping[str, Curve], names: Mapping[str, str]
) -> Picture:
    looks = {names[label]: number for number, label in enumerate(names)}

    def draw(ax: Axes, _: int) -> None:
        plots.draw_positions(ax, {names[label]: curve for label, curve in curves.items()}, looks)

    figure = _grid([section], draw, height=2.1 + 0.06 * len(curves))
    plots.legend_below(figure, columns=2)
    clusters = "; ".join(dict.fromkeys(curve.clusters for curve in curves.values()))
    caption = (
        f"{section.title}: mean loss of a token against the number of tokens before it, in bins of "
        f"powers of two. Bands and bars are 95 % intervals, by Student's t between {clusters}."
    )
    if any(np.isnan(curve.half).any() for curve in curves.values()):
        few = "of these" if len(clusters.split("; ")) > 1 else clusters.split()[-1]
        caption += f" A point without one has tokens of fewer than {FEWEST} {few}."
    header = ["checkpoint", "context_first", "context_last", "nats_per_token", "standard_error"]
    rows = [
        [label, *(cell.item() for cell in cells), curve.clusters, data_mark(section.first)]
        for label, curve in curves.items()
        for cells in zip(
            curve.first,
            curve.last,
            curve.mean,
            curve.error,
            curve.tokens,
            curve.counts,
            strict=True,
        )
    ]
    return Picture(
        f"position-{section.stem}",
        f"loss by position in context of {section.title}",
        caption,
        plots.save(figure),
        section.title,
        ([*header, "tokens", "clusters", "error_between", "notice"], rows),
    )


def _reliability_pictures(
    sections: Sequence[Section], names: Mapping[str, str]
) -> Iterator[Picture]:
    """Accuracy by confidence for each section that measures calibration."""
    for section in sections:
        if CALIBRATION in section.metrics:
            curves = {
                label: reliability(read_records(result.path))
                for label, result in section.results.items()
                if result.path and (result.path / RECORDS).is_file()
            }
            curves = {label: bins for label, bins in curves.items() if bins}
            if curves:
                yield _reliability_picture(section, curves, names)


def _reliability_picture(
    section: Section, curves: Mapping[str, Sequence[Bin]], names: Mapping[str, str]
) -> Picture:
    looks = {names[label]: number for number, label in enumerate(names)}

    def draw(ax: Axes, _: int) -> None:
        plots.draw_reliability(ax, {names[label]: bins for label, bins in curves.items()}, looks)

    figure = _grid([section], draw, height=2.3 + 0.06 * len(curves))
    plots.legend_below(figure, columns=2)
    caption = (
        f"{section.title}: how often the model is right against how sure it is, in bins of equal"
        " width of the probability it gives to its choice. Bars are 95 % Wilson intervals; on the"
        " diagonal confidence and accuracy agree."
    )
    header = ["checkpoint", "samples", "confidence", "accuracy", "low", "high", "notice"]
    rows = [
        [label, *astuple(each), data_mark(section.first)]
        for label, bins in curves.items()
        for each in bins
    ]
    return Picture(
        f"reliability-{section.stem}",
        f"accuracy by confidence of {section.title}",
        caption,
        plots.save(figure),
        section.title,
        (header, rows),
    )


def _grid(
    panels: Sequence[Section],
    draw: Callable[[Axes, int], None],
    height: float,
    share_rows: bool = False,
) -> Figure:
    """A figure with one panel a section: a column wide for one, two columns wide for more.

    height  inches of one row of panels
    """
    columns = min(len(panels), 2 if len(panels) == 4 else 3)
    lines = math.ceil(len(panels) / columns)
    # Lines of a title take room from the panel under it.
    titles = [_title(section) for section in panels]
    height += 0.12 * (max(len(title) for title in titles) - 1)
    figure = Figure(
        (SINGLE if columns == 1 else DOUBLE, height * lines + 0.25), layout="constrained"
    )
    axes = figure.subplots(lines, columns, squeeze=False).flatten().tolist()
    for number in range(len(panels)):
        draw(axes[number], number)
        axes[number].set_title("\n".join(titles[number]))
        if share_rows and number % columns:
            axes[number].tick_params(axis="y", labelleft=False)
    for ax in axes[len(panels) :]:
        ax.remove()
    return figure


def _title(section: Section) -> list[str]:
    """Lines over a panel: its name, and what must be known about its data."""
    marks = data_mark(section.first).split("; ")
    lines = [line for mark in marks for line in wrap(mark, _TITLE)]
    return [shorten(section.title, _TITLE), *lines]


def _main(section: Section) -> tuple[str, Estimate]:
    """The main metric: the first one the protocol names."""
    return next(iter(section.metrics.items()))


def _axis(section: Section) -> Axis:
    metric, shown = _main(section)
    name = plain(metric).replace("_", " ")
    if shown.unit == "fraction":
        return Axis(f"{name} (%)", shown.higher_is_better, factor=100.0)
    # "word perplexity (perplexity)" says nothing twice.
    unit = "" if shown.unit in name else f" ({plain(shown.unit)})"
    return Axis(f"{name}{unit}", shown.higher_is_better)


def _author(row: Mapping[str, Any]) -> str:
    """Who published a value, as short as a plot needs it; the caption has the whole source."""
    return shorten(str(row.get("source", "")).partition(",")[0], 20)


def _levels(panels: Sequence[Section]) -> str:
    levels = dict.fromkeys(format_level(_main(section)[1].level) for section in panels)
    return " or ".join(levels)


def _sources(panels: Sequence[Section]) -> list[str]:
    """Where the published values of the main metrics come from."""
    rows = [
        row
        for section in panels
        for row in section.references
        if row["metric"] == _main(section)[0]
    ]
    return list(dict.fromkeys(plain(row.get("source", "")) for row in rows))
