"""Loss by position in context: what a model gains from each token it has already seen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray

from gpt2eval.types import Record

# A curve over context needs responses that reach far: below this mean length (tokens) a task is
# made of short answers, not of running text.
_LONG = 32
# Between fewer clusters than this an error is a guess: of two, Student's t would make the band 12.7
# standard errors wide either way.
FEWEST = 3
# Bins end at powers of two, so that a window of 1,024 tokens fills its last one and leaves nothing
# over: 1, 2, 3-4, 5-8, ... up to 8 million tokens, which is more than anybody has.
_BINS = 24


@dataclass(frozen=True, slots=True)
class Curve:
    """Mean loss in bins of context length; arrays have one entry a bin that holds tokens.

    first, last  context lengths of the bin in tokens, both included
    mean         nats per token over all scored tokens of the bin
    error        standard error of the mean between clusters; NaN where fewer than 3 have a token
    tokens       scored tokens in the bin
    counts       clusters with a token in the bin
    clusters     what the error was taken between: "62 documents", "281 windows"
    """

    first: NDArray[np.int64]
    last: NDArray[np.int64]
    mean: NDArray[np.float64]
    error: NDArray[np.float64]
    tokens: NDArray[np.int64]
    counts: NDArray[np.int64]
    clusters: str

    @property
    def half(self) -> NDArray[np.float64]:
        """Half of the 95 % interval of each mean, by Student's t over its clusters."""
        return _t(self.counts - 1) * self.error

    @property
    def centre(self) -> NDArray[np.float64]:
        """Where the bins stand on a logarithmic axis: their geometric middle, in tokens."""
        return np.sqrt(self.first.astype(float) * self.last)


def loss_by_position(records: Iterable[Record]) -> Curve | None:
    """The curve of one run; None where the responses are not long scored texts."""
    stream = iter(records)
    head = list(islice(stream, 100))
    lengths = [len(r["logprobs"]) for record in head for r in record.responses if _is_scored(r)]
    if not lengths or sum(lengths) / len(lengths) < _LONG:
        return None
    losses, tokens, documents = [], [], []
    longest = 1
    for record in chain(head, stream):
        for response in filter(_is_scored, record.responses):
            loss, count = _window_sums(response["logprobs"], response["context"])
            longest = max(longest, *(start + count - 1 for start, count in response["context"]))
            losses.append(loss)
            tokens.append(count)
            documents += [record.group or record.id] * len(loss)
    return _curve(np.concatenate(losses), np.concatenate(tokens), documents, longest)


def _is_scored(response: object) -> bool:
    return isinstance(response, dict) and response.get("type") == "scored"


def _window_sums(
    logprobs: list[float], context: list[list[int]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Summed loss and number of tokens, [windows, bins]; each run of `context` is a window."""
    positions = np.concatenate([np.arange(count) + start for start, count in context])
    window = np.repeat(np.arange(len(context)), [count for _, count in context])
    cell = window * _BINS + np.ceil(np.log2(np.maximum(positions, 1))).astype(int)
    size = len(context) * _BINS
    loss = np.bincount(cell, weights=-np.asarray(logprobs, dtype=float), minlength=size)
    count = np.bincount(cell, minlength=size).astype(np.float64)
    return loss.reshape(-1, _BINS).astype(np.float64), count.reshape(-1, _BINS)


def _curve(
    loss: NDArray[np.float64], tokens: NDArray[np.float64], documents: list[str], longest: int
) -> Curve | None:
    names, cluster = np.unique(documents, return_inverse=True)
    noun = "documents"
    if len(names) < FEWEST:  # one long stream: its windows stand in for documents
        cluster, noun = np.arange(len(documents)), "windows"
    loss, tokens = (_sum_by(cluster, each) for each in (loss, tokens))
    filled = np.flatnonzero(tokens.sum(axis=0))
    if len(filled) < 3:
        return None
    loss, tokens = loss[:, filled], tokens[:, filled]
    total = tokens.sum(axis=0)
    mean = loss.sum(axis=0) / total
    # The error of a ratio of sums: residuals of the clusters, which differ in length.
    groups = (tokens > 0).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        residual = loss - mean * tokens
        error = np.sqrt(groups / (groups - 1) * (residual**2).sum(axis=0)) / total
    error = np.where(groups < FEWEST, np.nan, error)
    last = np.minimum(2**filled, longest)
    first = 2**filled // 2 + 1
    clusters = f"{len(loss)} {noun}"
    return Curve(first, last, mean, error, total.astype(np.int64), groups, clusters)


def _t(freedom: NDArray[np.int64]) -> NDArray[np.float64]:
    """The 97.5 % quantile of Student's t, to 1 % from 2 degrees of freedom on.

    Cornish and Fisher's expansion about the normal quantile, as in Abramowitz and Stegun 26.7.5.
    """
    n = np.maximum(freedom, 1).astype(float)
    return 1.96 + 2.3724 / n + 2.8225 / n**2 + 2.5558 / n**3 + 1.5895 / n**4


def _sum_by(cluster: NDArray[np.int64], rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows of one cluster added up, [clusters, bins]."""
    sums = np.zeros((int(cluster.max()) + 1, rows.shape[1]))
    np.add.at(sums, cluster, rows)
    return sums
