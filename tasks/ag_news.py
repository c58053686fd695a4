"""AG News: whether an article is about the world, sports, business or technology.

Zhang et al. 2015, https://arxiv.org/abs/1509.01626; test set, 7,600 articles, balanced.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from gpt2eval import Dataset, Hub, Task, data, metrics, recipes

BIBTEX = """
@inproceedings{zhang2015,
  author = {Zhang, Xiang and Zhao, Junbo and LeCun, Yann},
  title = {Character-level Convolutional Networks for Text Classification},
  booktitle = {Advances in Neural Information Processing Systems 28},
  year = {2015},
  url = {https://arxiv.org/abs/1509.01626},
}
"""

LABELS = ("World", "Sports", "Business", "Technology")


def convert(row: data.Row) -> data.Row:
    """A row of the hub, its label checked."""
    return {"text": row["text"], "gold": data.gold(row["label"], len(LABELS))}


def read(paths: Sequence[Path]) -> Iterator[data.Row]:
    """CSV without header: label from 1, title, description; joined by a space as on the hub."""
    (path,) = paths
    rows = data.read_csv(paths, "label", "title", "description", header=False)
    yield from data.convert_rows(rows, from_csv, path)


def from_csv(row: data.Row) -> data.Row:
    """A row of the CSV in the form of the hub's."""
    label = data.gold(row["label"], len(LABELS), first=1)
    return convert({"text": f"{row['title']} {row['description']}", "label": label})


def ask(row: data.Row) -> tuple[str, Sequence[str], int]:
    """The article, and `Topic:` on a line of its own."""
    return f"{row['text']}\nTopic:", LABELS, row["gold"]


TEST = Dataset(
    files=(("agnews/test.csv",), ("ag_news_csv/test.csv",)),
    read=read,
    hub=Hub("fancyzhx/ag_news", convert=convert),
    known={
        "521465c2428ed7f02f8d6db6ffdd4b5447c1c701962353eb2c40d548c3c85699": (
            "official test set, 7,600 articles"
        )
    },
)
TRAINING = Dataset(
    files=(("agnews/train.csv",), ("ag_news_csv/train.csv",)),
    read=read,
    hub=Hub("fancyzhx/ag_news", split="train", convert=convert),
)

AG_NEWS = Task(
    name="ag_news",
    version=1,
    summary="topic of news articles",
    source="Zhang et al. 2015, https://arxiv.org/abs/1509.01626",
    bibtex=BIBTEX,
    groups=("classification",),
    protocols=(
        recipes.multiple_choice(
            "topic",
            "title and description, then `Topic:` and one of four words",
            TEST,
            ask,
            (
                metrics.choice_accuracy(per="articles"),
                metrics.f1_macro(len(LABELS), per="articles"),
                metrics.calibration_error(per="articles"),
                metrics.choice_accuracy("pmi", per="articles"),
            ),
            examples=TRAINING,
            unconditional=True,
            classes=True,
            detail=(
                "Title and description with a space between, as the hub joins them, `Topic:` on a"
                " new line, and the word with the highest log-probability of World, Sports,"
                " Business and Technology (the data set calls the last Sci/Tech). ece compares the"
                " softmax over the four with how often it is right; accuracy_pmi takes from each"
                " word's log-probability the one that it has after `<|endoftext|>`. No prompt is"
                " customary for this set, so compare only numbers of this one."
            ),
            options={"prompt": "title description\\nTopic:", "labels": "/".join(LABELS)},
        ),
    ),
)
