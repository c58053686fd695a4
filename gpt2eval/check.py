"""A gate for CI: may the new checkpoint take the place of the old one?

A metric passes when the data rule out that it dropped by more than its margin: a test of
non-inferiority, so that few samples never pass for no loss. Every metric has to pass, each at
`alpha`; that needs no correction (Berger 1982).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, isfinite
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

from gpt2eval.compare import compare_labelled
from gpt2eval.compare.selection import label, names
from gpt2eval.compare.settings import Settings
from gpt2eval.errors import ComparisonError, UsageError
from gpt2eval.report.differences import format_difference, format_side
from gpt2eval.report.text import format_value, markdown, plain, with_arrow
from gpt2eval.results import write_atomically
from gpt2eval.types import Comparison, Result


@dataclass(frozen=True, slots=True)
class Margin:
    """By how much a metric may drop: so many points ("pt"), per cent of the baseline ("%"), or
    units of the metric itself ("").
    """

    size: float
    unit: Literal["pt", "%", ""]

    def __str__(self) -> str:
        return f"{self.size:g}{' ' if self.unit else ''}{self.unit}"

    def of(self, comparison: Comparison) -> float:
        """The margin in the unit of the metric."""
        if self.unit == "%":
            return self.size / 100 * abs(comparison.baseline_value)
        if self.unit == "pt":
            if comparison.unit not in ("fraction", "points"):
                raise UsageError(
                    f"--max-drop {self.size:g}pt: {comparison.task}/{comparison.metric} is in"
                    f" {comparison.unit}, which has no points; give a share of the baseline (2%) or"
                    " a number in its own unit (0.5)"
                )
            return self.size / 100 if comparison.unit == "fraction" else self.size
        return self.size


# What a metric may drop by when nobody says.
POINT, SHARE = Margin(1, "pt"), Margin(2, "%")

Verdict = Literal["pass", "fail", "inconclusive"]


@dataclass(frozen=True, slots=True)
class Check:
    """A metric of the gate: what was found, what may be lost, and what follows, with the reason."""

    comparison: Comparison
    margin: Margin
    verdict: Verdict
    words: str


def check(
    new: Sequence[Result],
    old: Sequence[Result],
    *,
    max_drop: Sequence[str] = (),
    alpha: float = 0.05,
    seed: int = 0,
    tasks_dir: str | Path | None = None,
) -> list[Check]:
    """Whether the new checkpoint is no worse than the old one, metric by metric.

    Args:
        new: results of one checkpoint.
        old: results of another, or of an earlier run; every task of it has to be in `new`.
        max_drop: "METRIC=MARGIN" each, the metric as `compare` takes it; a "MARGIN" alone is for
            the first metric of every task. Empty: that, with 1 pt for fractions and points and 2 %
            of the baseline for the rest.
        alpha: chance to pass a metric that dropped by its margin.
        seed: of the resamples.
        tasks_dir: directory with task files of the user's own.

    Raises:
        UsageError: a margin or a name that cannot be used.
        ComparisonError: results that cannot be compared, or a task that is missing.
    """
    if not 0 < alpha < 0.5:
        raise UsageError(f"--alpha {alpha}; expected a number between 0 and 0.5, such as 0.05")
    margins = [_parse(text) for text in max_drop]
    first, second = _one_label(old, "--baseline"), _one_label(new, "NEW")
    if first == second:
        first = f"{first} (baseline)"
    _check_complete(new, old)
    labelled = [(first, result) for result in old] + [
        (second, result) for result in new if result.name in {one.name for one in old}
    ]
    named = tuple(pattern for pattern, _ in margins if pattern)
    if not named or any(not pattern for pattern, _ in margins):
        named += tuple(f"{result.name}/{_main(result)}" for result in old)
    settings = Settings(seed, 1 - 2 * alpha, False, named, tasks_dir)
    weights = {name: result.checkpoint.get("sha256") for name, result in labelled}
    same = bool(weights[first]) and weights[first] == weights[second]
    return [
        _judge(one, _margin(one, margins), same=same)
        for one in compare_labelled(labelled, first, "none", settings)
    ]


def _one_label(results: Sequence[Result], option: str) -> str:
    labels = list(dict.fromkeys(name for name, _ in label(results)))
    if len(labels) > 1:
        raise UsageError(
            f"{option} holds results of {', '.join(labels)}; expected those of one checkpoint. Name"
            " its directory"
        )
    return labels[0]


def _check_complete(new: Sequence[Result], old: Sequence[Result]) -> None:
    """A gate that skips what was not run would pass it."""
    there = {result.name for result in new}
    missing = [result.name for result in old if result.name not in there]
    if missing:
        raise ComparisonError(
            f"NEW has no results of {', '.join(missing)}, which the baseline has; run them, or name"
            " the tasks that are meant by --tasks"
        )


def _main(result: Result) -> str:
    """The first metric over all samples."""
    return next(name for name, estimate in result.metrics.items() if not estimate.part)


def _parse(text: str) -> tuple[str, Margin]:
    """(pattern of a metric, or "" for the first of every task; margin)."""
    pattern, _, size = text.rpartition("=")
    match = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*(pt|%|)\s*", size)
    if match is None:
        raise UsageError(
            f"--max-drop {text!r}: {size!r} is no margin; expected METRIC=NUMBER with pt (points),"
            " % (of the baseline) or nothing (the metric's own unit) behind the number, such as"
            " lambada@openai/accuracy=0.5pt"
        )
    unit: Literal["pt", "%", ""] = "pt" if match[2] == "pt" else "%" if match[2] == "%" else ""
    return pattern.strip(), Margin(float(match[1]), unit)


def _margin(one: Comparison, margins: Sequence[tuple[str, Margin]]) -> Margin:
    """The last that names the metric; else the one for all; else the default of its unit."""
    for pattern, margin in reversed(margins):
        if pattern and names(pattern, one.task, one.metric):
            return margin
    for pattern, margin in reversed(margins):
        if not pattern:
            return margin
    return POINT if one.unit in ("fraction", "points") else SHARE


def _judge(one: Comparison, margin: Margin, *, same: bool) -> Check:
    """What follows; where the weights are the `same`, equal values are no chance."""
    allowed = margin.of(one)
    if same and one.difference == 0:
        return Check(one, margin, "pass", "the same weights and the same value")
    if one.low is None or one.high is None or not isfinite(one.baseline_value):
        reason = one.test if one.low is None else "the baseline has no finite value"
        return Check(one, margin, "inconclusive", f"no interval: {reason}")
    least, most = (-one.high, -one.low) if one.higher_is_better else (one.low, one.high)
    if most <= allowed:
        return Check(one, margin, "pass", "a larger drop is ruled out")
    if least > allowed:
        return Check(one, margin, "fail", "it dropped by more")
    words = "a larger drop is not ruled out"
    drop = -one.difference if one.higher_is_better else one.difference
    if allowed > 0 and isfinite(most):
        kind = "samples" if one.units == one.n else "groups of samples"
        needed = ceil(one.units * ((most - drop) / allowed) ** 2)
        words += f"; without any drop that would take about {needed:,} {kind}, not {one.units:,}"
    return Check(one, margin, "inconclusive", words)


# ---- what is said of it -------------------------------------------------------------------------


def passed(checks: Sequence[Check]) -> bool:
    """Whether every metric passes."""
    return all(one.verdict == "pass" for one in checks)


def summary(checks: Sequence[Check]) -> str:
    """One line: "2 of 3 pass, 1 inconclusive"."""
    counts = {
        verdict: sum(one.verdict == verdict for one in checks)
        for verdict in ("fail", "inconclusive")
    }
    ok = len(checks) - sum(counts.values())
    rest = [f"{count} {verdict}" for verdict, count in counts.items() if count]
    outcome = "passed" if passed(checks) else "failed"
    return f"check {outcome}: {', '.join([f'{ok} of {len(checks)} pass', *rest])}"


def cells(one: Check) -> tuple[str, ...]:
    """Metric, baseline, new, difference, margin and verdict, as text."""
    comparison = one.comparison
    allowed = str(one.margin)
    if one.margin.unit == "%":
        allowed += f" ({format_value(one.margin.of(comparison), comparison.unit)})"
    return (
        with_arrow(f"{comparison.task}/{comparison.metric}", comparison.higher_is_better),
        format_side(comparison, comparison.baseline_value, None),
        format_side(comparison, comparison.candidate_value, None),
        format_difference(comparison),
        allowed,
        f"{one.verdict}: {one.words}",
    )


def summary_markdown(checks: Sequence[Check]) -> str:
    """A section for a pull request or a job summary."""
    first = checks[0].comparison
    level = f"{100 * first.level:g} %"
    lines = [
        f"## gpt2eval {markdown(summary(checks))}",
        "",
        f"{markdown(first.candidate)} against {markdown(first.baseline)}; differences with"
        f" {level} intervals. A metric passes when its interval rules out a larger drop.",
        "",
        "| metric | baseline | new | difference | may drop by | verdict |",
        "|---|---:|---:|---:|---:|---|",
        *(f"| {' | '.join(map(markdown, cells(one)))} |" for one in checks),
        "",
        "Tests and intervals:",
        "",
        *(
            f"- {markdown(f'{c.task}/{c.metric}')}: {markdown(_about(c))}"
            for c in (one.comparison for one in checks)
        ),
    ]
    return "\n".join(lines) + "\n"


def _about(comparison: Comparison) -> str:
    return "; ".join(filter(None, (comparison.test, comparison.note)))


def junit(checks: Sequence[Check]) -> str:
    """JUnit XML: a test case for each metric; the type of a failure is the verdict."""
    failures = str(sum(one.verdict != "pass" for one in checks))
    counts = {"tests": str(len(checks)), "failures": failures, "errors": "0", "time": "0"}
    root = ElementTree.Element("testsuites", counts)
    first = checks[0].comparison
    name = f"gpt2eval check: {first.candidate} against {first.baseline}"
    suite = ElementTree.SubElement(
        root, "testsuite", {"name": plain(name), **counts, "skipped": "0"}
    )
    for one in checks:
        comparison = one.comparison
        called = {"classname": plain(comparison.task), "name": plain(comparison.metric)}
        case = ElementTree.SubElement(suite, "testcase", called | {"time": "0"})
        _, baseline, new, difference, allowed, verdict = map(plain, cells(one))
        text = (
            f"baseline {baseline}, new {new}, difference {difference}, may drop by {allowed}."
            f" {plain(_about(comparison))}"
        )
        if one.verdict == "pass":
            ElementTree.SubElement(case, "system-out").text = f"{verdict}. {text}"
        else:
            about = {"message": verdict, "type": one.verdict}
            ElementTree.SubElement(case, "failure", about).text = text
    ElementTree.indent(root)
    body = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{body}\n'


def write(checks: Sequence[Check], junit_file: str | None, summary_file: str | None) -> None:
    """Write the files that were asked for; StoreError where the disk says no."""
    for name, text in ((junit_file, junit), (summary_file, summary_markdown)):
        if name is not None:
            write_atomically(Path(name), text(checks))
