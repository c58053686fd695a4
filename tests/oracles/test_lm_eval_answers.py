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

from gpt2eval.data import bundled_directory
from gpt2eval.task import discover
from gpt2eval.types import Generated, Sample
from tests.oracles import lm_eval_oracle
from tests.oracles.conftest import Run

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.filterwarnings("ignore"),  # those of lm-eval and its dependencies
]
SAMPLES = bundled_directory()


def gold(number: int, text: str, own: Sequence[str]) -> list[str]:
    """Gold answers of a question to which the model writes `text`: right in some way or another."""
    part = " ".join(text.split()[: 1 + len(text.split()) // 2])
    return [
        list(own),
        [own[0], f"The {text.upper()}!"],
        [f"{part} zebra", own[0], f"a {own[0]}"],
        [text, own[0]],
    ][number % 4]


def lines(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSON lines file, at most 16."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()][:16]


def write_lines(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path.parents[1]


def predictions(run: Run) -> list[str]:
    return [response["prediction"] for response in run.responses()]


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


@pytest.mark.parametrize("task", CLOSED_BOOK)
def test_closed_book(
    task: str, checkpoint_of: Callable[[str], Path], evaluate: Callable[..., Run], tmp_path: Path
) -> None:
    file, column, oracle = CLOSED_BOOK[task]
    checkpoint = checkpoint_of("demo-base")
    rows = lines(SAMPLES / file)
    first = evaluate(checkpoint, task, write_lines(tmp_path / "own" / file, rows))
    rows = [
        {**row, column: gold(number, text, row[column])}
        for number, (row, text) in enumerate(zip(rows, predictions(first), strict=True))
    ]
    run = evaluate(checkpoint, task, write_lines(tmp_path / "changed" / file, rows))
    theirs = oracle(
        checkpoint,
        [
            {"question": row["question"], "answer": row[column]}
            if column == "answer"
            else {"question": row["question"], "answer": {"aliases": row[column]}}
            for row in rows
        ],
        tmp_path / "scratch",
    )
    assert predictions(run) == theirs.texts
    assert 0.2 < theirs.metrics["exact_match"] < 0.8
    assert run.value("exact_match") == theirs.metrics["exact_match"]


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
    written = dict(zip([record["id"] for record in first.records], predictions(first), strict=True))
    stories: list[dict[str, Any]] = [dict(row) for row in coqa.read([SAMPLES / "coqa/dev.json"])]
    for number, story in enumerate(stories):
        own = story["answers"][-1][0]
        last = [*gold(number, written[story["id"]], [own]), own.upper(), "nothing"][:3]
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
