"""ROUGE F1 in points, by the rouge-score package (Lin 2004; google-research/rouge).

A score of the corpus is the mean over samples. Two forms of ROUGE-L exist, and papers mean the
second when they report CNN/DM: `rougeL` reads the text as one sequence, `rougeLsum` sentence by
sentence. For the latter both prediction and references must hold one sentence a line.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gpt2eval.errors import DataError
from gpt2eval.metrics.text import text_of
from gpt2eval.task import Metric
from gpt2eval.types import Response, Sample

if TYPE_CHECKING:
    from numpy.typing import NDArray

Variant = Literal["rouge1", "rouge2", "rougeL", "rougeLsum"]
VARIANTS: tuple[Variant, ...] = ("rouge1", "rouge2", "rougeL", "rougeLsum")
AVERAGED: tuple[Variant, ...] = ("rouge1", "rouge2", "rougeLsum")
"""What the AVG column of the GPT-2 paper's Table 4 averages."""


def rouge(variants: Sequence[Variant] = VARIANTS, *, stemmer: bool) -> tuple[Metric, ...]:
    """One metric a variant: `rouge1` ..., or `rouge1_stem` ... with the Porter stemmer.

    Of several references the best one counts, for each variant on its own.
    """
    return tuple(_metric(variant, (variant,), stemmer) for variant in variants)


def rouge_average(*, stemmer: bool) -> Metric:
    """Mean of ROUGE-1, ROUGE-2 and summary-level ROUGE-L (Radford et al. 2019, Table 4, AVG)."""
    return _metric("rouge_average", AVERAGED, stemmer)


def _metric(name: str, averaged: Sequence[Variant], stemmer: bool) -> Metric:
    columns = [VARIANTS.index(variant) for variant in averaged]

    def stats(sample: Sample, responses: Sequence[Response]) -> tuple[float, float]:
        if not sample.references:
            raise DataError(f"sample {sample.id!r} has no reference, and ROUGE needs one or more")
        scores = _scores(text_of(responses), sample.references, stemmer)
        return sum(scores[column] for column in columns) / len(columns), 1.0

    stem = "yes" if stemmer else "no"
    return Metric(
        f"{name}_stem" if stemmer else name,
        stats,
        _points,
        "points",
        "samples",
        higher_is_better=True,
        signature=f"rouge-score:{version('rouge-score')}|stem:{stem}|sentences:lines|refs:best",
    )


def _points(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(100 * sums[..., 0] / sums[..., 1])


# The variants of one sample are asked for one after the other, and share the tokens and most of
# the time; the cache lets each metric ask on its own and still pay once.
@lru_cache(maxsize=1024)
def _scores(prediction: str, references: tuple[str, ...], stemmer: bool) -> tuple[float, ...]:
    """F1 of VARIANTS, 0 to 1."""
    best = _scorer(stemmer).score_multi(references, prediction)
    return tuple(float(best[variant].fmeasure) for variant in VARIANTS)


@cache
def _scorer(stemmer: bool) -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(VARIANTS, tokenizer=_Tokenizer() if stemmer else None)


class _Tokenizer:
    """rouge-score's tokenizer with its stemmer, except that a word is stemmed once, not each time.

    Stemming takes half of the time of a score, and texts repeat their words.
    """

    def __init__(self) -> None:
        from rouge_score.tokenizers import porter  # nltk's, which rouge-score uses

        self.stem = lru_cache(maxsize=100_000)(porter.PorterStemmer().stem)

    def tokenize(self, text: str) -> list[str]:
        """Stems of the words of a text; rouge-score calls this."""
        from rouge_score.tokenize import tokenize

        return list(tokenize(text, self))
