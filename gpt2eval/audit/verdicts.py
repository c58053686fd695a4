"""What follows from differences: can rounding account for them, and do they matter?

docs/numerics.md says why the limits are where they are.
"""

from __future__ import annotations

from collections.abc import Sequence

from gpt2eval.audit.types import Allowed, Flip, Moved, Nats, Verdict
from gpt2eval.selfcheck import TOLERANCES

# A part of an interval that no reader would miss, and with it the part that is the whole of it.
NEGLIGIBLE, WHOLE = 0.1, 1.0
# How many times as far off as transformers itself in the same dtype the engine may be.
TIMES = 4.0
# Two tokens change places where each of them moved by as much as one may.
BOTH = 2.0
# Nats that the mean of absolute differences may have: it is not helped by signs that cancel.
MEANS = {"float32": 2e-5, "float16": 5e-3, "bfloat16": 4e-2}


def usual(dtype: str) -> Allowed:
    """What rounding in a dtype is known to do on checkpoints of ordinary size."""
    return Allowed(TOLERANCES[dtype].token, MEANS[dtype], f"usual for {dtype}")


def widened(dtype: str, transformers: Nats) -> Allowed:
    """The same, or TIMES what transformers in that dtype is off on the same requests, if more."""
    known = usual(dtype)
    return Allowed(
        max(known.largest, TIMES * transformers.largest),
        max(known.mean, TIMES * transformers.mean),
        f"usual for {dtype}, or {TIMES:g} times what transformers is off on the same texts in"
        f" {dtype} ({transformers.mean:.1e} in the mean, {transformers.largest:.1e} at most)",
    )


def explains(allowed: Allowed, nats: Nats, flips: Sequence[Flip]) -> bool:
    """Whether rounding accounts for all of it; what is not a number, nothing accounts for.

    Flipped choices follow from the sums of tokens that `nats` has already.
    """
    near = all(
        flip.margin is None or flip.margin <= BOTH * allowed.largest
        for flip in flips
        if flip.kind != "choice"
    )
    return nats.largest <= allowed.largest and nats.mean <= allowed.mean and near


def changes(one: Moved) -> bool:
    """Whether a metric moved out of its interval: the one that these samples give, or, where the
    shift is more than the luck of a few samples, the narrower one of all samples of the task.
    """
    if one.share is None or one.share_of_all is None:
        return False
    systematic = (
        one.shift_low is not None
        and one.shift_high is not None
        and not one.shift_low <= 0 <= one.shift_high
    )
    return one.share > WHOLE or (systematic and one.share_of_all > WHOLE)


def judge(metrics: Sequence[Moved], explained: bool) -> Verdict:
    """The verdict on a task under a setting; metrics of parts have none of their own."""
    if not explained:
        return "a fault"
    whole = [one for one in metrics if not one.part]
    if any(map(changes, whole)):
        return "changes the score"
    if all(one.share is None or one.share <= NEGLIGIBLE for one in whole):
        return "rounding only"
    return "within the interval"


def in_words(
    verdict: Verdict, nats: Nats, metrics: Sequence[Moved], allowed: Allowed, cause: str
) -> str:
    """The verdict in a sentence, with the figures that it rests on."""
    moved = [one for one in metrics if not one.part and one.share is not None]
    most = max(moved, key=lambda one: one.share or 0.0, default=None)
    effect = "no metric has an interval to hold its shift against"
    if most is not None:
        out = [one.metric for one in moved if changes(one)]
        effect = f"{most.metric} moves most, by {most.share or 0:.2g} of its interval"
        if out:
            effect += f"; out of their interval: {', '.join(out)}"
    if verdict == "a fault":
        off = f"{nats.largest:.1e} nats at most, {nats.mean:.1e} in the mean"
        limit = f"{allowed.largest:.1e} and {allowed.mean:.1e}"
        return (
            f"more than rounding does: {off}, where {limit} are {allowed.source}; {cause}; {effect}"
        )
    return {
        "rounding only": f"rounding, and nobody would see it: {effect}",
        "within the interval": f"rounding, smaller than what other samples would do: {effect}",
        "changes the score": f"rounding, but it matters: {effect}",
    }[verdict]
