r"""Tables for papers: booktabs and siunitx, each file one float to be read with `\input`.

The document needs `\usepackage{booktabs,siunitx}` and nothing else. All files are ASCII.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from gpt2eval.report.differences import MARKS
from gpt2eval.report.sections import Section, data_mark
from gpt2eval.report.significance import Significance, tests_in_words
from gpt2eval.report.tables import all_labels, best_labels, published, systems
from gpt2eval.report.text import format_interval, format_level, format_number, latex
from gpt2eval.types import Estimate

WIDTH = 88  # characters of a line of a table in small type on a page of text
_ARROWS = {True: r" $\uparrow$", False: r" $\downarrow$", None: ""}
_UNITS = {"fraction": r" (\%)", "points": "", "perplexity": ""}


@dataclass(frozen=True, slots=True)
class Cell:
    """A number as siunitx reads it, or text in braces; its mark and interval as LaTeX."""

    number: str = "{--}"
    mark: str = ""
    interval: str = ""
    bold: bool = False

    def latex(self) -> str:
        """The two cells that it takes: the number, and what stands behind it."""
        bold = r"\bfseries " if self.bold else ""
        behind = f"$^{{{self.mark}}}$" if self.mark else ""
        if self.interval:
            behind += rf"~{{\scriptsize {self.interval}}}"
        return f"{bold}{self.number} & {behind}"


@dataclass(frozen=True, slots=True)
class Column:
    """Lines of a heading as LaTeX, and the cells by row."""

    head: tuple[str, ...]
    cells: Mapping[str, Cell]

    @property
    def shape(self) -> str:
        """Siunitx's table-format: the digits before and behind the point."""
        numbers = [cell.number for cell in self.cells.values() if not cell.number.startswith("{")]
        parts = [number.lstrip("-").partition(".") for number in numbers]
        whole = max((len(before) for before, *_ in parts), default=1)
        rest = max((len(behind) for *_, behind in parts), default=0)
        sign = "-" if any(number.startswith("-") for number in numbers) else ""
        return f"{sign}{whole}.{rest}" if rest else f"{sign}{whole}"

    @property
    def width(self) -> int:
        """About how many characters it takes on the page."""
        heads = (len(re.sub(r"\\[A-Za-z]+|[{}$^\\]", "", line)) for line in self.head)
        cells = (
            len(cell.number) + len(cell.mark) + 3 * len(cell.interval) // 4
            for cell in self.cells.values()
        )
        return max([*heads, *cells]) + 2


@dataclass(frozen=True, slots=True)
class Notes:
    """What is said under a table: marked notes by letter, then sentences."""

    marked: dict[str, str] = field(default_factory=dict)
    plain: list[str] = field(default_factory=list)

    def mark(self, text: str) -> str:
        """The letter of a note; the same text has the same one."""
        return self.marked.setdefault(text, _letter(len(self.marked)))

    def latex(self) -> str:
        """All of them, one after the other."""
        marked = [f"$^{{{letter}}}$\\,{text}" for text, letter in self.marked.items()]
        return " ".join(f"{text.rstrip('.')}." for text in [*marked, *self.plain])


def summary_latex(
    sections: Sequence[Section],
    compared: Significance,
    *,
    intervals: bool = False,
) -> str:
    """Checkpoints by tasks: the main metric of each task@protocol; empty where none has one."""
    notes = Notes()
    columns = []
    for section in sections:
        if section.metrics:
            metric = next(iter(section.metrics))
            mark = notes.mark(latex(data_mark(section.first))) if data_mark(section.first) else ""
            # What a note says need not stand in the heading too.
            short = section.title.removesuffix(f" ({data_mark(section.first)})")
            title = latex(short) + (f"$^{{{mark}}}$" if mark else "")
            columns.append(_column(section, metric, compared, intervals, title))
    if not columns:
        return ""
    labels = all_labels(sections)
    rows = [[(label, latex(label)) for label in labels]]
    _legend(notes, sections, compared, intervals)
    caption = f"Scores of {len(labels)} checkpoint{'s' * (len(labels) != 1)}"
    return _float(f"{caption}.", "summary", rows, columns, notes)


def section_latex(section: Section, compared: Significance, *, intervals: bool = False) -> str:
    """All systems and metrics of a section; empty where no metric is over all samples."""
    notes = Notes()
    if not section.metrics:
        return ""
    columns = [_column(section, metric, compared, intervals) for metric in section.metrics]
    groups: dict[str, list[tuple[str, str]]] = {}
    for label, kind, _ in systems(section):
        key = label if kind == "checkpoint" else f"{kind}:{label}"
        letter = notes.mark("System without a model") if kind == "baseline" else ""
        named = latex(label) + (f"$^{{{letter}}}$" if letter else "")
        groups.setdefault(kind, []).append((key, named))
    for model, source in published(section):
        letter = notes.mark(f"Published: {latex(source)}")
        named = f"{latex(model)}$^{{{letter}}}$"
        groups.setdefault("published", []).append((f"published:{model}:{source}", named))
    if mark := data_mark(section.first):
        notes.plain.append(latex(mark[:1].upper() + mark[1:]))
    _legend(notes, [section], compared, intervals)
    summary = str(section.first.task.get("summary", ""))
    caption = rf"\textsf{{{latex(section.title)}}}" + (f": {latex(summary)}" if summary else "")
    return _float(f"{caption.rstrip('.')}.", section.stem, list(groups.values()), columns, notes)


def _column(
    section: Section, metric: str, compared: Significance, intervals: bool, title: str = ""
) -> Column:
    """A metric with the values of every system of the section."""
    shown = section.metrics[metric]
    of_checkpoints = {
        label: result.metrics[metric]
        for label, result in section.results.items()
        if metric in result.metrics
    }
    best = best_labels(of_checkpoints)
    cells = {
        label: _cell(each, intervals, label in best, compared.stars(section, metric, label))
        for label, each in of_checkpoints.items()
    }
    for name, estimates in section.baselines.items():
        if metric in estimates:
            cells[f"baseline:{name}"] = _cell(estimates[metric], intervals)
    for (model, source), values in published(section).items():
        if metric in values:
            number = _number(values[metric], shown.unit)
            cells[f"published:{model}:{source}"] = Cell(number)
    name = latex(metric.replace("_", " "))
    unit = "" if shown.unit in metric else _UNITS.get(shown.unit, f" ({latex(shown.unit)})")
    head = f"{name}{unit}{_ARROWS[shown.higher_is_better]}"
    return Column((title, head) if title else (head,), cells)


def _cell(estimate: Estimate, intervals: bool, bold: bool = False, stars: str = "") -> Cell:
    interval = latex(format_interval(estimate)) if intervals else ""
    return Cell(_number(estimate.value, estimate.unit), stars, interval, bold)


def _number(value: float, unit: str) -> str:
    """What stands in an S column; in braces what siunitx would not align."""
    if math.isnan(value):
        return "{n/a}"
    if math.isinf(value):
        return r"{$\infty$}" if value > 0 else r"{$-\infty$}"
    digits, _, power = format_number(value, unit).partition("e")
    return rf"{{${digits}\times10^{{{int(power)}}}$}}" if power else digits


def _legend(
    notes: Notes, sections: Sequence[Section], compared: Significance, intervals: bool
) -> None:
    """What arrows, bold type, stars and brackets mean, where the table has any."""
    shown = [each for section in sections for each in section.metrics.values()]
    if any(each.higher_is_better is not None for each in shown):
        notes.plain.append(r"$\uparrow$ higher is better, $\downarrow$ lower is better")
    if any(len(section.results) > 1 for section in sections):
        notes.plain.append("Bold: the best checkpoint as printed")
    tested = [each for section in sections for each in compared.of(section) if each.p is not None]
    if tested:
        stars = ", ".join(f"$^{{{mark}}}$" for _, mark in reversed(MARKS))
        levels = ", ".join(f"{p:g}" for p, _ in reversed(MARKS))
        notes.plain.append(
            f"{stars} differs from {latex(compared.baseline)}, $p$ below {levels}"
            f" ({latex(tests_in_words(tested))})"
        )
    levels_of = {format_level(each.level) for each in shown if each.low is not None}
    if intervals and levels_of:
        notes.plain.append(rf"In brackets: {latex(' or '.join(sorted(levels_of)))} intervals")


def _float(
    caption: str,
    label: str,
    groups: Sequence[Sequence[tuple[str, str]]],
    columns: Sequence[Column],
    notes: Notes,
) -> str:
    """A table environment; columns that do not fit side by side follow in a second block.

    groups  of rows, (key of the cells, label as LaTeX), with a rule between two groups
    """
    lines = [
        r"% Needs \usepackage{booktabs,siunitx}.",
        r"\begin{table}[tbp]",
        r"\centering\small",
        r"\sisetup{detect-weight=true}",
        rf"\caption{{{caption}}}",
        rf"\label{{tab:{re.sub('[^A-Za-z0-9:-]+', '-', label)}}}",
    ]
    widest = max(len(shown) for group in groups for _, shown in group)
    for number, block in enumerate(_blocks(columns, WIDTH - widest)):
        if number:
            lines.append(r"\par\medskip")
        lines += _tabular(groups, block)
    text = notes.latex()
    if text:
        lines += [r"\par\smallskip", rf"\parbox{{\linewidth}}{{\footnotesize {text}}}"]
    return "\n".join([*lines, r"\end{table}", ""])


def _tabular(groups: Sequence[Sequence[tuple[str, str]]], columns: Sequence[Column]) -> list[str]:
    shapes = "".join(f"S[table-format={column.shape}]@{{}}l" for column in columns)
    lines = [rf"\begin{{tabular}}{{l{shapes}}}", r"\toprule"]
    for line in range(max(len(column.head) for column in columns)):
        heads = [rf"\multicolumn{{2}}{{c}}{{{column.head[line]}}}" for column in columns]
        lines.append(" & ".join(["", *heads]).lstrip() + r" \\")
    for group in groups:
        lines.append(r"\midrule")
        for key, label in group:
            cells = [column.cells.get(key, Cell()).latex() for column in columns]
            lines.append(" & ".join([label, *cells]) + r" \\")
    return [*lines, r"\bottomrule", r"\end{tabular}"]


def _blocks(columns: Sequence[Column], room: int) -> Iterator[list[Column]]:
    """As many columns side by side as there is room for, one at least."""
    block: list[Column] = []
    for column in columns:
        if block and sum(each.width for each in block) + column.width > room:
            yield block
            block = []
        block.append(column)
    yield block


def _letter(number: int) -> str:
    """a, b, ..., z, aa, ab, ..."""
    first, last = divmod(number, 26)
    return (_letter(first - 1) if first else "") + chr(ord("a") + last)
