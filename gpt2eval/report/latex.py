r"""Tables for papers: booktabs and siunitx, each file floats to be read with `\input`.

A file holds one float, or as many as it takes for each to fit on a page. The document needs
`\usepackage{booktabs,siunitx}` and nothing else. All files are ASCII.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from gpt2eval.report.differences import MARKS
from gpt2eval.report.sections import Section, data_mark, distinguish
from gpt2eval.report.significance import Significance, tests_in_words
from gpt2eval.report.tables import all_labels, best_labels, estimates_of, published, systems
from gpt2eval.report.text import format_interval, format_level, format_number, latex, shorten
from gpt2eval.types import Estimate

WIDTH = 88  # characters of a line of a table in small type on a page of text
NAME = 40  # characters of the name of a checkpoint
ROWS = 40  # lines of small type that fit on a page with caption and notes
HELD = 8  # floats before a page is forced: LaTeX gives up where it has to hold back too many
HEAD = 4  # lines that the heading and the rules of one table take
_ARROWS = {True: r" $\uparrow$", False: r" $\downarrow$", None: ""}
_UNITS = {"fraction": r" (\%)", "points": "", "perplexity": ""}


@dataclass(frozen=True, slots=True)
class Cell:
    """A number as siunitx reads it, or text in braces; its mark and interval as LaTeX."""

    number: str = "{--}"
    mark: str = ""
    interval: str = ""
    bold: bool = False

    @property
    def behind(self) -> str:
        """What stands behind the number."""
        mark = f"$^{{{self.mark}}}$" if self.mark else ""
        interval = rf"~{{\scriptsize\mdseries {self.interval}}}" if self.interval else ""
        return mark + interval

    def latex(self) -> str:
        """The cell: the number, and what stands behind it."""
        bold = r"\bfseries " if self.bold else ""
        if self.number.startswith("{"):
            return f"{bold}{self.number.removesuffix('}')}{self.behind}}}"
        return f"{bold}{self.number}" + (f"{{{self.behind}}}" if self.behind else "")


@dataclass(frozen=True, slots=True)
class Column:
    """Lines of a heading as LaTeX, and the cells by row."""

    head: tuple[str, ...]
    cells: Mapping[str, Cell]

    @property
    def shape(self) -> str:
        """Options of its S: the digits before and behind the point, and room behind those.

        One column holds number and stars, so that both stand in the middle under a wide heading.
        """
        numbers = [cell.number for cell in self.cells.values() if not cell.number.startswith("{")]
        parts = [number.lstrip("-").partition(".") for number in numbers]
        whole = max((len(before) for before, *_ in parts), default=1)
        rest = max((len(behind) for *_, behind in parts), default=0)
        sign = "-" if any(number.startswith("-") for number in numbers) else ""
        digits = f"{sign}{whole}.{rest}" if rest else f"{sign}{whole}"
        behind = max((cell.behind for cell in self.cells.values()), key=len, default="")
        return f"table-format={digits}" + (f",table-space-text-post={{{behind}}}" if behind else "")

    @property
    def width(self) -> int:
        """About how many characters it takes on the page."""
        heads = (len(re.sub(r"\\[A-Za-z]+|[{}$^\\]", "", line)) for line in self.head)
        cells = (
            len(cell.number) + len(cell.mark) + 3 * len(cell.interval) // 4
            for cell in self.cells.values()
        )
        return max([*heads, *cells]) + 2


Row = tuple[str, str]
"""A row of a table: the key of its cells, and its label as LaTeX."""

Table = tuple[Sequence[Sequence[Row]], Sequence[Column]]
"""What stands in one tabular: groups of rows, and columns."""


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
    rows = [list(_names(labels).items())]
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
    names = _names(list(section.results))
    for label, kind, _ in systems(section):
        key = label if kind == "checkpoint" else f"{kind}:{label}"
        letter = notes.mark("System without a model") if kind == "baseline" else ""
        named = latex(label) + f"$^{{{letter}}}$" if letter else names[label]
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


def parts_latex(section: Section, *, intervals: bool = False) -> str:
    """Parts by systems, a table for each metric that is measured on parts; empty where none is."""
    by_metric: dict[str, list[str]] = {}
    for name, each in section.parts.items():
        by_metric.setdefault(name.removesuffix(f"/{each.part}"), []).append(name)
    return "\n".join(
        _parts_table(section, metric, names, intervals) for metric, names in by_metric.items()
    )


def _parts_table(section: Section, metric: str, names: Sequence[str], intervals: bool) -> str:
    notes = Notes()
    shown = {name: section.parts[name] for name in names}
    best = {name: best_labels(estimates_of(section, name)) for name in names}
    counts = {name: Cell(str(each.n)) for name, each in shown.items()}
    columns = [Column(("$n$",), counts)]
    names_of = _names(list(section.results))
    for label, kind, estimates in systems(section):
        own = kind == "checkpoint"
        cells = {
            name: _cell(estimates[name], intervals, own and label in best[name])
            for name in names
            if name in estimates
        }
        letter = "" if own else f"$^{{{notes.mark('System without a model')}}}$"
        columns.append(Column((names_of[label] if own else latex(label) + letter,), cells))
    if mark := data_mark(section.first):
        notes.plain.append(latex(mark[:1].upper() + mark[1:]))
    notes.plain.append("$n$: samples of the part")
    first = next(iter(shown.values()))
    if first.higher_is_better is not None and len(section.results) > 1:
        notes.plain.append("Bold: the best checkpoint as printed")
    if intervals:
        notes.plain.extend(_brackets(shown.values()))
    rows = [(name, latex(each.part.replace("_", " "))) for name, each in shown.items()]
    caption = rf"\textsf{{{latex(section.title)}}} by part: {_heading(metric, first)}."
    label = f"{section.parts_stem}-{metric}" if len(names) < len(section.parts) else ""
    return _float(caption, label or section.parts_stem, [rows], columns, notes)


def _names(labels: Sequence[str]) -> dict[str, str]:
    """Label -> LaTeX, cut in the middle where it would take half a line, and still unique."""
    shown = distinguish([shorten(label, NAME) for label in labels])
    return {label: latex(name) for label, name in zip(labels, shown, strict=True)}


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
    head = _heading(metric, shown)
    return Column((title, head) if title else (head,), cells)


def _heading(metric: str, shown: Estimate) -> str:
    """A metric with its unit and the direction of better."""
    unit = "" if shown.unit in metric else _UNITS.get(shown.unit, f" ({latex(shown.unit)})")
    return f"{latex(metric.replace('_', ' '))}{unit}{_ARROWS[shown.higher_is_better]}"


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
    if intervals:
        notes.plain.extend(_brackets(shown))


def _brackets(shown: Iterable[Estimate]) -> list[str]:
    """What stands in brackets, where anything does."""
    levels = {format_level(each.level) for each in shown if each.low is not None}
    return [rf"In brackets: {latex(' or '.join(sorted(levels)))} intervals"] if levels else []


def _float(
    caption: str,
    label: str,
    groups: Sequence[Sequence[Row]],
    columns: Sequence[Column],
    notes: Notes,
) -> str:
    """Table environments, each no longer than a page.

    Columns that do not fit side by side follow in a second table of the same float; rows that do
    not fit on a page, in another float.

    groups  of rows, with a rule between two groups
    """
    widest = max(len(shown) for group in groups for _, shown in group)
    tables = [
        (rows, block) for rows in _pages(groups) for block in _blocks(columns, WIDTH - widest)
    ]
    floats = list(_stacked(tables))
    name = re.sub("[^A-Za-z0-9:-]+", "-", label)
    text = notes.latex()
    lines = [r"% Needs \usepackage{booktabs,siunitx}."]
    for number, members in enumerate(floats, 1):
        place = f" ({number} of {len(floats)})" if len(floats) > 1 else ""
        lines += [r"\clearpage"] * (number > 1 and number % HELD == 1)
        lines += [
            r"\begin{table}[tbp]",
            r"\centering\small",
            r"\sisetup{detect-weight=true,table-align-text-post=false}",
            rf"\caption{{{caption.removesuffix('.')}{place}.}}",
            rf"\label{{tab:{name}{f'-{number}' * (number > 1)}}}",
        ]
        for position, (rows, block) in enumerate(members):
            lines += [r"\par\medskip"] * bool(position) + _tabular(rows, block)
        if text:
            lines += [r"\par\smallskip", rf"\parbox{{\linewidth}}{{\footnotesize {text}}}"]
        lines.append(r"\end{table}")
    return "\n".join([*lines, ""])


def _pages(groups: Sequence[Sequence[Row]]) -> Iterator[list[list[Row]]]:
    """The groups with as many rows as fit on a page, one page after the other."""
    room = ROWS - HEAD
    page: list[list[Row]] = []
    for group in groups:
        left = list(group)
        while left:
            free = room - sum(map(len, page))
            if free <= 0:
                yield page
                page, free = [], room
            page.append(left[:free])
            left = left[free:]
    yield page


def _stacked(tables: Sequence[Table]) -> Iterator[list[Table]]:
    """Tables one under the other, as many as fit on a page."""
    stack: list[Table] = []
    for table in tables:
        if stack and sum(map(_lines, stack)) + _lines(table) > ROWS:
            yield stack
            stack = []
        stack.append(table)
    yield stack


def _lines(table: Table) -> int:
    rows, _ = table
    return HEAD + sum(map(len, rows))


def _tabular(groups: Sequence[Sequence[Row]], columns: Sequence[Column]) -> list[str]:
    shapes = "".join(f"S[{column.shape}]" for column in columns)
    lines = [rf"\begin{{tabular}}{{l{shapes}}}", r"\toprule"]
    for line in range(max(len(column.head) for column in columns)):
        heads = [f"{{{column.head[line]}}}" for column in columns]
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
