"""Which results stand together: a Section is one table, and its checkpoints are its rows.

Numbers share a section only when they answer the same question: same task@protocol, version and
options, on the same data. Anything else would put incomparable numbers side by side and print the
better one bold.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
        """Published numbers; none for bundled data, which they were not measured on."""
        if self.bundled:
            return []
        return [
            row for row in self.first.task.get("references", ()) if row["metric"] in self.metrics
        ]


def is_bundled(result: Result) -> bool:
    """Whether a result was made from the samples that come with the package."""
    return bool(result.data.get("source") == "bundled")


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
        grouped.setdefault(_question(result), []).append((label, result))
    firsts = [members[0][1] for members in grouped.values()]
    titles = distinguish(
        [plain(result.name) for result in firsts],
        [data_words(result) for result in firsts],
        [f"data {', '.join(x[:8] for x in data_digests(result).values())}" for result in firsts],
        [f"version {result.task.get('version', '?')}" for result in firsts],
    )
    stems = file_stems(titles, taken=("summary", "results"))  # the tables over everything
    return [
        Section(title, stem, dict(members))
        for title, stem, members in zip(titles, stems, grouped.values(), strict=True)
    ]


def checkpoint_labels(results: Sequence[Result]) -> list[str]:
    """A label for each result; results share one only when weights and dtype are the same.

    The label is the checkpoint's name, followed by digest, dtype or number of the run where the
    name alone would put two different things in one column.
    """
    entities: list[tuple[str, str, str, str, int]] = []
    seen: Counter[tuple[str, ...]] = Counter()
    for result in results:
        name, checkpoint = plain(result.checkpoint["name"]), result.checkpoint
        digest = str(checkpoint.get("sha256") or "")
        # Without a digest, what the user called the checkpoint has to tell it from others.
        path = "" if digest else plain(checkpoint.get("path", ""))
        made_by = digest[:8] or str(result.run.get("tool", "digest unknown"))
        entity = (name, digest or made_by, path, str(result.run.get("dtype", "")))
        seen[(*entity, _question(result))] += 1
        entities.append((*entity, seen[(*entity, _question(result))]))
    unique = list(dict.fromkeys(entities))
    labels = distinguish(
        [name for name, *_ in unique],
        [digest[:8] for _, digest, *_ in unique],
        [path for _, _, path, *_ in unique],
        [dtype for *_, dtype, _ in unique],
        [f"run {number}" for *_, number in unique],
    )
    label_of = dict(zip(unique, labels, strict=True))
    return [label_of[entity] for entity in entities]


def distinguish(names: Sequence[str], *qualifiers: Sequence[str]) -> list[str]:
    """Names made unique: those used twice get the first qualifiers that tell their uses apart."""
    current = list(names)
    for column in (*qualifiers, [str(position + 1) for position in range(len(current))]):
        uses = Counter(current)
        values: dict[str, set[str]] = {}
        for name, value in zip(current, column, strict=True):
            values.setdefault(name, set()).add(value)
        current = [
            f"{name} ({value})" if uses[name] > 1 and len(values[name]) > 1 else name
            for name, value in zip(current, column, strict=True)
        ]
    return current


def _question(result: Result) -> str:
    """Everything two results must share to be compared, as one string."""
    task, data = result.task, result.data
    parts = [result.name, task.get("version"), task.get("options", {}), is_bundled(result)]
    parts += [data.get(key) for key in ("sha256", "subset", "available", "selected")]
    return json.dumps(parts, sort_keys=True, default=str)


def file_stems(titles: Sequence[str], taken: Iterable[str] = ()) -> list[str]:
    """File names for titles; unique without regard to case, as some file systems need."""
    stems: list[str] = []
    used = set(taken)
    for title in titles:
        stem, number = file_stem(title), 1
        while stem.lower() in used:
            number += 1
            stem = f"{file_stem(title)}-{number}"
        used.add(stem.lower())
        stems.append(stem)
    return stems
