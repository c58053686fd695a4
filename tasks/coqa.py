"""CoQA: questions about a passage that follow on each other (Reddy et al. 2019).

https://arxiv.org/abs/1808.07042, data https://stanfordnlp.github.io/coqa/. The development set has
500 passages of five domains and 7,983 questions, with four reference answers each in the official
file and one in reshaped copies of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
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
@article{reddy2019,
  author = {Reddy, Siva and Chen, Danqi and Manning, Christopher D.},
  title = {{CoQA}: A Conversational Question Answering Challenge},
  journal = {Transactions of the Association for Computational Linguistics},
  volume = {7},
  pages = {249--266},
  year = {2019},
  url = {https://arxiv.org/abs/1808.07042},
}
"""

DOMAINS = ("mctest", "gutenberg", "race", "cnn", "wikipedia")

# ---- rows: {"id", "source", "story", "questions": [...], "answers": [[gold, ...], ...]} ----------


def read(paths: Sequence[Path]) -> Iterator[data.Row]:
    """The official file, or the copy that holds a list of {id, source, meta, dialogue}."""
    for path in paths:
        if path.name.startswith("coqa-"):
            stories = data.read_json(path, kind=dict).get("data")
            convert = from_official
        else:
            stories = data.read_json(path, kind=list)
            convert = from_copy
        if not isinstance(stories, list):
            raise DataError(f"{path}: no list under 'data'; expected the official file of CoQA")
        for number, story in enumerate(stories, 1):
            try:
                row = convert(story)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise DataError(
                    f"{path}, story {number}: not in the form of CoQA ({error!r})"
                ) from error
            yield checked(row, f"{path}, story {number}")


def from_copy(story: Any) -> dict[str, Any]:
    """{"meta": passage, "dialogue": [[question, answer], ...]}."""
    turns = [(question, answer) for question, answer in story["dialogue"]]
    return {
        "id": story["id"],
        "source": story["source"],
        "story": story["meta"],
        "questions": [question for question, _ in turns],
        "answers": [[answer] for _, answer in turns],
    }


def from_official(story: Any) -> dict[str, Any]:
    """Questions and answers as lists of objects with `input_text`."""
    others = [story["additional_answers"][key] for key in sorted(story["additional_answers"])]
    every = [[turn["input_text"] for turn in turns] for turns in (story["answers"], *others)]
    return {
        "id": story["id"],
        "source": story["source"],
        "story": story["story"],
        "questions": [turn["input_text"] for turn in story["questions"]],
        "answers": [list(golds) for golds in zip(*every, strict=True)],
    }


def from_hub(row: data.Row) -> data.Row:
    """A row of `EleutherAI/coqa`: objects of lists in the place of lists of objects."""
    others = row["additional_answers"]
    every = [row["answers"], *(others[key] for key in sorted(others))]
    return {
        "id": row["id"],
        "source": row["source"],
        "story": row["story"],
        "questions": list(row["questions"]["input_text"]),
        "answers": [list(golds) for golds in zip(*(e["input_text"] for e in every), strict=True)],
    }


def checked(row: dict[str, Any], place: str) -> dict[str, Any]:
    """The row, if its texts are texts and there is an answer to each question."""
    for column in ("id", "source", "story"):
        if not isinstance(row[column], str):
            raise DataError(f"{place}: {column} is {row[column]!r:.80}; expected a string")
    data.strings(row["questions"], f"{place}: the list of questions")
    if len(row["questions"]) != len(row["answers"]):
        raise DataError(
            f"{place}: {len(row['questions'])} questions, {len(row['answers'])} answers;"
            " expected as many"
        )
    for number, golds in enumerate(row["answers"], 1):
        data.strings(golds, f"{place}: the list of answers to question {number}")
    return row


# ---- samples ------------------------------------------------------------------------------------


def prompt(row: data.Row, turn: int, between: str) -> str:
    """The passage, a blank line, the turns before, the question, and `A:`."""
    history = "".join(
        f"Q: {question}{between}A: {golds[0]}{between}"
        for question, golds in zip(row["questions"][:turn], row["answers"][:turn], strict=True)
    )
    return f"{row['story']}\n\n{history}Q: {row['questions'][turn]}{between}A:"


def every_turn(rows: Iterable[data.Row]) -> Iterator[Sample]:
    """A sample a question, with the reference answers of the turns before it as history."""
    for row in rows:
        for turn, golds in enumerate(row["answers"]):
            yield Sample(
                id=f"{row['id']}/{turn + 1}",
                fields={"prompt": prompt(row, turn, "\n"), "domain": row["source"]},
                references=tuple(golds),
                group=row["id"],
            )


def last_turn(rows: Iterable[data.Row]) -> Iterator[Sample]:
    """A sample a passage: its last question; golds that differ in case alone count once."""
    for row in rows:
        golds: dict[str, str] = {}
        for gold in row["answers"][-1]:
            golds.setdefault(gold.lower(), gold)
        yield Sample(
            id=row["id"],
            fields={
                "prompt": prompt(row, len(row["questions"]) - 1, "\n\n"),
                "domain": row["source"],
            },
            references=tuple(golds.values()),
        )


def ask(max_new_tokens: int, stop: str) -> Callable[[Sample], list[Request]]:
    """Greedy up to `stop`."""
    return lambda sample: [Generate(sample.fields["prompt"], max_new_tokens, stop=(stop,))]


def first_line(text: str) -> str:
    """What is scored of an answer."""
    return text.strip().split("\n")[0]


def of_domain(domain: str) -> Callable[[Sample], bool]:
    """Whether a sample is of this domain."""
    return lambda sample: bool(sample.fields["domain"] == domain)


F1 = metrics.answer_f1(leave_one_out=True)
EXACT = metrics.exact_match(leave_one_out=True)

DEV = Dataset(
    files=(("coqa/coqa-dev-v1.0.json",), ("coqa/dev.json",)),
    read=read,
    hub=Hub("EleutherAI/coqa", split="validation", convert=from_hub),
    known={
        "7a734602b9e32a661cdefa916c32f3c4642cfeb609fb5d26048ce7fffd9046c4": (
            "development set, 7,983 questions, with one reference answer each"
        )
    },
)

COQA = Task(
    name="coqa",
    version=1,
    summary="questions about a passage, in conversations",
    source="Reddy et al. 2019, https://arxiv.org/abs/1808.07042",
    bibtex=BIBTEX,
    groups=("gpt2-paper", "question_answering"),
    protocols=(
        Protocol(
            name="paper",
            summary="GPT-2 paper (compatible): passage, history, `A:`, greedy; F1 over all turns",
            detail=(
                "Every question of every conversation, after the passage and the turns before it"
                " with their reference answers, one a line. The first line of at most 32 tokens is"
                " scored by the arithmetic of the official script: of several gold answers each is"
                " left out once and the best matches are averaged; one gold answer, as in reshaped"
                " copies of the data, makes the numbers lower. `f1_best` takes the best of all"
                " golds instead, which overstates. How the paper laid the prompt out and ended an"
                " answer is not known."
            ),
            dataset=DEV,
            samples=every_turn,
            requests=ask(32, "\n"),
            metrics=(
                F1,
                EXACT,
                metrics.answer_f1("f1_best"),
                *(metrics.part(F1, domain, of_domain(domain)) for domain in DOMAINS),
                *(metrics.part(EXACT, domain, of_domain(domain)) for domain in DOMAINS),
            ),
            extract=first_line,
            options={
                "prompt": "passage\\n\\n, then Q: and A: lines",
                "questions": "all",
                "max_new_tokens": 32,
                "decoding": "greedy",
                "scored": "first line",
            },
        ),
        Protocol(
            name="lm-eval",
            lm_eval="coqa",
            summary="lm-eval's coqa: the last question of each passage only",
            detail=(
                "Only the last turn of a conversation is asked, with blank lines between turns, up"
                " to 256 tokens or a new `Q:`; the first line is scored. Golds that differ in case"
                " alone are merged before each is left out once, which the official script does"
                " not do. 500 questions and not 7,983, so it is not the benchmark's number."
            ),
            dataset=DEV,
            samples=last_turn,
            requests=ask(256, "\nQ:"),
            metrics=(F1, EXACT),
            extract=first_line,
            options={
                "prompt": "passage\\n\\n, then Q: and A: with blank lines between",
                "questions": "last",
                "max_new_tokens": 256,
                "decoding": "greedy",
                "scored": "first line",
            },
        ),
    ),
)
