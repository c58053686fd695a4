"""The battery of known answers: the answers themselves, what passes, and what does not."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gpt2eval_tasks import lambada

from gpt2eval import published, selfcheck
from gpt2eval.digests import digest_files
from gpt2eval.errors import DataError, UsageError
from gpt2eval.options import RunOptions
from gpt2eval.scoring import Silent
from gpt2eval.selfcheck import TOLERANCES, Check
from gpt2eval.types import Generated
from tests.checkpoints import make_checkpoint
from tests.data.directory import write_data

pytestmark = pytest.mark.usefixtures("empty_directory")

DEMO = Path(selfcheck.__file__).parent / "demo"
CONTENT = json.loads((DEMO / "answers.json").read_text("utf-8"))
ASKED = CONTENT["questions"]
CHECKPOINTS = list(CONTENT["answers"])


def run(**options: Any) -> list[Check]:
    return selfcheck.selfcheck(RunOptions(**{"device": "cpu", **options}), Silent())


# ---- the answers on record, against transformers in float32 -------------------------------------


@pytest.fixture(scope="module", params=CHECKPOINTS)
def oracle(request: pytest.FixtureRequest) -> Iterator[tuple[dict[str, Any], Any, Any]]:
    """Recorded answers, and transformers' own model and tokenizer."""
    from transformers import AutoTokenizer, GPT2LMHeadModel

    place = DEMO / request.param
    model = GPT2LMHeadModel.from_pretrained(place, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(place)
    tokenizer.model_max_length = int(1e30)
    with torch.inference_mode():
        yield CONTENT["answers"][request.param], model, tokenizer


def loss(model: Any, tokens: list[int], labelled: int) -> float:
    """transformers' own mean loss of the last `labelled` tokens."""
    labels = torch.tensor([tokens])
    labels[:, : len(tokens) - labelled] = -100
    return float(model(torch.tensor([tokens]), labels=labels).loss)


@pytest.mark.oracle
def test_continuations_have_the_loss_of_transformers(oracle: tuple[Any, Any, Any]) -> None:
    answers, model, tokenizer = oracle
    for one, nats in zip(ASKED["continuations"], answers["continuations"], strict=True):
        tokens = tokenizer(one["context"] + one["continuation"])["input_ids"]
        assert tokenizer.decode(tokens[-len(nats) :]) == one["continuation"]
        assert loss(model, tokens, len(nats)) == pytest.approx(np.mean(nats), abs=1e-5)


@pytest.mark.oracle
def test_windows_have_the_loss_of_transformers(oracle: tuple[Any, Any, Any]) -> None:
    """The windows are written out: where each begins and ends, and how many tokens are new."""
    answers, model, tokenizer = oracle
    tokens = tokenizer(ASKED["long"])["input_ids"]
    stream, size = [tokenizer.eos_token_id, *tokens], model.config.n_positions
    for name, step in (("disjoint", size), ("sliding", ASKED["stride"])):
        ends = [0, *range(size, len(tokens), step), len(tokens)]
        total = 0.0
        for done, end in pairwise(ends):
            # One token more than the model reads: the last is only a label.
            begin = max(0, end - size)
            total += _loss_of_next(model, stream[begin : end + 1], end - done) * (end - done)
        assert total / len(tokens) == pytest.approx(answers[name], abs=1e-5), name


def _loss_of_next(model: Any, window: list[int], new: int) -> float:
    """The loss of the last `new` tokens of a window that may be one longer than the model."""
    logits = model(torch.tensor([window[:-1]])).logits[0, -new:]
    return float(torch.nn.functional.cross_entropy(logits, torch.tensor(window[-new:])))


@pytest.mark.oracle
def test_the_guide_has_the_loss_of_transformers(oracle: tuple[Any, Any, Any]) -> None:
    """As its code stands in the documentation: labels masked, the model's own loss."""
    answers, model, tokenizer = oracle
    encodings = torch.tensor([tokenizer(ASKED["long"])["input_ids"]])
    size, stride = model.config.n_positions, ASKED["stride"]
    nll_sum, n_tokens, prev_end = 0.0, 0, 0
    for begin in range(0, encodings.size(1), stride):
        end = min(begin + size, encodings.size(1))
        input_ids = encodings[:, begin:end]
        target_ids = input_ids.clone()
        target_ids[:, : -(end - prev_end)] = -100
        counted = int((target_ids != -100).sum()) - target_ids.size(0)
        nll_sum += float(model(input_ids, labels=target_ids).loss) * counted
        n_tokens += counted
        prev_end = end
        if end == encodings.size(1):
            break
    assert nll_sum / n_tokens == pytest.approx(answers["hf-docs"], abs=1e-5)


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_texts_are_those_of_generate(oracle: tuple[Any, Any, Any]) -> None:
    answers, model, tokenizer = oracle
    for one, tokens, margins in zip(
        ASKED["continuations"], answers["written"], answers["margins"], strict=True
    ):
        prompt = tokenizer(one["context"], return_tensors="pt")
        written = model.generate(
            **prompt, do_sample=False, max_new_tokens=ASKED["new_tokens"], pad_token_id=0
        )
        assert written[0, prompt["input_ids"].size(1) :].tolist() == tokens
        assert len(margins) == len(tokens) == ASKED["new_tokens"]
        assert min(margins) >= 0


def test_the_answers_are_of_the_checkpoints_that_are_bundled() -> None:
    for name, answers in CONTENT["answers"].items():
        assert answers["sha256"] == digest_files([DEMO / name / "model.safetensors"])


# ---- what passes --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checks() -> dict[str, list[Check]]:
    """dtype -> the checks of both bundled checkpoints."""
    return {dtype: run(dtype=dtype) for dtype in TOLERANCES}


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_every_dtype_is_right_within_its_tolerance(
    dtype: str, checks: dict[str, list[Check]]
) -> None:
    assert [check.name for check in checks[dtype] if not check.passed] == []
    assert {check.checkpoint for check in checks[dtype]} == set(CHECKPOINTS)
    assert len(checks[dtype]) == 12


def test_tolerances_are_no_wider_than_a_dtype_needs(checks: dict[str, list[Check]]) -> None:
    """Each type fails by the tolerance of the finer one, and uses a fiftieth of its own or more."""
    for dtype, finer in (("float16", "float32"), ("bfloat16", "float16")):
        worst = max(check.off for check in checks[dtype] if "words" in check.name)
        assert worst > TOLERANCES[finer].token
        assert worst > TOLERANCES[dtype].token / 50


@pytest.mark.parametrize("batch_size", [1, 3])
def test_batches_do_not_matter(batch_size: int) -> None:
    found = run(models=("demo-base",), batch_size=batch_size)
    assert all(check.passed for check in found)


# ---- what does not ------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", ["head", "embedding", "positions"])
def test_a_model_that_is_a_little_off_is_found_out(
    wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One part in a hundred of a matrix, as a broken kernel might."""
    load = selfcheck.load_model

    def broken(*arguments: Any) -> Any:
        model = load(*arguments)
        if wrong == "head":
            return replace(model, head=model.head * 1.01)
        name = {"embedding": "wte.weight", "positions": "wpe.weight"}[wrong]
        tensor = model.transformer.tensors[name]
        tensor *= 1.01
        return model

    monkeypatch.setattr(selfcheck, "load_model", broken)
    found = run(models=("demo-base",))
    right = {check.name for check in found if check.passed}
    assert "words after a context" not in right
    assert not any("long text" in name for name in right)
    # It is wrong alike, however it is asked.
    assert "batches of one or of many" in right


def test_an_engine_that_depends_on_its_batches_is_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original = selfcheck._answer

    def careless(model: Any, requests: Any, batch_size: int | None) -> Any:
        replies = original(model, requests, batch_size)
        if batch_size == 1:
            replies[0].logprobs[-1] -= 0.01
        return replies

    monkeypatch.setattr(selfcheck, "_answer", careless)
    (wrong,) = [check for check in run(models=("demo-base",)) if not check.passed]
    assert wrong.name == "batches of one or of many"
    assert wrong.off == pytest.approx(0.01, rel=1e-3)


def written(*texts: list[int]) -> list[Generated]:
    return [
        Generated("", np.array(tokens, np.int32), np.zeros(len(tokens), np.float32), "length")
        for tokens in texts
    ]


@pytest.mark.parametrize(
    ("found", "same", "off"),
    [
        ([[1, 2, 3], [4, 5]], 5, 0.0),
        ([[1, 9, 3], [4, 5]], 3, 0.02),  # what follows is another text
        ([[1, 2, 9], [9, 5]], 2, 2.0),
        ([[1, 2], [4, 5]], 4, 0.5),  # ended too early
        ([[1, 2, 3, 4], [4, 5]], 5, 0.0),
    ],
)
def test_texts_are_compared_up_to_where_they_part(
    found: list[list[int]], same: int, off: float
) -> None:
    """By how much the recorded token was ahead there says whether the other one is an error."""
    recorded = {"written": [[1, 2, 3], [4, 5]], "margins": [[1.0, 0.02, 0.5], [2.0, 3.0]]}
    check = selfcheck._written("m", written(*found), recorded, TOLERANCES["float16"])
    assert (check.found, check.expected, check.off) == (same, 5, off)
    assert check.passed == (off <= 0.03)


def test_what_is_not_a_number_is_wrong() -> None:
    check = Check("m", "n", "u", 1.0, float("nan"), float("nan"), 1.0)
    assert not check.passed
    assert selfcheck._worst(np.zeros(3), np.zeros(4)) == float("inf")


def test_other_weights_under_a_known_name_are_unknown(tmp_path: Path) -> None:
    place = shutil.copytree(DEMO / "demo-base", tmp_path / "demo-base")
    assert all(check.passed for check in run(models=(str(place),)))
    make_checkpoint(tmp_path / "mine")
    with pytest.raises(UsageError, match=r"mine': nothing is known of these weights \(\w{12}\)"):
        run(models=(str(tmp_path / "mine"),))


# ---- published numbers --------------------------------------------------------------------------


@pytest.fixture
def famous(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A tiny checkpoint that passes for gpt2, and a data directory."""
    checkpoint = make_checkpoint(tmp_path / "tiny", n_positions=160, n_embd=16, n_layer=1)
    content = copy.deepcopy(dict(published._content()))
    digest = digest_files([checkpoint / "model.safetensors"])
    content["models"]["gpt2"]["sha256"] = [digest]
    monkeypatch.setattr(published, "_content", lambda: content)
    return checkpoint, write_data(tmp_path / "data")


def test_published_numbers_are_asked_where_the_text_is_there(
    famous: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The toy text passes for the official one; a random model is far from what gpt2 gets."""
    checkpoint, data = famous
    digest = digest_files([data / "lambada" / "lambada_test.jsonl"])
    monkeypatch.setitem(lambada.OPENAI.known, digest, "the whole")  # type: ignore[index]
    found = run(models=(str(checkpoint),), data=str(data))
    sources = ("lm-eval, issue 2159", "lm-eval, crumb/gpt2023 model card")
    assert {check.name for check in found} == {
        f"lambada@openai, {metric} ({source})"
        for metric in ("accuracy", "perplexity")
        for source in sources
    }
    assert {check.expected for check in found} == {0.3256, 40.0554, 40.06}
    assert not any(check.passed for check in found)
    assert all(check.relative for check in found)


def test_a_text_that_is_not_on_record_says_nothing(famous: tuple[Path, Path]) -> None:
    checkpoint, data = famous
    with pytest.raises(DataError, match="whose whole texts are not in"):
        run(models=(str(checkpoint),), data=str(data))
    empty = data / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match=r"lambada@openai, wikitext2@lm-eval, whose whole texts"):
        run(models=(str(checkpoint),), data=str(empty))


# ---- the command --------------------------------------------------------------------------------


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gpt2eval", "selfcheck", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_the_command_says_that_all_is_right() -> None:
    done = command("--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert "all answers are right (float32, device cpu, auto batches)" in done.stdout
    assert "demo-tuned" in done.stdout


def test_the_command_fails_where_something_is_wrong(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from gpt2eval.cli import main

    monkeypatch.setitem(selfcheck.TOLERANCES, "bfloat16", TOLERANCES["float32"])
    monkeypatch.setattr(
        sys, "argv", ["gpt2eval", "selfcheck", "--dtype", "bfloat16", "--device", "cpu"]
    )
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    shown = capsys.readouterr().out
    assert "WRONG" in shown
    assert "answers are wrong (bfloat16, device cpu, auto batches)" in shown


def test_a_wrong_argument_is_an_error_of_one_line(tmp_path: Path) -> None:
    done = command("--model", tmp_path, "--dtype", "float32")
    assert done.returncode == 2
    assert "has no config.json" in done.stderr
    assert "Traceback" not in done.stderr
