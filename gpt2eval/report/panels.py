"""What figures share: a finished picture, panels in a grid, and the main metric on an axis."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from textwrap import wrap
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gpt2eval.report.plots import DOUBLE, SINGLE, Axis
from gpt2eval.report.sections import Section, data_mark, distinguish
from gpt2eval.report.tables import all_labels
from gpt2eval.report.text import format_level, plain, shorten
from gpt2eval.types import Estimate, Result

LABEL = 24  # characters of a name that a plot has room for; tables print it whole
TITLE = 34  # characters that fit over the narrowest panel
PANELS = 6  # panels of one figure; more become a second one
LINES = 8  # checkpoints with a line in a plot; nobody tells more of them apart


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


def plot_names(sections: Sequence[Section]) -> dict[str, str]:
    """Each label cut to what fits, still unique; one name per checkpoint in all figures."""
    labels = all_labels(sections)
    return dict(zip(labels, distinguish([shorten(x, LABEL) for x in labels]), strict=True))


def pages(stem: str, panels: Sequence[Section]) -> Iterator[tuple[str, Sequence[Section]]]:
    """File name and panels of each figure: as many figures as it takes."""
    for page, start in enumerate(range(0, len(panels), PANELS), start=1):
        yield (f"{stem}-{page}" if len(panels) > PANELS else stem), panels[start : start + PANELS]


def lines_of(section: Section) -> dict[str, Result]:
    """The checkpoints that get a line, by label: the first ones of the section."""
    return dict(list(section.results.items())[:LINES])


def left_out(panels: Sequence[Section]) -> str:
    """What a caption says where some checkpoints have no line."""
    most = max(len(section.results) for section in panels)
    return f" The first {LINES} of {most} checkpoints are shown." if most > LINES else ""


def grid(
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
    notices = [_notice(section) for section in panels]
    # What is true of all panels is said once, over all of them.
    shared = (
        "\n".join(notices[0]) if columns > 1 and notices.count(notices[0]) == len(panels) else ""
    )
    titles = [
        [_title(section), *([] if shared else notice)]
        for section, notice in zip(panels, notices, strict=True)
    ]
    height += 0.12 * (max(len(title) for title in titles) - 1)
    figure = Figure(
        (SINGLE if columns == 1 else DOUBLE, height * lines + 0.25), layout="constrained"
    )
    if shared:
        figure.suptitle(shared)
    axes = figure.subplots(lines, columns, squeeze=False).flatten().tolist()
    for number in range(len(panels)):
        draw(axes[number], number)
        axes[number].set_title("\n".join(titles[number]))
        if share_rows and number % columns:
            axes[number].set_yticks([])
    for ax in axes[len(panels) :]:
        ax.remove()
    return figure


def _title(section: Section) -> str:
    """The name of a panel, without what the notice says already."""
    return shorten(section.title.removesuffix(f" ({data_mark(section.first)})"), TITLE)


def _notice(section: Section) -> list[str]:
    """Lines that say what must be known about the data of a panel."""
    return [line for mark in data_mark(section.first).split("; ") for line in wrap(mark, TITLE)]


def main_metric(section: Section) -> tuple[str, Estimate]:
    """The main metric: the first one the protocol names."""
    return next(iter(section.metrics.items()))


def score_axis(section: Section) -> Axis:
    """The axis of the main metric; fractions as percentages."""
    metric, shown = main_metric(section)
    name = plain(metric).replace("_", " ")
    if shown.unit == "fraction":
        return Axis(f"{name} (%)", shown.higher_is_better, factor=100.0)
    # "word perplexity (perplexity)" says nothing twice.
    unit = "" if shown.unit in name else f" ({plain(shown.unit)})"
    return Axis(f"{name}{unit}", shown.higher_is_better)


def levels(panels: Sequence[Section]) -> str:
    """The levels of the intervals of the main metrics."""
    levels = dict.fromkeys(format_level(main_metric(section)[1].level) for section in panels)
    return " or ".join(levels)
