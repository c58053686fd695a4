"""MAUVE: how near the distribution of what a model wrote lies to that of what people wrote.

Pillutla et al. 2021, https://arxiv.org/abs/2102.01454. The texts are vectors, which are put into
clusters; the two histograms over the clusters are compared. All of that is done by mauve-text, the
authors' package, which is under the GPL and loaded only when a value is asked for.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import numpy as np

from gpt2eval.errors import TaskError
from gpt2eval.task import Metric
from gpt2eval.types import Embedded, Response, Sample

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCALING = 5
"""The constant c of the paper, as the package has it."""

SEEDS = tuple(range(25, 30))
"""Of the clustering; the package's default is the first. Few texts give other values for each."""

ENOUGH = 1000
"""Texts on either side; the authors use 5,000, and say that fewer than 1,000 tell little."""


def mauve(per: str = "texts") -> Metric:
    """The area under the divergence frontier, 0 to 1: 1 where the two sets cannot be told apart.

    Of two Embed responses a sample: the model's text, then a person's. They are put into a tenth as
    many clusters as there are samples, and 2 at the least. The mean over five seeds.
    """
    return Metric(
        "mauve",
        _vectors,
        _values,
        "fraction",
        per,
        higher_is_better=True,
        interval="seeds",
        signature=(
            f"mauve-text:{_version('mauve-text')}|faiss:{_version('faiss-cpu')}|clusters:n/10"
            f"|scaling:{SCALING}|pca:0.9|seeds:{SEEDS[0]}-{SEEDS[-1]}"
        ),
        corpus=True,
        confident=True,
        enough=ENOUGH,
        needs={"mauve": "gpt2eval[mauve]"},
    )


def _vectors(_sample: Sample, responses: Sequence[Response]) -> list[float]:
    """The vector of the model's text, and behind it that of the person's."""
    vectors = [one.vector for one in responses if isinstance(one, Embedded)]
    if len(vectors) != 2:
        raise TaskError(
            f"mauve needs two Embed requests a sample, of the model's text and of a person's; it"
            f" got {len(vectors)}"
        )
    return [float(text) for text in np.concatenate(vectors).astype(str)]


def _values(samples: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    """The value of each seed, [seeds]; nan for a single sample."""
    both = np.asarray(samples, dtype=np.float32)
    if both.ndim != 2 or both.shape[1] % 2:
        raise ValueError(f"statistics of shape {both.shape}; expected two vectors a sample")
    if len(both) < 2:
        return np.full(len(SEEDS), np.nan)
    from mauve import compute_mauve

    written, human = np.split(both, 2, axis=1)
    with _hushed():
        return np.array(
            [
                compute_mauve(
                    p_features=written, q_features=human, mauve_scaling_factor=SCALING, seed=seed
                ).mauve
                for seed in SEEDS
            ]
        )


@contextmanager
def _hushed() -> Iterator[None]:
    """Without what faiss prints to the standard error, where no Python can catch it.

    It warns of fewer than 39 points a cluster; a tenth as many clusters as texts leave 20.
    """
    sys.stderr.flush()
    before, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    try:
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)
        os.close(nothing)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"
