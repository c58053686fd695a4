"""Questions: readers of the public forms, prompts, floors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gpt2eval_tasks import coqa, natural_questions, squad, triviaqa

from gpt2eval.data import bundled_directory, load
from gpt2eval.errors import DataError
from gpt2eval.metrics import normalize_answer
from gpt2eval.recipes import closed_book, common_answers
from gpt2eval.task import Protocol, Task
from gpt2eval.types import Generate, Sample

STORY = {
    "id": "s1",
    "source": "cnn",
    "story": "Ann met Bob.",
    "questions": ["Who met Bob?", "Whom did she meet?"],
    "answers": [["Ann", "ann"], ["Bob", "a man"]],
}


def write(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return path


def asked(protocol: Protocol, sample: Sample) -> Generate:
    (request,) = protocol.requests(sample)
    assert isinstance(request, Generate)
    assert request.temperature == 0
    return request


# ---- CoQA ---------------------------------------------------------------------------------------

OFFICIAL = {
    "version": "1.0",
    "data": [
        {
            "id": "s1",
            "source": "cnn",
            "story": "Ann met Bob.",
            "questions": [
                {"input_text": "Who met Bob?", "turn_id": 1},
                {"input_text": "Whom did she meet?", "turn_id": 2},
            ],
            "answers": [{"input_text": "Ann"}, {"input_text": "Bob"}],
            "additional_answers": {"0": [{"input_text": "ann"}, {"input_text": "a man"}]},
        }
    ],
}
COPY = [
    {
        "id": "s1",
        "source": "cnn",
        "meta": "Ann met Bob.",
        "dialogue": [["Who met Bob?", "Ann"], ["Whom did she meet?", "Bob"]],
    }
]


def test_coqa_forms(tmp_path: Path) -> None:
    (official,) = coqa.read([write(tmp_path / "coqa-dev-v1.0.json", OFFICIAL)])
    (copy,) = coqa.read([write(tmp_path / "dev.json", COPY)])
    assert official == STORY
    assert copy == {**STORY, "answers": [["Ann"], ["Bob"]]}


def test_coqa_prompts() -> None:
    paper, lm_eval = coqa.COQA.protocols
    first, second = paper.samples([STORY])
    assert asked(paper, first).prompt == "Ann met Bob.\n\nQ: Who met Bob?\nA:"
    assert asked(paper, second).prompt == (
        "Ann met Bob.\n\nQ: Who met Bob?\nA: Ann\nQ: Whom did she meet?\nA:"
    )
    assert [first.references, second.references] == [("Ann", "ann"), ("Bob", "a man")]
    assert first.group == second.group == "s1"
    (last,) = lm_eval.samples([STORY])
    assert asked(lm_eval, last).prompt == (
        "Ann met Bob.\n\nQ: Who met Bob?\n\nA: Ann\n\nQ: Whom did she meet?\n\nA:"
    )
    (merged,) = lm_eval.samples([{**STORY, "answers": [["Ann"], ["Bob", "BOB", "a man"]]}])
    assert merged.references == ("Bob", "a man")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "not valid JSON"),
        ({}, "holds a JSON dict; expected a list"),
        ([{"id": "s"}], "story 1: not in the form of CoQA"),
        ([{**COPY[0], "dialogue": [["Who?"]]}], "story 1: not in the form of CoQA"),
        ([{**COPY[0], "meta": None}], "story 1: story is None; expected a string"),
        ([{**COPY[0], "dialogue": []}], r"list of questions is \[\]"),
        ([{**COPY[0], "dialogue": [["Who?", None]]}], "answers to question 1"),
    ],
)
def test_coqa_errors(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        list(coqa.read([write(tmp_path / "dev.json", content)]))


def test_coqa_official_without_data(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no list under 'data'"):
        list(coqa.read([write(tmp_path / "coqa-dev-v1.0.json", {"version": "1.0"})]))


def test_domains_of_bundled_passages() -> None:
    rows = load(coqa.DEV, "bundled").rows
    assert {row["source"] for row in rows} == set(coqa.DOMAINS)


# ---- questions from memory ----------------------------------------------------------------------


def test_closed_book_prompts() -> None:
    paper, lm_eval = natural_questions.NATURAL_QUESTIONS.protocols
    row = {"question": "who was it", "answers": ["Ann", "Bob"]}
    (sample,) = lm_eval.samples([row])
    assert asked(lm_eval, sample).prompt == "Answer these questions:\n\nQ: who was it?\nA:"
    assert asked(lm_eval, sample).stop == ("\n", ".", ",")
    assert sample.references == ("Ann", "Bob")
    request = asked(paper, sample)
    assert request.stop == ("\n",)
    *shots, question, answer = request.prompt.split("\n")
    assert (question, answer) == ("Q: who was it?", "A:")
    assert [line[:3] for line in shots] == ["Q: ", "A: "] * 5
    quiz = triviaqa.TRIVIAQA.protocols[1]
    (sample,) = quiz.samples([{"id": "7", "question": "Who was it?", "answers": ["Ann"]}])
    assert sample.id == "7"
    assert asked(quiz, sample).prompt == "Question: Who was it??\nAnswer:"


def test_rows_of_the_hub() -> None:
    on_the_hub = {
        "question_id": "tc_1",
        "question": "Who?",
        "answer": {"aliases": ["Ann", "Anne"], "value": "Ann"},
    }
    row = {"id": "tc_1", "question": "Who?", "answers": ["Ann", "Anne"]}
    assert triviaqa.from_hub(on_the_hub) == row
    assert natural_questions.from_hub({"question": "who", "answer": ["Ann"]}) == {
        "question": "who",
        "answers": ["Ann"],
    }


@pytest.mark.parametrize("task", [natural_questions.NATURAL_QUESTIONS, triviaqa.TRIVIAQA])
def test_examples_are_no_questions_of_the_set(task: Task) -> None:
    protocol = task.protocols[0]
    rows = load(protocol.dataset, "bundled").rows
    (sample, *_) = protocol.samples(rows)
    prompt = asked(protocol, sample).prompt
    shown = {line.removeprefix("Q: ").rstrip("?") for line in prompt.split("\n")[:-2]}
    assert shown.isdisjoint(row["question"].rstrip("?") for row in rows)


def test_bad_examples(tmp_path: Path) -> None:
    path = write(tmp_path / "examples.tsv", "question\tanswer\n" * 4)
    dataset: Any = None
    with pytest.raises(DataError, match="at least 5 lines of question<TAB>answer"):
        closed_book("p", "s", dataset, "Q: {question}", (), examples=path)


@pytest.mark.parametrize("answers", [[], "Ann", [1], None])
def test_answers_that_are_no_list(tmp_path: Path, answers: Any) -> None:
    path = write(tmp_path / "a.jsonl", json.dumps({"question": "who", "answer": answers}))
    with pytest.raises(DataError, match=r"line 1: column 'answer' is .* expected a list of one"):
        list(natural_questions.read([path]))


def test_common_answers() -> None:
    """A question does not count for itself; ties go to the first; aliases count once a question."""
    floors = common_answers(
        [
            ("who a", ["Ann"]),
            ("who b", ["Ann", "The Ann"]),
            ("Who c", ["Bob"]),
            ("when d", ["May"]),
            ("who e", ["Bob"]),
        ]
    )
    assert floors == ["bob", "bob", "ann", "ann", "ann"]
    assert common_answers([("who", ["Ann"])]) == ["ann"]


def test_floor_is_scored() -> None:
    """A set where half of the questions have the same answer."""
    protocol = natural_questions.NATURAL_QUESTIONS.protocols[0]
    rows = [{"question": f"who {i}", "answers": ["Ann" if i % 2 else f"N{i}"]} for i in range(10)]
    floor = protocol.baselines["most-common-answer"]
    texts = [floor(sample, np.random.default_rng(0)) for sample in protocol.samples(rows)]
    assert texts == ["ann"] * 10


def test_lm_eval_normalizers() -> None:
    assert natural_questions.lm_eval_normalize("The U.S. of a King") == "us of king"
    assert triviaqa.lm_eval_normalize("The U.S. of a King") == "the us of a king"


# ---- SQuAD --------------------------------------------------------------------------------------


def squad_file(**question: Any) -> dict[str, Any]:
    asked = {"id": "q1", "question": "Who?", "answers": [{"text": "Ann"}, {"text": "Ann"}]}
    paragraphs = [{"context": "Ann met Bob.", "qas": [{**asked, **question}]}]
    return {"version": "1.1", "data": [{"title": "T", "paragraphs": paragraphs}]}


def test_squad(tmp_path: Path) -> None:
    rows = list(squad.read([write(tmp_path / "xquad.en.json", squad_file())]))
    (sample,) = squad.samples(rows)
    assert sample.references == ("Ann",)
    (protocol,) = squad.XQUAD_EN.protocols
    assert asked(protocol, sample).prompt == "Ann met Bob.\n\nQ: Who?\nA:"
    on_the_hub = {**rows[0], "answers": {"text": ["Ann", "Ann"], "answer_start": [0, 0]}}
    assert squad.from_hub(on_the_hub) == rows[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"data": None}, "not in the format of SQuAD 1.1"),
        ({"data": [{}]}, "not in the format of SQuAD 1.1"),
        (squad_file(answers=[]), "question q1: the list of answers is"),
        (squad_file(answers=[{"text": ""}]), "question q1: the list of answers: string 1 is ''"),
        (squad_file(question=None), r"question q1: \[context, question\] is"),
        (squad_file(question=""), r"question q1: \[context, question\]: string 2 is ''"),
        ([], "holds a JSON list; expected an object"),
    ],
)
def test_squad_errors(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        list(squad.read([write(tmp_path / "xquad.en.json", content)]))


def test_bundled_answers_are_in_the_passage() -> None:
    for file in ("squad/dev-v1.1.json", "xquad/xquad.en.json"):
        for row in squad.read([bundled_directory() / file]):
            assert all(answer in row["context"] for answer in row["answers"])


@pytest.mark.shared
def test_authentic_files(shared_data: Path) -> None:
    for task, counts in (
        (coqa.COQA, (7_983, 500)),
        (natural_questions.NATURAL_QUESTIONS, (3_610, 3_610)),
        (triviaqa.TRIVIAQA, (1_000, 1_000)),
        (squad.XQUAD_EN, (1_190,)),
    ):
        for protocol, count in zip(task.protocols, counts, strict=True):
            loaded = load(protocol.dataset, shared_data)
            samples = list(protocol.samples(loaded.rows))
            assert len(samples) == len({sample.id for sample in samples}) == count, task.name
            assert "unknown" not in loaded.provenance["verdict"]


@pytest.mark.shared
def test_floor_of_the_paper(shared_data: Path) -> None:
    """The paper: the commonest answer by type of question is right 1.0 % of the time."""
    rows = load(natural_questions.NQ_OPEN, shared_data).rows
    floors = common_answers([(row["question"], row["answers"]) for row in rows])
    right = [
        floor in map(normalize_answer, row["answers"])
        for floor, row in zip(floors, rows, strict=True)
    ]
    assert round(float(np.mean(right)), 3) == 0.010
