"""Natural Questions, open: what people asked a search engine, answered from memory.

Kwiatkowski et al. 2019, https://aclanthology.org/Q19-1026; the open form with short answers is
that of Lee et al. 2019, https://arxiv.org/abs/1906.00300. 3,610 questions of the development set.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Sequence
from pathlib import Path

from gpt2eval import Dataset, Hub, Task, data, metrics, recipes

BIBTEX = """
@article{kwiatkowski2019,
  author = {Kwiatkowski, Tom and Palomaki, Jennimaria and Redfield, Olivia and Collins, Michael
    and Parikh, Ankur and others},
  title = {Natural Questions: A Benchmark for Question Answering Research},
  journal = {Transactions of the Association for Computational Linguistics},
  volume = {7},
  pages = {453--466},
  year = {2019},
  url = {https://aclanthology.org/Q19-1026},
}
@inproceedings{lee2019,
  author = {Lee, Kenton and Chang, Ming-Wei and Toutanova, Kristina},
  title = {Latent Retrieval for Weakly Supervised Open Domain Question Answering},
  booktitle = {Proceedings of ACL 2019},
  pages = {6086--6096},
  year = {2019},
  url = {https://aclanthology.org/P19-1612},
}
"""


def read(paths: Sequence[Path]) -> Iterator[data.Row]:
    """Rows {"question", "answers"} from lines {"question", "answer": [...]}."""
    return map(from_hub, data.read_jsonl(paths, "question", lists=["answer"]))


def from_hub(row: data.Row) -> data.Row:
    """A row of `google-research-datasets/nq_open`."""
    return {"question": row["question"], "answers": list(row["answer"])}


_LM_EVAL_ARTICLES = re.compile(r"\b(?:The |the |An |A |a |an )")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def lm_eval_normalize(text: str) -> str:
    """lm-eval's exact_match: articles before a word out, lower case, punctuation out."""
    return _LM_EVAL_ARTICLES.sub("", text).lower().translate(_NO_PUNCTUATION)


NQ_OPEN = Dataset(
    files=(("nq_open/NQ-open.dev.jsonl",),),
    read=read,
    hub=Hub("google-research-datasets/nq_open", split="validation", convert=from_hub),
    known={
        "f15567f38099f3615f5b8a685c0aef449c11ad90d3da3735e8d1b98115b40616": (
            "official NQ-open.dev.jsonl, 3,610 questions"
        )
    },
)

NATURAL_QUESTIONS = Task(
    name="natural_questions",
    version=1,
    summary="questions to a search engine, answered from memory",
    source="Kwiatkowski et al. 2019, https://aclanthology.org/Q19-1026",
    bibtex=BIBTEX,
    groups=("gpt2-paper", "question_answering"),
    protocols=(
        recipes.closed_book(
            "paper",
            "GPT-2 paper (compatible): example pairs, greedy, exact match as SQuAD's",
            NQ_OPEN,
            "Q: {question}?\nA:",
            (
                metrics.exact_match(),
                metrics.answer_f1(),
                metrics.confident_match(0.01),
                metrics.confident_match(0.1),
            ),
            examples=data.bundled_directory() / "nq_open" / "examples.tsv",
            detail=(
                "Five example questions with answers, written for gpt2eval, then the question; the"
                " line that follows is right if it equals any of the golds after SQuAD's"
                " normalisation. `exact_match_top1` is the exact match of the 1 % of answers that"
                " the model gave the highest probability, end of line included. The paper gives"
                " neither its examples nor their number. The floor is the commonest answer to"
                " the other questions with the same first word, as the paper's baseline by type of"
                " question, counted on the questions that are scored."
            ),
        ),
        recipes.closed_book(
            "lm-eval",
            "lm-eval's nq_open: no examples, an answer ends at a full stop or comma",
            NQ_OPEN,
            "Q: {question}?\nA:",
            (metrics.exact_match(normalize=lm_eval_normalize),),
            beginning="Answer these questions:\n\n",
            stop=("\n", ".", ","),
            lm_eval="nq_open",
            max_new_tokens=256,
            detail=(
                "`Answer these questions:` and the question, no examples. What is written before a"
                " new line, full stop or comma is right if it equals any gold without case,"
                " punctuation and an article before a word; white space inside is not folded."
            ),
        ),
    ),
)
