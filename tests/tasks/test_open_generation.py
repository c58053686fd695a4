"""Open-ended generation: prompts, and what is done with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gpt2eval_tasks import open_generation

import gpt2eval
from gpt2eval.checkpoint import open_checkpoints
from gpt2eval.data import load
from gpt2eval.errors import DataError, UsageError
from gpt2eval.rescore import rescore_all
from gpt2eval.results import decode_response, read_records
from gpt2eval.types import Embed, Embedded, Generate, Score
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
        "mauve": (1, 0, 0.95),
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


def test_vectors_of_texts_of_as_many_words() -> None:
    (sample,) = open_generation.samples([{"prompt": "Once", "continuation": "upon a\ntime"}])
    human = Embed("Once upon a\ntime")
    for written, expected in (
        (" upon\n a time and a half\n", "Once upon\n a time"),
        ("upon", "Once upon"),
        (" \n", "Once"),
    ):
        asked = open_generation.ask_vectors(sample, [generated(written)])
        assert asked == [Embed(expected), human]


def test_mauve_without_its_package(
    tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error before anything is loaded; the other protocols do not need it."""
    monkeypatch.setattr("gpt2eval.work.find_spec", lambda _name: None)
    monkeypatch.setattr("gpt2eval.model.load_model", None)
    with pytest.raises(UsageError) as caught:
        run(tmp_path, "demo-base", "m*", place)
    assert str(caught.value) == (
        "open_generation@mauve: a metric needs a package that is not installed:"
        " pip install 'gpt2eval[mauve]'"
    )
    with pytest.raises(UsageError, match=r"or leave it out: --tasks open_generation@top-k-40,"):
        run(tmp_path, "demo-base", "*", place)
    monkeypatch.undo()
    assert run(tmp_path, "demo-base", "human", place).metrics


def test_mauve_is_that_of_its_authors_and_of_transformers(
    tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the texts in the records: their vectors by transformers, the number by mauve-text.

    The records alone give it again, where the package is.
    """
    mauve = pytest.importorskip("mauve")
    import torch
    from transformers import AutoTokenizer, GPT2Model

    scorer = open_checkpoints(("demo-tuned",), offline=True)[0].path
    result = run(tmp_path, "demo-base", "mauve", place, scorer="demo-tuned")
    assert result.run["scorer"]["name"] == "demo-tuned"
    tokenizer = AutoTokenizer.from_pretrained(scorer)
    model = GPT2Model.from_pretrained(scorer, dtype=torch.float32).eval()
    rows = load(open_generation.PROMPTS, place).rows
    vectors: dict[str, list[Any]] = {"written": [], "human": []}
    for record in sorted(records(result), key=lambda record: record.id):
        row = rows[int(record.id) - 1]
        words = len(row["continuation"].split())
        written = " ".join(record.responses[0]["text"].split()[:words])
        for position, (who, text) in enumerate(
            (("written", written), ("human", row["continuation"])), 1
        ):
            found = decode_response(record.responses[position])
            assert isinstance(found, Embedded)
            assert found.truncated == 0
            assert tokenizer.decode(found.tokens).split() == f"{row['prompt']} {text}".split()
            with torch.inference_mode():
                states = model(torch.tensor(found.tokens[None]).long()).last_hidden_state
            vectors[who].append(states[0, -1].numpy())
            np.testing.assert_allclose(found.vector, vectors[who][-1], atol=1e-4, rtol=1e-4)
    values = [
        mauve.compute_mauve(
            p_features=np.stack(vectors["written"]),
            q_features=np.stack(vectors["human"]),
            seed=seed,
        ).mauve
        for seed in (25, 26, 27, 28, 29)
    ]
    estimate = result.metrics["mauve"]
    assert estimate.value == pytest.approx(np.mean(values), abs=1e-4)
    assert (estimate.low, estimate.high) == (None, None)
    spread = f"over 5 seeds, whose standard deviation is {np.std(values, ddof=1):.2g}"
    assert estimate.method.endswith(spread)
    assert estimate.note == "12 texts say little; it is meant for 1000 or more"
    (again,) = rescore_all([tmp_path / "results"], data=str(place))
    assert (again.source, again.note, again.problem) == ("responses", "", "")
    assert again.metrics == result.metrics
    monkeypatch.setattr("gpt2eval.work.find_spec", lambda _name: None)
    (without,) = rescore_all([tmp_path / "results"], data=str(place))
    assert without.problem.endswith("pip install 'gpt2eval[mauve]'")
