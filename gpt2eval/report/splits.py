"""Scores on clean samples and on those that overlap with a training corpus, as tables."""

from __future__ import annotations

from collections.abc import Sequence

from gpt2eval.report.tables import markdown_table, to_csv
from gpt2eval.report.text import format_estimate, markdown, with_arrow
from gpt2eval.types import Split


def splits_markdown(splits: Sequence[Split], rule: str) -> str:
    """A heading, what it means to overlap, and a row for each metric of each checkpoint."""
    kinds = _kinds(splits)
    rows = []
    for one in splits:
        name = with_arrow(one.metric, one.estimates["all"].higher_is_better)
        estimates = [one.estimates.get(kind) for kind in kinds]
        cells = [f"{format_estimate(e)}, n {e.n:,}" if e else "" for e in estimates]
        rows.append([*map(markdown, (one.task, one.checkpoint, name)), *cells])
    return "\n\n".join(
        [
            "## Overlap with a training corpus",
            f"Samples overlap where the corpus has {markdown(rule)}; samples shorter than that are"
            " neither clean nor overlapping. Intervals are 95 %.",
            markdown_table(["task@protocol", "checkpoint", "metric", *kinds], rows, 3),
        ]
    )


def splits_csv(splits: Sequence[Split], rule: str) -> str:
    """The same with all digits, a row for each kind of samples."""
    header = [
        "task@protocol",
        "checkpoint",
        "metric",
        "samples",
        "value",
        "low",
        "high",
        "n",
        "unit",
    ]
    rows = [
        [one.task, one.checkpoint, one.metric, kind, e.value, e.low, e.high, e.n, e.unit, rule]
        for one in splits
        for kind, e in one.estimates.items()
    ]
    return to_csv([*header, "rule"], rows)


def _kinds(splits: Sequence[Split]) -> list[str]:
    return list(dict.fromkeys(kind for one in splits for kind in one.estimates))
