"""Trainings of a tiny checkpoint: what comes out, after a kill too, and what is refused."""

from __future__ import annotations

import json
import multiprocessing
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import GPT2LMHeadModel

from gpt2eval.checkpoint import open_checkpoint
from gpt2eval.errors import CheckpointError, DataError, ModelError, StoreError, UsageError
from gpt2eval.evaluation import run
from gpt2eval.finetuning import training
from gpt2eval.finetuning.options import FinetuneOptions
from gpt2eval.finetuning.training import finetune
from gpt2eval.lineage import LINEAGE, read_lineage
from gpt2eval.report.curves import training_step
from gpt2eval.results import load_results
from gpt2eval.scoring import Silent
from tests.checkpoints import PASSAGE

pytest.importorskip("accelerate")  # gpt2eval[finetune]

# A task of which scoring takes no time: how likely the second half of a sentence is.
TASK = """
from gpt2eval import Dataset, Protocol, Sample, Score, Task, data, metrics

HARBOUR = Task(
    name="harbour",
    version=1,
    summary="how likely the end of a sentence is",
    protocols=(
        Protocol(
            name="ends",
            summary="perplexity of the end",
            dataset=Dataset(
                files=(("ends.jsonl",),), read=lambda paths: data.read_jsonl(paths, "begin", "end")
            ),
            samples=lambda rows: (Sample(id=row["begin"], fields=row) for row in rows),
            requests=lambda sample: [Score(sample.fields["begin"], sample.fields["end"])],
            metrics=(metrics.sample_perplexity(per="ends"),),
        ),
    ),
)
"""
KEY = "harbour@ends/perplexity"


@pytest.fixture
def place(tmp_path: Path, tiny_checkpoint: Path) -> Path:
    """A directory with training files, a task and its data."""
    (tmp_path / "book.txt").write_text(PASSAGE, encoding="utf-8")
    pairs = [{"prompt": f"Ship {n}:", "completion": f" {n * 3} flags"} for n in range(9)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pairs))
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "harbour.py").write_text(TASK, encoding="utf-8")
    lines = [line for line in PASSAGE.splitlines() if len(line) > 40]
    ends = [{"begin": line[:20], "end": line[20:50]} for line in lines]
    (tmp_path / "ends.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ends))
    return tmp_path


@pytest.fixture
def options(place: Path, tiny_checkpoint: Path) -> FinetuneOptions:
    return FinetuneOptions(
        model=str(tiny_checkpoint),
        train=(str(place / "book.txt"),),
        output=str(place / "out"),
        steps=6,
        batch_size=4,
        block_size=16,
        learning_rate=1e-3,
        save_every=2,
        held_out=0.0,
        device="cpu",
        results=str(place / "results"),
        data=str(place),
        tasks_dir=str(place / "tasks"),
    )


@pytest.fixture
def without_dropout(tiny_checkpoint: Path, tmp_path: Path) -> str:
    """The same checkpoint, of which a training is a formula."""
    copy = tmp_path / "still"
    shutil.copytree(tiny_checkpoint, copy)
    config = json.loads((copy / "config.json").read_text())
    config |= dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
    (copy / "config.json").write_text(json.dumps(config))
    return str(copy)


def weights(directory: Path) -> dict[str, torch.Tensor]:
    return load_file(directory / "model.safetensors")


def assert_same(one: Path, other: Path) -> None:
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


# ---- what comes out -----------------------------------------------------------------------------


def test_the_output_is_an_ordinary_checkpoint_with_a_record(
    options: FinetuneOptions, place: Path, tiny_checkpoint: Path
) -> None:
    done = finetune(options, Silent())
    base, made = open_checkpoint(tiny_checkpoint), open_checkpoint(done.path)
    assert made.tokenizer_sha256 == base.tokenizer_sha256
    assert made.sha256 != base.sha256
    model, info = GPT2LMHeadModel.from_pretrained(done.path, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert model.config.use_cache
    assert model.dtype == torch.float32

    record = read_lineage(done.path)
    assert record == done.record
    assert record["base"]["sha256"] == base.sha256
    assert record["weights_sha256"] == made.sha256
    assert list(record["train"]["files"]) == [str(place / "book.txt")]
    assert (record["step"], record["finished"], record["seed"]) == (6, True, 0)
    rows = record["train"]["rows"]
    assert record["train"]["tokens"] - 16 < (rows - 1) * 16 < record["train"]["tokens"]
    assert 6 * 4 * 16 - 6 * 16 <= record["tokens_seen"] <= 6 * 4 * 16
    assert record["seconds"] > 0
    assert record["arguments"]["learning_rate"] == 1e-3
    assert [path.name for path in sorted(done.path.glob("checkpoint-*"))] == [
        f"checkpoint-{step}" for step in (2, 4, 6)
    ]
    for path in done.path.glob("checkpoint-*"):
        assert read_lineage(path)["weights_sha256"] == open_checkpoint(path).sha256
    assert_same(done.path, done.path / "checkpoint-6")


def test_a_step_is_what_its_formula_says(options: FinetuneOptions, without_dropout: str) -> None:
    """One step of SGD over all pairs, against its gradient worked out by torch alone."""
    pairs = str(Path(options.train[0]).with_name("pairs.jsonl"))
    given = replace(
        options, model=without_dropout, train=(pairs,), steps=1, batch_size=9, optim="sgd",
        schedule="constant", learning_rate=0.1,
    )  # fmt: skip
    done = finetune(given, Silent())
    model = GPT2LMHeadModel.from_pretrained(without_dropout).eval()
    tokenizer = training.load_tokenizer(open_checkpoint(without_dropout))
    losses = []
    for line in Path(pairs).read_text().splitlines():
        row = json.loads(line)
        prompt, completion = tokenizer([row["prompt"], row["completion"]])["input_ids"]
        ids = torch.tensor([*prompt, *completion, tokenizer.eos_token_id])
        scores = model(ids[None]).logits[0].log_softmax(-1)
        losses += [-scores[n - 1, ids[n]] for n in range(len(prompt), len(ids))]
    loss = torch.stack(losses).mean()
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    assert norm > 1  # so that the clipping of Trainer is in it
    assert done.record["loss"] == pytest.approx(loss.item(), abs=1e-4)  # Trainer rounds
    found = weights(done.path)
    for name, parameter in model.named_parameters():
        expected = parameter - 0.1 * parameter.grad
        torch.testing.assert_close(found[name], expected.detach(), rtol=1e-5, atol=1e-6)


def test_seeds_and_accumulation(
    options: FinetuneOptions, place: Path, without_dropout: str
) -> None:
    def train(name: str, **more: Any) -> Path:
        return finetune(replace(options, output=str(place / name), **more), Silent()).path

    one = train("one")
    assert_same(one, train("again"))
    other = train("other", seed=1)
    assert not torch.equal(
        weights(one)["transformer.wte.weight"], weights(other)["transformer.wte.weight"]
    )
    # Without dropout, four rows of two batches have the gradient of four rows of one: the loss is
    # a mean over tokens, however they are dealt out.
    plain = {"model": without_dropout, "optim": "sgd", "learning_rate": 0.1}
    whole = train("whole", **plain)
    parts = train("parts", **plain, batch_size=2, gradient_accumulation=2)
    for name, tensor in weights(whole).items():
        torch.testing.assert_close(tensor, weights(parts)[name], rtol=1e-4, atol=1e-5)


def test_a_training_that_diverges_is_an_error(options: FinetuneOptions) -> None:
    with pytest.raises(ModelError, match=r"the loss is (nan|inf) after \d+ steps; use a smaller"):
        finetune(replace(options, optim="sgd", learning_rate=1e9), Silent())


@pytest.mark.parametrize("optim", ["sgd", "adafactor", "rmsprop", "adagrad", "adamw_torch_fused"])
def test_optimisers(options: FinetuneOptions, optim: str) -> None:
    done = finetune(replace(options, optim=optim, steps=1), Silent())
    before = weights(Path(options.model))["transformer.wte.weight"]
    assert not torch.equal(before, weights(done.path)["transformer.wte.weight"])


def test_bfloat16_trains_float32_weights(options: FinetuneOptions) -> None:
    done = finetune(replace(options, bf16=True, steps=2, schedule="cosine", warmup=0.5), Silent())
    assert weights(done.path)["transformer.wte.weight"].dtype == torch.float32
    assert np.isfinite(done.record["loss"])


# ---- what is held out, and what is said ----------------------------------------------------------


def test_rows_that_are_held_out(options: FinetuneOptions, place: Path) -> None:
    """Their loss against transformers' own, before and after; the training is not touched by it."""
    given = replace(options, held_out=0.2)
    done = finetune(given, Silent())
    seen = done.record["held_out"]
    assert seen["rows"] == (done.record["train"]["rows"] + seen["rows"]) // 5 == 2
    assert [step for step, _ in seen["loss"]] == [0, 2, 4, 6]

    base = open_checkpoint(options.model)
    examples = training.read_examples([place / "book.txt"], given)
    tokenizer = training.load_tokenizer(base)
    made = training.make_rows(examples, tokenizer, tokenizer.eos_token_id, 64, given)
    _, held = training.hold_out(made, 0.2)
    for path, (_, found) in ((Path(options.model), seen["loss"][0]), (done.path, seen["loss"][-1])):
        model = GPT2LMHeadModel.from_pretrained(path).eval()
        losses = []
        for row in held:
            ids = torch.from_numpy(row.ids).long()
            with torch.no_grad():
                scores = model(ids[None]).logits[0].log_softmax(-1)
            losses += [-float(scores[n - 1, ids[n]]) for n in range(1, len(ids))]
        assert found == pytest.approx(np.mean(losses), rel=1e-5)

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(training._HeldOut, "_look", lambda self, control: None)
        blind = finetune(replace(given, output=str(place / "blind")), Silent())
    assert_same(done.path, blind.path)
    assert done.record["loss"] == blind.record["loss"] > 0
    assert blind.record["held_out"]["loss"] == []


def test_nothing_is_trained_silently_on_a_line(options: FinetuneOptions, place: Path) -> None:
    (place / "line.txt").write_text("The lighthouse keeper counted the ships.\n")
    said: list[str] = []
    given = replace(options, train=(str(place / "line.txt"),), block_size=None, held_out=0.05)
    done = finetune(given, Silent(), said.append)
    assert said[0].startswith("only ")
    assert "tokens to learn from (rows: 1)" in said[0]
    assert said[1].startswith("too few rows (1) to hold any out")
    assert done.record["remarks"] == said
    (place / "line.txt").write_text("\n \n")
    with pytest.raises(DataError, match="is empty; expected text to train on"):
        finetune(replace(given, output=str(place / "none")), Silent())


def test_a_training_that_makes_it_worse_says_so(options: FinetuneOptions) -> None:
    said: list[str] = []
    given = replace(options, held_out=0.2, learning_rate=0.5, schedule="constant")
    finetune(given, Silent(), said.append)
    assert said[-1].startswith("the loss of the held-out rows is ")
    assert "these weights know less of such text than the base" in said[-1]


@pytest.mark.parametrize(("lora", "factor"), [(None, 1), (2, 10)])
def test_the_learning_rate_follows_the_width(
    options: FinetuneOptions, lora: int | None, factor: int
) -> None:
    """5e-5 for GPT-2 small, by which the width is divided; an adapter takes ten times that."""
    if lora:
        pytest.importorskip("peft")
    done = finetune(replace(options, learning_rate=None, lora=lora, steps=1), Silent())
    width = open_checkpoint(options.model).size("n_embd")
    found = done.record["arguments"]["learning_rate"]
    assert found == pytest.approx(5e-5 * 768 / width * factor, rel=0.05)


# ---- adapters -----------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # in peft
def test_adapters_are_merged_into_an_ordinary_checkpoint(
    options: FinetuneOptions, place: Path
) -> None:
    """The merged checkpoint answers as peft does with the adapter that is kept apart."""
    peft = pytest.importorskip("peft")
    lora = replace(options, lora=4, learning_rate=1e-2)
    merged = finetune(lora, Silent()).path
    apart = finetune(replace(lora, no_merge=True, output=str(place / "apart")), Silent()).path
    assert not (apart / "model.safetensors").exists()
    ids = torch.arange(40)[None]
    base = GPT2LMHeadModel.from_pretrained(options.model).eval()
    before = base(ids).logits
    with torch.no_grad():
        expected = peft.PeftModel.from_pretrained(base, apart).eval()(ids).logits
        found = GPT2LMHeadModel.from_pretrained(merged).eval()(ids).logits
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert (found - before).abs().max() > 1e-2
    # Only the layers that were named have changed.
    old, new = weights(Path(options.model)), weights(merged)
    changed = {name.split(".")[-2] for name in new if not torch.equal(old[name], new[name])}
    assert changed == {"c_attn", "c_proj", "c_fc"}


def test_adapters_under_a_watch(options: FinetuneOptions, place: Path) -> None:
    """The best adapter is loaded again, and merged: the score is that of its step."""
    pytest.importorskip("peft")
    given = replace(
        options, lora=2, learning_rate=0.5, schedule="constant", steps=30, save_every=100,
        eval_task="harbour", eval_every=1, patience=2,
    )  # fmt: skip
    done = finetune(given, Silent())
    kept, scores = done.record["eval"]["kept"], dict(done.record["eval"]["scores"])
    assert 0 < kept < max(scores)
    (found,) = run(
        models=done.path, tasks="harbour", data=str(place), tasks_dir=str(place / "tasks"),
        output=str(place / "final"), report=str(place / "report"),
    )  # fmt: skip
    assert found.metrics["perplexity"].value == pytest.approx(scores[kept], rel=1e-5)


def test_a_layer_that_is_not_there(options: FinetuneOptions) -> None:
    pytest.importorskip("peft")
    with pytest.raises(UsageError, match=r"--lora-targets 'q_proj'.*expected layers of GPT-2"):
        finetune(replace(options, lora=2, lora_targets="q_proj"), Silent())


def test_an_extra_that_is_missing_is_named(
    options: FinetuneOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"needs accelerate and peft.*'gpt2eval\[lora\]'"):
        finetune(replace(options, lora=2), Silent())
    with pytest.raises(UsageError, match=r"needs accelerate, not.*'gpt2eval\[finetune\]'"):
        finetune(options, Silent())


# ---- kills --------------------------------------------------------------------------------------


class Killed(BaseException):
    """What nothing catches."""


def kill_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Let the training die in the middle of a step."""
    train = training._Trainer.training_step

    def die(self: Any, *arguments: Any) -> Any:
        if self.state.global_step == step:
            raise Killed
        return train(self, *arguments)

    monkeypatch.setattr(training._Trainer, "training_step", die)


@pytest.mark.parametrize(
    "more", [{"held_out": 0.2}, {"lora": 2}, {"eval_task": "harbour", "eval_every": 1}]
)
def test_a_training_that_was_killed_goes_on(
    options: FinetuneOptions, place: Path, more: dict[str, Any]
) -> None:
    """At the end the weights are those of a training that nobody stopped, bit for bit."""
    if "lora" in more:
        pytest.importorskip("peft")
    options = replace(options, **more)
    whole = finetune(replace(options, output=str(place / "whole")), Silent())
    for step in (1, 3, 5):
        with pytest.MonkeyPatch.context() as monkeypatch:
            kill_at(monkeypatch, step)
            with pytest.raises(Killed):
                finetune(options, Silent())
    # As a kill in the middle of saving leaves it.
    torn = place / "out" / "checkpoint-5"
    torn.mkdir()
    (torn / "model.safetensors").write_bytes(b"half")
    done = finetune(options, Silent())
    assert not torn.exists()
    assert_same(done.path, whole.path)
    for name in ("step", "tokens_seen", "train", "loss", "held_out", "eval", "remarks"):
        assert done.record.get(name) == whole.record.get(name), name
    assert not (place / "out" / "lock").exists()


def test_a_training_that_is_killed_at_any_moment(options: FinetuneOptions, place: Path) -> None:
    """SIGKILL, which nothing catches, in a step or in a save, wherever it meets the process."""
    options = replace(options, steps=30, save_every=1, held_out=0.2)
    whole = finetune(replace(options, output=str(place / "whole")), Silent())
    children = multiprocessing.get_context("forkserver")
    children.set_forkserver_preload(["gpt2eval.finetuning.training"])
    out, met = Path(options.output), 0
    for _ in range(4):
        seen = set(out.glob("checkpoint-*"))
        child = children.Process(target=finetune, args=(options, Silent()))
        child.start()
        while child.is_alive() and set(out.glob("checkpoint-*")) <= seen:
            time.sleep(0.005)
        time.sleep(random.uniform(0, 0.1))
        child.kill()
        child.join()
        met += child.exitcode == -signal.SIGKILL
    assert met  # a machine may be fast, but not four times
    done = finetune(options, Silent())
    assert_same(done.path, whole.path)
    for name in ("step", "tokens_seen", "loss", "held_out", "remarks"):
        assert done.record[name] == whole.record[name], name


@pytest.mark.parametrize(
    "more", [{}, {"eval_task": "harbour", "eval_every": 1, "patience": 1, "learning_rate": 0.1}]
)
def test_a_training_that_was_killed_at_its_end(
    options: FinetuneOptions, place: Path, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any]
) -> None:
    """All steps are done, or patience is lost, and the output is not written yet."""
    options = replace(options, save_every=1, **more)
    whole = finetune(replace(options, output=str(place / "whole")), Silent())

    def die(*_arguments: Any, **_more: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(training, "save_model", die)
        with pytest.raises(Killed):
            finetune(options, Silent())
    done = finetune(options, Silent())
    assert_same(done.path, whole.path)
    for name in ("step", "tokens_seen", "loss", "eval"):
        assert done.record.get(name) == whole.record.get(name), name


def test_what_is_done_is_not_done_again(options: FinetuneOptions) -> None:
    done = finetune(options, Silent())
    again = finetune(replace(options, device="auto", save_every=3), Silent())
    assert (again.fresh, again.record) == (False, done.record)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"learning_rate": 2e-3}, "--learning-rate was 0.001, now 0.002"),
        ({"steps": 7}, "--steps was 6, now 7"),
        ({"completion": "{text}"}, "--completion-template was None, now '{text}'"),
        ({"model": "demo-base"}, "--model, sha256 was"),
        ({"train": ("pairs.jsonl",)}, "--train, files was .*book.txt.* now .*pairs.jsonl"),
    ],
)
def test_another_configuration_in_the_same_directory(
    options: FinetuneOptions, place: Path, more: dict[str, Any], message: str
) -> None:
    finetune(replace(options, steps=6, save_every=6), Silent())
    if "train" in more:
        more = {"train": tuple(str(place / name) for name in more["train"])}
    with pytest.raises(UsageError, match=message):
        finetune(replace(options, **more), Silent())


def test_an_output_that_is_not_ours(options: FinetuneOptions, place: Path) -> None:
    (place / "out").mkdir()
    (place / "out" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="exists and is no output of gpt2eval finetune"):
        finetune(options, Silent())
    assert [path.name for path in (place / "out").iterdir()] == ["notes.txt"]
    with pytest.raises(UsageError, match="is a file; expected a directory"):
        finetune(replace(options, output=options.train[0]), Silent())


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        (
            {"optim": "adamw_touch"},
            UsageError,
            "--optim 'adamw_touch'; did you mean 'adamw_torch'?",
        ),
        ({"optim": "lomo"}, UsageError, "Trainer refuses these options: .*lomo"),
        ({"block_size": 65}, UsageError, "--block-size 65: expected 2 to 64"),
        ({"model": "./nothing"}, CheckpointError, "does not exist"),
        ({"train": ("nothing.txt",)}, DataError, "does not exist"),
        ({"eval_task": "harbor"}, UsageError, "unknown task 'harbor'; did you mean 'harbour'?"),
        ({"eval_task": "harbour/bleu"}, UsageError, f"unknown metric.*{KEY}"),
        (
            {"report_to": "nobody"},
            UsageError,
            "Trainer refuses these options: nobody is not supported",
        ),
    ],
)
def test_what_is_refused(
    options: FinetuneOptions, more: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        finetune(replace(options, **more), Silent())
    # What was refused has left nothing that stands in the way of what is right.
    assert list(Path(options.output).glob("*")) == []


def test_files_that_may_not_grow(options: FinetuneOptions, place: Path) -> None:
    """RLIMIT_FSIZE, as a quota: a message, exit code 4; with room, the same command ends well."""
    command = ["finetune", "--model", options.model, "--train", options.train[0], "--output"]
    command += [str(place / "full"), "--steps", "2", "--block-size", "16", "--device", "cpu"]
    command.append("--quiet")
    limit = (
        "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (90000, 90000));"
        "sys.argv[0] = 'gpt2eval'; runpy.run_module('gpt2eval', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", limit, *command], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == StoreError.exit_code, done.stderr
    assert "could not be saved" in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    again = subprocess.run(
        [sys.executable, "-m", "gpt2eval", *command], capture_output=True, text=True, timeout=300
    )
    assert (again.returncode, again.stderr) == (0, "")
    assert open_checkpoint(place / "full").lineage["finished"]


# ---- scores along the way -----------------------------------------------------------------------


def test_scores_along_the_way_change_nothing_and_are_kept(
    options: FinetuneOptions, place: Path
) -> None:
    alone = finetune(replace(options, output=str(place / "alone")), Silent())
    done = finetune(replace(options, eval_task="harbour"), Silent())
    assert_same(done.path, alone.path)
    assert done.record["loss"] == alone.record["loss"] > 0  # logged at the same steps
    results = load_results(place / "results")
    steps = [training_step(result) for result in results]
    assert steps == [("out", step) for step in (0, 2, 4, 6)]
    # What was scored in memory is what the checkpoint of that step holds.
    for result, (_, step) in zip(results[1:], steps[1:], strict=True):
        saved = open_checkpoint(done.path / f"checkpoint-{step}")
        assert result.checkpoint["sha256"] == saved.sha256
        assert result.checkpoint["tokenizer_sha256"] == saved.tokenizer_sha256
        assert result.checkpoint["finetuned"]["step"] == step
    assert results[0].checkpoint["finetuned"]["base"]["name"] == "tiny"
    values = [result.metrics["perplexity"].value for result in results]
    scores = [[step, value] for (_, step), value in zip(steps, values, strict=True)]
    assert done.record["eval"] == {"metric": KEY, "scores": scores}


def test_a_training_that_gets_no_better_is_stopped_and_the_best_kept(
    options: FinetuneOptions, place: Path
) -> None:
    """A rate far too high: the first steps help or not, the later ones cannot."""
    given = replace(
        options, steps=40, learning_rate=0.02, schedule="constant", eval_task="harbour",
        eval_every=1, patience=3, save_every=100,
    )  # fmt: skip
    done = finetune(given, Silent())
    scores = dict(done.record["eval"]["scores"])
    best, kept = done.record["eval"]["best"], done.record["eval"]["kept"]
    assert scores[best] == min(scores.values())
    assert max(scores) == best + 3 < 40
    assert kept == best > 0
    assert (done.record["step"], done.record["trained_steps"]) == (best, best + 3)
    assert_same(done.path, done.path / f"checkpoint-{best}")
    (found,) = run(
        models=done.path, tasks="harbour", data=str(place), tasks_dir=str(place / "tasks"),
        output=str(place / "final"), report=str(place / "report"),
    )  # fmt: skip
    assert found.metrics["perplexity"].value == scores[best]
    assert found.checkpoint["finetuned"] == done.record


# ---- records in checkpoints of strangers --------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not valid JSON"),
        ('{"loss": NaN}', "NaN is not a number"),
        ("[1]", "holds a list; expected a JSON object"),
        ("[" * 100_000, "is not valid JSON"),
        (" " * 1_000_001, "has 1000001 bytes; expected at most 1000000"),
    ],
)
def test_a_record_that_cannot_be_used(
    tiny_checkpoint: Path, tmp_path: Path, content: str, message: str
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tiny_checkpoint, copy)
    (copy / LINEAGE).write_text(content)
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(copy)
