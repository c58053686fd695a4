"""SQuAD: the answer is a stretch of the passage (Rajpurkar et al. 2016).

https://arxiv.org/abs/1606.05250; XQuAD's English part, https://arxiv.org/abs/1910.11856, is 1,190
questions of the development set of SQuAD 1.1. A language model does not point into the passage; it
writes, and is scored by what it wrote.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gpt2eval import (
    DataError,
    Dataset,
    Generate,
    Hub,
    Protocol,
    Request,
    Sample,
    Task,
    data,
    metrics,
)

BIBTEX = """
@inproceedings{rajpurkar2016,
  author = {Rajpurkar, Pranav and Zhang, Jian and Lopyrev, Konstantin and Liang, Percy},
  title = {{SQuAD}: 100,000+ Questions for Machine Comprehension of Text},
  booktitle = {Proceedings of EMNLP 2016},
  pages = {2383--2392},
  year = {2016},
  url = {https://arxiv.org/abs/1606.05250},
}
"""
XQUAD_BIBTEX = """
@inproceedings{artetxe2020,
  author = {Artetxe, Mikel and Ruder, Sebastian and Yogatama, Dani},
  title = {On the Cross-lingual Transferability of Monolingual Representations},
  booktitle = {Proceedings of ACL 2020},
  pages = {4623--4637},
  year = {2020},
  url = {https://arxiv.org/abs/1910.11856},
}
"""


def read(paths: Sequence[Path]) -> Iterator[data.Row]:
    """Rows {"id", "context", "question", "answers"} from a file in the format of SQuAD 1.1."""
    for path in paths:
        articles = data.read_json(path, kind=dict).get("data")
        try:
            for article in articles:
                for paragraph in article["paragraphs"]:
                    for question in paragraph["qas"]:
                        texts = [answer["text"] for answer in question["answers"]]
                        asked = [paragraph["context"], question["question"]]
                        place = f"{path}, question {question['id']}"
                        data.filled(asked, f"{place}: [context, question]")
                        yield {
                            "id": str(question["id"]),
                            "context": asked[0],
                            "question": asked[1],
                            "answers": data.filled(texts, f"{place}: the list of answers"),
                        }
        except (KeyError, TypeError) as error:
            raise DataError(
                f"{path}: not in the format of SQuAD 1.1 ({error!r}); expected data, paragraphs,"
                " qas, answers"
            ) from error


def from_hub(row: data.Row) -> data.Row:
    """A row of `rajpurkar/squad` or `google/xquad`."""
    return {**row, "answers": list(row["answers"]["text"])}


def samples(rows: Iterable[data.Row]) -> Iterator[Sample]:
    """A sample a question; questions on one paragraph belong together."""
    paragraphs: dict[str, str] = {}
    for row in rows:
        yield Sample(
            id=row["id"],
            fields={"context": row["context"], "question": row["question"]},
            references=tuple(dict.fromkeys(row["answers"])),
            group=paragraphs.setdefault(row["context"], f"paragraph {len(paragraphs) + 1}"),
        )


def requests(sample: Sample) -> list[Request]:
    """The paragraph, a blank line, the question, `A:`."""
    context, question = sample.fields["context"], sample.fields["question"]
    return [Generate(f"{context}\n\nQ: {question}\nA:", 32, stop=("\n",))]


def task(
    name: str,
    summary: str,
    file: str,
    hub: Hub,
    known: Mapping[str, str] = {},
    bibtex: str = BIBTEX,
) -> Task:
    """A data set in SQuAD's format."""
    options: dict[str, Any] = {
        "prompt": "passage\\n\\nQ: question\\nA:",
        "examples": 0,
        "max_new_tokens": 32,
        "decoding": "greedy",
        "scored": "first line",
    }
    return Task(
        name=name,
        version=1,
        summary=summary,
        source="Rajpurkar et al. 2016, https://arxiv.org/abs/1606.05250",
        bibtex=bibtex,
        groups=("question_answering",),
        protocols=(
            Protocol(
                name="zero-shot",
                summary="passage, `Q:`, `A:`, greedy; exact match and F1",
                detail=(
                    "The prompt is that of coqa@paper, without a history and without examples. The"
                    " line that follows is normalised as by the official script (lower case, no"
                    " punctuation, no articles) and compared with every gold; the best counts."
                    " Exact match asks for the very stretch, so a model that answers in sentences"
                    " has an F1 far above it."
                ),
                dataset=Dataset(files=((file,),), read=read, hub=hub, known=known),
                samples=samples,
                requests=requests,
                metrics=(metrics.exact_match(), metrics.answer_f1()),
                options=options,
            ),
        ),
    )


XQUAD_EN = task(
    "xquad_en",
    "questions on paragraphs of Wikipedia: 1,190 of SQuAD's",
    "xquad/xquad.en.json",
    Hub("google/xquad", "xquad.en", split="validation", convert=from_hub),
    {
        "e4c57d1c9143aaa1c5d265ba5987a65f4e69528d2a98f29d6e75019b10344f29": (
            "official xquad.en.json, 1,190 questions"
        )
    },
    bibtex=BIBTEX + XQUAD_BIBTEX,
)
SQUAD = task(
    "squad",
    "questions on paragraphs of Wikipedia, SQuAD 1.1",
    "squad/dev-v1.1.json",
    Hub("rajpurkar/squad", split="validation", convert=from_hub),
)
