"""Summaries after `TL;DR:`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from gpt2eval import metrics
from gpt2eval.data import Dataset, Row
from gpt2eval.recipes.rows import row_id
from gpt2eval.task import Protocol
from gpt2eval.types import Generate, Request, Sample


def summarization(
    name: str,
    summary: str,
    dataset: Dataset,
    columns: tuple[str, str],
    *,
    sentences: int,
    top_k: int = 0,
    **more: Any,
) -> Protocol:
    """Article, a new line, `TL;DR:`; 100 tokens; the first sentences of them are the summary.

    columns    names of the article and of the reference in the rows
    sentences  of the generation that are scored, and of the lede and random baselines
    top_k      0: greedy; otherwise sampled from the k likeliest tokens with the run's seed
    """
    document, reference = columns

    def samples(rows: Iterable[Row]) -> Iterable[Sample]:
        for number, row in enumerate(rows, 1):
            yield Sample(
                id=row_id(row, number),
                fields={"article": row[document]},
                references=(row[reference],),
            )

    def requests(sample: Sample) -> list[Request]:
        prompt = f"{sample.fields['article']}\nTL;DR:"
        return [Generate(prompt, 100, temperature=1.0 if top_k else 0.0, top_k=top_k)]

    def lede(sample: Sample, _random: np.random.Generator) -> str:
        """The beginning of the article, as many sentences as are scored."""
        return metrics.first_sentences(sample.fields["article"], sentences)

    def at_random(sample: Sample, random: np.random.Generator) -> str:
        """As many sentences of the article, drawn at random, in its order."""
        found = metrics.split_sentences(sample.fields["article"])
        size = min(sentences, len(found))
        chosen = sorted(random.choice(len(found), size=size, replace=False)) if found else []
        return "\n".join(found[i] for i in chosen)

    return Protocol(
        name=name,
        summary=summary,
        dataset=dataset,
        samples=samples,
        requests=requests,
        metrics=(
            *metrics.rouge(stemmer=False),
            metrics.rouge_average(stemmer=False),
            *metrics.rouge(stemmer=True),
            metrics.rouge_average(stemmer=True),
        ),
        extract=lambda text: metrics.first_sentences(text, sentences),
        baselines={f"lede-{sentences}": lede, f"random-{sentences}": at_random},
        options={
            "prompt": "article\\nTL;DR:",
            "max_new_tokens": 100,
            "decoding": f"top-k {top_k}" if top_k else "greedy",
            "scored": f"first {sentences} sentences" if sentences > 1 else "first sentence",
        },
        **more,
    )
