"""How values and names become text: one place for number formats and for escaping.

Checkpoint names, commands and task texts come from files and are not trusted: what could end a
table cell, start HTML or be run by a spreadsheet is made harmless here, and only here.
"""

from __future__ import annotations

import math
import re
import unicodedata

from gpt2eval.types import Estimate

SAMPLE_NOTICE = "sample data, not a benchmark score"
NOTHING = "-"  # an empty cell of a table for reading


def format_value(value: float, unit: str) -> str:
    """A value as tables print it: "37.37", "12,346", "1.2e+09", "0.9769", "32.56 %"."""
    text = _plain(value, unit, _decimals(value, unit))
    return f"{text} %" if unit == "fraction" and math.isfinite(value) else text


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


def plain(value: object) -> str:
    """Text on one line without control or invisible formatting characters."""
    kept = (" " if unicodedata.category(char)[0] == "C" else char for char in str(value))
    return " ".join("".join(kept).split())


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


def csv_text(value: object) -> object:
    """A CSV cell: text that a spreadsheet would take for a formula gets a leading apostrophe."""
    if not isinstance(value, str):
        return value
    text = plain(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


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
