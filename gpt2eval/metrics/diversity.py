"""How varied generated texts are: within one text, and among all of them.

Words are what stands between white space, case kept, so that texts of models with other tokenizers,
and human ones, are measured alike. A text's statistics for the metrics over the corpus are its
words, each as a 48-bit number: the text can be compared from a record alone, and a float holds the
number exactly.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from gpt2eval.metrics.text import text_of
from gpt2eval.task import Metric
from gpt2eval.types import Response, Sample

if TYPE_CHECKING:
    from numpy.typing import NDArray

Texts = Sequence[Sequence[float]]

ORDERS = 4
"""n-gram orders of self-BLEU."""

RANKS = 5000
"""Commonest words that the Zipf coefficient is fitted to."""


# ---- among all texts ----------------------------------------------------------------------------


def distinct(n: int, per: str = "texts") -> Metric:
    """Distinct n-grams of words among all n-grams of all texts (Li et al. 2016, 1510.03055).

    The longer or the more the texts, the lower: compare only runs of the same number and length.
    """

    def value(texts: Texts) -> float:
        grams = [gram for text in texts for gram in _grams(text, n)]
        return len(set(grams)) / len(grams) if grams else float("nan")

    return _corpus(f"distinct_{n}", value, "fraction", per, higher_is_better=True)


def self_bleu(per: str = "texts") -> Metric:
    """Mean BLEU-4 of each text with all others as references, 0 to 1 (Zhu et al. 2018, 1802.01886).

    Sentence BLEU with the closest length and 0.1 in the place of a count of no match, which is
    nltk's `method1`. The higher, the more the texts are alike.
    """

    def value(texts: Texts) -> float:
        return float(np.mean(_self_bleu(texts))) if len(texts) > 1 else float("nan")

    return _corpus("self_bleu", value, "fraction", per, higher_is_better=False)


def zipf(per: str = "texts") -> Metric:
    """How fast the frequency of words falls with their rank: minus the slope, in logarithms.

    Least squares over the 5,000 commonest words of all texts (Holtzman et al. 2020, 1904.09751).
    Neither high nor low is good; the human value is the one to meet.
    """

    def value(texts: Texts) -> float:
        counts = sorted(Counter(word for text in texts for word in text).values(), reverse=True)
        if len(counts) < 2:
            return float("nan")
        ranks = np.arange(1, len(counts[:RANKS]) + 1)
        return float(-np.polyfit(np.log(ranks), np.log(counts[:RANKS]), 1)[0])

    return _corpus("zipf", value, "coefficient", per, higher_is_better=None)


def _corpus(
    name: str,
    value: Callable[[Texts], float],
    unit: str,
    per: str,
    *,
    higher_is_better: bool | None,
) -> Metric:
    return Metric(
        name,
        _words,
        lambda texts: np.asarray(value(texts)),
        unit,
        per,
        higher_is_better=higher_is_better,
        interval="none",
        signature="words:white space",
        corpus=True,
    )


def _words(_sample: Sample, responses: Sequence[Response]) -> list[float]:
    return [_number(word) for word in text_of(responses).split()]


@lru_cache(maxsize=1 << 16)
def _number(word: str) -> float:
    return float(int.from_bytes(hashlib.blake2b(word.encode(), digest_size=6).digest(), "big"))


def _grams(text: Sequence[float], n: int) -> list[tuple[float, ...]]:
    return list(zip(*(text[start:] for start in range(n)), strict=False))


def _self_bleu(texts: Texts) -> NDArray[np.float64]:
    """BLEU of each text against the others, [texts].

    A match is clipped at the most times that one other text has the n-gram. For all texts at once
    it is enough to know, of each n-gram, the two highest counts and who has the highest.
    """
    lengths = np.array([len(text) for text in texts])
    scores = np.zeros(len(texts))
    for order in range(1, ORDERS + 1):
        counts = [Counter(_grams(text, order)) for text in texts]
        highest: dict[tuple[float, ...], tuple[int, int, int]] = {}  # count, owner, next count
        for owner, counter in enumerate(counts):
            for gram, count in counter.items():
                most, who, second = highest.get(gram, (0, -1, 0))
                if count > most:
                    highest[gram] = (count, owner, most)
                elif count > second:
                    highest[gram] = (most, who, count)
        for owner, counter in enumerate(counts):
            match = 0
            for gram, count in counter.items():
                most, who, second = highest[gram]
                match += min(count, second if who == owner else most)
            total = max(1, sum(counter.values()))
            scores[owner] += np.log((match or 0.1) / total) / ORDERS
    known = np.sort(lengths)
    for owner, length in enumerate(lengths):
        reference = _closest(known, int(length))
        if length < reference:
            scores[owner] += 1 - reference / length if length else -np.inf
    words = [Counter(text) for text in texts]
    everything = sum(words, Counter[float]())
    # A text that shares no word with any other has nothing to smooth: nltk says 0.
    alone = [all(everything[word] == count for word, count in own.items()) for own in words]
    return np.where(alone, 0.0, np.exp(scores))


def _closest(known: NDArray[np.int64], length: int) -> int:
    """The length of another text that is nearest to this one's; of two, the shorter."""
    place = int(np.searchsorted(known, length))
    others = np.delete(known, place)
    return int(others[np.argmin(np.abs(others - length))])


# ---- within a text ------------------------------------------------------------------------------


def repetition(n: int = 4, per: str = "texts") -> Metric:
    """seq-rep-n: the share of a text's n-grams that came before in it (Welleck et al. 2020).

    https://arxiv.org/abs/1908.04319, there over tokens of the model, here over words. The mean over
    the texts that have an n-gram.
    """

    def stats(_sample: Sample, responses: Sequence[Response]) -> tuple[float, float]:
        words = text_of(responses).split()
        grams = [tuple(words[start : start + n]) for start in range(len(words) - n + 1)]
        return (1 - len(set(grams)) / len(grams), 1.0) if grams else (0.0, 0.0)

    return Metric(
        f"seq_rep_{n}",
        stats,
        _share,
        "fraction",
        f"{per} of {n} words or more",
        higher_is_better=False,
        interval="share",
        signature="words:white space",
    )


def degenerate(per: str = "texts") -> Metric:
    """Share of texts that end in a loop: their last words, three times or more in a row."""

    def stats(_sample: Sample, responses: Sequence[Response]) -> tuple[float, float]:
        return float(loops(text_of(responses).split())), 1.0

    return Metric(
        "degenerate",
        stats,
        _share,
        "fraction",
        per,
        higher_is_better=False,
        interval="wilson",
        signature="words:white space|times:3",
    )


def loops(words: Sequence[str]) -> bool:
    """Whether the sequence ends in a phrase of any length that stands there three times."""
    for size in range(1, len(words) // 3 + 1):
        last, middle = words[-size:], words[-2 * size : -size]
        if last == middle == words[-3 * size : -2 * size]:
            return True
    return False


@np.errstate(divide="ignore", invalid="ignore")
def _share(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(sums[..., 0] / sums[..., 1])
