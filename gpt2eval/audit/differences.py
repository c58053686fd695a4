"""How far two sets of answers lie apart: nats, flipped answers, metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite, sqrt

import numpy as np
from numpy.typing import NDArray

from gpt2eval.audit.asking import Given
from gpt2eval.audit.types import Flip, Moved, Nats, Place
from gpt2eval.errors import MACHINE
from gpt2eval.estimates import estimates, statistics_of
from gpt2eval.stats import RESAMPLES, bootstrap
from gpt2eval.task import Metric
from gpt2eval.types import Embedded, Estimate, Generate, Generated, Sample, Scored
from gpt2eval.work import Work

TokenText = Callable[[int], str]
Statistics = Mapping[str, Mapping[str, Sequence[float]]]


@dataclass(frozen=True, slots=True)
class Pair:
    """A sample and its answers: `right` of the reference, `left` of the setting."""

    sample: Sample
    left: Given
    right: Given


def nats(pairs: Sequence[Pair], text: TokenText) -> Nats:
    """The differences over all tokens that both have, up to where two texts part."""
    count, total, signed, worst = 0, 0.0, 0.0, Nats(0, 0.0, 0.0, 0.0)
    for pair in pairs:
        for number, (ours, theirs) in enumerate(_comparable(pair)):
            size = _alike(ours.tokens, theirs.tokens)
            if not size:
                continue
            found, known = (one.logprobs[:size].astype(np.float64) for one in (ours, theirs))
            gaps = found - known
            count, total = count + size, total + float(np.abs(gaps).sum())
            signed += float(gaps.sum())
            at = int(np.abs(gaps).argmax())
            if worst.place is None or abs(gaps[at]) > worst.largest:
                place = Place(pair.sample.id, number, at, text(int(ours.tokens[at])))
                largest = float(abs(gaps[at]))
                worst = Nats(0, 0.0, 0.0, largest, place, float(known[at]), float(found[at]))
    if not count:
        return worst
    return replace(worst, tokens=count, mean=total / count, bias=signed / count)


def _comparable(pair: Pair) -> Iterator[tuple[Scored | Generated, Scored | Generated]]:
    """Answers to the same requests; what is asked about different texts is not the same."""
    for ours, theirs, one, other in zip(
        pair.left.responses,
        pair.right.responses,
        pair.left.requests,
        pair.right.requests,
        strict=False,
    ):
        if one != other:
            return
        assert not isinstance(ours, Embedded)  # `answer_alone` has none
        assert not isinstance(theirs, Embedded)
        yield ours, theirs


def _alike(ours: NDArray[np.int32], theirs: NDArray[np.int32]) -> int:
    """How many tokens two texts have in common before they part."""
    size = min(len(ours), len(theirs))
    differ = np.nonzero(ours[:size] != theirs[:size])[0]
    return int(differ[0]) if len(differ) else size


# ---- flipped answers ----------------------------------------------------------------------------


def flips(pairs: Sequence[Pair], text: TokenText) -> list[Flip]:
    """Every answer that is another one."""
    return [flip for pair in pairs for flip in _flips(pair, text)]


def _flips(pair: Pair, text: TokenText) -> Iterator[Flip]:
    choices = pair.sample.fields.get("choices")
    scored = [one for one in pair.right.responses if isinstance(one, Scored)]
    if isinstance(choices, (list, tuple)) and 1 < len(choices) == len(scored):
        yield from _choice_flip(pair, [str(choice) for choice in choices])
        return
    for number, (ours, theirs) in enumerate(_comparable(pair)):
        margins = pair.right.margins[number]
        assert margins is not None
        if isinstance(ours, Generated) and isinstance(theirs, Generated):
            yield from _text_flip(pair, number, ours, theirs, margins, text)
        elif isinstance(ours, Scored) and isinstance(theirs, Scored):
            yield from _greedy_flip(pair, number, ours, theirs, margins, text)


def _choice_flip(pair: Pair, choices: Sequence[str]) -> Iterator[Flip]:
    """The likeliest by the sum of its tokens; metrics may divide by a length besides."""
    sums = [
        np.array(
            [
                one.logprobs.astype(np.float64).sum()
                for one in given.responses
                if not isinstance(one, Embedded)
            ]
        )
        for given in (pair.left, pair.right)
    ]
    found, expected = (int(each.argmax()) for each in sums)
    if found != expected:
        yield Flip(
            "choice",
            Place(pair.sample.id, expected, 0, ""),
            choices[expected],
            choices[found],
            float(sums[1][expected] - sums[1][found]),
        )


def _greedy_flip(
    pair: Pair,
    number: int,
    ours: Scored,
    theirs: Scored,
    margins: NDArray[np.float64],
    text: TokenText,
) -> Iterator[Flip]:
    """Continuations only: of a long text nobody asks whether it is the model's first choice."""
    if len(ours.tokens) != len(theirs.tokens) or not hasattr(
        pair.right.requests[number], "continuation"
    ):
        return
    found, expected = bool(ours.greedy.all()), bool(theirs.greedy.all())
    if found == expected:
        return
    # The place where the two disagree that makes the difference: the first one.
    at = int(np.nonzero(ours.greedy != theirs.greedy)[0][0])
    words = {True: "greedy", False: "not greedy"}
    yield Flip(
        "greedy",
        Place(pair.sample.id, number, at, text(int(theirs.tokens[at]))),
        words[expected],
        words[found],
        float(margins[at]),
    )


def _text_flip(
    pair: Pair,
    number: int,
    ours: Generated,
    theirs: Generated,
    margins: NDArray[np.float64],
    text: TokenText,
) -> Iterator[Flip]:
    at = _alike(ours.tokens, theirs.tokens)
    if at == len(ours.tokens) == len(theirs.tokens):
        return
    request = pair.right.requests[number]
    drawn = isinstance(request, Generate) and request.temperature > 0
    expected, found = (
        text(int(one.tokens[at])) if at < len(one.tokens) else "the end" for one in (theirs, ours)
    )
    yield Flip(
        "text",
        Place(pair.sample.id, number, at, expected),
        expected,
        found,
        None if drawn or at >= len(margins) else float(margins[at]),
    )


# ---- metrics ------------------------------------------------------------------------------------


def moved(work: Work, pairs: Sequence[Pair], seed: int) -> list[Moved]:
    """Each metric of the two sides, on the samples that both scored."""
    ours, theirs = (
        dict[str, Mapping[str, Sequence[float]]](),
        dict[str, Mapping[str, Sequence[float]]](),
    )
    for pair in pairs:
        try:
            found = statistics_of(work.protocol.metrics, pair.sample, pair.left.responses)
            known = statistics_of(work.protocol.metrics, pair.sample, pair.right.responses)
        except MACHINE:
            raise
        except Exception:  # a metric's function may raise anything; the run records such samples
            continue
        ours[pair.sample.id], theirs[pair.sample.id] = found, known
    groups = {pair.sample.id: pair.sample.group for pair in pairs}
    left = estimates(work.protocol.metrics, ours, groups, seed)
    right = estimates(work.protocol.metrics, theirs, groups, seed)
    return [
        _moved(metric, left[metric.name], right[metric.name], ours, theirs, groups, work, seed)
        for metric in work.protocol.metrics
        if metric.name in right
    ]


def _moved(
    metric: Metric,
    found: Estimate,
    expected: Estimate,
    ours: Statistics,
    theirs: Statistics,
    groups: Mapping[str, str],
    work: Work,
    seed: int,
) -> Moved:
    names = [name for name in sorted(theirs) if metric.name in theirs[name]]
    shift = _shift(found.value, expected.value)
    low, high = _paired(metric, names, ours, theirs, groups, seed)
    share = _share(shift, expected)
    available = int(work.provenance["available"]) or expected.n
    # An interval narrows with the root of the number of samples.
    scale = sqrt(max(available, expected.n) / expected.n) if not metric.part else 1.0
    return Moved(
        metric=metric.name,
        unit=expected.unit,
        expected=expected.value,
        found=found.value,
        low=expected.low,
        high=expected.high,
        shift=shift,
        shift_low=low,
        shift_high=high,
        share=share,
        share_of_all=None if share is None else share * scale,
        n=expected.n,
        changed=sum(
            list(ours[name][metric.name]) != list(theirs[name][metric.name]) for name in names
        ),
        part=metric.part,
    )


def _shift(found: float, expected: float) -> float:
    return 0.0 if found == expected else found - expected  # of two infinities, too


def _share(shift: float, expected: Estimate) -> float | None:
    """How much of the interval, on its side, the shift takes up."""
    if expected.low is None or expected.high is None or not isfinite(shift):
        return None
    if not shift:
        return 0.0
    room = expected.high - expected.value if shift > 0 else expected.value - expected.low
    # At the end of a scale, 0 % or 100 %, there is no room on one side; the other one counts.
    room = room or expected.high - expected.low
    return abs(shift) / room if room > 0 and isfinite(room) else None


def _paired(
    metric: Metric,
    names: Sequence[str],
    ours: Statistics,
    theirs: Statistics,
    groups: Mapping[str, str],
    seed: int,
) -> tuple[float | None, float | None]:
    """Interval of the shift; both sides of a sample are drawn together."""
    if metric.corpus or metric.interval == "none":
        return None, None
    left, right = (
        np.array([side[name][metric.name] for name in names], dtype=np.float64)
        for side in (ours, theirs)
    )
    width = left.shape[1]
    units = [groups[name] for name in names]
    if len({unit or name for unit, name in zip(units, names, strict=True)}) < 2:
        return None, None

    def difference(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        with np.errstate(all="ignore"):
            return np.asarray(metric.value(sums[..., :width]) - metric.value(sums[..., width:]))

    both = np.hstack([left, right])
    low, high = bootstrap(both, difference, np.random.default_rng(seed), RESAMPLES, groups=units)
    return (low, high) if isfinite(low) and isfinite(high) else (None, None)
