"""Scores on clean and on overlapping samples, as a table of the page."""

from __future__ import annotations

from collections.abc import Sequence

from gpt2eval.report.page.content import Cell, Table
from gpt2eval.report.text import format_interval, format_value, plain, with_arrow
from gpt2eval.types import Estimate, Split


def split_table(splits: Sequence[Split], rule: str) -> Table | None:
    """A row for each metric of each checkpoint; None where nothing was told apart."""
    if not splits:
        return None
    kinds = list(dict.fromkeys(kind for one in splits for kind in one.estimates))
    words = ("task", "checkpoint", "metric")
    rows = [
        [
            Cell(plain(one.task), plain(one.task), head=True),
            Cell(plain(one.checkpoint), plain(one.checkpoint)),
            Cell(with_arrow(plain(one.metric), one.estimates["all"].higher_is_better)),
            *(_cell(one.estimates.get(kind)) for kind in kinds),
        ]
        for one in splits
    ]
    caption = (
        "Scores on all samples, on clean and on overlapping ones. A sample overlaps where the"
        f" training corpus has {rule}; samples shorter than that are neither."
    )
    header = [*((word, False) for word in words), *((kind, True) for kind in kinds)]
    return Table(caption, header, rows)


def _cell(estimate: Estimate | None) -> Cell:
    if estimate is None:
        return Cell("no samples")
    value = f"{format_value(estimate.value, estimate.unit)} (n {estimate.n:,})"
    return Cell(value, estimate.value, format_interval(estimate), number=True)
