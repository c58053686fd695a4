"""TriviaQA: questions of quiz leagues, answered from memory (Joshi et al. 2017).

https://arxiv.org/abs/1705.03551. Each answer has the aliases that Wikipedia knows it by.
"""

from __future__ import annotations

import string
from collections.abc import Iterator, Sequence
from pathlib import Path

from gpt2eval import Dataset, Hub, Task, data, metrics, recipes

BIBTEX = """
@inproceedings{joshi2017,
  author = {Joshi, Mandar and Choi, Eunsol and Weld, Daniel S. and Zettlemoyer, Luke},
  title = {{TriviaQA}: A Large Scale Distantly Supervised Challenge Dataset for Reading
    Comprehension},
  booktitle = {Proceedings of ACL 2017},
  pages = {1601--1611},
  year = {2017},
  url = {https://arxiv.org/abs/1705.03551},
}
"""


def read(paths: Sequence[Path]) -> Iterator[data.Row]:
    """Rows {"id", "question", "answers"} from lines {"id", "question", "golden_answers": [...]}."""
    for row in data.read_jsonl(paths, "id", "question", lists=["golden_answers"]):
        yield {"id": row["id"], "question": row["question"], "answers": row["golden_answers"]}


def from_hub(row: data.Row) -> data.Row:
    """A row of `mandarjoshi/trivia_qa`."""
    return {
        "id": row["question_id"],
        "question": row["question"],
        "answers": list(row["answer"]["aliases"]),
    }


_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def lm_eval_normalize(text: str) -> str:
    """lm-eval's exact_match here: lower case, punctuation out, articles stay."""
    return text.lower().translate(_NO_PUNCTUATION)


QUESTIONS = Dataset(
    files=(("triviaqa/triviaqa_test_subsample1000.jsonl",),),
    read=read,
    hub=Hub("mandarjoshi/trivia_qa", "rc.nocontext", split="validation", convert=from_hub),
    known={
        "4a46971e676400b102885b4690f26014cbfed71d6d9785f134b22182170e58e3": (
            "1,000 questions of the open-domain test set"
        )
    },
)

TRIVIAQA = Task(
    name="triviaqa",
    version=1,
    summary="quiz questions, answered from memory",
    source="Joshi et al. 2017, https://arxiv.org/abs/1705.03551",
    bibtex=BIBTEX,
    groups=("question_answering",),
    protocols=(
        recipes.closed_book(
            "examples",
            "five example pairs, greedy; exact match and F1 as SQuAD's",
            QUESTIONS,
            "Q: {question}\nA:",
            (metrics.exact_match(), metrics.answer_f1(), metrics.confident_match(0.1)),
            examples=data.bundled_directory() / "triviaqa" / "examples.tsv",
            detail=(
                "Five example questions with answers, written for gpt2eval, then the question; the"
                " line that follows is compared with every alias after SQuAD's normalisation, and"
                " the best counts. The floor is the commonest answer to the other questions with"
                " the same first word."
            ),
        ),
        recipes.closed_book(
            "lm-eval",
            "lm-eval's triviaqa: no examples, an answer ends at a full stop or comma",
            QUESTIONS,
            "Question: {question}?\nAnswer:",
            (metrics.exact_match(normalize=lm_eval_normalize),),
            stop=("\n", ".", ","),
            lm_eval="triviaqa",
            max_new_tokens=256,
            detail=(
                "The question with a second question mark, no examples. What is written before a"
                " new line, full stop or comma is right if it equals any alias without case and"
                " punctuation; `The Beatles` is not `Beatles`, and `St. Paul` can never be right."
            ),
        ),
    ),
)
