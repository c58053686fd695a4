"""Tables as a reader and a spreadsheet see them."""

from __future__ import annotations

import csv
import io
import math

import pandas as pd

from gpt2eval.report import to_frame
from gpt2eval.report.sections import group
from gpt2eval.report.tables import (
    banner,
    best_labels,
    frame_csv,
    section_csv,
    section_markdown,
    summary_csv,
    summary_markdown,
)
from gpt2eval.types import Result
from tests.report.building import PAPER, estimate, paper, result


def accuracy(value: float, low: float | None = None, high: float | None = None) -> object:
    return estimate(value, low, high, "fraction", higher=True)


GOLDEN_SUMMARY = """\
| task@protocol | metric | data | gpt2 | my\\|model |
| --- | --- | --- | ---: | ---: |
| wikitext2@lm-eval | word_perplexity ↓ | all 62 | 37.37 [36.50, 38.26] | **26.75** |
| wikitext2@lm-eval | bits_per_byte ↓ | all 62 | 0.9769 [0.9712, 0.9826] | - |
| lambada@lm-eval | acc ↑ | subset: first 100 of 5153 | **32.56 %** [31.28, 33.85] | 30.00 % |

↑ higher is better, ↓ lower is better; [low, high] is the 95 % interval; bold is the best \
checkpoint as printed, whether or not the difference is significant."""

GOLDEN_SECTION = """\
| system | what it is | n | rouge1 ↑ | rouge2 ↑ |
| --- | --- | ---: | ---: | ---: |
| gpt2 | checkpoint | 1,000 | 21.50 [21.10, 21.90] | 4.10 |
| lede-3 | baseline | 1,000 | 40.40 | - |
| gpt2-xl | published: Radford et al. 2019, GPT-2 paper Table 3 | - | 29.34 | - |

↑ higher is better, ↓ lower is better; [low, high] is the 95 % interval.

| metric | direction | unit | divided by | interval | signature |
| --- | --- | --- | --- | --- | --- |
| rouge1 | higher is better | points | 1000 articles | bootstrap over 62 groups | stem:yes |
| rouge2 | higher is better | points | 1000 articles | bootstrap over 62 groups | - |"""


def summary_results() -> list[Result]:
    subset = {"subset": "first 100", "selected": 100, "available": 5153}
    wikitext = {
        "word_perplexity": estimate(37.3698, 36.5, 38.26),
        "bits_per_byte": estimate(0.9769, 0.9712, 0.9826, "bits"),
    }
    return [
        result("gpt2", "wikitext2@lm-eval", wikitext),
        result("my|model", "wikitext2@lm-eval", {"word_perplexity": estimate(26.7466)}),
        result("gpt2", "lambada@lm-eval", {"acc": accuracy(0.3256, 0.3128, 0.3385)}, **subset),
        result("my|model", "lambada@lm-eval", {"acc": accuracy(0.3)}, **subset),
    ]


def summarisation() -> Result:
    def points(value: float, *bounds: float, signature: str = "") -> object:
        made = {"n": 1000, "denominator": "1000 articles", "signature": signature}
        return estimate(value, *bounds, unit="points", higher=True, **made)

    return result(
        "gpt2",
        "cnndm@paper",
        {"rouge1": points(21.5, 21.1, 21.9, signature="stem:yes"), "rouge2": points(4.1)},
        baselines={"lede-3": {"rouge1": points(40.4)}},
        references=[{"model": "gpt2-xl", "metric": "rouge1", "value": 29.34, "source": PAPER}],
    )


def test_summary_reads_like_this() -> None:
    assert summary_markdown(group(summary_results())) == GOLDEN_SUMMARY


def test_section_reads_like_this() -> None:
    (section,) = group([summarisation()])
    assert section_markdown(section) == GOLDEN_SECTION


def test_best_respects_the_direction() -> None:
    lower = {"a": estimate(20.0), "b": estimate(30.0)}
    higher = {"a": accuracy(0.2), "b": accuracy(0.3)}
    assert best_labels(lower) == {"a"}
    assert best_labels(higher) == {"b"}


def test_ties_as_printed_are_all_best_unless_all_are() -> None:
    tie = {"a": estimate(20.001), "b": estimate(20.002)}
    assert best_labels({**tie, "c": estimate(21.0)}) == {"a", "b"}
    assert best_labels(tie) == set()
    assert best_labels({"a": estimate(20.0)}) == set()


def test_where_neither_direction_is_better_nothing_is_best() -> None:
    metrics = [{"zipf": estimate(value, unit="coefficient", higher=None)} for value in (1.0, 0.8)]
    assert best_labels({"a": metrics[0]["zipf"], "b": metrics[1]["zipf"]}) == set()
    sections = group([result(name, metrics=each) for name, each in zip("ab", metrics, strict=True)])
    for text in (summary_markdown(sections), section_markdown(sections[0])):
        assert "**" not in text
        assert "| zipf |" in text
        assert "↑ higher is better, ↓ lower is better, no arrow: neither; " in text
    assert "| zipf | neither direction is better | coefficient |" in section_markdown(sections[0])
    (row,) = csv.DictReader(io.StringIO(summary_csv(sections)))
    assert row["higher_is_better"] == ""
    frame = to_frame([result(metrics=metrics[0])])
    assert frame["higher_is_better"].tolist() == [None]


def test_what_is_not_a_number_is_never_best() -> None:
    assert best_labels({"a": estimate(math.nan), "b": estimate(30.0)}) == {"b"}
    assert best_labels({"a": estimate(math.inf), "b": estimate(30.0)}) == {"b"}


def test_a_baseline_is_never_bold() -> None:
    baseline = {"lede-3": {"rouge1": estimate(99.0, unit="points", higher=True)}}
    metrics = {"rouge1": estimate(20.0, unit="points", higher=True)}
    runs = [result(name, "cnndm@paper", metrics, baselines=baseline) for name in ("a", "b")]
    (section,) = group(runs)
    assert "| lede-3 | baseline | 62 | 99.00 |" in section_markdown(section)


def test_csv_holds_unrounded_numbers_and_no_formulas() -> None:
    metrics = {"word_perplexity": estimate(37.36981234, 36.5, math.inf)}
    text = summary_csv(group([result("=cmd|'/C calc'!A0", metrics=metrics)]))
    header, row = csv.reader(io.StringIO(text))
    assert header[5] == "'=cmd|'/C calc'!A0"
    assert row[5:] == ["37.36981234", "36.5", "inf"]


def test_section_csv_labels_published_values() -> None:
    (section,) = group([result(references=paper("word_perplexity", 29.41))])
    rows = list(csv.DictReader(io.StringIO(section_csv(section))))
    assert [(row["kind"], row["value"], row["source"]) for row in rows] == [
        ("checkpoint", "37.37", ""),
        ("published", "29.41", PAPER),
    ]


def test_frame_is_long_and_keeps_baselines_apart() -> None:
    frame = to_frame([summarisation(), result("b", "cnndm@paper", source="bundled")])
    assert list(frame["kind"]) == ["checkpoint", "checkpoint", "baseline", "checkpoint"]
    assert frame["parameters"].isna().tolist() == [False, False, True, False]
    assert frame["notice"].iloc[-1] == "sample data, not a benchmark score"
    assert frame["value"].dtype == "float64"


def test_frame_drops_equal_baselines_only() -> None:
    baseline = {"lede-3": {"rouge1": estimate(40.0)}}
    frame = to_frame([result(name, baselines=baseline) for name in ("a", "b")])
    assert list(frame["checkpoint"]) == ["a", "lede-3", "b"]


def test_frame_round_trips_through_csv() -> None:
    frame = to_frame([result(metrics={"p": estimate(1 / 3, None, None)})])
    back = pd.read_csv(io.StringIO(frame_csv(frame)))
    assert back["value"].iloc[0] == 1 / 3
    assert back["low"].isna().all()


def test_banner_names_sample_data_and_subsets() -> None:
    sample = result(source="bundled", subset="random 10, seed 0", selected=10, available=40)
    shown = banner([sample, result()])
    assert shown == "> **sample data, not a benchmark score**; subset: random 10 of 40, seed 0"
    assert banner([result()]) == ""


def test_parts_have_a_table_of_their_own() -> None:
    """Out of the summary and the main table, in both CSV files and in a table below."""
    metrics = {
        "accuracy": accuracy(0.75),
        "accuracy/a": estimate(0.5, 0.25, 0.75, "fraction", True, part="a", n=20),
        "accuracy/b": estimate(1.0, unit="fraction", higher=True, part="b", n=42),
    }
    chance = {name: accuracy(0.5) for name in metrics}
    (section,) = group([result("one", "blimp@p", metrics, baselines={"chance": chance})])
    assert "accuracy/a" not in summary_markdown([section])
    text = section_markdown(section)
    main, _, below = text.partition("| part | n | one | chance |")
    assert "/a" not in main
    assert "| one | checkpoint | 62 | 75.00 % |" in main
    assert "| accuracy/a ↑ | 20 | 50.00 % [25.00, 75.00] | 50.00 % |" in below
    assert "| accuracy/b ↑ | 42 | 100.00 % | 50.00 % |" in below
    assert {row["metric"] for row in csv.DictReader(io.StringIO(section_csv(section)))} == {
        "accuracy", "accuracy/a", "accuracy/b"
    }  # fmt: skip
    frame = to_frame(list(section.results.values()))
    kept = frame[frame["kind"] == "checkpoint"].set_index("metric")["part"]
    assert kept.to_dict() == {"accuracy": "", "accuracy/a": "a", "accuracy/b": "b"}


def test_without_parts_there_is_no_table_of_them() -> None:
    (section,) = group([result("one", "blimp@p", {"accuracy": accuracy(0.75)})])
    assert "| part |" not in section_markdown(section)
