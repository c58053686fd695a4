"""Figures over something that grows: training steps, context, how frequent a target is."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple
from typing import Any

from matplotlib.axes import Axes

from gpt2eval.labels import training_step
from gpt2eval.report import plots
from gpt2eval.report.panels import (
    LABEL,
    Picture,
    grid,
    left_out,
    levels,
    lines_of,
    main_metric,
    pages,
    score_axis,
)
from gpt2eval.report.plots import Dot
from gpt2eval.report.samples import (
    FEWEST,
    Fared,
    Rate,
    by_context,
    by_frequency,
    right_or_wrong,
    samples_of,
)
from gpt2eval.report.sections import Section, data_mark
from gpt2eval.report.text import plain, shorten
from gpt2eval.results import RECORDS, read_records, trusting

# ---- learning curves ----------------------------------------------------------------------------


Chosen = Mapping[tuple[str, str], tuple[int, Collection[int]]]
"""(title of a section, training run) -> step of the best checkpoint, and steps of the set."""


def learning_pictures(
    sections: Sequence[Section], chosen: Chosen | None = None
) -> Iterator[Picture]:
    """The main metric by training step, where a training run has two checkpoints or more.

    chosen  the best checkpoint of each run by that metric, and which others may be the best
    """
    panels = [section for section in sections if _runs(section)]
    for stem, members in pages("learning", panels):
        yield _learning_picture(stem, members, chosen or {})


def _runs(section: Section) -> dict[str, list[tuple[int, Dot]]]:
    """Training run -> (step, dot) in the order of steps; runs of one checkpoint are left out."""
    metric = main_metric(section)[0]
    found: dict[str, list[tuple[int, Dot]]] = {}
    for result in section.results.values():
        step = training_step(result)
        estimate = result.metrics.get(metric)
        if step and estimate:
            dot = Dot(step[0], estimate.value, estimate.low, estimate.high)
            found.setdefault(step[0], []).append((step[1], dot))
    return {
        run: sorted(dots, key=lambda each: each[0])
        for run, dots in found.items()
        if len({step for step, _ in dots}) > 1
    }


def _learning_picture(stem: str, panels: Sequence[Section], chosen: Chosen) -> Picture:
    runs = [_runs(section) for section in panels]
    looks = {
        run: number for number, run in enumerate(dict.fromkeys(r for each in runs for r in each))
    }

    def draw(ax: Axes, number: int) -> None:
        shown = {shorten(run, LABEL): dots for run, dots in runs[number].items()}
        numbers = {shorten(run, LABEL): looks[run] for run in runs[number]}
        marks = {
            shorten(run, LABEL): chosen[title, run]
            for run in runs[number]
            if (title := panels[number].title, run) in chosen
        }
        plots.draw_learning(ax, shown, numbers, score_axis(panels[number]), marks)

    figure = grid(panels, draw, height=1.95)
    shown = ", ".join(f"{section.title} ({main_metric(section)[0]})" for section in panels)
    caption = f"Score by training step: {shown}. Bars are {levels(panels)} intervals."
    if any((section.title, run) in chosen for section in panels for run in _runs(section)):
        caption += (
            " A star is the best checkpoint of a run; rings are those that cannot be told from it"
            " (95 % confidence set of the best, paired over samples)."
        )
    rows = [
        [
            *(section.title, run, step, dot.value, dot.low, dot.high),
            *(_mark(chosen.get((section.title, run)), step), data_mark(section.first)),
        ]
        for section, each in zip(panels, runs, strict=True)
        for run, dots in each.items()
        for step, dot in dots
    ]
    header = ["task@protocol", "run", "step", "value", "low", "high", "choice", "notice"]
    return Picture(
        stem, f"score by training step of {shown}", caption, plots.save(figure), "", (header, rows)
    )


def _mark(chosen: tuple[int, Collection[int]] | None, step: int) -> str:
    """What a checkpoint is among those of its run; empty where it is not the best."""
    if chosen is None:
        return ""
    best, members = chosen
    return "best" if step == best else "may be the best" if step in members else ""


# ---- accuracy by what a sample is like ----------------------------------------------------------


def rate_pictures(sections: Sequence[Section], names: Mapping[str, str]) -> Iterator[Picture]:
    """Accuracy by context length and by target frequency, where samples are right or wrong."""
    fared = {section.title: _fared(section) for section in sections}
    kinds: tuple[tuple[str, Callable[[Iterable[Fared]], list[Rate]], str, str], ...] = (
        (
            "context",
            by_context,
            "tokens before the target",
            "Accuracy by the number of tokens before the first one that is scored, in bins that"
            " hold about equally many samples",
        ),
        (
            "frequency",
            by_frequency,
            "times the target occurs",
            "Accuracy by how often a sample's target is the target among all evaluated samples;"
            f" bins with fewer than {FEWEST} samples are joined",
        ),
    )
    for stem, binned, axis, words in kinds:
        curves = {}
        for section in sections:
            with trusting(section.title):
                rates = {
                    label: binned(samples.values())
                    for label, samples in fared[section.title].items()
                }
            curves[section.title] = {label: found for label, found in rates.items() if found}
        panels = [section for section in sections if curves[section.title]]
        for name, members in pages(stem, panels):
            yield _rate_picture(
                name, members, [curves[s.title] for s in members], axis, words, names
            )


def _fared(section: Section) -> dict[str, dict[str, Fared]]:
    """Label -> sample id -> how it fared, by the first share of samples that are right."""
    metric = next((name for name, each in section.metrics.items() if each.unit == "fraction"), None)
    found = {}
    for label, result in lines_of(section).items():
        if metric and result.path and (result.path / RECORDS).is_file():
            with trusting(section.title):
                samples = samples_of(read_records(result.path), metric)
            if right_or_wrong(samples):
                found[label] = samples
    return found


def _rate_picture(
    stem: str,
    panels: Sequence[Section],
    curves: Sequence[Mapping[str, Sequence[Rate]]],
    axis: str,
    words: str,
    names: Mapping[str, str],
) -> Picture:
    looks = {names[label]: number for number, label in enumerate(names)}

    def draw(ax: Axes, number: int) -> None:
        shown = {names[label]: rates for label, rates in curves[number].items()}
        plots.draw_rates(ax, shown, looks, axis)

    figure = grid(panels, draw, height=1.95)
    plots.name_lines(figure, columns=2 if len(panels) == 1 else 4)
    titles = ", ".join(section.title for section in panels)
    rows: list[list[Any]] = [
        [section.title, label, *astuple(rate), data_mark(section.first)]
        for section, each in zip(panels, curves, strict=True)
        for label, rates in each.items()
        for rate in rates
    ]
    header = ["task@protocol", "checkpoint", "first", "last", "samples", "accuracy", "low", "high"]
    return Picture(
        stem,
        f"accuracy by {axis} of {titles}",
        f"{words}: {plain(titles)}. Bars are 95 % Wilson intervals.{left_out(panels)}",
        plots.save(figure),
        "",
        ([*header, "notice"], rows),
    )
