"""Which results stand together: a Section is one table, and its checkpoints are its rows.

Numbers share a section only when they answer the same question: same task@protocol, version and
options, on the same data. Anything else would put incomparable numbers side by side and print the
better one bold.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gpt2eval.labels import checkpoint_labels as checkpoint_labels
from gpt2eval.labels import distinguish as distinguish
from gpt2eval.labels import is_bundled as is_bundled
from gpt2eval.labels import question
from gpt2eval.report.text import SAMPLE_NOTICE, file_stem, format_count, plain
from gpt2eval.types import Estimate, Result


@dataclass(frozen=True, slots=True)
class Section:
    """The results of one task@protocol on one data set.

    title    `task@protocol`, with what sets it apart where two sections share that name
    stem     the same as a file name, unique in the report
    results  label of the checkpoint -> Result
    """

    title: str
    stem: str
    results: Mapping[str, Result]

    @property
    def first(self) -> Result:
        """Any of the results, for what they have in common."""
        return next(iter(self.results.values()))

    @property
    def parts_stem(self) -> str:
        """The file name for what is told of parts, as unique as `stem`."""
        return f"{self.stem}-parts"

    @property
    def bundled(self) -> bool:
        """Whether the data are the samples that come with the package."""
        return is_bundled(self.first)

    @property
    def metrics(self) -> dict[str, Estimate]:
        """Each metric over all samples with one of its estimates, the main metric first."""
        return {name: each for name, each in self._estimates.items() if not each.part}

    @property
    def parts(self) -> dict[str, Estimate]:
        """The same for metrics over a part of the samples, which have a table of their own."""
        return {name: each for name, each in self._estimates.items() if each.part}

    @property
    def _estimates(self) -> dict[str, Estimate]:
        found: dict[str, Estimate] = {}
        for result in self.results.values():
            for name, estimate in result.metrics.items():
                found.setdefault(name, estimate)
        return found

    @property
    def baselines(self) -> dict[str, Mapping[str, Estimate]]:
        """Model-free systems by name; those with equal numbers in all runs appear once."""
        found: dict[str, Mapping[str, Estimate]] = {}
        for label, result in self.results.items():
            for name, metrics in result.baselines.items():
                if name not in found:
                    found[name] = metrics
                elif found[name] != metrics:
                    found[f"{name} (run of {label})"] = metrics
        return found

    @property
    def references(self) -> list[Mapping[str, Any]]:
        """Published numbers of this protocol; none for bundled data, on which none was measured."""
        if self.bundled:
            return []
        return [
            row
            for row in self.first.task.get("references", ())
            if row["metric"] in self.metrics and row.get("same", True)
        ]


def data_mark(result: Result) -> str:
    """What a reader must know about the data next to the number; empty for a whole test set."""
    marks = [SAMPLE_NOTICE] if is_bundled(result) else []
    subset = result.data.get("subset", "all")
    if subset != "all":
        selected, available = (result.data.get(key, "?") for key in ("selected", "available"))
        # "random 100, seed 0" has the number already; it reads best beside the whole.
        share = f"{selected} of {available}"
        told = re.sub(rf"\b{re.escape(str(selected))}\b", share, plain(subset), count=1)
        marks.append(f"subset: {told if share in told else f'{share}, {told}'}")
    return "; ".join(marks)


def data_digests(result: Result) -> dict[str, str]:
    """File of the data -> its sha256; one digest without a file is that of "data"."""
    digests = result.data.get("sha256", "")
    if not isinstance(digests, Mapping):
        digests = {"data": digests}
    return {str(name): str(digest) for name, digest in digests.items()}


def data_words(result: Result) -> str:
    """The mark of the data, or "all N" for a whole test set."""
    available = result.data.get("available")
    whole = f"all {format_count(available)}" if isinstance(available, int) else "all"
    return data_mark(result) or whole


def group(results: Sequence[Result]) -> list[Section]:
    """Results in sections, both in the order they came."""
    grouped: dict[str, list[tuple[str, Result]]] = {}
    for label, result in zip(checkpoint_labels(results), results, strict=True):
        grouped.setdefault(question(result), []).append((label, result))
    firsts = [members[0][1] for members in grouped.values()]
    titles = distinguish(
        [plain(result.name) for result in firsts],
        [data_words(result) for result in firsts],
        [f"data {', '.join(x[:8] for x in data_digests(result).values())}" for result in firsts],
        [f"version {result.task.get('version', '?')}" for result in firsts],
    )
    stems = file_stems(
        titles, taken=("summary", "results", "comparisons")
    )  # the tables over everything
    return [
        Section(title, stem, dict(members))
        for title, stem, members in zip(titles, stems, grouped.values(), strict=True)
    ]


def file_stems(titles: Sequence[str], taken: Iterable[str] = ()) -> list[str]:
    """File names for titles; unique without regard to case, as some file systems need.

    So is each with "-parts" behind it.
    """
    stems: list[str] = []
    used = set(taken)
    for title in titles:
        stem, number = file_stem(title), 1
        while used & _taken_by(stem):
            number += 1
            stem = f"{file_stem(title)}-{number}"
        used |= _taken_by(stem)
        stems.append(stem)
    return stems


def _taken_by(stem: str) -> set[str]:
    return {stem.lower(), f"{stem}-parts".lower()}
