"""COPA: which of two sentences is the likelier cause, or effect, of a third.

Roemmele et al. 2011, https://people.ict.usc.edu/~gordon/copa.html: 500 questions for development,
500 for testing. SuperGLUE's validation set is 100 of those for development.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from gpt2eval import Dataset, Hub, Task, data, metrics, recipes

BIBTEX = """
@inproceedings{roemmele2011,
  author = {Roemmele, Melissa and Bejan, Cosmin Adrian and Gordon, Andrew S.},
  title = {Choice of Plausible Alternatives: An Evaluation of Commonsense Causal Reasoning},
  booktitle = {AAAI Spring Symposium on Logical Formalizations of Commonsense Reasoning},
  year = {2011},
  url = {https://people.ict.usc.edu/~gordon/copa.html},
}
"""

CONNECTORS = {"cause": "because", "effect": "therefore"}


def convert(row: data.Row) -> data.Row:
    """A row of SuperGLUE -> premise without its full stop and connector, lower-cased choices."""
    choices = [row["choice1"], row["choice2"]]
    data.filled([row["premise"], *choices], "[premise, choice 1, choice 2]")
    if choices[0] == choices[1]:
        raise ValueError(f"both choices are {choices[0]!r:.80}; expected two that differ")
    return {
        "context": f"{row['premise'].strip()[:-1]} {CONNECTORS[row['question']]}",
        "choices": [choice[0].lower() + choice[1:] for choice in choices],
        "gold": data.gold(row["label"], 2),
    }


def read(paths: Sequence[Path]) -> Iterator[data.Row]:
    """The official XML, or SuperGLUE's JSONL."""
    (path,) = paths
    if path.suffix == ".jsonl":
        rows = data.read_jsonl(paths, "premise", "choice1", "choice2", "question")
        yield from data.convert_rows(rows, convert, path)
        return
    items = ({"item": item} for item in data.read_xml(path).iter("item"))
    yield from data.convert_rows(items, lambda row: convert(from_xml(row)), path)


def from_xml(row: data.Row) -> data.Row:
    """An item of the XML in the columns of SuperGLUE; its labels count from 1."""
    item = row["item"]
    return {
        "premise": item.find("p").text,
        "choice1": item.find("a1").text,
        "choice2": item.find("a2").text,
        "question": item.attrib["asks-for"],
        "label": data.gold(item.attrib["most-plausible-alternative"], 2, first=1),
    }


def ask(row: data.Row) -> tuple[str, Sequence[str], int]:
    """The premise with its connector, and the alternatives."""
    return row["context"], row["choices"], row["gold"]


def ask_lm_eval(row: data.Row) -> tuple[str, Sequence[str], int]:
    """The alternatives with the space that lm-eval's task has besides the one of its engine."""
    return row["context"], [f" {choice}" for choice in row["choices"]], row["gold"]


TEST = Dataset(
    files=(("copa/copa-test.xml",), ("copa/val.jsonl",)),
    read=read,
    hub=Hub("aps/super_glue", "copa", "validation", convert),
    known={
        "640824681bde78a7592726504d7d9bab294e5de26072d973307fa80d34919d92": (
            "official test set, 500 questions"
        )
    },
)
DEVELOPMENT = Dataset(
    files=(("copa/copa-dev.xml",), ("copa/train.jsonl",)),
    read=read,
    hub=Hub("aps/super_glue", "copa", "train", convert),
)

COPA = Task(
    name="copa",
    version=1,
    summary="which of two sentences is the cause or the effect of a third",
    source="Roemmele et al. 2011, https://people.ict.usc.edu/~gordon/copa.html",
    bibtex=BIBTEX,
    groups=("understanding",),
    protocols=(
        recipes.multiple_choice(
            "lm-eval",
            "as lm-eval's copa: premise, because or therefore, and two spaces",
            TEST,
            ask_lm_eval,
            (metrics.choice_accuracy(),),
            examples=DEVELOPMENT,
            lm_eval="copa",
            detail=(
                "The premise without its full stop, `because` or `therefore`, and the alternative"
                " with a small letter; the one with the highest log-probability wins. lm-eval's"
                " task and its engine each put a space before the alternative, so there are two,"
                " and so there are here; @pmi has one. Files: the official test set of 500"
                " questions; from the hub, and in lm-eval, SuperGLUE's validation set of 100."
            ),
            options={"prompt": "premise because/therefore", "spaces": 2},
        ),
        recipes.multiple_choice(
            "pmi",
            "one space; also less the alternative's own log-probability",
            TEST,
            ask,
            (metrics.choice_accuracy("pmi"), metrics.choice_accuracy()),
            examples=DEVELOPMENT,
            unconditional=True,
            detail=(
                "As @lm-eval with one space before the alternative. accuracy_pmi takes from its"
                " log-probability the one that it has after `<|endoftext|>`, so that a sentence"
                " which is likely anywhere does not win for that (lm-eval's acc_mutual_info)."
            ),
            options={"prompt": "premise because/therefore", "spaces": 1},
        ),
    ),
)
