"""What the records say of single samples: how each fared, with how much context, at what target."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gpt2eval.stats import wilson
from gpt2eval.types import Record

BINS = 6
FEWEST = 20  # samples of a bin: with fewer, an accuracy says nothing


@dataclass(frozen=True, slots=True)
class Fared:
    """One sample.

    value    of the metric: the first of its two statistics by the second
    context  tokens before the first one that was scored; None where nothing was
    target   the text that was right; empty where the record has none, or several
    """

    value: float
    context: int | None
    target: str


@dataclass(frozen=True, slots=True)
class Rate:
    """Samples of one bin: what the bin spans, how many are right, and Wilson's interval."""

    first: int
    last: int
    samples: int
    value: float
    low: float
    high: float

    @property
    def centre(self) -> float:
        """The middle of the bin, for an axis that is logarithmic."""
        return float(np.sqrt(max(self.first, 1) * max(self.last, 1)))


def samples_of(records: Iterable[Record], metric: str) -> dict[str, Fared]:
    """Sample id -> how it fared; samples without the metric, or without a ratio, are left out."""
    found = {}
    for record in records:
        statistics = record.statistics.get(metric, ())
        if len(statistics) == 2 and statistics[1] > 0:
            first = next(iter(record.responses), {})
            context = first.get("context") if first.get("type") == "scored" else None
            target = record.references[0].strip() if len(record.references) == 1 else ""
            found[record.id] = Fared(
                statistics[0] / statistics[1], context[0][0] if context else None, target
            )
    return found


def by_context(samples: Iterable[Fared]) -> list[Rate]:
    """Accuracy in bins of context length that hold about equally many samples.

    Empty where there are too few samples for three bins, or where they do not differ in length.
    """
    known = [each for each in samples if each.context is not None]
    lengths = np.array([each.context for each in known], dtype=np.int64)
    count = min(BINS, len(known) // FEWEST)
    if count < 3:
        return []
    edges = np.quantile(lengths, np.arange(1, count) / count, method="lower")
    bins = np.searchsorted(np.unique(edges), lengths, side="left")
    rates = _rates(bins, lengths, known)
    return rates if len(rates) > 2 else []


def by_frequency(samples: Iterable[Fared]) -> list[Rate]:
    """Accuracy by how often a sample's target is the target among all the samples.

    Bins are powers of two (once, twice, 3 or 4 times, ...); one with fewer than 20 samples is
    joined to the next. Empty where that leaves a single one.
    """
    known = [each for each in samples if each.target]
    times = Counter(each.target for each in known)
    often = np.array([times[each.target] for each in known], dtype=np.int64)
    if not len(known):
        return []
    bins = np.ceil(np.log2(often)).astype(np.int64)
    rates = _rates(_joined(bins), often, known)
    return rates if len(rates) > 1 else []


def _joined(bins: NDArray[np.int64]) -> NDArray[np.int64]:
    """Bin numbers, those of small bins replaced by the next one's, at the end by the last kept."""
    sizes = Counter(bins.tolist())
    target: dict[int, int] = {}
    waiting: list[int] = []
    held = 0
    kept: list[int] = []
    for number in sorted(sizes):
        waiting.append(number)
        held += sizes[number]
        if held >= FEWEST:
            target |= dict.fromkeys(waiting, number)
            kept.append(number)
            waiting, held = [], 0
    if waiting:
        target |= dict.fromkeys(waiting, kept[-1] if kept else waiting[-1])
    return np.array([target[number] for number in bins.tolist()], dtype=np.int64)


def _rates(
    bins: NDArray[np.int64], places: NDArray[np.int64], samples: Sequence[Fared]
) -> list[Rate]:
    """The rate of each bin, in order."""
    values = np.array([each.value for each in samples])
    rates = []
    for number in np.unique(bins):
        inside = bins == number
        count, right = int(inside.sum()), float(values[inside].sum())
        low, high = wilson(right, count)
        span = places[inside]
        rates.append(Rate(int(span.min()), int(span.max()), count, right / count, low, high))
    return rates


def right_or_wrong(samples: Mapping[str, Fared]) -> bool:
    """Whether every sample is either right or wrong."""
    return bool(samples) and {each.value for each in samples.values()} <= {0.0, 1.0}
