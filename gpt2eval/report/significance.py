"""Which differences from the baseline are real: comparisons as marks beside numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from gpt2eval.report.differences import mark
from gpt2eval.report.sections import Section
from gpt2eval.types import Comparison

CORRECTED = {
    "holm": "corrected by Holm's method",
    "bh": "corrected by the method of Benjamini and Hochberg",
    "none": "not corrected",
}


@dataclass(frozen=True)
class Significance:
    """The comparisons with one baseline; without a baseline, none."""

    comparisons: tuple[Comparison, ...] = ()
    baseline: str = ""

    @cached_property
    def _by_task(self) -> dict[str, dict[tuple[str, str], Comparison]]:
        """task@protocol -> (metric, candidate) -> comparison."""
        found: dict[str, dict[tuple[str, str], Comparison]] = {}
        for each in self.comparisons:
            found.setdefault(each.task, {}).setdefault((each.metric, each.candidate), each)
        return found

    def of(self, section: Section) -> list[Comparison]:
        """Those of a section: of its task@protocol, and of two checkpoints that it has.

        Where several sections answer to one task@protocol, on other data say, a checkpoint stands
        in one of them: `compare` refuses two runs of it.
        """
        if self.baseline not in section.results:
            return []
        found = self._by_task.get(section.first.name, {}).values()
        return [each for each in found if each.candidate in section.results]

    def find(self, section: Section, metric: str, label: str) -> Comparison | None:
        """That of one number; None where it was not compared, or over other samples alone."""
        if not {self.baseline, label} <= section.results.keys():
            return None
        return self._by_task.get(section.first.name, {}).get((metric, label))

    def stars(self, section: Section, metric: str, label: str) -> str:
        """The mark of a number: stars by its corrected p-value, or nothing."""
        found = self.find(section, metric, label)
        return mark(found) if found else ""


def significance(comparisons: Sequence[Comparison], baseline: str = "") -> Significance:
    """The comparisons with this baseline; without a name, with the only one that there is."""
    baselines = {each.baseline for each in comparisons}
    chosen = baseline or (next(iter(baselines)) if len(baselines) == 1 else "")
    return Significance(tuple(c for c in comparisons if c.baseline == chosen), chosen)


def tests_in_words(comparisons: Iterable[Comparison]) -> str:
    """What p-values come from, in short: "exact McNemar test; p-values corrected by ..."."""
    shown = [each for each in comparisons if each.p is not None]
    tests = ", ".join(dict.fromkeys(re.split(r" over |; ", each.test)[0] for each in shown))
    corrections = " and ".join(dict.fromkeys(CORRECTED[each.correction] for each in shown))
    return f"{tests}; p-values {corrections}" if shown else ""


def without_counts(test: str) -> str:
    """The words on a test that are the same for every number of samples."""
    test = re.sub(r" over [\d,]+( and [\d,]+)? (samples|groups|seeds)( that differ)?", "", test)
    return re.sub(r"\ball \d+ arrangements", "all arrangements", test)
