"""What the page says besides samples: the same numbers as report.md, laid out for a screen."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gpt2eval.report.differences import MARKS, mark
from gpt2eval.report.document import data_sentence, fared, signatures, who
from gpt2eval.report.page.samples import shared_lines
from gpt2eval.report.panels import Picture
from gpt2eval.report.sections import Section, data_mark
from gpt2eval.report.significance import CORRECTED, significance
from gpt2eval.report.tables import (
    all_labels,
    best_labels,
    distinct,
    estimates_of,
    published,
    systems,
)
from gpt2eval.report.text import (
    NOTHING,
    SAMPLE_NOTICE,
    arrow,
    format_bytes,
    format_count,
    format_interval,
    format_level,
    format_p,
    format_parameters,
    format_value,
    plain,
)
from gpt2eval.types import Comparison, Estimate, Result

VECTOR = 150_000  # bytes up to which a picture is put in as a vector graphic
SCALE = 0.62  # pixels of the screen for one of a picture
WIDE = 1_000  # pixels of a picture that a phone has to scroll, or nobody could read it
_FIGURE, _POINT = "\u2007", "\u2008"  # as wide as a digit, as wide as a point


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table.

    text      what it says
    sort      what its column is sorted by; None: always last
    interval  "[low, high]" under a number
    best      whether it is the best of its kind
    mark      stars of significance, and `told`, what they mean in words
    head      whether it names its row
    blank     what makes a number as wide as those it stands under
    """

    text: str
    sort: float | str | None = None
    interval: str = ""
    best: bool = False
    mark: str = ""
    told: str = ""
    head: bool = False
    number: bool = False
    blank: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table with a caption; `sortable` where a reader may put its rows in another order."""

    caption: str
    header: Sequence[tuple[str, bool]]  # text, whether numbers stand below it
    rows: Sequence[Sequence[Cell]]
    sortable: bool = False


def content(
    title: str,
    sections: Sequence[Section],
    pictures: Sequence[Picture],
    comparisons: Sequence[Comparison],
    left_out: Sequence[str] = (),
) -> dict[str, Any]:
    """The names that page.html reads."""
    results = [result for section in sections for result in section.results.values()]
    marks = Marks(comparisons)
    return {
        "title": plain(title) or "GPT-2 evaluation",
        "counts": _counts(sections),
        "notices": notices(results),
        "checkpoints": checkpoints(sections),
        "summary": summary(sections, marks),
        "legend": legend(sections, comparisons),
        "comparisons": comparison_table(comparisons) if comparisons else None,
        "of_parts": _of_parts(comparisons),
        "left_out": [plain(line) for line in left_out],
        "figures": [figure(x) for x in pictures if not x.section],
        "sections": [_section(section, pictures, marks) for section in sections],
        "commands": list(dict.fromkeys(filter(None, (run_fact(x, "command") for x in results)))),
        "commits": list(dict.fromkeys(filter(None, (run_fact(x, "git_commit") for x in results)))),
        "versions": list(dict.fromkeys(filter(None, map(_versions, results)))),
    }


def _counts(sections: Sequence[Section]) -> str:
    nouns = ((len(all_labels(sections)), "checkpoint"), (len(sections), "task"))
    return ", ".join(f"{n} {noun}{'' if n == 1 else 's'}" for n, noun in nouns)


def notices(results: Iterable[Result]) -> list[str]:
    """What must be known about the data before any number is read; the sample notice first."""
    marks = {part for x in results if (mark := data_mark(x)) for part in mark.split("; ")}
    return sorted(marks, key=lambda mark: (mark != SAMPLE_NOTICE, mark))


# ---- significance -------------------------------------------------------------------------------


class Marks:
    """The stars of each comparison with a baseline, by section, metric and checkpoint."""

    def __init__(self, comparisons: Sequence[Comparison]) -> None:
        self._compared = significance(comparisons)

    def of(self, section: Section, metric: str, label: str) -> tuple[str, str]:
        """Stars and what they say; both empty where nothing was compared or nothing found."""
        found = self._compared.find(section, metric, label)
        return (mark(found), told(found)) if found else ("", "")


def told(comparison: Comparison) -> str:
    """The difference in words, for those who point at the stars or hear the page."""
    better = (comparison.difference > 0) == comparison.higher_is_better
    if comparison.p_corrected is None or not mark(comparison):
        return f"no significant difference from {comparison.baseline}"
    return (
        f"significantly {'better' if better else 'worse'} than {comparison.baseline},"
        f" p {format_p(comparison.p_corrected)}"
    )


def _p(value: float | None) -> str:
    if value is None:
        return NOTHING
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def comparison_table(comparisons: Sequence[Comparison]) -> Table:
    """Every comparison, one row each; of parts only where there are no others."""
    shown = [x for x in comparisons if not x.part] or comparisons
    several = len({x.baseline for x in shown}) > 1
    rows = [_compared(x, several) for x in shown]
    words = ["checkpoint", *["compared with"] * several, "task", "metric"]
    numbers = "difference|p|p corrected|effect|smallest shown|wins / ties / losses|n"
    header = [(name, False) for name in words]
    header += [*((name, True) for name in numbers.split("|")), ("test", False)]
    caption = "Comparisons, candidate less baseline"
    if not several:
        caption = f"Comparisons with {plain(shown[0].baseline)}"
    return Table(caption, header, _aligned(rows), sortable=True)


def _compared(x: Comparison, several: bool) -> list[Cell]:
    """The row of a comparison; `several`: with the name of its baseline."""
    difference = Estimate(
        x.difference, x.low, x.high, x.level, "", x.n, x.unit, "", x.higher_is_better
    )
    better = (x.difference > 0) == x.higher_is_better
    counts = f"{x.wins:,} / {x.ties:,} / {x.losses:,}"
    effect = NOTHING if x.effect is None else f"{_minus(f'{x.effect:.3g}')} ({x.effect_name})"
    smallest = NOTHING if x.smallest is None else _signed(x.smallest, x.unit).lstrip("+")
    correction = "" if x.p_corrected is None else CORRECTED[x.correction]
    return [
        Cell(plain(x.candidate), plain(x.candidate), head=True),
        *[Cell(plain(x.baseline), plain(x.baseline))] * several,
        Cell(plain(x.task), plain(x.task)),
        Cell(_named(x.metric, difference), plain(x.metric)),
        Cell(
            _signed(x.difference, x.unit),
            x.difference,
            _minus(format_interval(difference)),
            best=bool(mark(x)) and better,
            mark=mark(x),
            told=told(x),
            number=True,
        ),
        Cell(_p(x.p), x.p, number=True),
        Cell(_p(x.p_corrected), x.p_corrected, number=True),
        Cell(effect, x.effect, number=True),
        Cell(smallest, x.smallest, number=True),
        Cell(counts, x.wins - x.losses, number=True),
        Cell(format_count(x.n), x.n, number=True),
        Cell(plain("; ".join(filter(None, (x.test, correction, x.note))))),
    ]


def _of_parts(comparisons: Sequence[Comparison]) -> str:
    """What is said of the comparisons that have no row."""
    parts = sum(bool(x.part) for x in comparisons)
    if parts in (0, len(comparisons)):
        return ""
    are = "comparison of a part is" if parts == 1 else "comparisons of parts are"
    return f"{format_count(parts)} {are} in tables/comparisons.csv, uncorrected."


def _minus(numbers: str) -> str:
    """The same with the sign for minus that the page has, as wide as a plus."""
    return numbers.replace("-", "−")


def _signed(value: float, unit: str) -> str:
    text = _number(abs(value), unit)
    return f"{'−' if value < 0 else '+'}{text}"


# ---- tables over everything ---------------------------------------------------------------------


def checkpoints(sections: Sequence[Section]) -> Table:
    """Name, size, digests and arithmetic of every checkpoint."""
    rows = []
    for label in all_labels(sections):
        results = [section.results[label] for section in sections if label in section.results]
        of = results[0].checkpoint
        size = of.get("parameters")
        exact = f"{format_parameters(size)} ({format_count(size)})" if size else NOTHING
        rows.append(
            [
                Cell(plain(label), plain(label), head=True),
                Cell(exact, size, number=True),
                Cell(plain(of.get("kind", ""))),
                Cell(plain(str(of.get("sha256", ""))[:12])),
                Cell(plain(str(of.get("tokenizer_sha256", ""))[:12])),
                Cell(plain(distinct(run_fact(result, "dtype") for result in results))),
                Cell(plain(distinct(run_fact(result, "device") for result in results))),
            ]
        )
    names = ("checkpoint", "parameters", "kind", "sha256", "tokenizer", "dtype", "device")
    header = [(name, name == "parameters") for name in names]
    return Table("Checkpoints", header, rows, sortable=len(rows) > 1)


@dataclass(frozen=True, slots=True)
class Line:
    """A row of the summary: a metric of a section, with a cell for each checkpoint.

    main  whether it is the section's main metric; the others are folded away at first
    """

    task: str
    section: int
    metric: str
    main: bool
    cells: Sequence[Cell]


def summary(sections: Sequence[Section], marks: Marks) -> list[Line]:
    """A row for each task and metric."""
    labels = all_labels(sections)
    lines = []
    for number, section in enumerate(sections):
        for place, (metric, shown) in enumerate(section.metrics.items()):
            estimates = estimates_of(section, metric)
            best = best_labels(estimates)
            cells = [
                _cell(estimates.get(label), label in best, *marks.of(section, metric, label))
                for label in labels
            ]
            lines.append(Line(section.title, number, _named(metric, shown), place == 0, cells))
    # What is folded away has no say in where the point of the others stands.
    main = [line.main for line in lines]
    columns = [_padded(column, main) for column in zip(*(x.cells for x in lines), strict=True)]
    rows = zip(*columns, strict=True)
    return [replace(line, cells=cells) for line, cells in zip(lines, rows, strict=True)]


def legend(sections: Sequence[Section], comparisons: Sequence[Comparison]) -> str:
    """What arrows, brackets, bold face and stars mean."""
    estimates = [each for section in sections for each in section.metrics.values()]
    levels = distinct(format_level(each.level) for each in estimates if each.low is not None)
    parts = ["↑ higher is better, ↓ lower is better"]
    parts += [f"[low, high] is the {levels} interval"] if levels else []
    if any(len(section.results) > 1 for section in sections):
        parts.append("bold is the best checkpoint as printed")
    if comparisons:
        against = distinct(plain(x.baseline) for x in comparisons)
        how = distinct(CORRECTED[x.correction] for x in comparisons)
        limits = ", ".join(
            f"{stars}\u00a0p\u00a0<\u00a0{alpha:g}" for alpha, stars in reversed(MARKS)
        )
        parts.append(f"differs from {against}: {limits} ({how})")
    return "; ".join(parts) + "."


# ---- one section --------------------------------------------------------------------------------


def _section(section: Section, pictures: Sequence[Picture], marks: Marks) -> dict[str, Any]:
    task = section.first.task
    options = [(plain(key), plain(value)) for key, value in task.get("options", {}).items()]
    return {
        "title": section.title,
        "summary": _code(plain(task.get("summary", ""))),
        "detail": _code(plain(task.get("detail", ""))),
        "source": _source(str(task.get("source", ""))),
        "version": plain(task.get("version", "?")),
        "options": options,
        "notices": notices([section.first]),
        "beginning": shared_lines(section.first),
        "systems": systems_table(section, marks),
        "metrics": metrics_table(section),
        "parts": parts_table(section, marks) if section.parts else None,
        "published": _published_note(section),
        "figures": [figure(x) for x in pictures if x.section == section.title],
        "data": data_sentence(section),
        "ledger": [(who(section, labels), words) for words, labels in fared(section).items()],
        "runs": runs_table(section),
        "signatures": signatures(section),
        "labels": list(section.results),
    }


def _code(text: str) -> list[tuple[str, bool]]:
    """A text in parts, and of each whether it stood between backticks."""
    parts = text.split("`")
    return [(part, number % 2 == 1) for number, part in enumerate(parts) if part]


def _source(text: str) -> tuple[str, str]:
    """The words of a source and its address; addresses are text, the page has no links out."""
    words, _, address = text.partition("http")
    return plain(words).rstrip(" ,;"), plain(f"http{address}") if address else ""


def systems_table(section: Section, marks: Marks) -> Table:
    """Checkpoints, systems without a model and published values, a column for each metric."""
    metrics = section.metrics
    best = {metric: best_labels(estimates_of(section, metric)) for metric in metrics}
    rows = []
    for label, kind, estimates in systems(section):
        own = kind == "checkpoint"
        count = distinct(format_count(e.n) for e in estimates.values() if not e.part)
        cells = [
            _cell(
                estimates.get(metric),
                own and label in best[metric],
                *(marks.of(section, metric, label) if own else ("", "")),
            )
            for metric in metrics
        ]
        what = "" if own else "no model"
        rows.append([Cell(plain(label), plain(label), what, head=True), Cell(count), *cells])
    for (model, source), values in published(section).items():
        cells = [
            Cell(_number(values[metric], each.unit), values[metric], number=True)
            if metric in values
            else Cell(NOTHING, number=True)
            for metric, each in metrics.items()
        ]
        name = Cell(plain(model), plain(model), f"published: {plain(source)}", head=True)
        rows.append([name, Cell(NOTHING), *cells])
    header = [("system", False), ("n", True)]
    header += [(_named(metric, each), True) for metric, each in metrics.items()]
    rows = [[row[0], replace(row[1], number=True), *row[2:]] for row in rows]
    return Table(f"Scores on {section.title}", header, _aligned(rows), sortable=len(rows) > 1)


def metrics_table(section: Section) -> Table:
    """For each metric: unit, denominator, interval and signature."""
    rows = []
    for metric, shown in section.metrics.items():
        each = list(estimates_of(section, metric).values())
        rows.append(
            [
                Cell(_named(metric, shown), head=True),
                Cell(plain(shown.unit)),
                Cell(plain(distinct(x.denominator for x in each))),
                Cell(plain(distinct(x.method for x in each)) or NOTHING),
                Cell(plain(distinct(x.signature for x in each)) or NOTHING),
            ]
        )
    names = ("metric", "unit", "divided by", "interval", "signature")
    return Table("How each metric is made", [(name, False) for name in names], rows)


def parts_table(section: Section, marks: Marks) -> Table:
    """A row for each metric over a part of the samples."""
    shown = list(systems(section))
    rows = []
    for name, each in section.parts.items():
        best = best_labels(estimates_of(section, name))
        row = [
            Cell(_named(name, each), plain(name), head=True),
            Cell(format_count(each.n), each.n, number=True),
        ]
        for label, kind, estimates in shown:
            own = kind == "checkpoint"
            row.append(
                _cell(
                    estimates.get(name),
                    own and label in best,
                    *(marks.of(section, name, label) if own else ("", "")),
                )
            )
        rows.append(row)
    header = [("part", False), ("n", True), *((plain(label), True) for label, *_ in shown)]
    return Table("Parts", header, _aligned(rows), sortable=True)


def runs_table(section: Section) -> Table:
    """Device, arithmetic, time, rate and memory of every run."""
    rows = []
    for label, result in section.results.items():
        run = result.run
        facts: list[tuple[str, Any]] = [
            ("tokens", format_count),
            ("seconds", lambda value: f"{value:,.1f}"),
            ("tokens_per_second", format_count),
            ("peak_memory_bytes", format_bytes),
        ]
        cells = [
            Cell(NOTHING if run.get(key) is None else show(run[key]), run.get(key), number=True)
            for key, show in facts
        ]
        where = [Cell(run_fact(result, key)) for key in ("device", "dtype", "batch_policy", "seed")]
        rows.append([Cell(plain(label), plain(label), head=True), *where, *cells])
    names = ("checkpoint", "device", "dtype", "batches", "seed")
    header = [(name, False) for name in names]
    header += [(n, True) for n in ("tokens", "seconds", "tokens per second", "peak memory")]
    return Table("Runs", header, rows)


def _published_note(section: Section) -> str:
    if section.bundled and section.first.task.get("references"):
        return "Published values are left out: they were not measured on these samples."
    if section.references and data_mark(section.first):
        return "Published values are for the whole test set, not for this subset."
    return ""


def figure(picture: Picture) -> dict[str, Any]:
    """A picture as an address that holds it, with its words."""
    vector, pixels = picture.files["svg"], picture.files["png"]
    kind, data = ("svg+xml", vector) if len(vector) <= VECTOR else ("png", pixels)
    # A PNG says its size in bytes 16 to 24. On a screen letters are read from further away.
    width, height = (int.from_bytes(pixels[at : at + 4], "big") for at in (16, 20))
    return {
        "wide": width > WIDE,
        "width": str(round(width * SCALE)),
        "height": str(round(height * SCALE)),
        "address": f"data:image/{kind};base64,{base64.b64encode(data).decode()}",
        "alt": plain(picture.alt),
        "caption": plain(picture.caption),
    }


def run_fact(result: Result, key: str) -> str:
    """A fact about a run, as text."""
    return plain(result.run.get(key) if result.run.get(key) is not None else "")


def _versions(result: Result) -> str:
    versions = result.run.get("versions", {})
    if not isinstance(versions, Mapping):
        return plain(versions)
    return plain(", ".join(f"{name} {number}" for name, number in sorted(versions.items())))


# ---- cells --------------------------------------------------------------------------------------


def _named(metric: str, shown: Estimate) -> str:
    """A metric with its unit, where that is one a number needs, and its direction."""
    name = plain(metric).replace("_", " ")
    unit = {"fraction": ",\N{NO-BREAK SPACE}%"}.get(shown.unit, "")
    return f"{name}{unit}\N{NO-BREAK SPACE}{arrow(shown.higher_is_better)}"


def _cell(estimate: Estimate | None, best: bool, mark: str = "", told: str = "") -> Cell:
    if estimate is None:
        return Cell(NOTHING, number=True)
    value = estimate.value
    return Cell(
        _number(value, estimate.unit),
        None if math.isnan(value) else value,
        format_interval(estimate),
        best,
        mark,
        told,
        number=True,
    )


def _number(value: float, unit: str) -> str:
    """A value without its unit, which stands in the header."""
    return format_value(value, unit).removesuffix(" %")


def _aligned(rows: Sequence[Sequence[Cell]]) -> list[list[Cell]]:
    """The same cells, the numbers of each column padded to stand point under point."""
    columns = [_padded(column) for column in zip(*rows, strict=True)]
    return [list(row) for row in zip(*columns, strict=True)]


def _padded(column: Sequence[Cell], counted: Sequence[bool] = ()) -> list[Cell]:
    """Numbers with as much blank behind them as the one with most decimals has decimals.

    counted  the cells that say how many decimals there are; default: all
    """
    tails = [_tail(cell) for cell in column]
    counts = counted or [True] * len(tails)
    longest = max((len(x) for x, counts_ in zip(tails, counts, strict=True) if counts_), default=0)
    padded = []
    for cell, tail in zip(column, tails, strict=True):
        blank = _FIGURE * (longest - len(tail))
        if blank and not tail:
            blank = _POINT + blank[1:]
        padded.append(replace(cell, blank=blank) if cell.number else cell)
    return padded


def _tail(cell: Cell) -> str:
    """The point and the decimals of a plain number."""
    whole, point, decimals = cell.text.partition(".")
    return f".{decimals}" if cell.number and point and decimals.isdigit() and whole else ""
