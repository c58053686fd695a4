"""Open-ended generation: prompts, and what is done with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gpt2eval_tasks import open_generation

import gpt2eval
from gpt2eval.data import load
from gpt2eval.errors import DataError, UsageError
from gpt2eval.results import read_records
from gpt2eval.types import Generate, Score
from tests.checkpoints import make_checkpoint
from tests.metrics.answers import generated

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


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A data directory with some of the bundled prompts."""
    rows = load(open_generation.PROMPTS, "bundled").rows[:12]
    return write(tmp_path / "own", "prompts.jsonl", "\n".join(json.dumps(dict(r)) for r in rows))


def run(tmp_path: Path, model: str, task: str, place: Path, **options: Any) -> Any:
    (result,) = gpt2eval.run(
        models=[model],
        tasks=f"open_generation@{task}",
        data=str(place),
        device="cpu",
        seed=3,
        output=str(tmp_path / "results"),
        **options,
    )
    return result


def records(result: Any) -> list[Any]:
    return sorted(read_records(result.path), key=lambda record: int(record.id))


def test_scorer_is_the_checkpoint_that_is_named(tmp_path: Path, place: Path) -> None:
    """Its perplexity is that of the texts, given to it as continuations of the same prompts."""
    result = run(tmp_path, "demo-base", "top-k-40", place, scorer="demo-tuned")
    texts = [record.responses[0]["text"] for record in records(result)]
    prompts = [row["prompt"] for row in load(open_generation.PROMPTS, place).rows]
    given = [
        json.dumps({"prompt": prompt, "continuation": text})
        for prompt, text in zip(prompts, texts, strict=True)
    ]
    scored = write(tmp_path / "given", "prompts.jsonl", "\n".join(given))
    for scorer in ("demo-tuned", "demo-base"):
        result = run(tmp_path, "demo-base", "top-k-40", place, scorer=scorer)
        assert [record.responses[0]["text"] for record in records(result)] == texts
        expected = run(tmp_path, scorer, "human", scored).metrics["token_perplexity"].value
        found = result.metrics["scorer_perplexity"].value
        assert found == pytest.approx(expected, rel=1e-5)
        assert result.run["scorer"]["name"] == scorer
        assert f"scorer:{scorer}@{result.run['scorer']['sha256'][:12]}" in result.signature


def test_scorer_is_the_model_itself(tmp_path: Path, place: Path) -> None:
    """Where the text is read in the tokens it was written in, each has the same probability."""
    result = run(tmp_path, "demo-base", "top-k-40", place)
    assert result.run["scorer"]["name"] == "demo-base"
    same = [
        record.responses
        for record in records(result)
        if record.responses[0]["tokens"] == record.responses[1]["tokens"]
    ]
    assert len(same) > 3  # the others have been put into other tokens
    for written, scored in same:
        np.testing.assert_allclose(written["logprobs"], scored["logprobs"], atol=1e-4)


def test_nothing_for_a_scorer_to_do(tmp_path: Path, place: Path) -> None:
    with pytest.raises(UsageError, match=r"none of the tasks has texts.*open_generation@human"):
        run(tmp_path, "demo-base", "human", place, scorer="demo-tuned")


def test_stopped_before_the_scorer(
    tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same command goes on, and gives what a run that was never stopped gives."""
    from gpt2eval import runner

    original = runner.answer

    def dying(model: Any, requests: Any, **options: Any) -> Any:
        for count, reply in enumerate(original(model, requests, **options)):
            if isinstance(requests[0], Score) and count == 5:
                raise KeyboardInterrupt
            yield reply

    monkeypatch.setattr(runner, "answer", dying)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, "demo-base", "greedy", place)
    monkeypatch.setattr(runner, "answer", original)
    resumed = run(tmp_path, "demo-base", "greedy", place)
    assert resumed.run["resumed_samples"] == 5
    whole = run(tmp_path / "other", "demo-base", "greedy", place)
    assert resumed.metrics.keys() == whole.metrics.keys()
    for name, estimate in whole.metrics.items():
        assert resumed.metrics[name].value == pytest.approx(estimate.value, rel=1e-6), name


def test_an_empty_text_is_not_scored() -> None:
    (sample,) = open_generation.samples([{"prompt": "Once", "continuation": "upon"}])
    assert open_generation.ask_scorer(sample, [generated(" \n")]) == []
    assert open_generation.ask_scorer(sample, [generated(" a time\n")]) == [
        Score("Once", " a time")
    ]


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
    assert {"written_perplexity", "scorer_perplexity"} <= result.metrics.keys()
    assert {"written_perplexity", "scorer_perplexity"}.isdisjoint(human)
    assert human["degenerate"].value == 0.5
    assert human["distinct_1"].value == pytest.approx(6 / 11)
    assert human["seq_rep_4"].value == pytest.approx((2 / 3 + 0) / 2)
    assert human["distinct_1"].low is None
