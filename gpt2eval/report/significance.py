"""Which differences from the baseline are real: comparisons as marks beside numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gpt2eval.report.sections import Section
from gpt2eval.types import Comparison

STARS = ((0.001, "***"), (0.01, "**"), (0.05, "*"))


@dataclass(frozen=True, slots=True)
class Significance:
    """The comparisons with one baseline; without a baseline, none."""

    comparisons: tuple[Comparison, ...] = ()
    baseline: str = ""

    def of(self, section: Section) -> list[Comparison]:
        """Those of a section, of two checkpoints that it has.

        Where two sections answer to one task@protocol their titles differ from it, and nothing says
        which of the two was compared.
        """
        return [
            each
            for each in self.comparisons
            if each.task == section.title
            and {each.baseline, each.candidate} <= section.results.keys()
        ]

    def stars(self, section: Section, metric: str, label: str) -> str:
        """The mark of a number: stars by its corrected p-value, or nothing."""
        for each in self.of(section):
            if (each.metric, each.candidate) == (metric, label) and each.p_corrected is not None:
                return next((mark for p, mark in STARS if each.p_corrected < p), "")
        return ""


def significance(comparisons: Sequence[Comparison], baseline: str = "") -> Significance:
    """The comparisons with this baseline; without a name, with the only one that there is."""
    baselines = {each.baseline for each in comparisons}
    chosen = baseline or (next(iter(baselines)) if len(baselines) == 1 else "")
    return Significance(tuple(c for c in comparisons if c.baseline == chosen), chosen)


def tests_in_words(comparisons: Iterable[Comparison]) -> str:
    """What the p-values come from, and how they were corrected: "exact McNemar test; Holm"."""
    shown = [each for each in comparisons if each.p is not None]
    tests = ", ".join(dict.fromkeys(each.test for each in shown))
    corrections = ", ".join(dict.fromkeys(each.correction for each in shown if each.correction))
    return f"{tests}; p-values corrected: {corrections}" if corrections else tests
