"""Translation after example pairs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gpt2eval import metrics
from gpt2eval.data import Dataset, Row
from gpt2eval.recipes.rows import read_pairs, row_id
from gpt2eval.task import Protocol
from gpt2eval.types import Generate, Request, Sample


def translation(
    name: str,
    summary: str,
    dataset: Dataset,
    direction: tuple[str, str],
    examples: Path,
    *,
    pairs: int = 5,
    **more: Any,
) -> Protocol:
    """Example pairs `source = target`, a line each, then `source =`; greedy; the first sentence.

    direction  columns of the source and of the target language in the rows
    examples   file of English<TAB>French pairs that are in no test set
    """
    source, target = direction
    shots = _examples(examples, direction, pairs)
    beginning = "".join(f"{one} = {other}\n" for one, other in shots)

    def samples(rows: Iterable[Row]) -> Iterable[Sample]:
        for number, row in enumerate(rows, 1):
            yield Sample(
                id=row_id(row, number),
                fields={"source": row[source]},
                references=(row[target],),
                group=row.get("document", ""),
            )

    def requests(sample: Sample) -> list[Request]:
        return [Generate(f"{beginning}{sample.fields['source']} =", 128, stop=("\n",))]

    return Protocol(
        name=name,
        summary=summary,
        dataset=dataset,
        samples=samples,
        requests=requests,
        metrics=(metrics.bleu(), metrics.chrf()),
        extract=metrics.first_sentence,
        options={
            "prompt": f"{pairs} pairs `{source} sentence = {target} sentence`",
            "examples_sha256": hashlib.sha256(beginning.encode()).hexdigest(),
            "max_new_tokens": 128,
            "decoding": "greedy",
            "scored": "first sentence, up to the first new line",
        },
        **more,
    )


def _examples(path: Path, direction: tuple[str, str], pairs: int) -> list[tuple[str, str]]:
    """The first pairs of an English<TAB>French file, in the direction asked for."""
    found = read_pairs(path, pairs, "English<TAB>French")
    if direction == ("en", "fr"):
        return found
    return [(french, english) for english, french in found]
