"""The options of `gpt2eval finetune`, declared once: its flags are made of the fields."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from math import isfinite
from typing import Any

from gpt2eval.errors import UsageError

# Short names for Trainer's; each of its own names may be given too.
OPTIMIZERS = {
    "adamw": "adamw_torch",
    "adam": "adamw_torch",
    "lion": "lion_32bit",
    "adamw-8bit": "adamw_bnb_8bit",
}
# Trainer's schedules that need nothing else to be said.
SCHEDULES = (
    *("linear", "cosine", "cosine_with_restarts", "polynomial"),
    *("constant", "constant_with_warmup", "inverse_sqrt"),
)
# What may change between a process that was killed and the one that goes on.
FREE = ("output", "save_every", "device", "results", "data", "tasks_dir", "report_to", "offline")


def _option(help: str, default: Any = None, **more: Any) -> Any:
    return field(default=default, metadata={"help": help, **more})


@dataclass(frozen=True, slots=True)
class FinetuneOptions:
    """What to train, on what, how, and where it goes. Raises UsageError for values out of range."""

    model: str = _option(
        "Checkpoint to begin with: a directory, a hub id, demo-base or demo-tuned.",
        default="",
        metavar="CHECKPOINT",
    )
    train: tuple[str, ...] = _option(
        "Text, or JSON lines with 'text', or with 'prompt' and 'completion'. A file or a quoted"
        " glob; may be given several times.",
        default=(),
        metavar="FILES",
        multiple=True,
    )
    output: str = _option("Where the checkpoint is written.", default="", metavar="DIR")
    prompt: str | None = _option(
        "What a JSON line's prompt is made of: 'Q: {question}\\nA:'. No loss is taken of it."
        "  [default: {prompt}, or nothing]",
        flag="--prompt-template",
        metavar="TEXT",
    )
    completion: str | None = _option(
        "What is learned of a JSON line: ' {answer}'.  [default: {completion}, or {text}]",
        flag="--completion-template",
        metavar="TEXT",
    )
    learn_prompt: bool = _option("Take the loss of prompts too.", default=False)
    packing: bool | None = _option(
        "Fill rows to --block-size: text as one stream; pairs whole, several in a row, none of"
        " which sees another.  [default: text yes, pairs no]",
        flag="--packing/--no-packing",
    )
    block_size: int | None = _option(
        "Tokens of a row.  [default: the model's positions]", metavar="N"
    )
    skip_long: bool = _option(
        "Leave pairs out that are longer than --block-size, and count them; otherwise they are an"
        " error.",
        default=False,
    )
    optim: str = _option(
        "Optimiser: adamw, sgd, adafactor, rmsprop, adagrad, lion, or any that Trainer knows.",
        default="adamw",
    )
    learning_rate: float | None = _option(
        "The highest learning rate.  [default: 5e-5 where the model is 768 wide, as GPT-2 small is,"
        " in inverse proportion to its width; ten times that with --lora]",
        metavar="X",
    )
    schedule: str = _option(
        f"How the rate goes on: {', '.join(SCHEDULES)}.",
        default="linear",
    )
    warmup: float = _option(
        "Steps over which the rate rises from 0; below 1: a share of all steps.",
        default=0.05,
        metavar="N|X",
    )
    weight_decay: float = _option("Weight decay.", default=0.0, metavar="X")
    steps: int | None = _option("Steps of the optimiser.", metavar="N")
    epochs: float | None = _option(
        "Passes over the training data.  [default: 3, without --steps]", metavar="X"
    )
    batch_size: int = _option("Rows of a batch.", default=4, metavar="N")
    gradient_accumulation: int = _option("Batches of a step.", default=1, metavar="N")
    bf16: bool = _option("Multiply in bfloat16; weights and sums stay in float32.", default=False)
    held_out: float = _option(
        "Share of the rows that is not learned; their loss before and after says whether the"
        " training helps. 0: none.",
        default=0.05,
        metavar="X",
    )
    lora: int | None = _option(
        "Train low-rank adapters of this rank alone (needs gpt2eval[lora]).", metavar="RANK"
    )
    lora_alpha: int | None = _option(
        "Their scale, divided by the rank.  [default: twice the rank]", metavar="N"
    )
    lora_targets: str = _option(
        "The layers that get them, with commas.", default="c_attn,c_proj,c_fc"
    )
    no_merge: bool = _option(
        "Write the adapter as it is, instead of an ordinary checkpoint.", default=False
    )
    seed: int = _option("Seed of the order of rows, dropout and adapters.", default=0, metavar="N")
    save_every: int = _option(
        "Steps between checkpoints, from which a killed run goes on.", default=500, metavar="N"
    )
    eval_task: str | None = _option(
        "Score this task along the way: lambada, or lambada@openai/accuracy to say which metric"
        " --patience looks at.  [metric by default: the task's first]",
        metavar="TASK",
    )
    eval_every: int | None = _option("Steps between scores.  [default: --save-every]", metavar="N")
    patience: int | None = _option(
        "Stop after so many scores without a better one, and keep the best checkpoint.",
        metavar="N",
    )
    data: str | None = _option("Data of the task, as in `gpt2eval run`.", metavar="DIR")
    results: str = _option(
        "Where the scores along the way are kept.", default="results", metavar="DIR"
    )
    tasks_dir: str | None = _option(
        "Directory with your own task files.  [default: ./tasks]", metavar="DIR"
    )
    device: str = _option("auto (what Trainer finds) or cpu.", default="auto")
    report_to: str = _option(
        "Trackers that Trainer reports to, with commas: tensorboard, wandb, mlflow.",
        default="none",
        metavar="NAMES",
    )
    offline: bool = _option("Never use the network.", default=False)

    def __post_init__(self) -> None:
        for name, what in (
            ("model", "the checkpoint to begin with: a directory, a hub id, or demo-base"),
            ("train", "one file of text or JSON lines, or more"),
            ("output", "the directory that the checkpoint is written to"),
        ):
            self._need(name, lambda value: bool(value), what)
        for name in ("steps", "block_size", "lora", "lora_alpha", "eval_every", "patience"):
            self._need(name, lambda value: value is None or _is_count(value), _COUNT)
        for name in ("batch_size", "gradient_accumulation", "save_every"):
            self._need(name, _is_count, _COUNT)
        for name in ("learning_rate", "epochs"):
            self._need(name, lambda x: x is None or (_is_number(x) and x > 0), "a number above 0")
        for name in ("warmup", "weight_decay"):
            self._need(name, lambda x: _is_number(x) and x >= 0, "a number from 0 up")
        self._need("held_out", lambda x: _is_number(x) and 0 <= x < 1, "a share from 0 to below 1")
        self._need("seed", lambda x: type(x) is int and 0 <= x < 2**32, "a whole number from 0 up")
        self._need("schedule", lambda x: x in SCHEDULES, f"one of {', '.join(SCHEDULES)}")
        self._need("device", lambda x: x in ("auto", "cpu"), "auto or cpu")
        if self.steps is not None and self.epochs is not None:
            raise UsageError(f"--steps {self.steps} and --epochs {self.epochs} exclude each other")
        if self.prompt is not None and self.completion is None:
            raise UsageError(
                f"--prompt-template {self.prompt!r} needs a --completion-template: what is learned"
            )
        for name in ("eval_every", "patience"):
            if getattr(self, name) is not None and self.eval_task is None:
                raise UsageError(f"{flag(name)} {getattr(self, name)} needs an --eval-task")
        for name, unset in (("lora_alpha", None), ("no_merge", False)):
            if getattr(self, name) != unset and self.lora is None:
                raise UsageError(f"{flag(name)} needs --lora RANK")

    @property
    def optimizer(self) -> str:
        """Trainer's name of the optimiser."""
        return OPTIMIZERS.get(self.optim, self.optim)

    def arguments(self) -> dict[str, Any]:
        """All options as plain data, for the record."""
        return {name: list(x) if isinstance(x, tuple) else x for name, x in asdict(self).items()}

    def _need(self, name: str, fits: Callable[[Any], bool], expected: str) -> None:
        value = getattr(self, name)
        if not fits(value):
            raise UsageError(f"{flag(name)} {value!r}: expected {expected}")


_COUNT = "a whole number of at least 1"


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 1


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and isfinite(value)


def flag(name: str) -> str:
    """The command-line flag of a field."""
    by_name = {item.name: item.metadata for item in fields(FinetuneOptions)}
    return str(by_name[name].get("flag", "--" + name.replace("_", "-")))
