"""Which of several answers a model finds likeliest: accuracy, F1 and calibration of choices.

A sample of such a task has `fields["choices"]`, the texts of its answers, and `fields["gold"]`, the
index of the right one, from 0. It asks one Score a choice, in that order; for pointwise mutual
information once more as many, for the same choices without the question. Of equal scores the first
wins, as numpy's argmax has it and lm-evaluation-harness with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from gpt2eval.errors import DataError, TaskError
from gpt2eval.metrics.likelihood import _scored
from gpt2eval.task import Metric
from gpt2eval.types import Response, Sample

if TYPE_CHECKING:
    from numpy.typing import NDArray

By = Literal["sum", "characters", "bytes", "tokens", "pmi"]
NAMES: dict[By, str] = {
    "sum": "accuracy",
    "characters": "accuracy_norm",
    "bytes": "accuracy_bytes",
    "tokens": "accuracy_tokens",
    "pmi": "accuracy_pmi",
}


def choice_accuracy(by: By = "sum", per: str = "questions", name: str = "") -> Metric:
    """Share of samples whose right choice scores highest; the name says by which score, or `name`.

    by  "sum"         log-probability: `accuracy`, lm-eval's acc
        "characters"  divided by the characters of the choice: `accuracy_norm`, lm-eval's acc_norm
        "bytes"       divided by its bytes in UTF-8: `accuracy_bytes`, lm-eval's acc_bytes
        "tokens"      mean over its tokens: `accuracy_tokens`, what llm.c calls acc_norm
        "pmi"         less the log-probability without the question: `accuracy_pmi`, lm-eval's
                      acc_mutual_info
    """

    def stats(sample: Sample, responses: Sequence[Response]) -> tuple[float, float]:
        scores = choice_scores(sample, responses, by)
        return float(scores.argmax() == _gold(sample)), 1.0

    return Metric(
        name or NAMES[by],
        stats,
        _ratio,
        "fraction",
        per,
        higher_is_better=True,
        interval="wilson",
        signature=f"scores:{by}|ties:first",
    )


def f1_macro(labels: int, per: str = "questions") -> Metric:
    """F1 of each label, averaged over the labels that occur as gold or as prediction.

    labels  how many there are; choices are the same labels in the same order for every sample
    """

    def stats(sample: Sample, responses: Sequence[Response]) -> list[float]:
        scores = choice_scores(sample, responses, "sum")
        if len(scores) != labels:
            raise TaskError(
                f"sample {sample.id!r} has {len(scores)} choices; f1_macro is of {labels} labels"
            )
        counts = np.zeros((3, labels))  # true positives, false positives, false negatives
        chosen, gold = int(scores.argmax()), _gold(sample)
        if chosen == gold:
            counts[0, gold] = 1
        else:
            counts[1, chosen] = counts[2, gold] = 1
        return [float(number) for number in counts.flat]

    return Metric(
        "f1_macro",
        stats,
        _f1_macro,
        "fraction",
        per,
        higher_is_better=True,
        count=None,
        signature=f"labels:{labels}|scores:sum|ties:first",
    )


def calibration_error(bins: int = 15, per: str = "questions") -> Metric:
    """Expected calibration error (Guo et al. 2017): how far confidence is from accuracy.

    The confidence is the softmax over the choices' log-probabilities, at its largest. Samples are
    put into bins of equal width by it; the error is the mean over samples of the distance between
    the mean confidence of a bin and its accuracy. Few samples make it larger than it is, and
    resampling makes it larger again: read the interval as an upper bound.

    Statistics: for each bin the samples in it, then the confidences, then how many were right.
    """

    def stats(sample: Sample, responses: Sequence[Response]) -> list[float]:
        scores = choice_scores(sample, responses, "sum")
        chosen = int(scores.argmax())
        confidence = 1 / np.exp(scores - scores[chosen]).sum()
        place = max(int(np.ceil(confidence * bins)) - 1, 0)  # (0, 1/bins], ..., (.., 1]
        counts = np.zeros((3, bins))
        counts[:, place] = 1, confidence, chosen == _gold(sample)
        return [float(number) for number in counts.flat]

    return Metric(
        "ece",
        stats,
        _calibration_error,
        "fraction",
        per,
        higher_is_better=False,
        count=None,
        signature=f"bins:{bins}|scores:sum",
    )


def choice_scores(sample: Sample, responses: Sequence[Response], by: By) -> NDArray[np.float64]:
    """The score of each choice, [choices]."""
    choices: Sequence[str] = sample.fields["choices"]
    scored = _scored(sample, responses)
    count = len(choices)
    asked = (2 * count,) if by == "pmi" else (count, 2 * count)
    if len(scored) not in asked or count < 2:
        raise TaskError(
            f"sample {sample.id!r}: {len(scored)} responses for {count} choices, scored by {by};"
            f" expected two choices or more, and {' or '.join(map(str, asked))} responses"
        )
    if any(len(response.logprobs) == 0 for response in scored):
        raise DataError(f"sample {sample.id!r} has no tokens to score; check its choices {choices}")
    sums = np.array([response.logprobs.sum(dtype=np.float64) for response in scored])
    if by == "pmi":
        return np.asarray(sums[:count] - sums[count:])
    return np.asarray(sums[:count] / _lengths(choices, [len(r.logprobs) for r in scored], by))


def _lengths(choices: Sequence[str], tokens: Sequence[int], by: By) -> NDArray[np.float64]:
    """What each choice's log-probability is divided by, [choices]."""
    if by == "characters":
        return np.array([len(choice) for choice in choices], float)
    if by == "bytes":
        return np.array([len(choice.encode()) for choice in choices], float)
    return np.array(tokens[: len(choices)] if by == "tokens" else [1] * len(choices), float)


def _gold(sample: Sample) -> int:
    """The index of the right choice. Out of range would count as wrong; it is an error instead."""
    gold, count = sample.fields["gold"], len(sample.fields["choices"])
    if not isinstance(gold, int) or not 0 <= gold < count:
        raise DataError(
            f"sample {sample.id!r}: gold label {gold!r}; expected a whole number from 0 to"
            f" {count - 1}"
        )
    return gold


@np.errstate(divide="ignore", invalid="ignore")
def _ratio(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(sums[..., 0] / sums[..., 1])


@np.errstate(divide="ignore", invalid="ignore")
def _f1_macro(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    right, wrong, missed = np.split(sums, 3, axis=-1)
    seen = right + wrong + missed > 0
    f1 = np.where(seen, 2 * right / (2 * right + wrong + missed), 0.0)
    return np.asarray(f1.sum(axis=-1) / seen.sum(axis=-1))


@np.errstate(divide="ignore", invalid="ignore")
def _calibration_error(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    count, confidence, right = np.split(sums, 3, axis=-1)
    return np.asarray(np.abs(confidence - right).sum(axis=-1) / count.sum(axis=-1))
