"""Short answers: exact match and the F1 of words, as SQuAD and CoQA score them.

Rajpurkar et al. 2016, https://arxiv.org/abs/1606.05250; Reddy et al. 2019,
https://arxiv.org/abs/1808.07042. Both normalise alike: lower case, punctuation out, then articles
out, then white space folded.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from gpt2eval.errors import DataError, TaskError
from gpt2eval.metrics.text import text_of
from gpt2eval.task import Metric
from gpt2eval.types import Generated, Response, Sample

if TYPE_CHECKING:
    from numpy.typing import NDArray

Normalizer = Callable[[str], str]

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")


def normalize_answer(text: str) -> str:
    """Lower case, without ASCII punctuation, articles, and white space that is not needed."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split())


def answer_exact(prediction: str, gold: str, normalize: Normalizer = normalize_answer) -> float:
    """1 where the two are the same once normalised, else 0."""
    return float(normalize(prediction) == normalize(gold))


def answer_overlap(prediction: str, gold: str) -> float:
    """F1 of the bags of words of the two, normalised; a side without words only equals its like."""
    ours, theirs = normalize_answer(prediction).split(), normalize_answer(gold).split()
    if not ours or not theirs:
        return float(ours == theirs)
    common = sum((Counter(ours) & Counter(theirs)).values())
    if common == 0:
        return 0.0
    precision, recall = common / len(ours), common / len(theirs)
    return 2 * precision * recall / (precision + recall)


def exact_match(
    name: str = "exact_match",
    per: str = "questions",
    *,
    leave_one_out: bool = False,
    normalize: Normalizer = normalize_answer,
) -> Metric:
    """Share of answers that are a gold answer, normalised.

    leave_one_out: as the official script of CoQA. Of n > 1 golds each is left out once, as if it
    were the answer of the person the model is compared with, and the n best matches are averaged.
    normalize: what is done to both sides; it has a name, which goes into the signature.
    """

    def one(prediction: str, gold: str) -> float:
        return answer_exact(prediction, gold, normalize)

    return _answer(name, per, one, leave_one_out, normalize, wilson=not leave_one_out)


def answer_f1(name: str = "f1", per: str = "questions", *, leave_one_out: bool = False) -> Metric:
    """Mean F1 of words with the gold answer that fits best; `leave_one_out` as in `exact_match`."""
    return _answer(name, per, answer_overlap, leave_one_out, normalize_answer, wilson=False)


def _answer(
    name: str,
    per: str,
    one: Callable[[str, str], float],
    leave_one_out: bool,
    normalize: Normalizer,
    *,
    wilson: bool,
) -> Metric:
    def stats(sample: Sample, responses: Sequence[Response]) -> tuple[float, float]:
        return _best(one, text_of(responses), _golds(sample), leave_one_out), 1.0

    golds = "leave-one-out" if leave_one_out else "best"
    return Metric(
        name,
        stats,
        _share,
        "fraction",
        per,
        higher_is_better=True,
        interval="wilson" if wilson else "share",
        signature=f"normalize:{normalize.__name__}|golds:{golds}",
    )


def _best(
    one: Callable[[str, str], float], prediction: str, golds: Sequence[str], leave_one_out: bool
) -> float:
    scores = [one(prediction, gold) for gold in golds]
    if not leave_one_out or len(scores) == 1:
        return max(scores)
    others = (max(scores[:i] + scores[i + 1 :]) for i in range(len(scores)))
    return sum(others) / len(scores)


def confident_match(fraction: float, per: str = "questions") -> Metric:
    """Exact match among the answers that the model was surest of.

    fraction  of the samples, rounded up. Confidence is the log-probability of all that was
              written, the end included. Of samples that tie at the border each counts for its
              share, so that their order does not matter.

    The GPT-2 paper calls the model well calibrated by this number (Radford et al. 2019, 4.6).
    """

    def stats(sample: Sample, responses: Sequence[Response]) -> tuple[float, float]:
        right = _best(answer_exact, text_of(responses), _golds(sample), leave_one_out=False)
        return right, _confidence(sample, responses)

    def value(rows: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        right, confidence = np.array(rows).T
        wanted = ceil(fraction * len(right))
        border = np.sort(confidence)[-wanted]
        above, at = confidence > border, confidence == border
        share = (wanted - above.sum()) / at.sum()
        return np.asarray((right[above].sum() + share * right[at].sum()) / wanted)

    return Metric(
        f"exact_match_top{100 * fraction:g}",
        stats,
        value,
        "fraction",
        per,
        higher_is_better=True,
        signature=f"normalize:{normalize_answer.__name__}|golds:best|most confident:{fraction}",
        corpus=True,
        confident=True,
    )


def _confidence(sample: Sample, responses: Sequence[Response]) -> float:
    written = [response for response in responses if isinstance(response, Generated)]
    logprobs = np.concatenate([response.logprobs for response in written])
    if not len(logprobs):
        raise TaskError(f"sample {sample.id!r}: no token was written, so there is no confidence")
    return float(logprobs.astype(np.float64).sum())


def _golds(sample: Sample) -> Sequence[str]:
    if not sample.references:
        raise DataError(f"sample {sample.id!r} has no gold answer; expected one or more")
    return sample.references


@np.errstate(divide="ignore", invalid="ignore")
def _share(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(sums[..., 0] / sums[..., 1])
