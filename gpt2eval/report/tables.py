"""Tables: the summary over everything, and one for each section, as Markdown and as CSV.

Markdown is for reading, CSV for computing: the CSV files hold unrounded numbers, one to a cell.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

import pandas as pd

from gpt2eval.published import judge
from gpt2eval.report.sections import Section, data_mark, data_words
from gpt2eval.report.text import (
    NOTHING,
    SAMPLE_NOTICE,
    csv_text,
    direction,
    format_count,
    format_estimate,
    format_level,
    format_value,
    markdown,
    with_arrow,
)
from gpt2eval.types import Comparison, Estimate, Result


def markdown_table(
    header: Sequence[str], rows: Iterable[Sequence[str]], text_columns: int = 1
) -> str:
    """A pipe table of cells that are Markdown already; numbers, after the text, stand right."""
    rule = ["---" if column < text_columns else "---:" for column in range(len(header))]
    lines = ("| " + " | ".join(cells) + " |" for cells in (header, rule, *rows))
    return "\n".join(lines)


def best_labels(estimates: Mapping[str, Estimate]) -> set[str]:
    """The checkpoints with the best value as printed; empty where there is nothing to choose.

    Where neither direction is better, nothing is best. Values that print alike are ties: bold must
    never prefer one of two equal-looking numbers.
    """
    known = {label: each for label, each in estimates.items() if not math.isnan(each.value)}
    if len(estimates) < 2 or not known:
        return set()
    first = next(iter(known.values()))
    if first.higher_is_better is None:
        return set()
    pick = max if first.higher_is_better else min
    best = format_value(pick(each.value for each in known.values()), first.unit)
    found = {label for label, each in known.items() if format_value(each.value, each.unit) == best}
    return found if len(found) < len(estimates) else set()


def summary_markdown(sections: Sequence[Section]) -> str:
    """A row for each task@protocol and metric, a column for each checkpoint."""
    labels = all_labels(sections)
    header = ["task@protocol", "metric", "data", *(markdown(label) for label in labels)]
    rows = []
    for section in sections:
        for metric, shown in section.metrics.items():
            estimates = estimates_of(section, metric)
            best = best_labels(estimates)
            cells = [_cell(estimates.get(label), label in best) for label in labels]
            named = with_arrow(markdown(metric), shown.higher_is_better)
            rows.append(
                [markdown(section.title), named, markdown(data_words(section.first)), *cells]
            )
    return "\n\n".join([markdown_table(header, rows, text_columns=3), _legend(sections)])


def summary_csv(sections: Sequence[Section]) -> str:
    """The summary with unrounded numbers: value, low and high of each checkpoint."""
    labels = all_labels(sections)
    header = ["task@protocol", "metric", "unit", "higher_is_better", "notice"]
    header += [f"{label}{suffix}" for label in labels for suffix in ("", " low", " high")]
    rows = []
    for section in sections:
        for metric, shown in section.metrics.items():
            row: list[Any] = [section.title, metric, shown.unit, shown.higher_is_better]
            row.append(data_mark(section.first))
            for label in labels:
                estimate = estimates_of(section, metric).get(label)
                row += [estimate.value, estimate.low, estimate.high] if estimate else [None] * 3
            rows.append(row)
    return to_csv(header, rows)


def section_markdown(section: Section) -> str:
    """All systems and metrics of a section, then how each metric was made."""
    metrics = section.metrics
    header = ["system", "what it is", "n"]
    header += [with_arrow(markdown(name), each.higher_is_better) for name, each in metrics.items()]
    rows = []
    best = {metric: best_labels(estimates_of(section, metric)) for metric in metrics}
    for label, kind, estimates in systems(section):
        is_checkpoint = kind == "checkpoint"
        cells = [
            _cell(estimates.get(metric), is_checkpoint and label in best[metric])
            for metric in metrics
        ]
        rows.append(
            [
                markdown(label),
                kind,
                distinct(format_count(e.n) for e in estimates.values() if not e.part),
                *cells,
            ]
        )
    for (model, source), values in published(section).items():
        cells = [
            format_value(values[metric], metrics[metric].unit) if metric in values else NOTHING
            for metric in metrics
        ]
        rows.append([markdown(model), f"published: {markdown(source)}", NOTHING, *cells])
    systems_table = markdown_table(header, rows, text_columns=2)
    tables = [systems_table, _legend([section]), metrics_markdown(section)]
    return "\n\n".join([*tables, *([parts_markdown(section)] if section.parts else [])])


def parts_markdown(section: Section) -> str:
    """A row for each metric over a part of the samples, a column for each system."""
    shown = list(systems(section))
    header = ["part", "n", *(markdown(label) for label, *_ in shown)]
    rows = []
    for name, each in section.parts.items():
        best = best_labels(estimates_of(section, name))
        cells = [
            _cell(estimates.get(name), kind == "checkpoint" and label in best)
            for label, kind, estimates in shown
        ]
        named = with_arrow(markdown(name), each.higher_is_better)
        rows.append([named, format_count(each.n), *cells])
    return markdown_table(header, rows)


def verdicts_markdown(section: Section) -> str:
    """What was published of the checkpoints themselves, and whether the numbers here agree."""
    rows = []
    for label, result in section.results.items():
        for judged in judge(result):
            row, found = judged.row, judged.found
            unit = found.unit if found else str(row.get("unit", ""))
            rows.append(
                [
                    markdown(label),
                    markdown(row["metric"]),
                    markdown(row.get("how", "")) or NOTHING,
                    markdown(row["source"]),
                    format_value(row["value"], unit),
                    format_value(found.value, unit) if found else NOTHING,
                    judged.words,
                ]
            )
    if not rows:
        return ""
    header = ["checkpoint", "metric", "protocol", "source", "published", "here", "verdict"]
    return "\n\n".join(
        [
            "Published values of the same checkpoints; the verdict says how far, of the published"
            " value, a match may lie from it.",
            markdown_table(header, rows, text_columns=4),
        ]
    )


def metrics_markdown(section: Section) -> str:
    """For each metric: direction, unit, denominator, interval and signature."""
    rows = []
    for metric, shown in section.metrics.items():
        estimates = list(estimates_of(section, metric).values())
        rows.append(
            [
                markdown(metric),
                direction(shown.higher_is_better),
                markdown(shown.unit),
                markdown(distinct(each.denominator for each in estimates)),
                markdown(distinct(each.method for each in estimates)),
                markdown(distinct(each.signature for each in estimates)) or NOTHING,
            ]
        )
    header = ["metric", "direction", "unit", "divided by", "interval", "signature"]
    return markdown_table(header, rows, text_columns=len(header))


def section_csv(section: Section) -> str:
    """A row for each system and metric, published values included and labelled as such."""
    header = "system kind metric value low high level method n unit denominator higher_is_better"
    rows: list[list[Any]] = []
    notice = data_mark(section.first)
    for label, kind, estimates in systems(section):
        for metric, e in estimates.items():
            row = [label, kind, metric, e.value, e.low, e.high, e.level, e.method, e.n, e.unit]
            rows.append([*row, e.denominator, e.higher_is_better, e.signature, "", notice])
    for (model, source), values in published(section).items():
        for metric, value in values.items():
            e = section.metrics[metric]
            row = [model, "published", metric, value, None, None, None, "", None, e.unit]
            rows.append([*row, "", e.higher_is_better, "", source, ""])
    return to_csv([*header.split(), "signature", "source", "notice"], rows)


def comparisons_csv(comparisons: Sequence[Comparison]) -> str:
    """A row for each comparison, all that is known of it unrounded."""
    header = [item.name for item in fields(Comparison)]
    return to_csv(header, ([getattr(one, name) for name in header] for one in comparisons))


def frame_csv(frame: pd.DataFrame) -> str:
    """A data frame as CSV, with text cells made safe for spreadsheets."""
    rows = frame.astype(object).where(frame.notna(), None).itertuples(index=False)
    return to_csv(list(frame.columns), rows)


def to_csv(header: Sequence[str], rows: Iterable[Iterable[Any]]) -> str:
    """CSV with one line ending on every system; None is an empty cell."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([csv_text(name) for name in header])
    writer.writerows([csv_text(cell) for cell in row] for row in rows)
    return out.getvalue()


def all_labels(sections: Sequence[Section]) -> list[str]:
    """Every checkpoint of the report, in the order of first appearance."""
    return list(dict.fromkeys(label for section in sections for label in section.results))


def systems(section: Section) -> Iterator[tuple[str, str, Mapping[str, Estimate]]]:
    """(label, kind, metric -> Estimate) of each checkpoint, then of each baseline."""
    for label, result in section.results.items():
        yield label, "checkpoint", result.metrics
    for name, metrics in section.baselines.items():
        yield name, "baseline", metrics


def banner(results: Iterable[Result]) -> str:
    """The warning over everything that holds numbers from bundled samples, as a quote block."""
    marks = sorted({mark for result in results if (mark := data_mark(result))})
    if not marks:
        return ""
    sample = any(SAMPLE_NOTICE in mark for mark in marks)
    text = f"**{SAMPLE_NOTICE}**" if sample else ""
    subsets = sorted({mark.removeprefix(f"{SAMPLE_NOTICE}; ") for mark in marks} - {SAMPLE_NOTICE})
    return "> " + "; ".join(filter(None, [text, *(markdown(mark) for mark in subsets)]))


def estimates_of(section: Section, metric: str) -> dict[str, Estimate]:
    """The estimates of a metric by checkpoint."""
    return {
        label: result.metrics[metric]
        for label, result in section.results.items()
        if metric in result.metrics
    }


def _cell(estimate: Estimate | None, bold: bool) -> str:
    if estimate is None:
        return NOTHING
    value, _, interval = format_estimate(estimate).partition(" [")
    shown = f"**{value}**" if bold else value
    return f"{shown} [{interval}" if interval else shown


def _legend(sections: Sequence[Section]) -> str:
    """What the brackets, the bold face and the arrows mean."""
    estimates = [each for section in sections for each in section.metrics.values()]
    levels = distinct(format_level(each.level) for each in estimates if each.low is not None)
    parts = ["↑ higher is better, ↓ lower is better"]
    if any(each.higher_is_better is None for each in estimates):
        parts[0] += ", no arrow: neither"
    if levels:
        parts.append(f"[low, high] is the {levels} interval")
    if any(len(section.results) > 1 for section in sections):
        parts.append(
            "bold is the best checkpoint as printed, whether or not the difference is significant"
        )
    return "; ".join(parts) + "."


def published(section: Section) -> dict[tuple[str, str], dict[str, float]]:
    """Published values of a section: (model, source) -> metric -> value."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    for row in section.references:
        key = (str(row["model"]), str(row.get("source", "")))
        found.setdefault(key, {})[row["metric"]] = float(row["value"])
    return found


def distinct(texts: Iterable[str]) -> str:
    """Each of the texts once, in their order; empty ones are left out."""
    return "; ".join(dict.fromkeys(filter(None, texts)))


def counted(number: int, noun: str) -> str:
    """A number with its noun: "1 sample", "5,153 samples"."""
    return f"{format_count(number)} {noun}{'' if number == 1 else 's'}"
