"""EvalCallback in a Trainer of somebody's own."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import (
    AutoTokenizer,
    GPT2LMHeadModel,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    default_data_collator,
)

import gpt2eval
from gpt2eval.errors import UsageError
from gpt2eval.finetuning.callback import watched

pytest.importorskip("accelerate")  # gpt2eval[finetune]

LAMBADA = "eval_lambada/openai/accuracy"


class Listener(TrainerCallback):
    """What a tracker is told."""

    def __init__(self) -> None:
        self.heard: list[tuple[int, dict[str, float]]] = []

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        self.heard.append((state.global_step, dict(logs)))


@pytest.fixture
def trainer(tiny_checkpoint: Path, tmp_path: Path) -> Trainer:
    ids = torch.arange(30)
    rows = [{"input_ids": ids + n, "labels": ids + n} for n in range(8)]
    return Trainer(
        model=GPT2LMHeadModel.from_pretrained(tiny_checkpoint),
        args=TrainingArguments(
            output_dir=str(tmp_path / "mine"), max_steps=4, per_device_train_batch_size=2,
            save_steps=2, logging_steps=1, report_to="none", disable_tqdm=True, use_cpu=True,
            dataloader_pin_memory=False,
        ),
        train_dataset=rows,
        data_collator=default_data_collator,
        processing_class=AutoTokenizer.from_pretrained(tiny_checkpoint),
        callbacks=[Listener()],
    )  # fmt: skip


def add(trainer: Trainer, tmp_path: Path, **more: Any) -> Any:
    given = {"tasks": "lambada", "data": "bundled", "limit_first": 5, "device": "cpu"}
    callback = gpt2eval.EvalCallback(trainer, **{**given, "output": str(tmp_path / "out"), **more})
    trainer.add_callback(callback)
    return callback


def test_scores_are_logged_where_trackers_hear_them(trainer: Trainer, tmp_path: Path) -> None:
    """At each save by default; also before the first step, and each step once."""
    callback = add(trainer, tmp_path)
    trainer.train()
    (listener,) = [
        each for each in trainer.callback_handler.callbacks if isinstance(each, Listener)
    ]
    heard = {step: logs for step, logs in listener.heard if LAMBADA in logs}
    assert list(heard) == [0, 2, 4]
    results = {
        result.checkpoint["name"]: result for result in gpt2eval.load_results(tmp_path / "out")
    }
    assert list(results) == [f"mine-checkpoint-{step}" for step in (0, 2, 4)]
    for step, logs in heard.items():
        found = results[f"mine-checkpoint-{step}"].metrics["accuracy"]
        assert (logs[LAMBADA], logs[f"{LAMBADA}_low"], logs[f"{LAMBADA}_high"]) == (
            found.value, found.low, found.high,
        )  # fmt: skip
    assert [result.checkpoint["name"] for result in callback.scored] == list(results)
    assert callback.history(trainer.state) == [
        (step, logs[LAMBADA]) for step, logs in heard.items()
    ]


def test_the_model_under_training_is_left_alone(trainer: Trainer, tmp_path: Path) -> None:
    add(trainer, tmp_path, every=1)
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    state = SimpleNamespace(global_step=0, log_history=[], is_world_process_zero=True)
    random = torch.random.get_rng_state()
    callback = trainer.callback_handler.callbacks[-1]
    trainer.model.train()
    callback._results(Path(trainer.args.output_dir), state.global_step, trainer.model)
    assert trainer.model.training
    assert torch.equal(random, torch.random.get_rng_state())
    for name, value in trainer.model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_shards_are_refused(trainer: Trainer, tmp_path: Path) -> None:
    callback = add(trainer, tmp_path)
    args = SimpleNamespace(deepspeed="zero3.json", output_dir="x")
    with pytest.raises(UsageError, match="DeepSpeed or FSDP keep it in shards"):
        callback.on_train_begin(args, None, None)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"tasks": "lambda"}, "unknown task 'lambda'"),
        ({"metric": "lambada/bleu"}, "unknown metric 'lambada/bleu'.*lambada@openai/accuracy"),
        ({"every": 0}, "every=0: expected a whole number"),
        ({"patience": 0}, "patience=0: expected a whole number"),
        ({"dtype": "int4"}, "--dtype 'int4'"),
    ],
)
def test_what_is_refused(
    trainer: Trainer, tmp_path: Path, more: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        add(trainer, tmp_path, **more)


def test_a_trainer_without_a_tokenizer(trainer: Trainer, tmp_path: Path) -> None:
    trainer.processing_class = None
    with pytest.raises(UsageError, match=r"give EvalCallback\(..., tokenizer=...\)"):
        add(trainer, tmp_path)


def test_directions() -> None:
    assert watched("lambada", None, None) == ("lambada@openai/accuracy", True)
    assert watched("lambada", "lambada/perplexity", None) == ("lambada@openai/perplexity", False)
    assert watched("wikitext2", None, None)[1] is False
