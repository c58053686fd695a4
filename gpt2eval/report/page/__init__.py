"""report.html: the whole report in one file, with a browser for single samples.

The file opens from a disk and asks no network for anything: style, script, pictures and records
are inside it. What comes from data, models or users reaches it as escaped text or as JSON that the
script puts on the page as text; a Content-Security-Policy lets nothing else run.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from gpt2eval import __version__
from gpt2eval.report.page.content import content
from gpt2eval.report.page.overlap import split_table
from gpt2eval.report.page.samples import Browser, browsers
from gpt2eval.report.page.visible import visible
from gpt2eval.report.panels import Picture
from gpt2eval.report.sections import Section
from gpt2eval.report.significance import significance
from gpt2eval.types import Comparison, Split

BUDGET = 12_000_000  # bytes of the file that samples may take; pictures and tables come on top


def report_html(
    title: str,
    sections: Sequence[Section],
    pictures: Sequence[Picture],
    comparisons: Sequence[Comparison] = (),
    left_out: Sequence[str] = (),
    budget: int = BUDGET,
    splits: Sequence[Split] = (),
    rule: str = "",
    samples: Sequence[Browser | None] | None = None,
) -> bytes:
    """The page. Equal results make equal bytes.

    left_out  what was not compared, and why: a line each
    budget  bytes that the samples of all sections may take together; where they need more, the
            most telling stay and the page says how many were left out
    splits  scores on clean and on overlapping samples, told apart by `rule`
    samples  what `browsers` made of the sections, where that is at hand
    """
    if samples is None:
        samples = browsers(sections, budget, significance(comparisons).baseline)
    style, script = (_read(name) for name in ("page.css", "page.js"))
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    page = environment.from_string(_read("page.html")).render(
        content(title, sections, pictures, comparisons, left_out),
        overlap=split_table(splits, rule),
        browsers=samples,
        style=Markup(style),
        script=Markup(script),
        policy=_policy(style, script),
        version=__version__,
    )
    return page.lstrip().encode()


def _read(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")


def _finalize(value: object) -> object:
    """What the template prints: text with nothing invisible in it; our own markup as it is."""
    return value if isinstance(value, Markup) else visible(str(value))


def _policy(style: str, script: str) -> str:
    """Nothing may be loaded or run but these two texts, and pictures that are in the page."""
    parts = ["default-src 'none'", "img-src data:", "base-uri 'none'", "form-action 'none'"]
    parts += [f"style-src '{_hash(style)}'", f"script-src '{_hash(script)}'"]
    return "; ".join(parts)


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
