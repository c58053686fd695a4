"""The gate: margins, verdicts, and the files that other tools read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from gpt2eval.check import Check, check, junit, passed, summary, summary_markdown
from gpt2eval.compare.selection import find
from gpt2eval.errors import ComparisonError, UsageError
from gpt2eval.significance import tango
from tests.comparing import answers, write_run


def right(n: int, of: int) -> dict[str, list[tuple[float, float]]]:
    return {"accuracy": [(float(i < n), 1.0) for i in range(of)]}


def gate(place: Path, **options: object) -> list[Check]:
    new, old = find(["new"], str(place)).results, find(["old"], str(place)).results
    return check(new, old, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("now", "margin", "verdict"),
    [
        (600, "1pt", "pass"),
        (580, "1pt", "fail"),
        (594, "1pt", "inconclusive"),
        (580, "5pt", "pass"),
    ],
)
def test_verdicts(tmp_path: Path, now: int, margin: str, verdict: str) -> None:
    write_run(tmp_path, "old", right(600, 1000))
    write_run(tmp_path, "new", right(now, 1000))
    (one,) = gate(tmp_path, max_drop=[margin])
    assert one.verdict == verdict
    low, high = tango(max(now - 600, 0), max(600 - now, 0), 1000, 0.9)  # one-sided at 0.05
    assert (one.comparison.low, one.comparison.high) == pytest.approx((low, high))
    assert passed([one]) == (verdict == "pass")


def test_few_samples_never_pass_for_no_loss(tmp_path: Path) -> None:
    write_run(tmp_path, "old", right(6, 10))
    write_run(tmp_path, "new", right(6, 10))
    (one,) = gate(tmp_path)
    assert one.verdict == "inconclusive"
    assert "without any drop that would take about" in one.words


def test_the_same_weights_pass(tmp_path: Path) -> None:
    for place in ("before", "after"):
        write_run(tmp_path / place, "m", right(6, 10))
    (one,) = check(
        find(["m"], str(tmp_path / "after")).results, find(["m"], str(tmp_path / "before")).results
    )
    assert (one.verdict, one.words) == ("pass", "the same weights and the same value")
    assert (one.comparison.baseline, one.comparison.candidate) == ("m (baseline)", "m")


def test_lower_is_better_and_per_cent_are_of_the_baseline(tmp_path: Path) -> None:
    rows = {"perplexity": answers(400, 1)["perplexity"]}
    write_run(tmp_path, "old", rows)
    worse = [(nll + 0.05, words) for nll, words in rows["perplexity"]]
    write_run(tmp_path, "new", {"perplexity": worse})
    (one,) = gate(tmp_path)
    assert (str(one.margin), one.verdict) == ("2 %", "fail")  # exp(0.05): 5 % up
    assert one.margin.of(one.comparison) == pytest.approx(0.02 * one.comparison.baseline_value)
    (one,) = gate(tmp_path, max_drop=["made/perplexity=8%"])
    assert one.verdict == "pass"
    (one,) = gate(tmp_path, max_drop=[f"perplexity={0.08 * one.comparison.baseline_value}"])
    assert one.verdict == "pass"


def test_what_is_named_is_checked_and_the_last_margin_counts(tmp_path: Path) -> None:
    for name, seed in (("old", 1), ("new", 2)):
        write_run(tmp_path, name, answers(100, seed))
    assert [one.comparison.metric for one in gate(tmp_path)] == ["accuracy"]
    found = gate(tmp_path, max_drop=["*=1%", "made@p/perplexity=50%"])
    assert {one.comparison.metric: str(one.margin) for one in found} == {
        "accuracy": "1 %",
        "perplexity": "50 %",
    }
    found = gate(tmp_path, max_drop=["3pt", "perplexity=50%"])
    assert {one.comparison.metric: str(one.margin) for one in found} == {
        "accuracy": "3 pt",
        "perplexity": "50 %",
    }


@pytest.mark.parametrize(
    ("margin", "words"),
    [
        ("accuracy=lots", r"'lots' is no margin; expected METRIC=NUMBER"),
        ("accuracy=-1pt", "'-1pt' is no margin"),
        ("accuracy=nan", "'nan' is no margin"),
        ("perplexity=1pt", "is in perplexity, which has no points"),
        ("acc=1pt", "no result has a metric 'acc'"),
    ],
)
def test_margins_that_cannot_be_used(tmp_path: Path, margin: str, words: str) -> None:
    for name, seed in (("old", 1), ("new", 2)):
        write_run(tmp_path, name, answers(50, seed))
    with pytest.raises(UsageError, match=words):
        gate(tmp_path, max_drop=[margin])


def test_bad_input(tmp_path: Path) -> None:
    for name, seed in (("old", 1), ("new", 2)):
        write_run(tmp_path, name, answers(50, seed))
    with pytest.raises(UsageError, match=r"--alpha 0\.7; expected a number between 0 and 0.5"):
        gate(tmp_path, alpha=0.7)
    with pytest.raises(UsageError, match="NEW holds results of new, old; expected those of one"):
        check(find(["*"], str(tmp_path)).results, find(["old"], str(tmp_path)).results)
    write_run(tmp_path, "old", answers(50, 1), on="more@p")
    with pytest.raises(ComparisonError, match="NEW has no results of more@p"):
        gate(tmp_path)


HOSTILE = 'a|b<script>&"]]>\x00\x1b[31m`*_\u2028'


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A glob is looked for in the working directory first, which may be one with results."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")


@pytest.fixture
def hostile(tmp_path: Path) -> list[Check]:
    for name, seed in (("old", 1), ("new", 2)):
        right, loss = (0.5, 3.0) if name == "old" else (0.9, 3.2)
        write_run(tmp_path, name, answers(300, seed, right=right, loss=loss))
    found = gate(tmp_path, max_drop=["*=1%"])
    return [
        replace(
            one,
            comparison=replace(one.comparison, task=HOSTILE, metric=HOSTILE, candidate=HOSTILE),
            words=HOSTILE,
        )
        for one in found
    ]


def test_junit_is_what_parsers_expect(hostile: list[Check]) -> None:
    text = junit(hostile)
    root = ElementTree.fromstring(text)
    assert root.tag == "testsuites"
    (suite,) = root
    assert suite.tag == "testsuite"
    cases = list(suite)
    assert [case.tag for case in cases] == ["testcase"] * 2
    failed = [case for case in cases if case.find("failure") is not None]
    for element in (root, suite):
        assert int(element.attrib["tests"]) == 2
        assert int(element.attrib["failures"]) == len(failed) == 1
        assert element.attrib["errors"] == "0"
    for case in cases:
        assert case.attrib.keys() == {"classname", "name", "time"}
        assert case.attrib["name"].startswith('a|b<script>&"]]> [31m')
    (failure,) = failed[0]
    assert failure.attrib["type"] in ("fail", "inconclusive")
    assert failure.text
    assert "<script>" not in text
    assert not any(ord(char) < 32 and char != "\n" for char in text)


def test_markdown_keeps_its_table(hostile: list[Check]) -> None:
    text = summary_markdown(hostile)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 4
    unescaped = [line.replace("\\|", "").count("|") for line in rows]
    assert unescaped == [7] * 4
    assert "<script>" not in text
    assert summary(hostile) in text.splitlines()[0]


def test_a_metric_that_cannot_be_tested_is_inconclusive(tmp_path: Path) -> None:
    for name, seed in (("old", 1), ("new", 2)):
        write_run(tmp_path, name, answers(1, seed))
    for one in gate(tmp_path, max_drop=["*=5%"]):
        assert one.verdict == "inconclusive"
        assert "one sample says nothing about others" in one.words
        assert np.isfinite(one.comparison.difference)
