"""PIQA: which of two ways to reach an everyday goal works.

Bisk et al. 2020, https://arxiv.org/abs/1911.11641; validation set, 1,838 questions, since the gold
of the test set is not public.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from gpt2eval import DataError, Dataset, Hub, Task, data, metrics, recipes

BIBTEX = """
@inproceedings{bisk2020,
  author = {Bisk, Yonatan and Zellers, Rowan and Le Bras, Ronan and Gao, Jianfeng and Choi,
    Yejin},
  title = {{PIQA}: Reasoning about Physical Commonsense in Natural Language},
  booktitle = {Proceedings of AAAI 2020},
  pages = {7432--7439},
  year = {2020},
  url = {https://arxiv.org/abs/1911.11641},
}
"""


def convert(row: data.Row) -> data.Row:
    """A row of the hub, its label checked."""
    solutions = (row["sol1"], row["sol2"])
    return {"goal": row["goal"], "choices": solutions, "gold": data.gold(row["label"], 2)}


def read(paths: Sequence[Path]) -> Iterator[data.Row]:
    """Questions and labels lie in two files, line by line."""
    questions, labels = paths
    rows = list(data.read_jsonl([questions], "goal", "sol1", "sol2"))
    gold = [row["text"] for row in data.read_lines([labels])]
    if len(rows) != len(gold):
        raise DataError(
            f"{questions} has {len(rows)} questions, {labels} has {len(gold)} labels; expected as"
            " many"
        )
    labelled = ({**row, "label": label} for row, label in zip(rows, gold, strict=True))
    yield from data.convert_rows(labelled, convert, labels)


def ask(row: data.Row) -> tuple[str, Sequence[str], int]:
    """lm-eval's prompt."""
    return f"Question: {row['goal']}\nAnswer:", row["choices"], row["gold"]


VALIDATION = Dataset(
    files=(("piqa/valid.jsonl", "piqa/valid-labels.lst"),),
    read=read,
    hub=Hub("baber/piqa", split="validation", convert=convert),
    known={
        "93503cc97c679e459b065c3d13e848282e44b2a25213985bed3e5d458abef72d": (
            "official validation set, 1,838 questions"
        ),
        "b4192dc3a2a0363d9d60ccf79800cbbe2f32ebb17726efdde6970e0b8131bceb": (
            "official labels of the validation set"
        ),
    },
)
TRAINING = Dataset(
    files=(("piqa/train.jsonl", "piqa/train-labels.lst"),),
    read=read,
    hub=Hub("baber/piqa", split="train", convert=convert),
)

PIQA = Task(
    name="piqa",
    version=1,
    summary="which of two ways to do an everyday thing works",
    source="Bisk et al. 2020, https://arxiv.org/abs/1911.11641",
    bibtex=BIBTEX,
    groups=("understanding",),
    protocols=(
        recipes.multiple_choice(
            "lm-eval",
            "as lm-eval's piqa: `Question: goal`, `Answer:`; acc and acc_norm",
            VALIDATION,
            ask,
            (
                metrics.choice_accuracy(),
                metrics.choice_accuracy("characters"),
                metrics.choice_accuracy("bytes"),
            ),
            examples=TRAINING,
            lm_eval="piqa",
            detail=(
                "`Question: goal`, a new line, `Answer:`, and a space before each solution. The"
                " solution with the highest log-probability wins (accuracy), or with the highest"
                " by character (accuracy_norm) or by byte."
            ),
            options={"prompt": "Question: goal\\nAnswer:"},
        ),
    ),
)
