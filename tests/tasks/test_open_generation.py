"""Open-ended generation: prompts, and what is done with them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from gpt2eval_tasks import open_generation

import gpt2eval
from gpt2eval.data import load
from gpt2eval.errors import DataError
from gpt2eval.results import read_records
from gpt2eval.types import Generate, Score
from tests.checkpoints import make_checkpoint

PROTOCOLS = {protocol.name: protocol for protocol in open_generation.OPEN_GENERATION.protocols}


def write(directory: Path, name: str, text: str) -> Path:
    path = directory / "open_generation" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return directory


def test_prompts_of_a_corpus(tmp_path: Path) -> None:
    words = [f"w{n}" for n in range(200)]
    text = "\n".join(["", " ".join(words[:63]), "", " ".join(words[:64]), "  ".join(words)])
    rows = load(open_generation.PROMPTS, write(tmp_path, "corpus.txt", text)).rows
    assert [row["prompt"] for row in rows] == [" ".join(words[:32])] * 2
    assert [row["continuation"] for row in rows] == [
        " ".join(words[32:64]),
        " ".join(words[32:128]),
    ]


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no paragraph of 64 words on one line"):
        load(open_generation.PROMPTS, write(tmp_path, "corpus.txt", "a few words\n"))
    row = json.dumps({"prompt": "a", "continuation": " "})
    rows = load(open_generation.PROMPTS, write(tmp_path, "prompts.jsonl", row)).rows
    with pytest.raises(DataError, match="prompt 1: the prompt or its continuation is empty"):
        list(open_generation.samples(rows))


def test_requests() -> None:
    (sample,) = open_generation.samples([{"prompt": "Once ", "continuation": " upon a time"}])
    ways = {}
    for name, protocol in PROTOCOLS.items():
        (request,) = protocol.requests(sample)
        if isinstance(request, Generate):
            assert request.prompt == "Once"
            assert request.stop == ()
            ways[name] = (request.temperature, request.top_k, request.top_p)
        else:
            assert request == Score("Once", " upon a time")
    assert ways == {
        "top-k-40": (1, 40, 1),
        "top-p-95": (1, 0, 0.95),
        "sampled": (1, 0, 1),
        "greedy": (0, 0, 1),
    }


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("model") / "tiny")


def test_written_and_given_perplexity_are_of_one_kind(tmp_path: Path) -> None:
    """What a model wrote, given as a continuation, has the perplexity it had when it was written.

    This is how the texts of one model are scored by another.
    """
    rows = load(open_generation.PROMPTS, "bundled").rows
    prompts = [dict(row) for row in rows[:12]]
    place = write(tmp_path / "own", "prompts.jsonl", "\n".join(map(json.dumps, prompts)))
    how = {"device": "cpu", "seed": 3, "output": str(tmp_path / "results")}
    (wrote,) = gpt2eval.run(
        models=["demo-base"], tasks="open_generation@top-k-40", data=str(place), **how
    )
    records = sorted(read_records(Path(str(wrote.path))), key=lambda record: int(record.id))
    given = [
        {**row, "continuation": record.responses[0]["text"]}
        for row, record in zip(prompts, records, strict=True)
    ]
    assert all(row["continuation"].strip() for row in given)
    place = write(tmp_path / "given", "prompts.jsonl", "\n".join(map(json.dumps, given)))
    (scored,) = gpt2eval.run(
        models=["demo-base"], tasks="open_generation@human", data=str(place), **how
    )
    again = sorted(read_records(Path(str(scored.path))), key=lambda record: int(record.id))
    same = [
        (one.responses[0], two.responses[0])
        for one, two in zip(records, again, strict=True)
        if one.responses[0]["tokens"] == two.responses[0]["tokens"]
    ]
    assert len(same) > 3  # the others have been put into other tokens
    for one, two in same:
        np.testing.assert_allclose(one["logprobs"], two["logprobs"], atol=1e-4)


def test_human_baseline_and_no_confidence(checkpoint: Path, tmp_path: Path) -> None:
    prompts = [
        {"prompt": "Once upon", "continuation": "a a a a a a"},
        {"prompt": "There was", "continuation": "one two three four five"},
    ]
    place = write(tmp_path, "prompts.jsonl", "\n".join(map(json.dumps, prompts)))
    (result,) = gpt2eval.run(
        models=[str(checkpoint)],
        tasks="open_generation@greedy",
        data=str(place),
        device="cpu",
        output=str(tmp_path / "results"),
    )
    human = result.baselines["human"]
    assert "written_perplexity" in result.metrics
    assert "written_perplexity" not in human
    assert human["degenerate"].value == 0.5
    assert human["distinct_1"].value == pytest.approx(6 / 11)
    assert human["seq_rep_4"].value == pytest.approx((2 / 3 + 0) / 2)
    assert human["distinct_1"].low is None
