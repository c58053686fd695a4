"""Which figures a report has: picks the data of each and lays out the axes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from gpt2eval.report import plots
from gpt2eval.report.curves import Chosen, learning_pictures, rate_pictures
from gpt2eval.report.pairs import difference_pictures, scatter_pictures
from gpt2eval.report.panels import (
    LABEL,
    Picture,
    grid,
    left_out,
    levels,
    lines_of,
    main_metric,
    pages,
    plot_names,
    score_axis,
)
from gpt2eval.report.plots import Dot
from gpt2eval.report.position import FEWEST, Curve, loss_by_position
from gpt2eval.report.reliability import METRIC as CALIBRATION
from gpt2eval.report.reliability import Bin, reliability
from gpt2eval.report.sections import Section, data_mark, distinguish, file_stems
from gpt2eval.report.significance import Significance
from gpt2eval.report.tables import systems
from gpt2eval.report.text import plain, shorten
from gpt2eval.results import RECORDS, read_records, trusting


def draw_scores(
    sections: Sequence[Section], compared: Significance, style: str, chosen: Chosen | None
) -> list[Picture]:
    """The figures that are made of scores and comparisons."""
    names = plot_names(sections)
    sections = [section for section in sections if section.metrics]
    with plots.style(style):
        return [
            *_score_pictures(sections, names),
            *difference_pictures(sections, names, compared),
            *learning_pictures(sections, chosen),
            *_size_pictures(sections, names),
        ]


def draw_samples(sections: Sequence[Section], compared: Significance, style: str) -> list[Picture]:
    """The figures that are made of the records of single samples."""
    names = plot_names(sections)
    sections = [section for section in sections if section.metrics]
    with plots.style(style):
        return [
            *rate_pictures(sections, names),
            *scatter_pictures(sections, names, compared.baseline),
            *_position_pictures(sections, names),
            *_reliability_pictures(sections, names),
        ]


def _score_pictures(sections: Sequence[Section], names: Mapping[str, str]) -> Iterator[Picture]:
    """The main metric of each section, panels of one unit and one kind of task together."""
    grouped: dict[tuple[str, str], list[Section]] = {}
    for section in sections:
        unit = main_metric(section)[1].unit
        grouped.setdefault((unit, str(section.first.task.get("kind", ""))), []).append(section)
    kinds = [unit for unit, _ in grouped]
    stems = file_stems(distinguish(kinds, [kind for _, kind in grouped]))
    for stem, members in zip(stems, grouped.values(), strict=True):
        for name, panels in pages(f"scores-{stem}", members):
            yield _score_picture(name, panels, names)


def _score_picture(stem: str, panels: Sequence[Section], names: Mapping[str, str]) -> Picture:
    dots = [_dots(section, names) for section in panels]
    order = {"checkpoint": 0, "baseline": 1, "published": 2}
    present = sorted((dot for panel in dots for dot in panel), key=lambda dot: order[dot.kind])
    rows = list(dict.fromkeys(dot.row for dot in present))

    def draw(ax: Axes, number: int) -> None:
        plots.draw_scores(ax, rows, dots[number], score_axis(panels[number]))

    figure = grid(panels, draw, height=0.62 + 0.16 * max(len(rows), 2), share_rows=True)
    barred = any(dot.low is not None for panel in dots for dot in panel)
    said = [f"Bars are {levels(panels)} intervals."] if barred else []
    if any(len({dot.row for dot in panel}) < len(rows) for panel in dots):
        said.append("A row without a mark has no value there.")
    if any(dot.kind == "baseline" for dot in present):
        said.append("Open circles are systems without a model.")
    sources = _sources(panels)
    if sources:
        said.append(f"Grey ticks are published values: {'; '.join(sources)}.")
    shown = ", ".join(f"{section.title} ({main_metric(section)[0]})" for section in panels)
    files = plots.save(figure)
    return Picture(stem, f"scores with intervals of {shown}", " ".join([f"{shown}.", *said]), files)


def _dots(section: Section, names: Mapping[str, str]) -> list[Dot]:
    metric = main_metric(section)[0]
    dots = []
    for label, kind, estimates in systems(section):
        estimate = estimates.get(metric)
        if estimate is None:
            continue
        name = names[label] if kind == "checkpoint" else shorten(label, LABEL)
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
    for stem, members in pages("size", panels):
        yield _size_picture(stem, members, names)


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
        plots.draw_sizes(ax, dots, curves[number], score_axis(section), limits)

    figure = grid(panels, draw, height=1.95)
    plots.legend_below(figure, columns=2 if len(panels) == 1 else 4)
    shown = ", ".join(f"{section.title} ({main_metric(section)[0]})" for section in panels)
    caption = f"Score against number of parameters: {shown}. "
    caption += f"Bars are {levels(panels)} intervals; dots of one size stand side by side."
    sources = _sources(panels)
    if any(curves):
        caption += f" Dashed lines join published values: {'; '.join(sources)}."
    files = plots.save(figure)
    return Picture(stem, f"score against number of parameters of {shown}", caption, files)


def _sizes(section: Section) -> set[float]:
    """The distinct parameter counts that the main metric has a value for."""
    metric = main_metric(section)[0]
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
        if row["metric"] == main_metric(section)[0] and row.get("parameters"):
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
    for label, result in lines_of(section).items():
        if result.path and (result.path / RECORDS).is_file():
            with trusting(section.title):
                curve = loss_by_position(read_records(result.path))
            yield label, curve


def _position_picture(
    section: Section, curves: Mapping[str, Curve], names: Mapping[str, str]
) -> Picture:
    looks = {names[label]: number for number, label in enumerate(names)}

    def draw(ax: Axes, _: int) -> None:
        plots.draw_positions(ax, {names[label]: curve for label, curve in curves.items()}, looks)

    figure = grid([section], draw, height=2.1 + 0.06 * len(curves))
    plots.name_lines(figure, columns=2)
    clusters = "; ".join(dict.fromkeys(curve.clusters for curve in curves.values()))
    caption = (
        f"{section.title}: mean loss of a token against the number of tokens before it, in bins of "
        f"powers of two. Bands and bars are 95 % intervals, by Student's t between {clusters}."
        f"{left_out([section])}"
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
            with trusting(section.title):
                curves = {
                    label: reliability(read_records(result.path))
                    for label, result in lines_of(section).items()
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

    figure = grid([section], draw, height=2.3 + 0.06 * len(curves))
    plots.name_lines(figure, columns=2)
    caption = (
        f"{section.title}: how often the model is right against how sure it is, in bins of equal"
        " width of the probability it gives to its choice. Bars are 95 % Wilson intervals; on the"
        f" diagonal confidence and accuracy agree.{left_out([section])}"
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


def _author(row: Mapping[str, Any]) -> str:
    """Who published a value, as short as a plot needs it; the caption has the whole source."""
    return shorten(str(row.get("source", "")).partition(",")[0], 20)


def _sources(panels: Sequence[Section]) -> list[str]:
    """Where the published values of the main metrics come from."""
    rows = [
        row
        for section in panels
        for row in section.references
        if row["metric"] == main_metric(section)[0]
    ]
    return list(dict.fromkeys(plain(row.get("source", "")) for row in rows))
