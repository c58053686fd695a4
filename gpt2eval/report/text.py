"""How values and names become text: one place for number formats and for escaping.

Checkpoint names, commands and task texts come from files and are not trusted: what could end a
table cell, start HTML or be run by a spreadsheet is made harmless here, and only here.
"""

from __future__ import annotations

import math
import re
import unicodedata

from gpt2eval.labels import plain as plain
from gpt2eval.types import Estimate

SAMPLE_NOTICE = "sample data, not a benchmark score"
NOTHING = "-"  # an empty cell of a table for reading


def format_value(value: float, unit: str) -> str:
    """A value as tables print it: "37.37", "12,346", "1.2e+09", "0.9769", "32.56 %"."""
    text = _plain(value, unit, _decimals(value, unit))
    return f"{text} %" if unit == "fraction" and math.isfinite(value) else text


def format_number(value: float, unit: str) -> str:
    """The same for a column that names the unit, as programs read numbers: "12346", "32.56"."""
    return _plain(value, unit, _decimals(value, unit)).replace(",", "")


def format_interval(estimate: Estimate) -> str:
    """`[low, high]` with the decimals of the value; empty where there is no interval."""
    if estimate.low is None or estimate.high is None:
        return ""
    decimals = _decimals(estimate.value, estimate.unit)
    low, high = (_plain(bound, estimate.unit, decimals) for bound in (estimate.low, estimate.high))
    return f"[{low}, {high}]"


def format_estimate(estimate: Estimate) -> str:
    """Value and interval: "37.37 [36.50, 38.26]"."""
    value = format_value(estimate.value, estimate.unit)
    return f"{value} {format_interval(estimate)}".rstrip()


def _decimals(value: float, unit: str) -> int | None:
    """Decimals that say something at this size; None for a unit this file does not know."""
    if unit == "perplexity":
        return 0 if abs(value) >= 1000 else 2
    if unit in ("tokens/s", "MiB"):
        return 0 if abs(value) >= 100 else 1
    return {"bits": 4, "fraction": 2, "points": 2}.get(unit)


def _plain(value: float, unit: str, decimals: int | None) -> str:
    if not math.isfinite(value):
        return str(float(value))
    if decimals is None:
        return f"{value:.4g}"
    if abs(value) >= 1e6:
        return f"{value:.1e}"
    return f"{100 * value if unit == 'fraction' else value:,.{decimals}f}"


def format_count(number: int | float) -> str:
    """A whole number with thousands separators."""
    return f"{number:,.0f}"


def format_parameters(number: float) -> str:
    """A parameter count as people say it: "124M", "1.56B", "250k"."""
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{letter}"
    return f"{number:.0f}"


def format_bytes(number: float) -> str:
    """Memory in binary units: "512 MiB", "3.20 GiB"."""
    if number >= 2**30:
        return f"{number / 2**30:.2f} GiB"
    return f"{number / 2**20:.0f} MiB"


def format_p(p: float) -> str:
    """A p-value with its sign: "= 0.034", "< 0.001"."""
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def format_level(level: float) -> str:
    """The level of an interval: "95 %"."""
    return f"{100 * level:g} %"


def arrow(higher_is_better: bool | None) -> str:
    """The direction of better as a sign; none where neither direction is better."""
    return {True: "↑", False: "↓", None: ""}[higher_is_better]


def with_arrow(name: str, higher_is_better: bool | None) -> str:
    """The name of a metric with the direction of better: "accuracy ↑", "zipf"."""
    return f"{name} {arrow(higher_is_better)}".rstrip()


def direction(higher_is_better: bool | None) -> str:
    """The direction of better in words."""
    return {
        True: "higher is better",
        False: "lower is better",
        None: "neither direction is better",
    }[higher_is_better]


# An underscore between letters is plain text in CommonMark; names like `word_perplexity` stay
# readable in the source.
_SPECIAL = re.compile(r"[\\`*\[\]|~$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|^[#+=-]|^\d+(?=[.)])")


def markdown(value: object) -> str:
    """Text that Markdown shows as it is, in a table cell, a heading or a line."""
    text = plain(value)
    # A number at the start of a line is only special through the mark behind it.
    text = _SPECIAL.sub(lambda m: m[0] if m[0].isdigit() else "\\" + m[0], text)
    text = re.sub(r"^(\d+)([.)])", r"\1\\\2", text)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def code_block(value: object) -> str:
    """A fenced block with one line for each line of the text; the fence outgrows any inside."""
    lines = [plain(line) for line in str(value).splitlines()]
    longest = max((len(run) for run in re.findall("`+", "\n".join(lines))), default=0)
    fence = "`" * max(3, longest + 1)
    return "\n".join([f"{fence}text", *lines, fence])


# What LaTeX would not print as it stands. Names and signatures may break at a bar and at an
# underscore. Braces keep an asterisk or a bracket from being taken for
# the argument of the line break before it.
_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "#": r"\#",
    "$": r"\$",
    "%": r"\%",
    "&": r"\&",
    "_": r"\_\allowbreak{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar\allowbreak{}",
    '"': r"{\char34}",
    "`": r"\textasciigrave{}",
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
    "\N{EN DASH}": "--",
    "\N{EM DASH}": "---",
    "\N{LEFT SINGLE QUOTATION MARK}": "`",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    "\N{LEFT DOUBLE QUOTATION MARK}": "``",
    "\N{RIGHT DOUBLE QUOTATION MARK}": "''",
    "\N{HORIZONTAL ELLIPSIS}": r"\ldots{}",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{PLUS-MINUS SIGN}": r"$\pm$",
    "\N{MINUS SIGN}": "$-$",
    "\N{RIGHTWARDS ARROW}": r"$\rightarrow$",
    "\N{LEFTWARDS ARROW}": r"$\leftarrow$",
    "\N{UPWARDS ARROW}": r"$\uparrow$",
    "\N{DOWNWARDS ARROW}": r"$\downarrow$",
    "\N{DEGREE SIGN}": r"$^\circ$",
    "ß": r"{\ss}",
    "æ": r"{\ae}",
    "Æ": r"{\AE}",
    "œ": r"{\oe}",
    "Œ": r"{\OE}",
    "ø": r"{\o}",
    "Ø": r"{\O}",
    "ł": r"{\l}",
    "Ł": r"{\L}",
    "ı": r"{\i}",
}
_ACCENTS = {
    "\N{COMBINING GRAVE ACCENT}": "`",
    "\N{COMBINING ACUTE ACCENT}": "'",
    "\N{COMBINING CIRCUMFLEX ACCENT}": "^",
    "\N{COMBINING TILDE}": "~",
    "\N{COMBINING DIAERESIS}": '"',
    "\N{COMBINING MACRON}": "=",
    "\N{COMBINING DOT ABOVE}": ".",
    "\N{COMBINING BREVE}": "u",
    "\N{COMBINING CARON}": "v",
    "\N{COMBINING DOUBLE ACUTE ACCENT}": "H",
    "\N{COMBINING RING ABOVE}": "r",
    "\N{COMBINING CEDILLA}": "c",
}
_ABOVE = set(_ACCENTS) - {"\N{COMBINING CEDILLA}"}
# "--" would become a dash, "''" a quotation mark, ",," one too.
_LIGATURE = re.compile(r"([-',])(?=\1)")


def latex(value: object) -> str:
    """Text that LaTeX prints as it is, in ASCII, whatever engine and packages read it.

    Accented Latin letters and common signs become commands. What pdfLaTeX has no letter for, other
    scripts and emoji, shows as its code point, [U+6A21]: visible, never lost, never an error.
    """
    return "".join(_latex_character(char) for char in _LIGATURE.sub(r"\1\0", plain(value)))


def _latex_character(char: str) -> str:
    if char == "\0":  # between two marks that LaTeX would join
        return "{}"
    if char in _LATEX:
        return _LATEX[char]
    if char.isascii():
        return char
    letter, *marks = list(unicodedata.normalize("NFD", char))
    if len(marks) == 1 and letter.isascii() and letter.isalpha() and marks[0] in _ACCENTS:
        # A dot would stand under the accent.
        base = {"i": r"\i", "j": r"\j"}.get(letter, letter) if marks[0] in _ABOVE else letter
        return f"\\{_ACCENTS[marks[0]]}{{{base}}}"
    return f"{{[}}U+{ord(char):04X}{{]}}"


def csv_text(value: object) -> object:
    """A CSV cell: text that a spreadsheet would take for a formula gets a leading apostrophe.

    Tabs and line ends, which some programs skip to find one, are spaces by then; numbers stay.
    """
    if not isinstance(value, str):
        return value
    text = plain(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "＝", "＋", "－", "＠")) else text


def file_stem(name: str) -> str:
    """A file name without its ending, from letters, digits and `._@-` only."""
    text = re.sub(r"[^A-Za-z0-9._@-]+", "-", plain(name)).strip(".-")
    return text[:100] or "unnamed"


def shorten(name: str, length: int) -> str:
    """One line of at most `length` characters, cut in the middle: both ends tell names apart."""
    text = plain(name)
    if len(text) <= length:
        return text
    tail = (length - 1) // 2
    return f"{text[: length - 1 - tail]}…{text[-tail:]}"
