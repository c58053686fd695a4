"""Language modelling of lines, and of the end of a long file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

from gpt2eval import metrics
from gpt2eval.data import Dataset, Row
from gpt2eval.recipes.detokenizers import Rule
from gpt2eval.recipes.floors import UNIGRAM, unigram, unigram_nats
from gpt2eval.task import Protocol
from gpt2eval.types import Request, Rolling, Sample


def stretches_of_lines(
    rows: Iterable[Row], prepare: Rule, between: str, end: str, size: int = 20
) -> Iterator[Sample]:
    """Lines as stretches of one long text, `size` of them a sample, for intervals.

    prepare   a line of the data -> the line as the model reads it
    between   what stands between two lines
    end       what stands after the last
    `words+eos` counts the words of the data and one line end a line, whatever `prepare` does, and
    `unigram_nats` is what they cost a unigram model.
    """
    lines = [str(row["text"]) for row in rows]
    blocks = [lines[at : at + size] for at in range(0, len(lines), size)]
    parts = ["".join(prepare(line) + between for line in block) for block in blocks]
    if parts:
        parts[-1] = parts[-1].removesuffix(between) + end
    stream = "".join(parts)
    units = [[unit for line in block for unit in (*line.split(), "\n")] for block in blocks]
    start = 0
    for number, (part, words, nats) in enumerate(
        zip(parts, units, unigram_nats(units), strict=True), 1
    ):
        yield Sample(
            id=str(number),
            fields={
                "stream": stream,
                "start": start,
                "end": start + len(part),
                "words+eos": len(words),
                "unigram_nats": nats,
            },
        )
        start += len(part)


def stretch(sample: Sample, windows: Any, stride: int) -> list[Request]:
    """The part of the long text that is a sample's own."""
    fields = sample.fields
    return [Rolling(fields["stream"], fields["start"], fields["end"], windows, stride)]


AROUND = 20_000
"""Characters on both sides of a stretch, more than a window holds, so that all windows are full."""


def characters(dataset: Dataset, unit: str, millions: int, detail: str) -> tuple[Protocol, ...]:
    """The end of a file as one text, in windows that advance by 32 tokens, and by 512.

    unit      "bytes" or "characters": what the log-likelihood is divided by
    millions  of units: how much of the file is the test split
    detail    of the first protocol, which claims the paper

    The text is cut into 50 stretches of equal length, which intervals resample. Each is a request
    of its own with the text around it: its tokens are those of the whole text, but the tokenizer
    never sees the whole, and an interrupted run goes on at a stretch.
    """

    def samples(rows: Iterable[Row]) -> Iterator[Sample]:
        stream = "".join(row["text"] for row in rows)
        cuts = [round(len(stream) * part / 50) for part in range(51)]
        places = [(start, end) for start, end in pairwise(cuts) if start < end]
        texts = [stream[start:end] for start, end in places]
        units = [text.encode() if unit == "bytes" else text for text in texts]
        for number, ((start, end), own, nats) in enumerate(
            zip(places, units, unigram_nats(units), strict=True), 1
        ):
            begin = max(0, start - AROUND)
            fields = {
                "stream": stream[begin : end + AROUND],
                "start": start - begin,
                "end": end - begin,
                "count": len(own),
                "unigram_nats": nats,
            }
            yield Sample(id=str(number), fields=fields)

    one = unit.removesuffix("s")

    def protocol(name: str, claim: str, stride: int, detail: str) -> Protocol:
        return Protocol(
            name=name,
            summary=f"{claim}last {millions} million {unit}, stride {stride}, bits per {one}",
            detail=detail,
            dataset=dataset,
            samples=samples,
            requests=lambda sample: stretch(sample, "sliding", stride),
            metrics=(metrics.bits(f"bits_per_{one}", unit, lambda sample: sample.fields["count"]),),
            baselines={UNIGRAM: unigram},
            options={
                "text": f"last {millions * 1_000_000} {unit}, as it is",
                "stride": stride,
                "prefix": "<|endoftext|>",
                "context_characters": AROUND,
            },
        )

    return (
        protocol("paper", "GPT-2 paper (compatible): ", 32, detail),
        protocol(
            "stride-512",
            "",
            512,
            "As @paper in windows that advance by 512 tokens: every token has at least half of"
            " the model's length as context, and a model that uses it all is a little worse.",
        ),
    )
