"""What a model that knows next to nothing gets, for tasks of likelihood."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable
from math import log

import numpy as np

from gpt2eval.types import Sample

UNIGRAM = "unigram of the text"


def unigram_nats(texts: Iterable[Iterable[Hashable]]) -> list[float]:
    """What each text costs under the best unigram model of all of them, in nats.

    texts  the units that the log-likelihood is divided by: words and line ends, or characters

    The probability of a unit is its share of all units (maximum likelihood on the very texts that
    are scored), so no model that looks at one unit at a time can do better, and one that does worse
    has learned nothing from context that it can use. It knows which words the text has, which no
    other system does: short texts, of words that seldom come twice, make it look good.
    """
    counted = [Counter(text) for text in texts]
    total: Counter[Hashable] = Counter()
    for counts in counted:
        total.update(counts)
    size = total.total()
    return [
        -sum(count * log(total[unit] / size) for unit, count in counts.items())
        for counts in counted
    ]


def unigram(sample: Sample, _random: np.random.Generator) -> float:
    """Knows how often each unit comes in the whole scored text, nothing else."""
    return float(sample.fields["unigram_nats"])
