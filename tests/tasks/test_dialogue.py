"""Conversations: readers, prompts, and the replies to choose from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gpt2eval_tasks import dailydialog, personachat

from gpt2eval.data import load
from gpt2eval.errors import DataError
from gpt2eval.recipes import CANDIDATES
from gpt2eval.task import Task
from gpt2eval.types import Generate, Score

TASKS = [dailydialog.DAILYDIALOG, personachat.PERSONACHAT]
every_task = pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)


def samples(task: Task, place: str | Path = "bundled") -> list[Any]:
    protocol = task.protocols[0]
    return list(protocol.samples(load(protocol.dataset, place).rows))


def test_rows(tmp_path: Path) -> None:
    path = tmp_path / "test.json"
    path.write_text(json.dumps({"dialogue": [{"text": " Hi ! "}, {"text": "Yes ?"}]}))
    (row,) = dailydialog.read([path])
    assert (row["turns"], list(row["replies"])) == (["Hi !", "Yes ?"], [1])
    path.write_text(
        json.dumps([{"meta": ["i am.", "i do."], "dialogue": [["a", "b"], ["c", "d"]]}])
    )
    (row,) = personachat.read([path])
    assert (row["turns"], list(row["replies"])) == (["a", "b", "c", "d"], [1, 3])
    assert row["background"] == "i am.\ni do.\n\n"


@pytest.mark.parametrize(
    ("read", "content", "message"),
    [
        (dailydialog.read, {"dialogue": ["Hi"]}, "conversation 1: expected a list of turns"),
        (dailydialog.read, {"dialogue": []}, r"the list of turns is \[\]"),
        (dailydialog.read, {"dialogue": [{"text": "a"}, {"text": " "}]}, "turns: string 2 is ' '"),
        (
            personachat.read,
            [{"meta": ["x"], "dialogue": [["a"]]}],
            "conversation 1: expected `meta`",
        ),
        (personachat.read, [{"meta": [], "dialogue": [["a", "b"]]}], "list of lines in `meta`"),
        (personachat.read, {}, "holds a JSON dict"),
    ],
)
def test_errors(tmp_path: Path, read: Any, content: Any, message: str) -> None:
    path = tmp_path / "test.json"
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=message):
        list(read([path]))


@every_task
def test_requests(task: Task) -> None:
    """All protocols ask after the same conversation; the choice holds what the first one asks."""
    perplexity, hits, greedy = task.protocols
    for sample in samples(task):
        (reply,) = perplexity.requests(sample)
        assert isinstance(reply, Score)
        assert reply.continuation == f" {sample.references[0]}\n"
        assert reply.context.endswith(("\nA:", "\nB:"))
        candidates = hits.requests(sample)
        assert len({*candidates}) == CANDIDATES
        assert candidates[sample.fields["gold"]] == reply
        (new,) = greedy.requests(sample)
        assert isinstance(new, Generate)
        assert (new.prompt, new.stop) == (reply.context, ("\n",))
        assert sample.fields["words+eos"] == len(reply.continuation.split()) + 1


def test_prompts() -> None:
    second = samples(dailydialog.DAILYDIALOG)[1]
    assert second.fields["prompt"] == ("A: Is this seat taken ?\nB: No , please sit down .\nA:")
    first = samples(personachat.PERSONACHAT)[0]
    assert first.fields["prompt"] == (
        "i keep bees behind my house.\ni am a retired postman.\ni sing in a choir.\n"
        "my favorite color is orange.\n\nA: hi there , what do you do for a living ?\nB:"
    )


@every_task
def test_candidates(task: Task) -> None:
    """From other conversations, the true one anywhere among them, the same in every run."""
    found = samples(task)
    replies = {(sample.group, sample.references[0]) for sample in found}
    for sample in found:
        candidates = list(sample.fields["choices"])
        assert candidates.pop(sample.fields["gold"]) == sample.references[0]
        for text in candidates:
            assert any(text == reply and group != sample.group for group, reply in replies)
    places = [sample.fields["gold"] for sample in found]
    assert len(set(places)) > CANDIDATES / 2
    assert [sample.fields for sample in samples(task)] == [sample.fields for sample in found]


def test_too_few_replies_to_choose_from(tmp_path: Path) -> None:
    (tmp_path / "dailydialog").mkdir()
    lines = [json.dumps({"dialogue": [{"text": "Hi"}, {"text": f"no {n}"}]}) for n in range(5)]
    (tmp_path / "dailydialog/test.json").write_text("\n".join(lines))
    with pytest.raises(DataError, match="the others have 4 replies besides 'no 0'; expected 19"):
        samples(dailydialog.DAILYDIALOG, tmp_path)


@every_task
def test_floor_is_never_the_reply(task: Task) -> None:
    floor = task.protocols[2].baselines["other-reply"]
    random = np.random.default_rng(0)
    for sample in samples(task):
        assert floor(sample, random) != sample.references[0]


@pytest.mark.shared
def test_authentic_files(shared_data: Path) -> None:
    for task, count in zip(TASKS, (6_740, 7_801), strict=True):
        loaded = load(task.protocols[0].dataset, shared_data)
        assert "unknown" not in loaded.provenance["verdict"]
        assert len(loaded.rows) == 1_000
        assert len(samples(task, shared_data)) == count
