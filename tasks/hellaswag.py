"""HellaSwag: which of four sentences goes on with a scene or an instruction.

Zellers et al. 2019, https://arxiv.org/abs/1905.07830; validation set, 10,042 items, since the gold
of the test set is not public.

GPT-2 small gets 28.9 or 31.1 % from lm-evaluation-harness, 28.6 or 29.6 % from llm.c: the first of
each by the summed log-probability of an ending, the second by its mean, over characters there and
over tokens here. The texts differ too: lm-eval puts the activity before the context and cleans it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from gpt2eval import DataError, Dataset, Hub, Task, data, metrics, recipes

BIBTEX = """
@inproceedings{zellers2019,
  author = {Zellers, Rowan and Holtzman, Ari and Bisk, Yonatan and Farhadi, Ali and Choi,
    Yejin},
  title = {{HellaSwag}: Can a Machine Really Finish Your Sentence?},
  booktitle = {Proceedings of ACL 2019},
  pages = {4791--4800},
  year = {2019},
  url = {https://arxiv.org/abs/1905.07830},
}
"""

LINES = 6  # of an item in the text file: context, gold, four endings


def clean(text: str) -> str:
    """lm-evaluation-harness's `preprocess`: the markup of WikiHow titles and links goes."""
    text = text.strip().replace(" [title]", ". ")
    return re.sub(r"\[.*?\]", "", text).replace("  ", " ")


def convert(row: data.Row) -> data.Row:
    """A row of the hub or of hellaswag_*.jsonl -> both texts that protocols score."""
    endings = [str(ending) for ending in row["endings"]]
    return {
        "gold": data.gold(row["label"], len(endings)),
        "query": clean(f"{row['activity_label']}: {row['ctx_a']} {row['ctx_b'].capitalize()}"),
        "cleaned": [clean(ending) for ending in endings],
        "ctx": row["ctx"],
        "endings": endings,
    }


def read(paths: Sequence[Path]) -> Iterator[data.Row]:
    """The official JSONL, or klosax's text, whose contexts have the activity label in them."""
    (path,) = paths
    if path.suffix == ".jsonl":
        columns = ("activity_label", "ctx_a", "ctx_b", "ctx")
        yield from data.convert_rows(data.read_jsonl(paths, *columns), convert, path)
        return
    lines = [row["text"] for row in data.read_lines(paths)]
    if len(lines) % LINES:
        raise DataError(
            f"{path} has {len(lines)} lines; expected {LINES} an item: context, gold, four endings"
        )
    items = ({"lines": lines[start : start + LINES]} for start in range(0, len(lines), LINES))
    yield from data.convert_rows(items, item, path)


def item(row: data.Row) -> data.Row:
    """An item of the text file: there is one text, and every protocol scores it as it stands."""
    context, right, *endings = row["lines"]
    return {
        "gold": data.gold(right, len(endings)),
        "query": context,
        "cleaned": endings,
        "ctx": context,
        "endings": endings,
    }


VALIDATION = Dataset(
    files=(("hellaswag/hellaswag_val.jsonl",), ("hellaswag/hellaswag_val_full.txt.bz2",)),
    read=read,
    hub=Hub("Rowan/hellaswag", split="validation", convert=convert),
    known={
        "50b637899e4263c2bc456c2dc726c95d2c8cd8e2a552ea5bd7719ce3cb03fe5b": (
            "validation set, 10,042 items, as klosax's text: activity label and context joined"
        )
    },
)
TRAINING = Dataset(
    files=(("hellaswag/hellaswag_train.jsonl",),),
    read=read,
    hub=Hub("Rowan/hellaswag", split="train", convert=convert),
)


def ask(row: data.Row, context: str, endings: str) -> tuple[str, Sequence[str], int]:
    """Context, endings and gold, from the columns that hold the protocol's text."""
    return row[context], row[endings], row["gold"]


HELLASWAG = Task(
    name="hellaswag",
    version=1,
    summary="which of four endings goes on with a scene",
    source="Zellers et al. 2019, https://arxiv.org/abs/1905.07830",
    bibtex=BIBTEX,
    groups=("understanding",),
    protocols=(
        recipes.multiple_choice(
            "lm-eval",
            "as lm-eval's hellaswag: activity and context, cleaned; acc and acc_norm",
            VALIDATION,
            partial(ask, context="query", endings="cleaned"),
            (
                metrics.choice_accuracy("characters"),
                metrics.choice_accuracy(),
                metrics.choice_accuracy("bytes"),
            ),
            examples=TRAINING,
            lm_eval="hellaswag",
            detail=(
                "`Activity: context` and a space before each ending; the ending with the highest"
                " log-probability wins (accuracy, lm-eval's acc), or the highest log-probability"
                " by character (accuracy_norm, its acc_norm) or by byte. The text file that"
                " llama.cpp users have (hellaswag_val_full.txt) comes with activity and context"
                " joined and is scored as it stands; it lacks the capital that lm-eval gives the"
                " second half of the context, so numbers can differ a little from the hub's text."
            ),
            options={"text": "lm-eval", "context": "activity and context"},
        ),
        recipes.multiple_choice(
            "llm.c",
            "as llm.c's hellaswag.py: context without activity; mean token loss of the ending",
            VALIDATION,
            partial(ask, context="ctx", endings="endings"),
            (metrics.choice_accuracy("tokens"), metrics.choice_accuracy()),
            examples=TRAINING,
            detail=(
                "The context as it is in the data set, without the activity, and a space before"
                " each ending; the ending with the highest mean log-probability a token wins"
                " (accuracy_tokens, which llm.c prints as acc_norm), or the highest sum (accuracy,"
                " its acc). llm.c tokenises context and ending apart, which is the same unless a"
                " context ends in white space. hellaswag_val_full.txt has no context without the"
                " activity, so there this differs from @lm-eval in the arithmetic alone, and from"
                " llm.c in the text: put hellaswag_val.jsonl beside it, or use the hub."
            ),
            options={"text": "as distributed", "context": "context"},
        ),
    ),
)
