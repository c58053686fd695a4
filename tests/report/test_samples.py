"""How single samples fared: bins of context and of frequency, against counting by hand."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from gpt2eval.report.samples import Fared, by_context, by_frequency, right_or_wrong, samples_of
from gpt2eval.results import read_records
from gpt2eval.stats import wilson
from gpt2eval.types import Record
from tests.report.building import write_words


def fared(value: float, context: int | None = None, target: str = "") -> Fared:
    return Fared(value, context, target)


def test_samples_are_read_from_records(tmp_path: Path) -> None:
    samples = samples_of(read_records(write_words(tmp_path, samples=50)), "accuracy")
    assert len(samples) == 50
    assert right_or_wrong(samples)
    assert all(40 <= (each.context or 0) < 180 for each in samples.values())
    assert all(each.target.startswith("word") for each in samples.values())
    losses = samples_of(read_records(tmp_path), "perplexity")
    assert not right_or_wrong(losses)
    assert samples_of(read_records(tmp_path), "no such metric") == {}


def test_statistics_that_are_no_ratio_are_left_out() -> None:
    rows = {"a": [1.0, 0.0], "b": [1.0, 2.0, 3.0], "c": [3.0, 4.0]}
    records = [Record(name, "", {"m": numbers}) for name, numbers in rows.items()]
    assert samples_of(records, "m") == {"c": fared(0.75)}


def test_other_kinds_of_answers_have_no_context() -> None:
    answers = [{"type": "generated", "text": "x"}, {"type": "summed", "text": "x"}]
    records = [
        Record(str(i), "", {"m": [1.0, 1.0]}, responses=[answer], references=["a", "b"])
        for i, answer in enumerate(answers)
    ]
    assert list(samples_of(records, "m").values()) == [fared(1.0)] * 2


def test_context_bins_hold_equally_many_and_every_sample() -> None:
    samples = [fared(float(length % 3 == 0), length) for length in range(1, 121)]
    rates = by_context(samples)
    assert [(rate.first, rate.last, rate.samples) for rate in rates] == [
        (1, 20, 20),
        (21, 40, 20),
        (41, 60, 20),
        (61, 80, 20),
        (81, 100, 20),
        (101, 120, 20),
    ]
    for rate in rates:
        right = sum(length % 3 == 0 for length in range(rate.first, rate.last + 1))
        assert rate.value == right / 20
        assert (rate.low, rate.high) == pytest.approx(wilson(right, 20))


def test_equal_lengths_never_lie_in_two_bins() -> None:
    samples = [fared(1.0, length) for length in [5] * 50 + [6] * 5 + [7] * 40 + [9] * 30]
    rates = by_context(samples)
    assert sum(rate.samples for rate in rates) == 125
    assert all(one.last < other.first for one, other in pairwise(rates))


@pytest.mark.parametrize(
    "samples",
    [
        [],
        [fared(1.0, length) for length in range(59)],  # too few
        [fared(1.0, 7)] * 500,  # all alike
        [fared(1.0)] * 500,  # none known
    ],
)
def test_no_bins_without_enough_to_tell(samples: list[Fared]) -> None:
    assert by_context(samples) == []
    assert by_frequency(samples) == []


def test_frequency_counts_among_the_targets() -> None:
    often = [fared(1.0, target="the")] * 30  # 30 times: bin 17..32
    twice = [fared(0.0, target=f"two{i // 2}") for i in range(40)]
    once = [fared(float(i < 10), target=f"one{i}") for i in range(25)]
    rates = by_frequency([*often, *twice, *once])
    assert [(r.first, r.last, r.samples, r.value) for r in rates] == [
        (1, 1, 25, 0.4),
        (2, 2, 40, 0.0),
        (30, 30, 30, 1.0),
    ]


def test_small_bins_join_the_next_and_the_last_the_one_before() -> None:
    once = [fared(1.0, target=f"one{i}") for i in range(5)]
    twice = [fared(0.0, target=f"two{i // 2}") for i in range(40)]
    four = [fared(0.0, target=f"four{i // 4}") for i in range(40)]
    often = [fared(1.0, target="the")] * 10
    rates = by_frequency([*once, *twice, *four, *often])
    assert [(r.first, r.last, r.samples) for r in rates] == [(1, 2, 45), (4, 10, 50)]
