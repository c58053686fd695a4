"""Results of many checkpoints on many tasks, to time `compare` and `report` on.

    python -m benchmarks.many /tmp/many --checkpoints 50 --tasks 20 --samples 1000
    gpt2eval compare /tmp/many
    gpt2eval report /tmp/many --output /tmp/many-report

Written by the store's own writer, as `gpt2eval run` leaves them: last words, choices, running text,
answers and translations by turns. The numbers are drawn, from seeds; no model was asked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from gpt2eval.metrics import bleu, chrf
from gpt2eval.results import RecordWriter, encode_requests, write_result, write_vocabulary
from gpt2eval.stats import LEVEL, bootstrap, wilson
from gpt2eval.types import Estimate, Generate, Generated, Record, Result, Rolling, Sample, Score

RESAMPLES = 1_000  # of the intervals in the results; how fine those are costs a reader nothing
DOCUMENT = 1_024  # tokens of a running text, of which a task has a sixteenth of the samples
TEXT = "the river was old and nobody knew where it came from but every boat went down to the sea"
WORDS = TEXT.split()

Random = np.random.Generator


@dataclass(frozen=True, slots=True)
class Measure:
    """A metric: its unit, the direction of better, and its value of sums [..., k]."""

    unit: str
    higher: bool
    value: Callable[[NDArray[np.float64]], NDArray[np.float64]]


def _mean(sums: Any) -> Any:
    return sums[..., 0] / sums[..., 1]


SHARE = Measure("fraction", True, _mean)
PERPLEXITY = Measure("perplexity", False, lambda sums: np.exp(_mean(sums)))
BLEU, CHRF = bleu(), chrf()


def last_word(number: int, skill: float, random: Random) -> Record:
    """A passage and its last word."""
    right = random.random() < 0.35 + 0.4 * skill - number * 37 % 100 / 300
    loss = float(random.gamma(2.0, 0.4 if right else 2.0))
    asked = Score(_sentence(number, 60), f" {WORDS[number % 11]}")
    statistics = {"accuracy": [float(right), 1.0], "perplexity": [loss, 1.0]}
    return _record(
        number, statistics, [_scored([loss], 40 + number % 90)], [asked], WORDS[number % 11]
    )


def choice(number: int, skill: float, random: Random) -> Record:
    """A question with four answers."""
    gold, choices = number % 4, [_sentence(number + place, 6) for place in range(4)]
    losses = random.gamma(4.0, 0.7, size=(4, 6))
    losses[gold] *= 1.05 - 0.3 * skill
    right = float(int(losses.sum(axis=1).argmin()) == gold)
    statistics = {"accuracy": [right, 1.0], "gold_perplexity": [float(losses[gold].sum()), 6.0]}
    asked = [Score(_sentence(number, 30), f" {text}") for text in choices]
    responses = [_scored(each, 60 + number % 40) for each in losses]
    more = {"choices": choices, "gold": gold}
    return _record(number, statistics, responses, asked, choices[gold], **more)


def document(number: int, skill: float, random: Random) -> Record:
    """A running text."""
    mean = 3.2 - skill + 3 * np.arange(1, DOCUMENT + 1) ** -0.4
    losses = random.gamma(1.5, mean / 1.5)
    total = float(losses.sum())
    statistics = {"word_perplexity": [total, 800.0], "byte_perplexity": [total, 4500.0]}
    return _record(number, statistics, [_scored(losses, 1)], [Rolling("")])


def answer(number: int, skill: float, random: Random) -> Record:
    """A question about a story, answered in words; ten questions belong to one story."""
    right = bool(random.random() < 0.2 + 0.5 * skill)
    share = 1.0 if right else round(float(random.random()), 2)
    statistics = {"f1": [share, 1.0], "exact_match": [float(right), 1.0]}
    text = _sentence(number + (not right), 3)
    asked = Generate(f"{_sentence(number // 10, 80)}\nQ: {_sentence(number, 8)}\nA:", 9)
    reference = _sentence(number, 3)
    group = f"story-{number // 10}"
    return _record(number, statistics, [_generated(text, random)], [asked], reference, group=group)


def translation(number: int, skill: float, random: Random) -> Record:
    """A sentence and its translation."""
    reference = _sentence(number, 14)
    kept = random.random(14) < 0.4 + 0.4 * skill
    other = _sentence(int(random.integers(1000)), 14)
    pairs = zip(reference.split(), other.split(), kept, strict=True)
    text = " ".join(one if keep else two for one, two, keep in pairs)
    sample = Sample(str(number), {}, (reference,))
    nothing = np.zeros(0, np.int32), np.zeros(0, np.float32)
    written = Generated(text, *nothing, "stop", prediction=text)
    statistics = {x.name: list(x.stats(sample, [written])) for x in (BLEU, CHRF)}
    asked = Generate(f"{_sentence(number + 5, 14)} =", 30)
    return _record(number, statistics, [_generated(text, random)], [asked], reference)


def _sentence(number: int, words: int) -> str:
    """A text that every checkpoint has alike."""
    step = number % 5 + 1
    return " ".join(WORDS[(number * 7 + place * step) % len(WORDS)] for place in range(words))


def _scored(losses: Sequence[float] | NDArray[np.float64], context: int) -> dict[str, Any]:
    return {
        "type": "scored",
        "truncated": 0,
        "tokens": [number % len(WORDS) for number in range(len(losses))],
        "logprobs": [-round(float(loss), 6) for loss in losses],
        "greedy": "".join("01"[int(loss < 1)] for loss in losses),
        "context": [[context, len(losses)]],
    }


def _generated(text: str, random: Random) -> dict[str, Any]:
    losses = random.gamma(1.5, 0.5, size=len(text.split()))
    return {
        "type": "generated",
        "text": f" {text}",
        "prediction": text,
        "stopped": "stop",
        "truncated": 0,
        "tokens": [WORDS.index(word) for word in text.split()],
        "logprobs": [-round(float(loss), 6) for loss in losses],
    }


def _record(
    number: int,
    statistics: Mapping[str, Sequence[float]],
    responses: Sequence[dict[str, Any]],
    asked: Sequence[Any],
    *references: str,
    group: str = "",
    **more: Any,
) -> Record:
    asked = encode_requests(asked)
    return Record(str(number), group, statistics, responses, references, asked=asked, **more)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of task; `fewer`: it has so many times fewer samples."""

    name: str
    record: Callable[[int, float, Random], Record]
    measures: dict[str, Measure]
    kind: str = "likelihood"
    fewer: int = 1


KINDS = (
    Kind("last_word", last_word, {"accuracy": SHARE, "perplexity": PERPLEXITY}),
    Kind("choice", choice, {"accuracy": SHARE, "gold_perplexity": PERPLEXITY}),
    Kind(
        "text",
        document,
        {"word_perplexity": PERPLEXITY, "byte_perplexity": PERPLEXITY},
        fewer=16,
    ),
    Kind("answer", answer, {"f1": SHARE, "exact_match": SHARE}, "generation"),
    Kind(
        "translation",
        translation,
        {x.name: Measure(x.unit, True, x.value) for x in (BLEU, CHRF)},
        "generation",
    ),
)


def write(output: Path, place: int, task: int, samples: int) -> None:
    """The run of one checkpoint on one task."""
    kind = KINDS[task % len(KINDS)]
    name, size = f"{kind.name}_{task // len(KINDS) + 1}", max(samples // kind.fewer, 2)
    family, step = f"run-{place // 10 + 1}", 500 * (place % 10 + 1)
    checkpoint = f"{family}-checkpoint-{step}"
    directory = output / checkpoint / f"{name}@made" / "0123456789ab"
    random = np.random.default_rng((place, task))
    skill = min(1.0, step / 6000 + 0.02 * (place // 10))
    writer = RecordWriter(directory)
    records = []
    for number in range(size):
        record = kind.record(number, skill, random)
        writer.write(record)
        records.append((record.statistics, record.group))
    writer.close()
    write_vocabulary(directory, {"model": {n: f"Ġ{word}" for n, word in enumerate(WORDS)}})
    groups = [group for _, group in records]
    metrics = {
        metric: _estimate(measure, np.array([x[metric] for x, _ in records]), groups)
        for metric, measure in kind.measures.items()
    }
    result = Result(
        checkpoint={
            "name": checkpoint,
            "path": f"made/{family}/checkpoint-{step}",
            "sha256": hashlib.sha256(checkpoint.encode()).hexdigest(),
            "tokenizer_sha256": hashlib.sha256(TEXT.encode()).hexdigest(),
            "parameters": 124_439_808,
            "kind": "made",
        },
        task={
            "name": name,
            "protocol": "made",
            "version": 1,
            "options": {},
            "kind": kind.kind,
            "summary": f"{kind.record.__doc__}",
            "references": [],
        },
        data={
            "source": "directory",
            "files": [f"{name}.jsonl"],
            "sha256": {f"{name}.jsonl": hashlib.sha256(name.encode()).hexdigest()},
            "available": size,
            "selected": size,
            "subset": "all",
            "verdict": "",
        },
        run={"device": "none", "dtype": "float32", "seed": 0, "versions": {}, "tool": "made"},
        metrics=metrics,
        ledger={},
        signature=f"{name}@made|v1",
        path=directory,
    )
    write_result(result, directory)


def _estimate(measure: Measure, table: NDArray[np.float64], groups: Sequence[str]) -> Estimate:
    n, sums = len(table), table.sum(axis=0)
    if measure is SHARE and not any(groups) and set(table[:, 0]) <= {0.0, 1.0}:
        low, high = wilson(float(sums[0]), n)
        method = f"{LEVEL:.0%} Wilson score interval over {n} samples"
    else:
        random = np.random.default_rng(0)
        low, high = bootstrap(table, measure.value, random, RESAMPLES, groups)
        method = f"{LEVEL:.0%} percentile bootstrap over {n} samples, {RESAMPLES} resamples, seed 0"
    return Estimate(
        float(measure.value(sums)),
        low,
        high,
        LEVEL,
        method,
        n,
        measure.unit,
        f"{n} samples",
        measure.higher,
    )


@click.command()
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--checkpoints", default=50, show_default=True)
@click.option("--tasks", default=20, show_default=True)
@click.option("--samples", default=1000, show_default=True, help="Of a task.")
@click.option("--first", default=0, show_default=True, help="Checkpoint to begin with.")
def main(output: Path, checkpoints: int, tasks: int, samples: int, first: int) -> None:
    """Write OUTPUT/<checkpoint>/<task>@made/<run>/ for every checkpoint and task."""
    for place in range(first, checkpoints):
        for task in range(tasks):
            write(output, place, task, samples)


if __name__ == "__main__":
    main()
