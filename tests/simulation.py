"""Tests and intervals on data whose truth is known: how often are they wrong?

`python -m tests.simulation` prints the figures of docs/statistics.md; the suite runs the same
functions with fewer repetitions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

import numpy as np

from gpt2eval.metrics.likelihood import _exp_ratio, _ratio
from gpt2eval.significance import (
    mcnemar,
    paired_t,
    permute,
    permute_seeds,
    sign_flip,
    smallest_of_discordant,
    swap,
    tango,
    welch,
)
from gpt2eval.stats import percentiles, resample
from gpt2eval.winner import choose

RESAMPLES = 999
Random = np.random.Generator


def rate(outcome: Callable[[Random], bool], repetitions: int, seed: int = 1) -> float:
    """Share of repetitions in which something happens."""
    rng = np.random.default_rng(seed)
    return sum(outcome(rng) for _ in range(repetitions)) / repetitions


def discordant(rng: Random, n: int, wins: float, losses: float) -> tuple[int, int]:
    """How many samples only one of two systems gets right."""
    won, lost, _ = rng.multinomial(n, [wins, losses, 1 - wins - losses])
    return int(won), int(lost)


def documents(rng: Random, n: int, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Losses and words of two language models on documents of very different lengths.

    The per-word losses of the two share what is hard in a document; `shift` is the true gap.
    """
    words = np.ceil(rng.lognormal(4, 0.8, n))
    hard = rng.normal(3.5, 0.4, n)
    own = rng.laplace(0, 0.1, (2, n))
    ours, theirs = hard + own[0], hard + own[1] + shift
    return np.stack([ours * words, words], 1), np.stack([theirs * words, words], 1)


def texts(rng: Random, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Matches and lengths of two systems that are alike, with lengths of their own."""
    lengths = rng.integers(5, 40, (2, n)).astype(float)
    shared = rng.beta(2, 5, n)
    matches = rng.binomial(lengths.astype(int), shared).astype(float)
    return np.stack([matches[0], lengths[0]], 1), np.stack([matches[1], lengths[1]], 1)


# ---- false positives ----------------------------------------------------------------------------


def mcnemar_rejects(rng: Random, n: int = 200, share: float = 0.1) -> bool:
    """Two equally good systems that differ on a fifth of the samples."""
    won, lost = discordant(rng, n, share, share)
    return won + lost > 0 and mcnemar(won, lost) < 0.05


def unpaired_rejects(rng: Random, n: int = 200) -> bool:
    """The unpaired z-test of lm-eval's model comparator, on the same kind of data."""
    won, lost = discordant(rng, n, 0.1, 0.1)
    return unpaired_p(n // 2 + won, n // 2 + lost, n) < 0.05


def unpaired_p(ours: float, theirs: float, n: int) -> float:
    """Two-sided p of a z-test of two proportions as if they were of different samples."""
    from scipy import stats

    a, b = ours / n, theirs / n
    error = sqrt(a * (1 - a) / (n - 1) + b * (1 - b) / (n - 1))
    return float(2 * stats.norm.sf(abs(a - b) / error))


def sign_flip_rejects(rng: Random, n: int = 30) -> bool:
    """Two language models that are alike, over n documents."""
    ours, theirs = documents(rng, n)
    return permute(sign_flip(ours[:, 0] - theirs[:, 0]), rng, RESAMPLES).p < 0.05


def swap_rejects(rng: Random, n: int = 50) -> bool:
    """Two text generators that are alike, over n samples."""
    return permute(swap(*texts(rng, n), _ratio), rng, RESAMPLES).p < 0.05


def seeds(rng: Random, n: int, skewed: bool) -> list[float]:
    """Scores of n seeds."""
    return list(rng.lognormal(0, 1, n) if skewed else rng.normal(size=n))


def welch_rejects(rng: Random, n: int, skewed: bool = False) -> bool:
    """Two variants of n seeds that are alike."""
    p = welch(seeds(rng, n, skewed), seeds(rng, n, skewed)).p
    return p is not None and p < 0.05


def paired_t_rejects(rng: Random, n: int, skewed: bool = False) -> bool:
    """The same, with paired seeds; skewed: the differences, around a mean of zero."""
    values = np.array(seeds(rng, n, skewed)) - (np.exp(0.5) if skewed else 0)
    p = paired_t([0.0] * n, list(values)).p
    return p is not None and p < 0.05


def permuted_seeds_reject(rng: Random, n: int) -> bool:
    """The exact permutation of seeds beside Welch's t."""
    found = permute_seeds(seeds(rng, n, True), seeds(rng, n, True))
    return found is not None and found.p < 0.05


# ---- coverage and power -------------------------------------------------------------------------


def tango_covers(rng: Random, n: int, wins: float = 0.08, losses: float = 0.04) -> bool:
    """Whether the interval holds the true difference of two accuracies."""
    low, high = tango(*discordant(rng, n, wins, losses), n)
    return low <= wins - losses <= high


def bootstrap_covers(rng: Random, n: int, shift: float = 0.05) -> bool:
    """Whether the interval holds the true ratio of two perplexities, as a difference of bits.

    The truth of documents of random lengths is the shift in the loss per word.
    """
    ours, theirs = documents(rng, n, shift)
    a, b = resample([ours, theirs], rng, RESAMPLES)
    low, high = percentiles(np.log(_exp_ratio(b)) - np.log(_exp_ratio(a)), 0.95)
    return low <= shift <= high


def gate_passes_a_loss(rng: Random, n: int = 500, margin: float = 0.02) -> bool:
    """Whether a gate with this margin, at 0.05, passes a drop that is as large."""
    low, _ = tango(*discordant(rng, n, 0.04, 0.04 + margin), n, 0.9)
    return low > -margin


def mcnemar_finds(rng: Random, n: int = 1000, share: float = 0.1) -> bool:
    """Whether the smallest difference that is claimed for so many discordant samples shows."""
    differing = round(n * share)
    claimed = smallest_of_discordant(differing)
    assert claimed is not None
    won = int(rng.binomial(differing, (1 + claimed) / 2))
    return mcnemar(won, differing - won) < 0.05


# ---- the best of many ---------------------------------------------------------------------------

Systems = tuple[list[np.ndarray], np.ndarray]
"""Statistics [units, 2] of each system, and the true score of each; higher is better."""


def choice_of_answers(rng: Random, count: int = 10, n: int = 200, gap: float = 0.0) -> Systems:
    """Right or wrong on samples that are as hard for all; each system worse than the one before."""
    from scipy import stats

    truth = 0.5 - gap * np.arange(count)
    hard = sqrt(0.8) * rng.normal(size=(n, 1)) + sqrt(0.2) * rng.normal(size=(n, count))
    right = (hard < stats.norm.ppf(truth)).astype(float)
    return [np.stack([column, np.ones(n)], 1) for column in right.T], truth


def choice_of_documents(rng: Random, count: int = 10, n: int = 62, gap: float = 0.0) -> Systems:
    """Language models on documents of very different lengths; the score is minus the loss."""
    words = np.ceil(rng.lognormal(4, 0.8, n))
    hard = rng.normal(3.5, 0.4, n)
    own = rng.laplace(0, 0.1, (count, n))
    losses = [(hard + own[k] + gap * k) * words for k in range(count)]
    return [np.stack([-loss, words], 1) for loss in losses], -3.5 - gap * np.arange(count)


@dataclass(frozen=True, slots=True)
class Repeated:
    """What became of many choices.

    covered   share of sets that hold the first system, which no other beats
    members   of a set, on average
    interval  share of intervals that hold the true score of what was chosen
    naive, corrected  mean of the stated score less the true one of what was chosen
    error     standard error of `naive`
    """

    covered: float
    members: float
    interval: float
    naive: float
    corrected: float
    error: float


def repeated_choices(
    make: Callable[[Random], Systems], repetitions: int, seed: int = 1
) -> Repeated:
    """Choose again and again among systems whose truth is known."""
    rng = np.random.default_rng(seed)
    covered, members, held, naive, corrected = [], [], [], [], []
    for _ in range(repetitions):
        systems, truth = make(rng)
        found = choose(systems, _ratio, rng, resamples=RESAMPLES)
        true = float(truth[found.best])
        covered.append(0 in found.members())
        members.append(len(found.members()))
        held.append(found.low <= true <= found.high)
        naive.append(float(found.scores[found.best]) - true)
        corrected.append(found.corrected - true)
    return Repeated(
        float(np.mean(covered)),
        float(np.mean(members)),
        float(np.mean(held)),
        float(np.mean(naive)),
        float(np.mean(corrected)),
        float(np.std(naive) / sqrt(repetitions)),
    )


CHOICES: dict[str, Callable[[Random], Systems]] = {
    "2 equal accuracies, 200 samples": lambda rng: choice_of_answers(rng, 2),
    "10 equal accuracies, 200 samples": choice_of_answers,
    "10 accuracies a point apart, 200 samples": lambda rng: choice_of_answers(rng, gap=0.01),
    "20 equal accuracies, 1000 samples": lambda rng: choice_of_answers(rng, 20, 1000),
    "10 equal losses, 20 documents": lambda rng: choice_of_documents(rng, n=20),
    "10 equal losses, 62 documents": choice_of_documents,
    "10 losses 0.02 nats apart, 62 documents": lambda rng: choice_of_documents(rng, gap=0.02),
    "10 equal losses, 500 documents": lambda rng: choice_of_documents(rng, n=500),
}

FALSE_POSITIVES: dict[str, Callable[[Random], bool]] = {
    "exact McNemar, 200 samples, 40 differ": mcnemar_rejects,
    "unpaired z-test, the same samples": unpaired_rejects,
    "sign flips, 30 documents": sign_flip_rejects,
    "sign flips, 8 documents (exact)": lambda rng: sign_flip_rejects(rng, 8),
    "randomisation, 50 texts": swap_rejects,
    "Welch's t, 3 seeds": lambda rng: welch_rejects(rng, 3),
    "Welch's t, 5 seeds": lambda rng: welch_rejects(rng, 5),
    "Welch's t, 5 seeds, skewed": lambda rng: welch_rejects(rng, 5, skewed=True),
    "paired t, 5 seeds": lambda rng: paired_t_rejects(rng, 5),
    "paired t, 5 seeds, skewed differences": lambda rng: paired_t_rejects(rng, 5, skewed=True),
    "exact permutation, 5 seeds, skewed": lambda rng: permuted_seeds_reject(rng, 5),
    "gate, drop as large as the margin": gate_passes_a_loss,
}
COVERAGE: dict[str, Callable[[Random], bool]] = {
    "Tango, 50 samples": lambda rng: tango_covers(rng, 50),
    "Tango, 200 samples": lambda rng: tango_covers(rng, 200),
    "Tango, 1000 samples": lambda rng: tango_covers(rng, 1000),
    "paired bootstrap, 10 documents": lambda rng: bootstrap_covers(rng, 10),
    "paired bootstrap, 20 documents": lambda rng: bootstrap_covers(rng, 20),
    "paired bootstrap, 62 documents": lambda rng: bootstrap_covers(rng, 62),
    "paired bootstrap, 500 documents": lambda rng: bootstrap_covers(rng, 500),
}

if __name__ == "__main__":
    for title, cases in (("refused at 0.05", FALSE_POSITIVES), ("covered at 95 %", COVERAGE)):
        print(title)
        for name, outcome in cases.items():
            print(f"  {name}: {100 * rate(outcome, 10_000):.2f} %", flush=True)
    print("the best of many: set covers, members, interval holds, bias of the maximum, corrected")
    for name, make in CHOICES.items():
        found = repeated_choices(make, 2_000)
        print(
            f"  {name}: {100 * found.covered:.1f} %, {found.members:.1f},"
            f" {100 * found.interval:.1f} %, {found.naive:+.4f},"
            f" {found.corrected:+.4f} (standard error {found.error:.4f})",
            flush=True,
        )
    print(f"smallest difference shown: {100 * rate(mcnemar_finds, 10_000):.2f} %")
