"""Figures of two checkpoints side by side: differences with intervals, and sample by sample."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gpt2eval.report import plots
from gpt2eval.report.panels import LABEL, Picture, grid, main_metric
from gpt2eval.report.plots import DOUBLE, Difference
from gpt2eval.report.samples import right_or_wrong, samples_of
from gpt2eval.report.sections import Section, data_mark, distinguish, file_stems
from gpt2eval.report.significance import Significance, tests_in_words
from gpt2eval.report.text import format_level, format_p, plain, shorten
from gpt2eval.results import RECORDS, read_records, trusting
from gpt2eval.types import Comparison

_ROWS = 24  # of one forest plot; more become a second one
_FIGURES = 2  # of one kind; what is left stands in the numbers of the first
_COMPARED = "task metric baseline candidate unit difference low high p p_corrected test n".split()
_UNITS = {"fraction": "percentage points", "perplexity": "perplexity", "bits": "bits"}


def difference_pictures(
    sections: Sequence[Section], names: Mapping[str, str], compared: Significance
) -> Iterator[Picture]:
    """Forest plots of the main metrics' differences, one for each unit and direction."""
    grouped: dict[tuple[str, bool | None], list[tuple[Comparison, str]]] = {}
    for section in sections:
        for each in compared.of(section):
            if each.metric == main_metric(section)[0] and not each.part:
                key = (each.unit, each.higher_is_better)
                grouped.setdefault(key, []).append((each, data_mark(section.first)))
    words = {True: "higher", False: "lower", None: "neither"}
    directions = [words[higher] for _, higher in grouped]
    stems = file_stems(distinguish([f"differences-{unit}" for unit, _ in grouped], directions))
    for stem, members in zip(stems, grouped.values(), strict=True):
        # One candidate's tasks stand together.
        ordered = [
            pair
            for candidate in dict.fromkeys(each.candidate for each, _ in members)
            for pair in members
            if pair[0].candidate == candidate
        ]
        for start in range(0, min(len(ordered), _FIGURES * _ROWS), _ROWS):
            name = f"{stem}-{start // _ROWS + 1}" if len(ordered) > _ROWS else stem
            drawn = ordered[start : start + _ROWS]
            # The first figure's numbers are those of all of them.
            yield _difference_picture(name, drawn, ordered if start == 0 else drawn, names)


def _difference_picture(
    stem: str,
    members: Sequence[tuple[Comparison, str]],
    numbers: Sequence[tuple[Comparison, str]],
    names: Mapping[str, str],
) -> Picture:
    shown = [each for each, _ in members]
    factor = 100.0 if shown[0].unit == "fraction" else 1.0
    rows = [
        Difference(
            group=names[each.candidate],
            label=f"{shorten(each.task, 30)}, {shorten(each.metric.replace('_', ' '), LABEL)}",
            value=factor * each.difference,
            low=None if each.low is None else factor * each.low,
            high=None if each.high is None else factor * each.high,
            note="" if each.p_corrected is None else f"p {format_p(each.p_corrected)}",
            clear=each.significant(),
        )
        for each in shown
    ]
    lines = len(rows) + len({row.group for row in rows})
    marks = list(dict.fromkeys(mark for _, mark in members if mark))
    figure = Figure((DOUBLE, 0.62 + 0.17 * (lines + len(marks))), layout="constrained")
    ax = figure.subplots()
    ax.set_title("\n".join(marks))  # in the picture too: it leaves the report without its caption
    unit = _UNITS.get(shown[0].unit, plain(shown[0].unit))
    baseline = names[shown[0].baseline]
    plots.draw_differences(ax, rows, unit, baseline, shown[0].higher_is_better)
    levels = " or ".join(dict.fromkeys(format_level(each.level) for each in shown))
    caption = (
        f"Difference from {plain(shown[0].baseline)} with {levels} intervals, over the samples that"
        " both checkpoints have. Filled: corrected p below 0.05."
    )
    if tests := tests_in_words(shown):
        caption += f" {tests[:1].upper()}{tests[1:]}."
    if len(numbers) > _FIGURES * _ROWS:
        caption += f" The numbers hold all {len(numbers):,} comparisons, the figures fewer."
    caption += "".join(f" {mark[:1].upper()}{mark[1:]}." for mark in marks)
    header = ["task@protocol", *_COMPARED[1:], "notice"]
    table = [[*(getattr(each, name) for name in _COMPARED), mark] for each, mark in numbers]
    alt = f"differences from {plain(shown[0].baseline)} in {unit}"
    return Picture(stem, alt, caption, plots.save(figure), "", (header, table))


# ---- sample by sample ---------------------------------------------------------------------------


def scatter_pictures(
    sections: Sequence[Section], names: Mapping[str, str], baseline: str
) -> Iterator[Picture]:
    """Each sample's value under two checkpoints, for sections of just two or with the baseline."""
    for section in sections:
        pair = _pair(section, baseline)
        with trusting(section.title):
            found = pair and _graded(section, pair)
        if pair and found:
            yield _scatter_picture(section, pair, *found, names)


def _pair(section: Section, baseline: str) -> tuple[str, str] | None:
    """The two checkpoints of a section; of more, nobody would know which two to look at."""
    labels = list(section.results)
    if len(labels) != 2:
        return None
    first, second = labels
    return (second, first) if second == baseline else (first, second)


def _graded(
    section: Section, pair: tuple[str, str]
) -> tuple[str, list[tuple[str, float, float]]] | None:
    """The first metric by which single samples differ in degree, and both values of each sample."""
    paths = [section.results[label].path for label in pair]
    if not all(path and (path / RECORDS).is_file() for path in paths):
        return None
    records = [list(read_records(path)) for path in paths if path]
    for metric in section.metrics:
        one, other = (samples_of(each, metric) for each in records)
        common = [name for name in one if name in other]
        if len(common) > 2 and not right_or_wrong(one) and not right_or_wrong(other):
            return metric, [(name, one[name].value, other[name].value) for name in common]
    return None


def _scatter_picture(
    section: Section,
    pair: tuple[str, str],
    metric: str,
    points: Sequence[tuple[str, float, float]],
    names: Mapping[str, str],
) -> Picture:
    shown = section.metrics[metric]
    # What is averaged before exp is taken is the loss, and the loss is what a sample has.
    loss = shown.unit in ("perplexity", "bits")
    per = shown.denominator.strip().partition(" ")[2]
    each = per.removesuffix("s") if re.fullmatch("[a-z]+s", per) else per
    what = f"loss (nats per {each or 'unit'})" if loss else metric.replace("_", " ")
    higher = False if loss else shown.higher_is_better
    # Shares stand in the unit that tables have them in.
    unit = {"fraction": " (%)", "points": " (points)"}.get(shown.unit, "")
    factor = 100.0 if unit else 1.0

    def draw(ax: Axes, _: int) -> None:
        one, other = (names[label] for label in pair)
        shown_points = [(factor * x, factor * y) for _, x, y in points]
        plots.draw_scatter(ax, shown_points, (one, other), f"{what}{unit}", higher)

    figure = grid([section], draw, height=3.0)
    caption = (
        f"{section.title}: {what} of each of {len(points):,} samples under {plain(pair[0])} and"
        f" {plain(pair[1])}. On the diagonal both fare alike."
    )
    rows = [[name, x, y, data_mark(section.first)] for name, x, y in points]
    return Picture(
        f"scatter-{section.stem}",
        f"{what} of each sample of {section.title} under two checkpoints",
        caption,
        plots.save(figure),
        section.title,
        (["sample", *pair, "notice"], rows),
    )
