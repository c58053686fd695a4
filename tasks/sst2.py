"""SST-2: whether a sentence of a film review is positive or negative.

Socher et al. 2013, https://aclanthology.org/D13-1170, in GLUE's binary form; validation set, 872
sentences, since the gold of GLUE's test set is not public.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from gpt2eval import DataError, Dataset, Hub, Task, data, metrics, recipes

BIBTEX = """
@inproceedings{socher2013,
  author = {Socher, Richard and Perelygin, Alex and Wu, Jean and Chuang, Jason and Manning,
    Christopher D. and Ng, Andrew and Potts, Christopher},
  title = {Recursive Deep Models for Semantic Compositionality Over a Sentiment Treebank},
  booktitle = {Proceedings of EMNLP 2013},
  pages = {1631--1642},
  year = {2013},
  url = {https://aclanthology.org/D13-1170},
}
"""

LABELS = ("negative", "positive")
GLUE_HEADER = "sentence\tlabel"


def convert(row: data.Row) -> data.Row:
    """A row of the hub, its label checked."""
    return {"sentence": row["sentence"], "gold": data.gold(row["label"], len(LABELS))}


def read(paths: Sequence[Path]) -> Iterator[data.Row]:
    """`label<TAB>sentence` a line, or GLUE's `sentence<TAB>label` under a header that says so."""
    (path,) = paths
    lines = [row["text"] for row in data.read_lines(paths)]
    glue = lines[:1] == [GLUE_HEADER]
    rows = ({"line": line, "glue": glue} for line in lines[1 if glue else 0 :])
    yield from data.convert_rows(rows, from_line, path)


def from_line(row: data.Row) -> data.Row:
    """A line of either layout."""
    parts = row["line"].split("\t")
    if len(parts) != 2:
        raise DataError(f"{len(parts)} columns in {row['line'][:60]!r}; expected label, tab, text")
    sentence, label = parts if row["glue"] else reversed(parts)
    return convert({"sentence": sentence, "label": label})


def ask(row: data.Row) -> tuple[str, Sequence[str], int]:
    """lm-eval's prompt."""
    question = "Question: Is this sentence positive or negative?"
    return f"{row['sentence']}\n{question}\nAnswer:", LABELS, row["gold"]


VALIDATION = Dataset(
    files=(("sst2/dev.tsv",), ("SST-2/dev.tsv",)),
    read=read,
    hub=Hub("nyu-mll/glue", "sst2", "validation", convert),
    known={
        "c9ddb67ce3068540c5bb6562e1f34788302dd06d570e6ca0d5e61f7d5ef2bfad": (
            "validation set, 872 sentences"
        )
    },
)
TRAINING = Dataset(
    files=(("sst2/train.tsv",), ("SST-2/train.tsv",)),
    read=read,
    hub=Hub("nyu-mll/glue", "sst2", "train", convert),
)

SST2 = Task(
    name="sst2",
    version=1,
    summary="sentiment of sentences from film reviews",
    source="Socher et al. 2013, https://aclanthology.org/D13-1170",
    bibtex=BIBTEX,
    groups=("classification",),
    protocols=(
        recipes.multiple_choice(
            "lm-eval",
            "as lm-eval's sst2: the sentence, a question, ` positive` or ` negative`",
            VALIDATION,
            ask,
            (
                metrics.choice_accuracy(per="sentences"),
                metrics.f1_macro(len(LABELS), per="sentences"),
                metrics.calibration_error(per="sentences"),
                metrics.choice_accuracy("pmi", per="sentences"),
            ),
            examples=TRAINING,
            unconditional=True,
            classes=True,
            lm_eval="sst2",
            detail=(
                "The sentence, `Question: Is this sentence positive or negative?`, `Answer:`, each"
                " on its line; the label whose word has the higher log-probability. ece compares"
                " the softmax over the two with how often it is right. accuracy_pmi takes from"
                " each word's log-probability the one that it has after `<|endoftext|>`, which"
                " undoes some of a model's preference for one of the words. A model that says the"
                " same of every sentence gets the accuracy of the majority class."
            ),
            options={"prompt": "lm-eval", "labels": "negative/positive"},
        ),
    ),
)
