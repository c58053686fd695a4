"""How often a model is right when it is so sure: read from the records of finished runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from gpt2eval.stats import wilson
from gpt2eval.types import Record

METRIC = "ece"


@dataclass(frozen=True, slots=True)
class Bin:
    """The samples of similar confidence: how many, their means, and the accuracy's interval."""

    samples: int
    confidence: float
    accuracy: float
    low: float
    high: float


def reliability(records: Iterable[Record]) -> list[Bin]:
    """The bins that have samples, least confident first; none without a calibration metric.

    The metric's statistics are counts, confidences and right answers of each bin, one after the
    other (`gpt2eval.metrics.calibration_error`).
    """
    rows = [record.statistics[METRIC] for record in records if METRIC in record.statistics]
    if not rows:
        return []
    bins = []
    for count, confidence, right in zip(*np.split(np.sum(rows, axis=0), 3), strict=True):
        if count:
            low, high = wilson(float(right), int(count))
            share = float(right / count)
            bins.append(Bin(int(count), float(confidence / count), share, low, high))
    return bins
