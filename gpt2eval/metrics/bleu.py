"""BLEU and chrF: sacrebleu counts, numpy turns the counts into scores.

The statistics come from sacrebleu's own objects, and the signature is theirs. Only the last step,
counts to score, is written again, because an interval needs it for thousands of sums at once and
sacrebleu does one. The tests hold it against `corpus_score`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gpt2eval.errors import DataError
from gpt2eval.metrics.text import text_of
from gpt2eval.task import Metric
from gpt2eval.types import Response, Sample

if TYPE_CHECKING:
    from numpy.typing import NDArray

ORDERS = 4
"""n-gram orders of BLEU."""

BETA = 2
"""chrF2: recall counts twice as much as precision."""


def bleu(lowercase: bool = False, tokenize: str = "13a", references: int = 1) -> Metric:
    """Corpus BLEU in points (Papineni et al. 2002), as sacrebleu computes it by default.

    Statistics: hypothesis length, reference length, 4 counts of matching n-grams, 4 of all n-grams.

    Args:
        lowercase: compare without case.
        tokenize: a sacrebleu tokenizer; "13a" is the one of mteval-v13a.
        references: how many references each sample has; part of the signature.
    """
    from sacrebleu.metrics.bleu import BLEU

    scorer = BLEU(lowercase=lowercase, tokenize=tokenize)
    return _metric("bleu", scorer, _bleu, references)


def chrf(references: int = 1) -> Metric:
    """Corpus chrF2 in points (Popović 2015), as sacrebleu computes it by default.

    Statistics: for each of the 6 character orders, n-grams in the hypothesis, in the reference,
    and in both.
    """
    from sacrebleu.metrics.chrf import CHRF

    return _metric("chrf2", CHRF(beta=BETA), _chrf, references)


def _metric(
    name: str,
    scorer: Any,
    value: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    references: int,
) -> Metric:
    # sacrebleu learns the number of references from the first corpus; we know it beforehand.
    scorer.num_refs = references

    def stats(sample: Sample, responses: Sequence[Response]) -> list[float]:
        if len(sample.references) != references:
            raise DataError(
                f"sample {sample.id!r} has {len(sample.references)} references, but {name} is set "
                f"to {references}; give every sample as many, or use {name}(references=...)"
            )
        streams = [[reference] for reference in sample.references]
        (row,) = scorer._extract_corpus_statistics([text_of(responses)], streams)
        return [float(number) for number in row]

    return Metric(
        name,
        stats,
        value,
        "points",
        "samples",
        higher_is_better=True,
        count=None,
        signature=scorer.get_signature().format(),
    )


@np.errstate(divide="ignore", invalid="ignore")
def _bleu(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums [..., 10] to BLEU [...], with exponential smoothing and without effective order."""
    ours, theirs = sums[..., 0], sums[..., 1]
    correct, total = sums[..., 2 : 2 + ORDERS], sums[..., 2 + ORDERS :]
    # Each order without a match is given half the credit of the one before: 1/2, 1/4, ... of one.
    missing = correct == 0
    credit = correct
    if missing.any():
        credit = np.where(missing, 0.5 ** np.cumsum(missing, axis=-1), correct)
    geometric_mean = np.exp(np.log(credit / total).mean(axis=-1))
    brevity = np.where(ours < theirs, np.exp(1 - theirs / ours), 1.0)
    # No match at all, or texts too short to have n-grams of every order: sacrebleu says 0.
    defined = correct.any(axis=-1) & total.all(axis=-1)
    return np.where(defined, 100 * brevity * geometric_mean, 0.0)


@np.errstate(divide="ignore", invalid="ignore")
def _chrf(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums [..., 3 * orders] to chrF [...].

    Precision and recall are averaged over the orders that both sides have, and only then combined.
    """
    ours, theirs, match = sums[..., 0::3], sums[..., 1::3], sums[..., 2::3]
    seen = (ours > 0) & (theirs > 0)
    orders = seen.sum(axis=-1)
    precision = np.where(seen, match / ours, 0.0).sum(axis=-1) / orders
    recall = np.where(seen, match / theirs, 0.0).sum(axis=-1) / orders
    score = (1 + BETA**2) * precision * recall / (BETA**2 * precision + recall)
    return np.where(match.any(axis=-1), 100 * score, 0.0)
