"""Examples before the question: drawn by the seed, recorded, refused where there are none."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import gpt2eval
from gpt2eval.data import bundled_directory
from gpt2eval.errors import DataError, UsageError
from gpt2eval.fewshot import with_examples
from gpt2eval.options import RunOptions
from gpt2eval.results import read_records
from gpt2eval.task import Protocol, Task, discover
from tests.conftest import ROOT

TASKS = discover(ROOT / "tasks")
WITH = [
    (task, protocol)
    for task in TASKS.values()
    for protocol in task.protocols
    if protocol.fewshot is not None
]


def first(name: str) -> tuple[Task, Protocol]:
    return TASKS[name], TASKS[name].protocols[0]


def draw(name: str, place: str | Path = "bundled", **options: Any) -> tuple[Protocol, str]:
    return with_examples(*first(name), str(place), RunOptions(**options))


def test_some_tasks_have_examples_and_some_have_none() -> None:
    assert {task.name for task, _ in WITH} >= {"hellaswag", "piqa", "copa", "sst2", "ag_news"}
    assert all(TASKS[name].protocols[0].fewshot is None for name in ("lambada", "blimp", "cbt_cn"))


@pytest.mark.parametrize("count", [None, 0])
def test_none_unless_asked(count: int | None) -> None:
    _, protocol = first("copa")
    found, text = draw("copa", num_fewshot=count)
    assert found is protocol
    assert text == ""


def test_examples_are_whole_and_recorded() -> None:
    protocol, text = draw("copa", num_fewshot=3, seed=5)
    examples = text.split("\n\n")
    assert examples.pop() == ""
    assert len(set(examples)) == 3
    assert all(" because  " in example or " therefore  " in example for example in examples)
    assert protocol.options == {
        **first("copa")[1].options,
        "num_fewshot": 3,
        "fewshot_seed": 5,
        "fewshot_sha256": hashlib.sha256(text.encode()).hexdigest(),
    }


def test_a_seed_draws_the_same_and_another_others() -> None:
    texts = {draw("sst2", num_fewshot=4, seed=seed)[1] for seed in range(5)}
    assert len(texts) == 5
    assert draw("sst2", num_fewshot=4, seed=3) == draw("sst2", num_fewshot=4, seed=3)


def test_all_of_them_may_be_asked_for() -> None:
    _, text = draw("sst2", num_fewshot=10)
    sentences = (bundled_directory() / "sst2/train.tsv").read_text("utf-8").splitlines()
    assert all(line.split("\t")[1] in text for line in sentences)
    with pytest.raises(UsageError, match=r"--num-fewshot 11: sst2@lm-eval has 10 examples; ask"):
        draw("sst2", num_fewshot=11)


@pytest.mark.parametrize("name", ["lambada", "winograd", "blimp", "xsum"])
def test_a_protocol_without_examples_refuses(name: str) -> None:
    assert draw(name, num_fewshot=0)[1] == ""
    message = rf"--num-fewshot 2: {name}@[\w-]+ has no examples .*; give 0, leave the option out"
    with pytest.raises(UsageError, match=message):
        draw(name, num_fewshot=2)


@pytest.mark.parametrize("count", [-1, 1.5, True, "2"])
def test_bad_numbers(count: object) -> None:
    with pytest.raises(UsageError, match=r"--num-fewshot .*: expected a whole number from 0 up"):
        RunOptions(num_fewshot=count)  # type: ignore[arg-type]


def test_a_file_that_lacks_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"lacks copa/copa-dev\.xml"):
        draw("copa", tmp_path, num_fewshot=1)


@pytest.mark.parametrize(("task", "protocol"), WITH, ids=lambda each: each.name)
def test_no_example_is_scored(task: Task, protocol: Protocol) -> None:
    """No question of the bundled samples stands among the bundled examples."""
    from gpt2eval.data import load

    assert protocol.fewshot is not None
    scored = {json.dumps(row) for row in load(protocol.dataset, "bundled").rows}
    shown = {json.dumps(row) for row in load(protocol.fewshot.dataset, "bundled").rows}
    assert shown
    assert scored.isdisjoint(shown)
    assert not set(protocol.dataset.files) & set(protocol.fewshot.dataset.files)


@pytest.fixture
def score(tiny_checkpoint: Path, tmp_path: Path) -> Callable[..., Any]:
    def score(tasks: str, **options: Any) -> Any:
        (result,) = gpt2eval.run(
            models=tiny_checkpoint,
            tasks=tasks,
            data="bundled",
            output=str(tmp_path / "out"),
            device="cpu",
            limit_first=4,
            **options,
        )
        return result

    return score


def test_examples_make_another_run(score: Callable[..., Any]) -> None:
    """Number and seed are in the run's identity and signature; zero is the plain run."""
    plain, zero, one, two = (score("copa", num_fewshot=count) for count in (None, 0, 1, 2))
    assert plain.path == zero.path
    assert len({plain.path, one.path, two.path}) == 3
    assert "num_fewshot:1|fewshot_seed:0|fewshot_sha256:" in one.signature
    assert "fewshot" not in plain.signature
    contexts = [
        {r.id: (r.responses[0]["context"][0][0], r.responses[0]["truncated"]) for r in records}
        for records in (read_records(plain.path), read_records(one.path))
    ]
    for id, (bare, _) in contexts[0].items():
        longer, truncated = contexts[1][id]
        assert truncated or longer > bare
