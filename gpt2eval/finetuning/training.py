"""`gpt2eval finetune`: a checkpoint and training files in, a checkpoint out.

The loop is transformers' Trainer. What is here puts a GPT-2 into it, keeps a record beside what
comes out, and finds its way back after a kill.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from difflib import get_close_matches
from importlib.util import find_spec
from math import isfinite
from pathlib import Path
from typing import Any, cast

import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from transformers.trainer_callback import TrainerState
from transformers.training_args import OptimizerNames

from gpt2eval.checkpoint import BUNDLED, Checkpoint, open_checkpoint
from gpt2eval.digests import digest_files
from gpt2eval.errors import CheckpointError, ModelError, UsageError
from gpt2eval.finetuning.callback import EvalCallback, log_beside
from gpt2eval.finetuning.options import OPTIMIZERS, FinetuneOptions
from gpt2eval.finetuning.remarks import after_training, before_training
from gpt2eval.finetuning.rows import IGNORED, Row, Rows, collate, hold_out, make_rows
from gpt2eval.finetuning.saving import (
    begun,
    last_checkpoint,
    save_model,
    save_tokenizer,
    saving,
    write_lineage,
)
from gpt2eval.finetuning.texts import read_examples, training_files
from gpt2eval.formats.config import HEAD
from gpt2eval.formats.files import TOKENIZER_FILES
from gpt2eval.lineage import read_lineage
from gpt2eval.model.loading import load_tokenizer, silence
from gpt2eval.model.weights import read_weights
from gpt2eval.provenance import versions
from gpt2eval.results import locked
from gpt2eval.scoring import Progress
from gpt2eval.types import Result

FORMAT = 1
LOGGED = 20  # how often a training logs its loss, where it has that many steps
LOOKS = 5  # how often, besides at checkpoints, it looks at the rows that are held out
EPOCHS = 3  # as in the scripts of transformers
# The rate of those scripts, which many have used for GPT-2 small. GPT-3's paper (table 2.1) has the
# best rates of eight sizes, and they are about inverse to the width; an adapter, of which little is
# trained, takes about ten times the rate of the whole (Schulman 2025, "LoRA without regret").
RATE, WIDTH, LORA_FACTOR = 5e-5, 768, 10


@dataclass(frozen=True, slots=True)
class Finetuned:
    """What came out: the directory, its record, and the scores along the way.

    fresh  whether this process trained; otherwise the same command had been done before
    """

    path: Path
    record: Mapping[str, Any]
    results: list[Result]
    fresh: bool


def finetune(
    options: FinetuneOptions, progress: Progress, tell: Callable[[str], None] | None = None
) -> Finetuned:
    """Fine-tune a checkpoint, or go on where the same command was stopped.

    tell  called with each sentence that the user ought to know, as soon as it is known

    Raises Gpt2EvalError for anything that is wrong with the input, before the training begins where
    possible.
    """
    _check_installed(options)
    _check_optimizer(options)
    progress.begin(f"{options.model}: reading")
    checkpoint = open_checkpoint(options.model, offline=options.offline)
    if options.learning_rate is None:
        options = replace(options, learning_rate=default_rate(checkpoint, options.lora is not None))
    files = training_files(options.train)
    output = Path(options.output).expanduser()
    if output.is_file():
        raise UsageError(f"--output {options.output!r} is a file; expected a directory")
    output.mkdir(parents=True, exist_ok=True)
    with locked(output), silence("transformers"), saving(output):
        plan = _plan(checkpoint, files, options)
        record = begun(output, plan)
        if record and record.get("finished"):
            return Finetuned(output, record, [], fresh=False)
        with _quiet():
            training = _Training(checkpoint, files, output, plan, options, progress)
            return training.run(tell or (lambda text: None))


def default_rate(checkpoint: Checkpoint, lora: bool) -> float:
    """The learning rate where none is given, to two digits."""
    rate = RATE * WIDTH / checkpoint.size("n_embd") * (LORA_FACTOR if lora else 1)
    return float(f"{rate:.1e}")


def _check_installed(options: FinetuneOptions) -> None:
    needed = ["accelerate", *(["peft"] if options.lora else [])]
    missing = [name for name in needed if find_spec(name) is None]
    if missing:
        extra = "lora" if options.lora else "finetune"
        raise UsageError(
            f"fine-tuning needs {' and '.join(missing)}, not installed here: pip install"
            f" 'gpt2eval[{extra}]'"
        )


def _check_optimizer(options: FinetuneOptions) -> None:
    """UsageError for an optimiser that Trainer does not know."""
    known = [str(kind.value) for kind in OptimizerNames]
    if options.optimizer not in known:
        near = get_close_matches(options.optim, [*OPTIMIZERS, *known], n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        names = ", ".join(dict.fromkeys([*OPTIMIZERS, *known]))
        raise UsageError(f"--optim {options.optim!r}{hint}; expected one of: {names}")


def _plan(checkpoint: Checkpoint, files: list[Path], options: FinetuneOptions) -> dict[str, Any]:
    """The record of what is to be done; what came of it is added at each checkpoint."""
    return {
        "format": FORMAT,
        "finished": False,
        "base": {
            "name": checkpoint.name,
            "source": checkpoint.source,
            "revision": checkpoint.revision,
            "sha256": checkpoint.sha256,
            "tokenizer_sha256": checkpoint.tokenizer_sha256,
            **({"finetuned": checkpoint.lineage} if checkpoint.lineage else {}),
        },
        "train": {"files": {str(path): digest_files([path]) for path in files}},
        "arguments": options.arguments(),
        "seed": options.seed,
        "versions": versions(),
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """Hold back what torch, accelerate and peft warn users of that is no business of theirs."""
    with warnings.catch_warnings():
        for text in (".*pin_memory.*", ".*lr_scheduler.step.*", ".*is_gradient_checkpointing.*"):
            warnings.filterwarnings("ignore", text)
        yield


# ---- one training -------------------------------------------------------------------------------


class _Training:
    """A training under way, in the directory that is its own."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        files: list[Path],
        output: Path,
        plan: dict[str, Any],
        options: FinetuneOptions,
        progress: Progress,
    ) -> None:
        self.checkpoint, self.output, self.options = checkpoint, output, options
        self.tokenizer = load_tokenizer(checkpoint)
        eos = self.tokenizer.eos_token_id
        if eos is None:
            raise CheckpointError(
                f"the tokenizer of {checkpoint.path} names no eos_token, which closes what is"
                " learned; GPT-2's is <|endoftext|>"
            )
        positions = checkpoint.size("n_positions")
        examples = read_examples(files, options)
        made = make_rows(examples, self.tokenizer, eos, positions, options)
        self.rows, self.held_out = hold_out(made, options.held_out)
        self.plan = plan
        self.plan["train"] |= {
            "examples": made.examples,
            "skipped": made.skipped,
            "cut": made.cut,
            "rows": len(self.rows),
            "tokens": self.rows.tokens,
            "learned": self.rows.learned,
        }
        held = {"rows": len(self.held_out), "tokens": sum(len(row.ids) for row in self.held_out)}
        self.plan["held_out"] = {**held, "loss": []} if self.held_out else None
        self.plan["remarks"] = before_training(self.plan, positions)
        torch.manual_seed(options.seed)
        self.model = _trainable(_load(checkpoint), checkpoint, options)
        use_cache = self.model.config.use_cache
        try:
            self.trainer = _Trainer(
                model=self.model,
                args=_arguments(output, len(self.rows), options),
                train_dataset=self.rows,
                data_collator=collate,
            )
            self.trainer.create_optimizer()
        except (ValueError, ImportError, RuntimeError) as error:  # a package that is not here, say
            reason = " ".join(str(error).split())
            raise UsageError(f"Trainer refuses these options: {reason}") from error
        self.model.config.use_cache = use_cache  # Trainer would have it saved as off
        self.trainer.follow(progress, self.rows, checkpoint.name)
        self.trainer.remove_callback(PrinterCallback)
        self.trainer.add_callback(_Record(self))
        self.watch = self._watch(progress)
        if self.held_out:
            self.trainer.add_callback(_HeldOut(self.trainer, self.held_out))
        self.before = 0.0  # seconds of the processes that were stopped

    def _watch(self, progress: Progress) -> EvalCallback | None:
        options = self.options
        if options.eval_task is None:
            return None
        tasks, _, metric = options.eval_task.partition("/")
        data = options.data or ("bundled" if options.model in BUNDLED else "hub")
        watch = EvalCallback(
            self.trainer,
            tasks=tasks,
            every=options.eval_every or options.save_every,
            tokenizer=self._tokenizer(),
            run=self.output.resolve().name,
            metric=options.eval_task if metric else None,
            patience=options.patience,
            progress=progress,
            record=self.record,
            output=options.results,
            data=data,
            tasks_dir=options.tasks_dir,
            device="cpu" if options.device == "cpu" else "auto",
            offline=options.offline,
        )
        self.trainer.add_callback(watch)
        return watch

    def _tokenizer(self) -> Any:
        """The files of the base, so that their digest stays; or the object, where it has none."""
        place = self.checkpoint.path
        found = place.is_dir() and any((place / name).is_file() for name in TOKENIZER_FILES)
        return place if found else self.tokenizer

    def run(self, tell: Callable[[str], None]) -> Finetuned:
        """Train to the end, and write the checkpoint and its record."""
        write_lineage(self.output, self.plan)  # from here on the directory is this training's
        for sentence in self.plan["remarks"]:
            tell(sentence)
        start = last_checkpoint(self.output)
        self.before = float((read_lineage(start) or {})["seconds"]) if start else 0.0
        self.began = time.monotonic()
        if start is None or not self._at_the_end(start):
            self.trainer.train(resume_from_checkpoint=str(start) if start else None)
        more = self._keep_best()
        save_model(self.trainer.model, self.output, merge=not self.options.no_merge)
        save_tokenizer(self._tokenizer(), self.output)
        record = {**self.record(), **more, "finished": True}
        for sentence in (found := after_training(record)):
            tell(sentence)
        record["remarks"] = [*record["remarks"], *found]
        record["weights_sha256"] = digest_files(sorted(self.output.glob("*.safetensors")))
        write_lineage(self.output, record)
        return Finetuned(self.output, record, self.watch.scored if self.watch else [], fresh=True)

    def _at_the_end(self, start: Path) -> bool:
        """Take up the last checkpoint of a training that was done, but for its output."""
        state = TrainerState.load_from_json(str(start / "trainer_state.json"))
        stopped = self.watch is not None and self.watch.lost_patience(state)
        if state.global_step < state.max_steps and not stopped:
            return False
        self.trainer.state = state
        self.trainer._load_from_checkpoint(str(start))
        return True

    def record(self) -> dict[str, Any]:
        """What there is to say of the weights as they are now."""
        state = self.trainer.state
        held_out = self.plan["held_out"] and {**self.plan["held_out"], "loss": looks(state)}
        return {
            **self.plan,
            "held_out": held_out,
            "step": state.global_step,
            "steps": state.max_steps,
            "epoch": round(state.epoch or 0, 4),
            "tokens_seen": state.num_input_tokens_seen,
            "seconds": round(self.before + time.monotonic() - self.began, 1),
            "loss": self.trainer.last_loss(),
            "device": str(self.trainer.args.device),
        }

    def _keep_best(self) -> dict[str, Any]:
        """Go back to the checkpoint that scored best, where somebody looked; what the record says.

        The base itself, at step 0, is not kept: a record that says so is.
        """
        if self.watch is None:
            return {}
        state = self.trainer.state
        history = self.watch.history(state)
        scores = {"metric": self.watch.metric, "scores": [list(each) for each in history]}
        if self.options.patience is None:
            return {"eval": scores}
        best, _ = self.watch.best(state)
        kept = best or max(step for step, _ in history)
        if kept != state.global_step:
            place = self.output / f"checkpoint-{kept}"
            self.trainer._load_from_checkpoint(str(place))
            found = read_lineage(place) or {}
            return {
                "eval": {**scores, "best": best, "kept": kept},
                "trained_steps": state.global_step,
                **{key: found[key] for key in ("step", "epoch", "tokens_seen", "loss")},
            }
        return {"eval": {**scores, "best": best, "kept": kept}}


class _Trainer(Trainer):
    """A Trainer that counts what it reads, padding left out, and tells a Progress."""

    def follow(self, progress: Progress, rows: Rows, name: str) -> None:
        """Tell this progress from now on."""
        self.progress, self.name = progress, name
        batch = self.args.per_device_train_batch_size * self.args.gradient_accumulation_steps
        self.tokens_a_step = rows.tokens / len(rows) * min(batch, len(rows))
        self.shown = False

    def training_step(self, model: Any, inputs: dict[str, Any], *more: Any) -> Any:
        """One batch forward and back."""
        tokens = inputs.pop("tokens")
        if not self.shown:
            self.show()
        loss = super().training_step(model, inputs, *more)
        self.state.num_input_tokens_seen += tokens
        self.progress.advance(tokens)
        return loss

    def show(self) -> None:
        """Begin the bar of the training, or begin it again after another's."""
        self.progress.begin(f"{self.name}: fine-tuning")
        self.progress.plan(round(self.state.max_steps * self.tokens_a_step))
        self.progress.advance(self.state.num_input_tokens_seen)
        self.shown = True

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """As the Trainer's, up to a loss that is no number; after scores our bar comes back."""
        if not isfinite(logs.get("loss", 0.0)):
            raise ModelError(
                f"the loss is {logs['loss']} after {self.state.global_step} steps; use a smaller"
                " --learning-rate, or --warmup, in another --output"
            )
        self.shown &= not any(key.startswith("eval_") for key in logs)
        super().log(logs, start_time)

    def last_loss(self) -> float | None:
        """Mean loss of the last steps, in nats a token that is learned."""
        losses = [entry["loss"] for entry in self.state.log_history if "loss" in entry]
        return losses[-1] if losses else None

    def held_out_loss(self, rows: Sequence[Row]) -> float:
        """Mean loss of rows, in nats a token that is learned, without dropout."""
        batch, model = self.args.per_device_train_batch_size, cast(Any, self.model)
        total, count = 0.0, 0
        model.eval()
        with torch.no_grad():
            for begin in range(0, len(rows), batch):
                inputs = self._prepare_inputs(collate(rows[begin : begin + batch]))
                del inputs["tokens"]
                learned = int((inputs["labels"] != IGNORED).sum())
                total += float(model(**inputs).loss) * learned
                count += learned
        model.train()
        return total / count


class _HeldOut(TrainerCallback):
    """Takes the loss of rows that are not learned: before, along the way, and at checkpoints.

    It draws no random numbers, so the training is the same with and without. What it finds goes
    into the Trainer's log, hence to its trackers, and is there again after a kill.
    """

    def __init__(self, trainer: _Trainer, rows: Sequence[Row]) -> None:
        self.trainer, self.rows = trainer, rows

    def on_train_begin(self, args: Any, state: Any, control: Any, **_more: Any) -> None:
        if state.global_step == 0:
            self._look(control)

    def on_step_end(self, args: Any, state: Any, control: Any, **_more: Any) -> None:
        due = state.global_step % -(-state.max_steps // LOOKS) == 0
        last = state.global_step >= state.max_steps or control.should_training_stop
        if due or last or control.should_save:
            self._look(control)

    def _look(self, control: Any) -> None:
        loss = self.trainer.held_out_loss(self.rows)
        log_beside(self.trainer, control, {"eval_loss": loss})


def looks(state: TrainerState) -> list[list[float]]:
    """[step, loss of the held-out rows] of each look, in order."""
    found = {
        entry["step"]: entry["eval_loss"] for entry in state.log_history if "eval_loss" in entry
    }
    return [[step, found[step]] for step in sorted(found)]


class _Record(TrainerCallback):
    """Completes each checkpoint with its tokenizer and, last of all, its record."""

    def __init__(self, training: _Training) -> None:
        self.training = training

    def on_save(self, args: Any, state: Any, control: Any, **_more: Any) -> None:
        place = self.training.output / f"checkpoint-{state.global_step}"
        save_tokenizer(self.training._tokenizer(), place)
        record = self.training.record()
        weights = sorted(place.glob("*.safetensors"))
        write_lineage(place, {**record, "weights_sha256": digest_files(weights)})


def _load(checkpoint: Checkpoint) -> GPT2LMHeadModel:
    """The checkpoint as a model of transformers, in float32, whatever format it is in."""
    model = GPT2LMHeadModel(GPT2Config.from_dict(dict(checkpoint.config)))
    parts = {
        name if name == HEAD else f"transformer.{name}": tensor.float()
        for name, tensor in read_weights(checkpoint)
    }
    model.load_state_dict(parts, strict=False)  # a head that is tied may be there or not
    model.tie_weights()
    return model


def _trainable(model: Any, checkpoint: Checkpoint, options: FinetuneOptions) -> Any:
    """The model itself, or with adapters, which alone are trained then."""
    if options.lora is None:
        return model
    from peft import LoraConfig, get_peft_model

    # By this name peft looks for the base of an adapter; what is a directory it seeks nowhere else.
    hub = checkpoint.revision and not options.offline
    model.name_or_path = options.model if hub else str(checkpoint.path.resolve())
    targets = [name.strip() for name in options.lora_targets.split(",") if name.strip()]
    settings = LoraConfig(
        r=options.lora,
        lora_alpha=options.lora_alpha or 2 * options.lora,
        target_modules=targets,
        fan_in_fan_out=True,  # GPT-2's layers are Conv1D
        task_type="CAUSAL_LM",
    )
    try:
        return get_peft_model(model, settings)
    except ValueError as error:
        raise UsageError(
            f"--lora-targets {options.lora_targets!r}: {' '.join(str(error).split())[:200]};"
            " expected layers of GPT-2: c_attn, c_proj, c_fc"
        ) from error


def _arguments(output: Path, rows: int, options: FinetuneOptions) -> TrainingArguments:
    """The options in Trainer's words."""
    batch = options.batch_size * options.gradient_accumulation
    epochs = options.epochs or EPOCHS
    steps = options.steps or max(1, round(epochs * rows / batch))
    # Down to whole steps: the first step of a rise from 0 learns nothing.
    warmup = int(options.warmup if options.warmup >= 1 else options.warmup * steps)
    schedule = options.schedule
    if schedule == "constant" and warmup:
        schedule = "constant_with_warmup"
    return TrainingArguments(
        output_dir=str(output),
        optim=options.optimizer,
        learning_rate=cast(float, options.learning_rate),  # `finetune` has put one in
        lr_scheduler_type=schedule,
        warmup_steps=warmup,
        weight_decay=options.weight_decay,
        max_steps=options.steps or -1,
        num_train_epochs=epochs,
        per_device_train_batch_size=options.batch_size,
        gradient_accumulation_steps=options.gradient_accumulation,
        bf16=options.bf16,
        seed=options.seed,
        save_steps=options.save_every,
        logging_steps=max(1, steps // LOGGED),
        logging_nan_inf_filter=False,  # what diverges is to look like it
        use_cpu=options.device == "cpu",
        dataloader_pin_memory=torch.cuda.is_available(),
        report_to=[name.strip() for name in options.report_to.split(",")],
        disable_tqdm=True,
        remove_unused_columns=False,
    )
