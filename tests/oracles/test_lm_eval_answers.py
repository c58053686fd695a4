"""Our question answering against lm-evaluation-harness, on the same rows and checkpoint.

The demo checkpoint knows no answers. So that the scores are not all zero, it is asked once, and
what it wrote becomes a gold answer of some questions: as it is, in other letters, or in part.
"""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gpt2eval_tasks import coqa

from gpt2eval.data import bundled_directory, load
from gpt2eval.task import Protocol, discover
from gpt2eval.types import Generate, Generated, Sample
from tests.oracles import lm_eval_oracle
from tests.oracles.conftest import Run

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.filterwarnings("ignore"),  # those of lm-eval and its dependencies
]
SAMPLES = bundled_directory()
AUTHENTIC = 200  # rows of the published files that are scored with the same answers


def gold(number: int, text: str, own: Sequence[str]) -> list[str]:
    """Gold answers of a question to which the model writes `text`: right in some way or another."""
    part = " ".join(text.split()[: 1 + len(text.split()) // 2])
    return [
        list(own),
        [own[0], f"The {text.upper()}!"],
        [f"{part} zebra", own[0], f"a {own[0]}"],
        [text, own[0]],
    ][number % 4]


def lines(path: Path, most: int = 16) -> list[dict[str, Any]]:
    """The rows of a JSON lines file, at most so many."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()[:most]]


def write_lines(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path.parents[1]


def predictions(run: Run, rows: Sequence[dict[str, Any]]) -> list[str]:
    """What is scored of each row, by its id or its number."""
    written = {record["id"]: record["responses"][0]["prediction"] for record in run.records}
    return [written[str(row.get("id", number))] for number, row in enumerate(rows, 1)]


@pytest.fixture(autouse=True)
def squad_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    """What lm-eval's coqa imports from transformers, which version 5 of it no longer has.

    In its place lm-eval's own copy of SQuAD's official script, with the rule of SQuAD 2.0 for
    texts without words.
    """
    from lm_eval.tasks.qasper.metrics import f1_abstractive, normalize_answer

    def compute_exact(gold: str, written: str) -> int:
        return int(normalize_answer(gold) == normalize_answer(written))

    def compute_f1(gold: str, written: str) -> float:
        words = [normalize_answer(text).split() for text in (gold, written)]
        return f1_abstractive([written], [gold]) if all(words) else float(words[0] == words[1])

    name = "transformers.data.metrics.squad_metrics"
    module = types.ModuleType(name)
    vars(module).update(compute_exact=compute_exact, compute_f1=compute_f1)
    parents = [types.ModuleType("transformers.data"), types.ModuleType("transformers.data.metrics")]
    vars(parents[0])["metrics"] = parents[1]
    vars(parents[1])["squad_metrics"] = module
    for known in (*parents, module):
        if known.__name__ not in sys.modules:
            monkeypatch.setitem(sys.modules, known.__name__, known)
    import transformers

    monkeypatch.setattr(transformers, "data", parents[0], raising=False)


CLOSED_BOOK = {
    "natural_questions@lm-eval": ("nq_open/NQ-open.dev.jsonl", "answer", lm_eval_oracle.nq_open),
    "triviaqa@lm-eval": (
        "triviaqa/triviaqa_test_subsample1000.jsonl",
        "golden_answers",
        lm_eval_oracle.triviaqa,
    ),
}


@pytest.fixture(params=["bundled", pytest.param("authentic", marks=pytest.mark.shared)])
def place(request: pytest.FixtureRequest) -> Path:
    """A directory of data files: our samples, or the published ones."""
    if request.param == "bundled":
        return SAMPLES
    found: Path = request.getfixturevalue("shared_data")
    return found


@pytest.mark.parametrize("task", CLOSED_BOOK)
def test_closed_book(
    task: str,
    place: Path,
    checkpoint_of: Callable[[str], Path],
    evaluate: Callable[..., Run],
    tmp_path: Path,
) -> None:
    file, column, oracle = CLOSED_BOOK[task]
    checkpoint = checkpoint_of("demo-base")
    rows = lines(place / file)
    first = evaluate(checkpoint, task, write_lines(tmp_path / "own" / file, rows))
    rows = [
        {**row, column: gold(number, text, row[column])}
        for number, (row, text) in enumerate(zip(rows, predictions(first, rows), strict=True))
    ]
    run = evaluate(checkpoint, task, write_lines(tmp_path / "changed" / file, rows))
    theirs = oracle(checkpoint, for_lm_eval(rows, column), tmp_path / "scratch")
    assert predictions(run, rows) == theirs.texts
    assert 0.2 < theirs.metrics["exact_match"] < 0.8
    assert run.value("exact_match") == theirs.metrics["exact_match"]


def for_lm_eval(rows: Sequence[dict[str, Any]], column: str) -> list[dict[str, Any]]:
    """The rows in the columns of their hub data sets."""
    return [
        {
            "question": row["question"],
            "answer": row[column] if column == "answer" else {"aliases": row[column]},
        }
        for row in rows
    ]


def said(number: int, own: str, other: str) -> str:
    """What a model might write: the answer, that of another question, or something between."""
    return [
        f" {own}\nQ: and more",
        f" The {own.upper()}!",
        f" {own} and {other}",
        f" {other}",
        f" {' '.join(own.split()[:2])}, or not",
        "",
    ][number % 6]


def same_outputs(
    protocol: Protocol, rows: Sequence[Any], oracle: Callable[..., Any], theirs: Any, scratch: Path
) -> dict[str, float]:
    """Our metrics, after lm-eval was asked with `theirs` and given the very same answers.

    Its prompts must be those of ours, or there is nothing to answer.
    """
    samples = list(protocol.samples(rows))
    assert len({protocol.requests(sample)[0] for sample in samples}) == len(samples)
    script, sums = {}, {metric.name: np.zeros(2) for metric in protocol.metrics if not metric.part}
    for number, sample in enumerate(samples):
        (request,) = protocol.requests(sample)
        assert isinstance(request, Generate)
        other = samples[number - 1].references[0]
        text = said(number, sample.references[0], other)
        script[request.prompt] = text
        prediction = protocol.extract(lm_eval_oracle.cut(text, request.stop))
        response = Generated(
            text, np.zeros(0, np.int32), np.zeros(0, np.float32), "stop", prediction=prediction
        )
        for metric in protocol.metrics:
            if not metric.part:
                sums[metric.name] += metric.stats(sample, [response])
    found = oracle(script.__getitem__, theirs, scratch)
    values = {metric.name: metric.value for metric in protocol.metrics if not metric.part}
    ours = {name: float(values[name](total)) for name, total in sums.items()}
    names = {"exact_match": "em"} if "em" in found.metrics else {}
    for name, value in ours.items():
        assert 0.1 < value < 0.9
        assert value == pytest.approx(found.metrics[names.get(name, name)], abs=1e-9)
    return ours


@pytest.mark.shared
@pytest.mark.parametrize("task", CLOSED_BOOK)
def test_the_same_answers_to_authentic_questions(
    task: str, shared_data: Path, tmp_path: Path
) -> None:
    file, column, oracle = CLOSED_BOOK[task]
    name = task.partition("@")[0]
    (protocol,) = (one for one in discover()[name].protocols if one.name == "lm-eval")
    rows = load(protocol.dataset, shared_data).rows[:AUTHENTIC]
    theirs = for_lm_eval(lines(shared_data / file, AUTHENTIC), column)
    same_outputs(protocol, rows, oracle, theirs, tmp_path)


@pytest.mark.shared
@pytest.mark.parametrize("golds", [1, 3])
def test_the_same_answers_to_authentic_conversations(
    golds: int, shared_data: Path, tmp_path: Path
) -> None:
    """The file has one gold a question; two more are made, for the leave-one-out of the script."""
    (protocol,) = (one for one in discover()["coqa"].protocols if one.name == "lm-eval")
    stories = [dict(row) for row in coqa.read([shared_data / "coqa/dev.json"])][:AUTHENTIC]
    for story in stories:
        story["answers"] = [
            [own, f"{own} indeed", own.split()[0]][:golds] for (own,) in story["answers"]
        ]
    documents = [*map(as_on_the_hub, stories)]
    ours = same_outputs(protocol, stories, lm_eval_oracle.coqa, documents, tmp_path)
    assert ours["exact_match"] < ours["f1"]


def as_on_the_hub(story: dict[str, Any]) -> dict[str, Any]:
    """A row of EleutherAI/coqa from one of ours."""
    every = list(zip(*story["answers"], strict=True))
    return {
        "id": story["id"],
        "source": story["source"],
        "story": story["story"],
        "questions": {"input_text": story["questions"]},
        "answers": {"input_text": list(every[0])},
        "additional_answers": {
            str(number): {"input_text": list(answers)} for number, answers in enumerate(every[1:])
        },
    }


def official(story: dict[str, Any]) -> dict[str, Any]:
    """A story of coqa-dev-v1.0.json from one of ours."""
    every = [
        [{"input_text": t} for t in answers] for answers in zip(*story["answers"], strict=True)
    ]
    return {
        "id": story["id"],
        "source": story["source"],
        "story": story["story"],
        "questions": [{"input_text": text} for text in story["questions"]],
        "answers": every[0],
        "additional_answers": {str(number): turns for number, turns in enumerate(every[1:])},
    }


def test_coqa(
    checkpoint_of: Callable[[str], Path], evaluate: Callable[..., Run], tmp_path: Path
) -> None:
    """Three reference answers a question, in the form of the official file."""
    checkpoint = checkpoint_of("demo-base")
    first = evaluate(checkpoint, "coqa@lm-eval", SAMPLES)
    stories: list[dict[str, Any]] = [dict(row) for row in coqa.read([SAMPLES / "coqa/dev.json"])]
    written = predictions(first, stories)
    for number, story in enumerate(stories):
        own = story["answers"][-1][0]
        last = [*gold(number, written[number], [own]), own.upper(), "nothing"][:3]
        story["answers"] = [[*turn, f"not {turn[0]}", turn[0]] for turn in story["answers"]]
        story["answers"][-1] = last
    path = tmp_path / "data/coqa/coqa-dev-v1.0.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"version": "1.0", "data": [*map(official, stories)]}), "utf-8")
    run = evaluate(checkpoint, "coqa@lm-eval", path.parents[1])
    theirs = lm_eval_oracle.coqa(checkpoint, [*map(as_on_the_hub, stories)], tmp_path / "scratch")
    by_id = dict(zip([record["id"] for record in run.records], run.responses(), strict=True))
    ours = [by_id[document["id"]]["text"] for document in theirs.documents]
    assert ours == theirs.texts
    assert 0.1 < theirs.metrics["em"] < 0.9
    assert theirs.metrics["em"] < theirs.metrics["f1"]
    assert run.value("exact_match") == pytest.approx(theirs.metrics["em"], abs=1e-9)
    assert run.value("f1") == pytest.approx(theirs.metrics["f1"], abs=1e-9)


WORDS = ["the", "a", "An", "cat", "Cat,", "sat", "on", "mat.", "THE", "it's", "x-y", "—", "ﬁ", "…"]


def random_texts(rng: np.random.Generator, count: int) -> list[str]:
    """Short texts that often share words, some without any."""
    gaps = [" ", "  ", "\t", "\n", "\u00a0"]
    return [
        "".join(word + str(rng.choice(gaps)) for word in rng.choice(WORDS, rng.integers(0, 7)))
        for _ in range(count)
    ]


def test_scores_of_random_answers() -> None:
    """Many predictions against 1 to 4 golds: lm-eval's arithmetic, that of the official script."""
    from lm_eval.tasks.coqa.utils import compute_scores

    rng = np.random.default_rng(0)
    differ = 0
    for _ in range(3000):
        (written,), answers = random_texts(rng, 1), random_texts(rng, int(rng.integers(1, 5)))
        response = Generated(
            written, np.zeros(0, np.int32), np.zeros(0, np.float32), "eos", prediction=written
        )
        sample = Sample("s", {}, tuple(answers))
        theirs = compute_scores(answers, written)
        assert coqa.F1.stats(sample, [response])[0] == pytest.approx(theirs["f1"], abs=1e-9)
        assert coqa.EXACT.stats(sample, [response])[0] == pytest.approx(theirs["em"], abs=1e-9)
        differ += 0 < theirs["f1"] < 1
    assert differ > 500


def test_prompts_are_those_of_lm_eval() -> None:
    from lm_eval.tasks.coqa.utils import doc_to_text

    protocol = discover(SAMPLES)["coqa"].protocols[1]
    assert protocol.name == "lm-eval"
    rows = list(coqa.read([SAMPLES / "coqa/dev.json"]))
    for row, sample in zip(rows, protocol.samples(rows), strict=True):
        (request,) = protocol.requests(sample)
        document = as_on_the_hub(dict(row))
        assert request.prompt == doc_to_text(document)
        assert coqa.from_hub(document) == row
