"""What is said of comparisons besides their numbers: what is not in them."""

from __future__ import annotations

from collections.abc import Sequence

from gpt2eval.compare.selection import baseline_label, by_task, label
from gpt2eval.labels import is_bundled
from gpt2eval.results import Found
from gpt2eval.types import Result


def remarks(found: Found, baseline: str | None = None, group_by: str | None = None) -> list[str]:
    """What a reader of the comparisons has to know of what is not in them; a line each."""
    lines = [f"not finished, left out: {path}" for path in found.unfinished]
    if any(is_bundled(result) for result in found.results):
        lines.append("the samples are those that come with gpt2eval: no benchmark scores")
    return lines if group_by else [*left_out(found.results, baseline), *lines]


def left_out(results: Sequence[Result], baseline: str | None = None) -> list[str]:
    """What `compare` says nothing about, since only one side has it; a line each."""
    labelled = label(results)
    labels = list(dict.fromkeys(name for name, _ in labelled))
    return one_sided(labelled, baseline_label(labels, baseline))


def one_sided(labelled: Sequence[tuple[str, Result]], first: str) -> list[str]:
    """`left_out` for results that have labels, with `first` as the baseline."""
    lines = []
    everyone = list(dict.fromkeys(name for name, _ in labelled))
    for task, runs in by_task(labelled).items():
        if first not in runs:
            lines.append(f"{task}: not scored for the baseline {first}, only for {', '.join(runs)}")
            continue
        if missing := [name for name in everyone if name not in runs]:
            lines.append(f"{task}: not scored for {', '.join(missing)}")
        for name, result in runs.items():
            for one, other in ((result, runs[first]), (runs[first], result)):
                if lacks := sorted(one.metrics.keys() - other.metrics.keys()):
                    who = name if one is runs[first] else first
                    lines.append(f"{task}: {who} has no {', '.join(lacks)}")
    return list(dict.fromkeys(lines))
