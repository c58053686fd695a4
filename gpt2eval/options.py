"""The options of runs and of reports, declared once: command line, experiment file, Python API."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from gpt2eval.errors import UsageError

DTYPES = ("float32", "bfloat16", "float16")
SHORT_DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


def _option(help: str, default: Any = None, **more: Any) -> Any:
    return field(default=default, metadata={"help": help, **more})


@dataclass(frozen=True, slots=True)
class Shard:
    """The `number`-th of `of` parts, counted from 1."""

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """The shard that `--shard` names; UsageError for what is none."""
        first, _, second = text.partition("/")
        if not (first.isdecimal() and second.isdecimal()):
            raise UsageError(f"--shard {text!r}: expected i/n, the i-th of n shards, as 1/4")
        shard = cls(int(first), int(second))
        if shard.number == 0:
            raise UsageError(
                f"--shard {text!r}: shards are counted from 1, so that the last of {shard.of} is"
                f" {shard.of}/{shard.of}; with Slurm write --array=1-{shard.of}, or"
                f" --shard $((SLURM_ARRAY_TASK_ID + 1))/{shard.of}"
            )
        if shard.number > shard.of:
            raise UsageError(
                f"--shard {text!r}: expected a shard from 1/{shard.of} to {shard.of}/{shard.of}"
            )
        return shard

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What to score, on what, and where the results go. Raises UsageError for values out of range.

    The metadata of each field make its command-line flag: `help`, `metavar`, `flag` where the flag
    is not the field's name, and `multiple`, and `auto` where that word stands for None. And its key
    in an experiment file: `per` says whether a "model" or a "task" may have a value of its own,
    `place` that the text is a "directory" or a "checkpoint", which is looked for beside the file,
    `number` that a number is as good as a text.
    """

    models: tuple[str, ...] = _option(
        "Checkpoint: a directory, a file, a glob ('runs/*/checkpoint-*'), a hub id, or demo-base /"
        " demo-tuned. May be given several times."
        "  [default: the two bundled checkpoints]",
        default=(),
        flag="--model",
        metavar="CHECKPOINT",
        multiple=True,
        place="checkpoint",
    )
    tokenizer: str | None = _option(
        "Tokenizer of the checkpoints, in place of their own: a directory or a hub id. For those"
        " that bring none, such as nanoGPT's and llm.c's.",
        metavar="DIR|ID",
    )
    tasks: str = _option(
        "Tasks, groups or globs, with commas: core, wikitext2@lm-eval, 'lambada@*'; or lm-eval's"
        " names: lambada_openai.",
        default="core",
        metavar="NAMES",
    )
    data: str | None = _option(
        "Directory with benchmark files, 'bundled' for the sample texts, or 'hub'."
        "  [default: bundled for bundled checkpoints, else hub]",
        metavar="DIR",
        place="directory",
    )
    output: str = _option(
        "Where results are kept.", default="results", metavar="DIR", place="directory"
    )
    report: str = _option(
        "Where the report of this run is written.",
        default="reports/latest",
        metavar="DIR",
        place="directory",
    )
    limit: int | None = _option(
        "Score a random subset of N samples a task; smaller ones lie inside larger ones.",
        metavar="N",
        per="task",
    )
    limit_first: int | None = _option("Score the first N samples a task.", metavar="N", per="task")
    num_fewshot: int | None = _option(
        "Examples before each question, for tasks that have some.  [default: the protocol's own]",
        metavar="N",
        per="task",
    )
    batch_size: int | None = _option(
        "Most sequences in a batch, or auto: as many as fit; fewer where memory runs out."
        "  [default: auto]",
        metavar="N",
        auto=True,
        per="model",
    )
    dtype: str = _option(
        f"Precision of the weights: {', '.join(DTYPES)}.", default="float32", per="model"
    )
    device: str = _option(
        "Where to compute: auto, cpu, cuda, cuda:N or mps.", default="auto", per="model"
    )
    seed: int = _option(
        "Seed of sampled texts, examples, --limit and the intervals.",
        default=0,
        metavar="N",
    )
    max_failed: str = _option(
        "How many samples of a task may fail, N or P%, before the exit code is 4.",
        default="0",
        metavar="N|P%",
        number=True,
    )
    scorer: str | None = _option(
        "Checkpoint that scores what the models write, where a task asks for it: open_generation."
        "  [default: each model itself]",
        metavar="CHECKPOINT",
        place="checkpoint",
    )
    tasks_dir: str | None = _option(
        "Directory with your own task files.  [default: ./tasks]", metavar="DIR", place="directory"
    )
    offline: bool = _option("Never use the network.", default=False)
    shard: str | None = _option(
        "Score the I-th of N parts of the work only, I from 1 to N; `gpt2eval merge` puts them"
        " together.",
        metavar="I/N",
    )
    workers: int | None = _option(
        "Processes of this machine that share the work, one a GPU where there are some, else"
        " sharing the cores.  [default: this process; with --ray one a GPU, else one a node]",
        metavar="N",
    )
    ray: str | None = _option(
        "Share the work out over a Ray cluster: its address, auto for the one that this machine is"
        " in, or local to begin one.",
        metavar="ADDRESS",
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "dtype", SHORT_DTYPES.get(self.dtype, self.dtype))
        batch_size: object = self.batch_size
        if batch_size == "auto":
            object.__setattr__(self, "batch_size", None)
        for name in ("data", "output", "report", "tasks_dir", "tokenizer"):
            self._need(name, lambda value: value != "", "the name of a directory, not nothing")
        if "" in self.models:
            raise UsageError("--model '': expected a directory, a hub id or a bundled name")
        for name in ("limit", "limit_first", "batch_size"):
            self._need(name, _is_count, "a whole number of at least 1")
        self._need(
            "num_fewshot",
            lambda value: value is None or (_is_whole(value) and value >= 0),
            "a whole number from 0 up",
        )
        self._need(
            "seed", lambda value: _is_whole(value) and value >= 0, "a whole number from 0 up"
        )
        self._need("dtype", lambda value: value in DTYPES, f"one of {', '.join(DTYPES)}")
        object.__setattr__(self, "max_failed", str(self.max_failed))
        self._need(
            "max_failed", _is_share, "how many samples may fail, as 10, or which share, as 0.5%"
        )
        self._need("workers", _is_count, "a whole number of at least 1")
        self._need("ray", lambda value: value != "", "the address of a cluster, auto or local")
        if self.shard is not None:
            Shard.parse(self.shard)
            if self.workers is not None or self.ray is not None:
                other = "--workers" if self.ray is None else "--ray"
                raise UsageError(
                    f"--shard {self.shard} and {other} exclude each other: {other} shares out the"
                    " whole work by itself"
                )
        if self.limit is not None and self.limit_first is not None:
            raise UsageError(
                f"--limit {self.limit} and --limit-first {self.limit_first} exclude each other"
            )

    def _need(self, name: str, fits: Callable[[Any], bool], expected: str) -> None:
        value = getattr(self, name)
        if not fits(value):
            raise UsageError(f"{flag(name)} {value!r}: expected {expected}")


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """How a report is made of results; the metadata are as those of RunOptions."""

    baseline: str | None = _option(
        "Checkpoint that the others are compared with.  [default: the first]"
    )
    title: str = _option("Heading of the report.", default="", metavar="TEXT")
    style: str = _option(
        "A matplotlib style for the plots: its name, or a .mplstyle file.",
        default="",
        metavar="STYLE",
    )
    intervals: bool = _option("Print intervals in the LaTeX tables too.", default=False)
    experiment: str | None = _option(
        "Experiment file that says the steps of checkpoints.", metavar="FILE"
    )
    allow_intersection: bool = _option(
        "Compare the samples that both have where data or subset differ.", default=False
    )
    tasks_dir: str | None = _option("Directory with your own task files.", metavar="DIR")


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return value is None or (_is_whole(value) and value >= 1)


def _is_share(text: str) -> bool:
    number = re.fullmatch(r"\d+|(\d+(?:\.\d+)?)%", text)
    return number is not None and float(number[1] or 0) <= 100


def flag(name: str) -> str:
    """The command-line flag of a field."""
    by_name: dict[str, Mapping[str, Any]] = {f.name: f.metadata for f in fields(RunOptions)}
    return str(by_name[name].get("flag", "--" + name.replace("_", "-")))


def names_but(*left_out: str) -> list[str]:
    """The names of all fields but these."""
    return [item.name for item in fields(RunOptions) if item.name not in left_out]
