"""Numbers and names as text."""

from __future__ import annotations

import math

import pytest

from gpt2eval.report.text import (
    code_block,
    csv_text,
    file_stem,
    format_estimate,
    format_interval,
    format_parameters,
    format_value,
    markdown,
    shorten,
)
from tests.report.building import estimate


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (37.3698, "perplexity", "37.37"),
        (999.994, "perplexity", "999.99"),
        (1000.4, "perplexity", "1,000"),
        (48_123.0, "perplexity", "48,123"),
        (1.234e9, "perplexity", "1.2e+09"),
        (math.inf, "perplexity", "inf"),
        (math.nan, "fraction", "nan"),
        (0.97689, "bits", "0.9769"),
        (0.3256, "fraction", "32.56 %"),
        (29.338, "points", "29.34"),
        (13_291.4, "tokens/s", "13,291"),
        (85.36, "tokens/s", "85.4"),
        (512.4, "MiB", "512"),
        (0.0012345, "seconds", "0.001234"),
    ],
)
def test_values_have_the_decimals_of_their_unit(value: float, unit: str, shown: str) -> None:
    assert format_value(value, unit) == shown


def test_bounds_have_the_decimals_of_the_value() -> None:
    assert format_estimate(estimate(998.0, 950.2, 1050.3)) == "998.00 [950.20, 1,050.30]"
    assert format_estimate(estimate(1200.0, 990.4, 1500.0)) == "1,200 [990, 1,500]"
    accuracy = estimate(0.3256, 0.3128, 0.3385, "fraction", higher=True)
    assert format_estimate(accuracy) == "32.56 % [31.28, 33.85]"


def test_an_interval_may_be_open_or_missing() -> None:
    assert format_interval(estimate(900.0, 10.0, math.inf)) == "[10.00, inf]"
    assert format_interval(estimate(900.0, None, None)) == ""
    assert format_estimate(estimate(math.inf, None, None)) == "inf"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("word_perplexity", "word_perplexity"),
        ("a|b", r"a\|b"),
        ("two\nlines\r\tand tab", "two lines and tab"),
        ("`rm`", r"\`rm\`"),
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("[x](http://e.org)", r"\[x\](http://e.org)"),
        ("*b* _i_ $m$", r"\*b\* \_i\_ \$m\$"),
        ("back\\slash", r"back\\slash"),
        ("# heading", r"\# heading"),
        ("1. item", r"1\. item"),
        ("left\u202eright", "left right"),
    ],
)
def test_markdown_shows_names_as_they_are(name: str, shown: str) -> None:
    assert markdown(name) == shown


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1+1", "\u200b=1"])
def test_csv_text_is_never_a_formula(name: str) -> None:
    assert str(csv_text(name)).startswith("'")


def test_csv_numbers_stay_numbers() -> None:
    assert csv_text(-1.5) == -1.5
    assert csv_text("gpt2-medium") == "gpt2-medium"


def test_a_code_block_cannot_be_left() -> None:
    block = code_block("gpt2eval run\n```\n<b>")
    assert block == "````text\ngpt2eval run\n```\n<b>\n````"


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("wikitext2@lm-eval", "wikitext2@lm-eval"),
        ("../../etc/passwd", "etc-passwd"),
        ("a b/c\\d", "a-b-c-d"),
        ("...", "unnamed"),
        ("x" * 300, "x" * 100),
    ],
)
def test_file_names_stay_in_their_folder(name: str, stem: str) -> None:
    assert file_stem(name) == stem


def test_long_names_keep_both_ends() -> None:
    assert shorten("abcdefghij", 10) == "abcdefghij"
    assert shorten("abcdefghijk", 10) == "abcde…hijk"


def test_parameters_as_people_say_them() -> None:
    shown = [format_parameters(n) for n in (124_439_808, 1_557_611_200, 250_000, 12)]
    assert shown == ["124M", "1.56B", "250k", "12"]


@pytest.mark.parametrize("lead", ["=", "+", "-", "@", "\t=", "\r=", "\n+", " @", "\u200b=", "＝"])
def test_no_cell_of_text_is_a_formula_and_numbers_stay(lead: str) -> None:
    text = str(csv_text(f"{lead}cmd|' /C calc'!A0"))
    assert text.startswith("'")
    assert not set(text) & set("\t\r\n\u200b")
    assert csv_text(-1.5) == -1.5
    assert csv_text(None) is None
