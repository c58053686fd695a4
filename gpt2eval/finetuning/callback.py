"""gpt2eval's tasks during a training, anybody's: a callback for transformers' Trainer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from transformers import TrainerCallback

from gpt2eval.checkpoint import open_checkpoint
from gpt2eval.errors import UsageError
from gpt2eval.evaluation import run_with
from gpt2eval.finetuning.saving import save_model, save_tokenizer, saving
from gpt2eval.naming import safe_name
from gpt2eval.options import RunOptions
from gpt2eval.scoring import Progress, Silent
from gpt2eval.task import discover, select
from gpt2eval.types import Result


class EvalCallback(TrainerCallback):
    """Scores the model on tasks every so many steps, before the first and after the last.

        trainer.add_callback(EvalCallback(trainer, tasks="lambada", tokenizer=tok, every=500))

    The weights in memory are written to a temporary directory and scored from there, by the code
    that `gpt2eval run` uses: what is scored is what a checkpoint of that step would hold, adapters
    merged. Values and intervals go through `trainer.log`, hence to every tracker of the Trainer and
    to `trainer_state.json`, as "eval_lambada/openai/accuracy", "..._low" and "..._high". The
    results are kept under `output` as those of checkpoint "<run>-checkpoint-<step>", so that
    `gpt2eval report` draws learning curves.

    trainer    whose `log` is used; where it was given a `processing_class`, that is the tokenizer
    tasks      as in `gpt2eval run --tasks`
    every      steps between scores; None: whenever a checkpoint is saved
    tokenizer  a tokenizer, or the directory of a checkpoint whose tokenizer is used as it stands
    run        name of this training in results; default: that of the Trainer's `output_dir`
    metric     "task@protocol/metric" that `patience` looks at; default: the first there is
    patience   stop the training after so many scores that are no better than the best before, and
               have the Trainer save every checkpoint that is better
    progress   told what is being done
    record     gives what results say of how the checkpoint was made, as plain data
    options    the fields of RunOptions: data, output, limit, dtype, device, batch_size, ...

    What `patience` counts is read from the Trainer's log, so a training that is resumed goes on
    counting. Raises UsageError for names that do not exist, and where the weights are in shards
    (DeepSpeed, FSDP): score the saved checkpoints then.
    """

    def __init__(
        self,
        trainer: Any,
        *,
        tasks: str,
        every: int | None = None,
        tokenizer: Any = None,
        run: str | None = None,
        metric: str | None = None,
        patience: int | None = None,
        progress: Progress | None = None,
        record: Callable[[], Mapping[str, Any]] | None = None,
        **options: Any,
    ) -> None:
        if every is not None and every < 1:
            raise UsageError(f"every={every!r}: expected a whole number of at least 1, or None")
        if patience is not None and patience < 1:
            raise UsageError(f"patience={patience!r}: expected a whole number of at least 1")
        self.trainer = trainer
        self.tokenizer = tokenizer or getattr(trainer, "processing_class", None)
        if self.tokenizer is None:
            raise UsageError(
                "EvalCallback has no tokenizer, and the Trainer has no processing_class; give"
                " EvalCallback(..., tokenizer=...)"
            )
        self.every = every
        self.run = run or Path(trainer.args.output_dir).resolve().name
        self.patience = patience
        self.progress = progress or Silent()
        self.record = record
        self.options = RunOptions(tasks=tasks, **{"data": "hub", **options})
        for name in ("shard", "workers", "ray"):
            if getattr(self.options, name) is not None:
                raise UsageError(f"{name}={getattr(self.options, name)!r}: a training scores alone")
        self.metric, self.higher = watched(tasks, metric, self.options.tasks_dir)
        self.scored: list[Result] = []

    # ---- what the Trainer calls ----

    def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Score the model as it is before the first step."""
        _check_whole(args)
        if self.patience is not None and args.world_size > 1:
            raise UsageError(
                f"patience={self.patience} needs a training in one process, which decides alone;"
                f" this one has {args.world_size}"
            )
        if state.global_step == 0:
            self._score(args, state, control, more["model"])

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Score the model where it is time to."""
        due = control.should_save if self.every is None else state.global_step % self.every == 0
        if due or state.global_step >= state.max_steps:
            self._score(args, state, control, more["model"])

    def on_epoch_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """The same where checkpoints are saved once an epoch."""
        if control.should_save and self.every is None:
            self._score(args, state, control, more["model"])

    # ---- scores ----

    def history(self, state: Any) -> list[tuple[int, float]]:
        """(step, value of the watched metric), in order, those before a resume included."""
        key = log_key(self.metric)
        found = {entry["step"]: entry[key] for entry in state.log_history if key in entry}
        return sorted(found.items())

    def best(self, state: Any) -> tuple[int, float]:
        """The step of the best value, the first where several are, and the value."""
        sign = 1 if self.higher else -1
        return max(self.history(state), key=lambda each: (sign * each[1], -each[0]))

    def lost_patience(self, state: Any) -> bool:
        """Whether as many scores as `patience` says have been no better than the best."""
        if self.patience is None:
            return False
        best, _ = self.best(state)
        return sum(step > best for step, _ in self.history(state)) >= self.patience

    def _score(self, args: Any, state: Any, control: Any, model: Any) -> None:
        step = state.global_step
        # Every process of a distributed training calls this; one of them has the log.
        if not state.is_world_process_zero or step in dict(self.history(state)):
            return
        results = self._results(Path(args.output_dir), step, model)
        self.scored += results
        log_beside(self.trainer, control, logged(results))
        if self.patience is not None:
            control.should_save |= self.best(state)[0] == step > 0
            control.should_training_stop |= self.lost_patience(state)

    def _results(self, directory: Path, step: int, model: Any) -> list[Result]:
        with TemporaryDirectory(prefix="gpt2eval-") as place:
            name = f"{self.run}-checkpoint-{step}"
            with saving(Path(place)):
                save_model(model, Path(place))
                save_tokenizer(self.tokenizer, Path(place))
            opened = open_checkpoint(place)
            checkpoint = replace(
                opened,
                name=safe_name(name),
                source=str(directory / f"checkpoint-{step}"),
                lineage={**self.record(), "weights_sha256": opened.sha256} if self.record else None,
            )
            return run_with(self.options, self.progress, checkpoints=[checkpoint])


def _check_whole(args: Any) -> None:
    if getattr(args, "deepspeed", None) or getattr(args, "fsdp", None):
        raise UsageError(
            "EvalCallback needs the whole model in one process, and DeepSpeed or FSDP keep it in"
            " shards; score the saved checkpoints: gpt2eval run --model 'DIR/checkpoint-*'"
        )


def watched(tasks: str, metric: str | None, tasks_dir: str | None) -> tuple[str, bool]:
    """The metric as "task@protocol/metric", and whether higher is better.

    Raises UsageError where there is no such metric, or where neither direction is better.
    """
    known = {
        f"{task.name}@{protocol.name}/{one.name}": one
        for task, protocol in select(tasks, discover(tasks_dir))
        for one in protocol.metrics
        if not one.part
    }
    name = metric or next(iter(known))
    matching = [each for each in known if each == name or _without_protocol(each) == name]
    if not matching:
        raise UsageError(f"unknown metric {name!r}; {tasks} has: {', '.join(known)}")
    higher = known[matching[0]].higher_is_better
    if higher is None:
        raise UsageError(f"{matching[0]} has no better direction; name another metric")
    return matching[0], higher


def _without_protocol(name: str) -> str:
    task, _, rest = name.partition("@")
    return f"{task}/{rest.partition('/')[2]}"


def log_beside(trainer: Any, control: Any, logs: dict[str, float]) -> None:
    """`trainer.log` from within a callback: the Trainer would take it for its own log of this step,
    and leave out the loss.
    """
    due = control.should_log
    trainer.log(logs)
    control.should_log = due


def log_key(name: str) -> str:
    """What a metric is called in the Trainer's log: names that every tracker takes."""
    return "eval_" + name.replace("@", "/")


def logged(results: Sequence[Result]) -> dict[str, float]:
    """Values and intervals of results, as the Trainer logs them; those of parts are left out."""
    logs: dict[str, float] = {}
    for result in results:
        for metric, estimate in result.metrics.items():
            if estimate.part:
                continue
            key = log_key(f"{result.name}/{metric}")
            logs[key] = estimate.value
            for bound in ("low", "high"):
                if (value := getattr(estimate, bound)) is not None:
                    logs[f"{key}_{bound}"] = value
    return logs
