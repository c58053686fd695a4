"""Several seeds of one variant: seeds are the units, since they are what would be drawn anew.

A thousand samples say how well one trained model does, and nothing about the next model that is
trained the same way. The spread over seeds does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, sqrt
from statistics import fmean, stdev

import numpy as np

from gpt2eval.errors import ComparisonError, UsageError
from gpt2eval.experiment import is_file, read_experiment
from gpt2eval.significance import (
    ALPHA,
    MeanTest,
    Permutation,
    paired_t,
    permute,
    permute_seeds,
    seeds_needed,
    sign_flip,
    welch,
)
from gpt2eval.stats import RESAMPLES
from gpt2eval.types import Comparison, Estimate, Result


def variants(labels: Sequence[str], pattern: str) -> dict[str, dict[str, str]]:
    """Variant -> seed -> label, in the order of the labels.

    A seed is what is left of a label without its variant, so that `a-seed1` and `b-seed1` share it.

    Args:
        labels: of the checkpoints.
        pattern: a template with "{variant}" and, if need be, "{seed}"; or a regular expression
            whose only group is the variant. Either matches the whole label. Or an experiment file,
            whose `variants` say it outright.

    Raises:
        UsageError: a pattern that cannot be used, or does not match a label.
    """
    if is_file(pattern):
        return _listed(labels, pattern)
    expression = _expression(pattern)
    found: dict[str, dict[str, str]] = {}
    for label in labels:
        match = expression.fullmatch(label)
        if match is None:
            raise UsageError(
                f"--group-by {pattern!r} does not match the checkpoint {label!r}; it has to match"
                " the whole of every name. Widen it, or name only the results that belong"
            )
        start, end = match.span(1)
        found.setdefault(match[1], {})[label[:start] + "*" + label[end:]] = label
    return found


def _listed(labels: Sequence[str], path: str) -> dict[str, dict[str, str]]:
    """Variants as a file lists them: those that have a checkpoint here, each with what is here."""
    listed = read_experiment(path).variants
    if not listed:
        raise UsageError(
            f"--group-by {path!r} says nothing of variants; expected\nvariants:\n"
            "  name of a variant: {1: name of a checkpoint, 2: ...}"
        )
    places = [
        (label, variant, seed) for variant in listed for seed, label in listed[variant].items()
    ]
    for label in labels:
        count = sum(label == other for other, *_ in places)
        if count != 1:
            raise UsageError(
                f"--group-by {path!r} lists the checkpoint {label!r} {count} times; expected every"
                " checkpoint that is compared once"
            )
    found: dict[str, dict[str, str]] = {}
    for label, variant, seed in places:
        if label in labels:
            found.setdefault(variant, {})[seed] = label
    return found


def _expression(pattern: str) -> re.Pattern[str]:
    if "{variant}" in pattern:
        pieces = re.split(r"(\{variant\}|\{seed\})", pattern)
        fields = {"{variant}": "(.+?)", "{seed}": ".+?"}
        pattern_of = "".join(fields.get(piece, re.escape(piece)) for piece in pieces)
        if pieces.count("{variant}") == 1:
            return re.compile(pattern_of)
        raise UsageError(f"--group-by {pattern!r} has {{variant}} more than once; expected once")
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise UsageError(
            f"--group-by {pattern!r} is no regular expression ({error}); expected one such as"
            " '(.+)-seed[0-9]+', or a template such as '{variant}-seed{seed}'"
        ) from error
    if expression.groups != 1:
        raise UsageError(
            f"--group-by {pattern!r} has {expression.groups} groups; expected one, in brackets,"
            " which is the variant: '(.+)-seed[0-9]+', or a template: '{variant}-seed{seed}'"
        )
    return expression


@dataclass(frozen=True, slots=True)
class Seeds:
    """One metric of one task@protocol for a variant: seed -> estimate."""

    variant: str
    estimates: Mapping[str, Estimate]

    @property
    def values(self) -> list[float]:
        """The metric of each seed."""
        return [estimate.value for estimate in self.estimates.values()]

    @property
    def spread(self) -> float | None:
        """Standard deviation over the seeds; None for a single one, or where one is infinite."""
        values = self.values
        return stdev(values) if len(values) > 1 and all(map(isfinite, values)) else None


def compare_seeds(
    runs: Mapping[str, Mapping[str, Result]],
    groups: Mapping[str, Mapping[str, str]],
    baseline: str,
    wanted: Callable[[str, str], bool],
    level: float,
) -> list[Comparison]:
    """Every variant against the baseline, on each metric that all seeds of a task have.

    Args:
        runs: task@protocol -> label -> result.
        groups: variant -> seed -> label, as `variants` has it.
        baseline: the variant that is compared with.
        wanted: (task@protocol, metric) -> whether it was asked for.
        level: of the intervals.

    Raises:
        ComparisonError: no variant has a task in common with the baseline.
    """
    found = []
    for task, results in runs.items():
        there = {
            variant: {seed: results[label] for seed, label in seeds.items() if label in results}
            for variant, seeds in groups.items()
        }
        if not there[baseline]:
            continue
        everyone = [result for seeds in there.values() for result in seeds.values()]
        shared = [
            metric
            for metric in everyone[0].metrics
            if all(metric in result.metrics for result in everyone) and wanted(task, metric)
        ]
        for variant in there:
            if variant == baseline or not there[variant]:
                continue
            for metric in shared:
                ours, theirs = (
                    Seeds(name, {seed: r.metrics[metric] for seed, r in there[name].items()})
                    for name in (baseline, variant)
                )
                found.append(_comparison(task, metric, ours, theirs, level))
    if not found:
        raise ComparisonError(
            f"no variant has a task@protocol and a metric in common with {baseline}; run the same"
            " tasks for all seeds"
        )
    return found


def _comparison(task: str, metric: str, ours: Seeds, theirs: Seeds, level: float) -> Comparison:
    estimate = next(iter(ours.estimates.values()))
    paired = len(ours.values) > 1 and ours.estimates.keys() == theirs.estimates.keys()
    pairs = (
        [(ours.estimates[seed].value, theirs.estimates[seed].value) for seed in ours.estimates]
        if paired
        else [(a, b) for a in ours.values for b in theirs.values]
    )
    differences = [b - a for a, b in pairs]
    better = [d if estimate.higher_is_better else -d for d in differences]
    means = fmean(ours.values), fmean(theirs.values)
    verdict = _verdict(ours, theirs, differences if paired else None, level)
    sign = 1 if estimate.higher_is_better else -1
    return Comparison(
        task=task,
        metric=metric,
        baseline=ours.variant,
        candidate=theirs.variant,
        unit=estimate.unit,
        higher_is_better=estimate.higher_is_better,
        baseline_value=means[0],
        candidate_value=means[1],
        difference=means[1] - means[0],
        low=verdict.test.low if verdict.test else None,
        high=verdict.test.high if verdict.test else None,
        level=level,
        test=verdict.words,
        p=verdict.test.p if verdict.test else None,
        p_corrected=None,
        correction="none",
        effect=None if verdict.effect is None else sign * verdict.effect,
        effect_name="d_z" if paired else "Cohen's d",
        smallest=verdict.test.smallest if verdict.test else None,
        n=estimate.n,
        units=len(differences) if paired else len(ours.values) + len(theirs.values),
        wins=sum(d > 0 for d in better),
        ties=sum(d == 0 for d in better),
        losses=sum(d < 0 for d in better),
        part=estimate.part,
        note="; ".join(verdict.notes),
        baseline_spread=ours.spread,
        candidate_spread=theirs.spread,
    )


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What the seeds say: the test in words, its numbers, effect size, and notes."""

    words: str
    test: MeanTest | None
    effect: float | None
    notes: Sequence[str]


def _verdict(
    ours: Seeds, theirs: Seeds, differences: Sequence[float] | None, level: float
) -> _Verdict:
    """What a t-test says; of `differences` where both variants have the same seeds."""
    counts = len(ours.values), len(theirs.values)
    if min(counts) < 2:
        short = ours if counts[0] < 2 else theirs
        words = f"no test: {short.variant} has one seed, which has no spread; expected two or more"
        return _Verdict(words, None, None, ())
    if not all(map(isfinite, (*ours.values, *theirs.values))):
        return _Verdict("no test: the value of a seed is not finite", None, None, ())
    exact: Permutation | None
    if differences is not None:
        words = f"paired t-test over {counts[0]} seeds"
        baseline = [one.value for one in ours.estimates.values()]
        test = paired_t(baseline, [theirs.estimates[seed].value for seed in ours.estimates], level)
        spread, notes = stdev(differences), []
        few = 2 ** len(differences) <= RESAMPLES
        flips = sign_flip(np.array(differences))
        exact = permute(flips, np.random.default_rng(0)) if few else None
    else:
        words = f"Welch's t-test over {counts[0]} and {counts[1]} seeds"
        test = welch(ours.values, theirs.values, level)
        spread = sqrt((stdev(ours.values) ** 2 + stdev(theirs.values) ** 2) / 2)
        notes = [f"wins, ties and losses over all {counts[0] * counts[1]} pairs of seeds"]
        exact = permute_seeds(ours.values, theirs.values)
    if test.p is None:
        return _Verdict("no test: the seeds do not vary", None, None, notes)
    if exact is not None:
        notes.append(_exact_words(exact, paired=differences is not None, counts=counts))
    if test.p >= ALPHA:
        needed = seeds_needed(test.difference, spread, paired=differences is not None)
        notes.append(
            f"to show a difference of this size takes about {needed} seeds of each"
            if needed
            else "no number of seeds below 1000 shows a difference of this size"
        )
    return _Verdict(words, test, test.difference / spread, notes)


def _exact_words(exact: Permutation, *, paired: bool, counts: tuple[int, int]) -> str:
    """The exact p-value beside that of t, and whether so few seeds can give a small one."""
    equal = paired or counts[0] == counts[1]
    least = (2 if equal else 1) / exact.arrangements
    needed = "6 seeds" if paired else "4 seeds of each"
    enough = (
        "" if least < ALPHA else f"; it cannot be below {least:.3g}, for which it takes {needed}"
    )
    return f"exact permutation p {exact.p:.3g}{enough}"
