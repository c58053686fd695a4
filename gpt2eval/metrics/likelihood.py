"""Perplexity, bits and accuracy, from the log-probabilities of Scored responses.

The responses of a sample are read one after the other as a single sequence of tokens. Sums are
taken in float64 over the float32 log-probabilities, and `nll` is the negative sum, in nats. A
perplexity too large for a float64 is `inf`; a denominator that sums to zero gives `nan` or `inf`.
Neither warns: a ruined checkpoint is a finding, not an accident of the arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gpt2eval.errors import DataError, TaskError
from gpt2eval.task import Metric
from gpt2eval.types import Generated, Response, Sample, Scored

if TYPE_CHECKING:
    from numpy.typing import NDArray

Tokens = Literal["all", "last"]


def perplexity(name: str, per: str, count: Callable[[Sample], float]) -> Metric:
    """Perplexity per unit of text: exp(nll / count), both summed over the samples.

    count says how many of `per` (words, say) a sample holds. That need not be what the model's
    tokenizer sees: the paper and lm-evaluation-harness both divide by the words of another text.
    """

    def stats(sample: Sample, responses: Sequence[Response]) -> tuple[float, float]:
        return float(_nll(sample, responses).sum()), float(count(sample))

    return Metric(name, stats, _exp_ratio, "perplexity", per, higher_is_better=False)


def token_perplexity(name: str = "token_perplexity") -> Metric:
    """Perplexity per token: exp of the mean nll, each token weighted by `Scored.weights`."""

    def stats(sample: Sample, responses: Sequence[Response]) -> tuple[float, float]:
        weights = np.concatenate([r.weights for r in _scored(sample, responses)])
        return float(weights @ _nll(sample, responses)), float(weights.sum())

    return Metric(name, stats, _exp_ratio, "perplexity", "tokens", higher_is_better=False)


def written_perplexity(name: str = "written_perplexity") -> Metric:
    """Perplexity per token of what the model wrote, under the model itself, at temperature 1.

    Low where a model repeats itself and high where it rambles: to be read beside the perplexity of
    what people wrote, not to be made small. Every generated token counts, the end included.
    """

    def stats(sample: Sample, responses: Sequence[Response]) -> tuple[float, float]:
        written = [response for response in responses if isinstance(response, Generated)]
        if not written or not all(len(response.logprobs) for response in written):
            raise TaskError(f"sample {sample.id!r}: {name} needs tokens that the model wrote")
        return _nll_and_tokens(written)

    return _of_writing(name, stats, "the model itself")


def scorer_perplexity(name: str = "scorer_perplexity") -> Metric:
    """Perplexity per token of the scorer's of what the model wrote, as a followup asked for it.

    To be read as `written_perplexity` is. The tokens are those the scorer reads the text in, and an
    empty text has none.
    """

    def stats(_sample: Sample, responses: Sequence[Response]) -> tuple[float, float]:
        return _nll_and_tokens([r for r in responses if isinstance(r, Scored)])

    return _of_writing(name, stats, "as recorded")


def _of_writing(name: str, stats: Callable[..., tuple[float, float]], scorer: str) -> Metric:
    """Perplexity per token of texts that the model wrote; no direction of it is better."""
    return Metric(
        name,
        stats,
        _exp_ratio,
        "perplexity",
        "tokens",
        higher_is_better=None,
        signature=f"scorer:{scorer}",
        confident=True,
    )


def _nll_and_tokens(responses: Sequence[Scored | Generated]) -> tuple[float, float]:
    nll = -sum(float(response.logprobs.astype(np.float64).sum()) for response in responses)
    return nll, float(sum(len(response.logprobs) for response in responses))


def bits(name: str, per: str, count: Callable[[Sample], float]) -> Metric:
    """Bits per unit of text: nll / (count * ln 2), both summed; `count` as in `perplexity`."""

    def stats(sample: Sample, responses: Sequence[Response]) -> tuple[float, float]:
        return float(_nll(sample, responses).sum()), float(count(sample))

    return Metric(name, stats, _bits, "bits", per, higher_is_better=False)


def sample_perplexity(
    name: str = "perplexity", per: str = "samples", tokens: Tokens = "all"
) -> Metric:
    """Perplexity per sample: exp of the mean over samples of the nll of all their tokens.

    This is the perplexity of lm-evaluation-harness's `lambada`: a word counts as one event however
    many tokens it has. tokens="last" takes the nll of each sample's last token alone.
    """

    def stats(sample: Sample, responses: Sequence[Response]) -> tuple[float, float]:
        nll = _nll(sample, responses)
        return float(_chosen(nll, tokens, sample).sum()), 1.0

    return Metric(
        name,
        stats,
        _exp_ratio,
        "perplexity",
        per,
        higher_is_better=False,
        signature=f"tokens:{tokens}",
    )


def accuracy(
    name: str = "accuracy", per: str = "samples", tokens: Tokens = "all", excluding: bool = False
) -> Metric:
    """Share of samples whose tokens are all the model's first choice.

    tokens="last" asks that of each sample's last token alone. excluding=True reads
    `Scored.greedy_excluding`: the first choice once the request's excluded words are out.
    """

    def stats(sample: Sample, responses: Sequence[Response]) -> tuple[float, float]:
        greedy = np.concatenate(
            [r.greedy_excluding if excluding else r.greedy for r in _scored(sample, responses)]
        )
        return float(_chosen(greedy, tokens, sample).all()), 1.0

    return Metric(
        name,
        stats,
        _ratio,
        "fraction",
        per,
        higher_is_better=True,
        interval="wilson",
        signature=f"tokens:{tokens}|excluding:{'yes' if excluding else 'no'}",
    )


def _scored(sample: Sample, responses: Sequence[Response]) -> list[Scored]:
    scored = [response for response in responses if isinstance(response, Scored)]
    if not scored or len(scored) != len(responses):
        kinds = [type(response).__name__ for response in responses]
        raise TaskError(
            f"sample {sample.id!r}: a likelihood metric needs Score or Rolling requests, and "
            f"nothing else; the responses are {kinds}"
        )
    return scored


def _nll(sample: Sample, responses: Sequence[Response]) -> NDArray[np.float64]:
    """Negative log-probability of each token, [tokens]."""
    logprobs = np.concatenate([r.logprobs for r in _scored(sample, responses)])
    return -logprobs.astype(np.float64)


def _chosen(values: NDArray[Any], tokens: Tokens, sample: Sample) -> NDArray[Any]:
    # Without this, a sample with nothing to predict would count as right: all() of nothing.
    if len(values) == 0:
        raise DataError(f"sample {sample.id!r} has no tokens to score; check its continuation")
    return values if tokens == "all" else values[-1:]


@np.errstate(divide="ignore", invalid="ignore")
def _ratio(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(sums[..., 0] / sums[..., 1])


@np.errstate(over="ignore")
def _exp_ratio(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.exp(_ratio(sums)))


def _bits(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(_ratio(sums) / np.log(2.0))
