"""The numbers of lm-evaluation-harness itself, offline: its own model class, tasks and metrics.

Only where the rows come from is changed: a local JSON file in the place of a Hub data set.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

Model = Path | Callable[[str], str]
HEADING_DEPTHS = (("= = =", "==="), ("= =", "=="))


@dataclass(frozen=True)
class LmEvalResult:
    """metrics by lm-eval's names, and per document, in file order, what the model said.

    logprobs and greedy are of a document's first request, choices the log-probabilities of all;
    texts are of tasks that generate, where there are no log-probabilities.
    """

    metrics: dict[str, float]
    logprobs: list[float]
    greedy: list[bool]
    documents: list[dict[str, Any]]
    choices: list[list[float]]
    texts: list[str]


def is_heading(line: str) -> bool:
    """Whether the line is one of those at which EleutherAI/wikitext_document_level cuts."""
    for spaced, joined in HEADING_DEPTHS:
        line = line.replace(spaced, joined)
    line = line.strip()
    return line.startswith("= ") and line.endswith(" =")


def wikitext_pages(text: str) -> list[str]:
    """The rows of EleutherAI/wikitext_document_level for the text of a wiki.*.raw file.

    The line break before a heading belongs to no page, and some formulas pass for headings.
    """
    lines = text.split("\n")
    starts = [place for place, line in enumerate(lines) if is_heading(line)]
    bounds = [0, *starts, len(lines)]
    pages = ["\n".join(lines[a:b]) for a, b in pairwise(bounds)]
    return [page for page in pages if page.strip()]


def scripted(write: Callable[[str], str]) -> Any:
    """A model of lm-eval that writes what `write` says after a prompt, up to a stop string."""
    from lm_eval.api.model import LM

    class Scripted(LM):
        def generate_until(self, requests: Any, disable_tqdm: bool = False) -> list[str]:
            return [cut(write(one.args[0]), one.args[1]["until"]) for one in requests]

        def loglikelihood(self, requests: Any, disable_tqdm: bool = False) -> Any:
            raise NotImplementedError

        loglikelihood_rolling = loglikelihood

    return Scripted()


def cut(text: str, until: Sequence[str]) -> str:
    """The text before the first of the stop strings."""
    for stop in until:
        text = text.split(stop)[0]
    return text


def run_lm_eval(
    checkpoint: Model,
    task: str,
    yaml_file: str,
    rows: list[dict[str, Any]],
    scratch: Path,
    *,
    batch_size: int = 1,
    limit: int | None = None,
    settings: dict[str, Any] | None = None,
) -> LmEvalResult:
    """lm-eval's result for one of its tasks on rows of ours.

    checkpoint may also be a function from a prompt to what is written after it. yaml_file is the
    task's file inside lm_eval/tasks; scratch is an empty directory; settings go over those of the
    file.
    """
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    scratch.mkdir(parents=True, exist_ok=True)
    data = scratch / f"{task}.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    config = {
        "include": str(files("lm_eval") / "tasks" / yaml_file),
        "task": f"local_{task}",
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": {"test": str(data)}, "cache_dir": str(scratch / "cache")},
        "training_split": None,
        "validation_split": None,
        "test_split": "test",
        **(settings or {}),
    }
    (scratch / f"{task}.yaml").write_text(yaml.safe_dump(config), "utf-8")
    output = simple_evaluate(
        model="hf" if isinstance(checkpoint, Path) else scripted(checkpoint),
        model_args={"pretrained": str(checkpoint), "dtype": "float32"},
        tasks=[f"local_{task}"],
        batch_size=batch_size,
        limit=limit,
        device="cpu",
        bootstrap_iters=0,
        log_samples=True,
        task_manager=TaskManager(include_path=str(scratch), include_defaults=False),
    )
    samples = sorted(output["samples"][f"local_{task}"], key=lambda sample: sample["doc_id"])
    metrics = {
        name.partition(",")[0]: value  # what stands behind the comma is the filter
        for name, value in output["results"][f"local_{task}"].items()
        if isinstance(value, float) and "_stderr" not in name
    }
    answers = [sample["filtered_resps"][0] for sample in samples]
    generates = output["configs"][f"local_{task}"]["output_type"] == "generate_until"
    numbers = [] if generates else answers
    return LmEvalResult(
        metrics=metrics,
        logprobs=[float(answer[0]) if is_pair(answer) else float(answer) for answer in numbers],
        greedy=[answer[1] in (True, "True") for answer in numbers if is_pair(answer)],
        documents=[sample["doc"] for sample in samples],
        choices=[
            [float(answer[0]) for answer in sample["filtered_resps"] if is_pair(answer)]
            for sample in samples
        ],
        texts=answers if generates else [],
    )


def is_pair(answer: Any) -> bool:
    """Whether an answer has a greedy flag beside the log-probability; rolling ones have not."""
    return isinstance(answer, list | tuple)


def wikitext(checkpoint: Path, raw: Path, scratch: Path, **options: Any) -> LmEvalResult:
    """lm-eval's `wikitext`: word_perplexity, byte_perplexity, bits_per_byte."""
    text = raw.read_bytes().decode()
    rows = [{"page": page} for page in wikitext_pages(text)]
    return run_lm_eval(checkpoint, "wikitext", "wikitext/wikitext.yaml", rows, scratch, **options)


def lambada_openai(checkpoint: Path, jsonl: Path, scratch: Path, **options: Any) -> LmEvalResult:
    """lm-eval's `lambada_openai`: perplexity, acc."""
    lines = jsonl.read_bytes().decode().split("\n")
    rows = [{"text": json.loads(line)["text"]} for line in lines if line]
    return run_lm_eval(
        checkpoint, "lambada_openai", "lambada/lambada_openai.yaml", rows, scratch, **options
    )


def lambada_standard(checkpoint: Path, plain: Path, scratch: Path, **options: Any) -> LmEvalResult:
    """lm-eval's `lambada_standard`: perplexity, acc."""
    rows = [{"text": line} for line in plain.read_bytes().decode().split("\n") if line]
    return run_lm_eval(
        checkpoint, "lambada_standard", "lambada/lambada_standard.yaml", rows, scratch, **options
    )


def coqa(checkpoint: Model, rows: list[dict[str, Any]], scratch: Path) -> LmEvalResult:
    """lm-eval's `coqa` on rows of `EleutherAI/coqa`: em, f1."""
    return run_lm_eval(checkpoint, "coqa", "coqa/default.yaml", rows, scratch)


def nq_open(checkpoint: Model, rows: list[dict[str, Any]], scratch: Path) -> LmEvalResult:
    """lm-eval's `nq_open` on rows {question, answer: [...]}: exact_match."""
    return run_lm_eval(checkpoint, "nq_open", "nq_open/nq_open.yaml", rows, scratch)


def triviaqa(checkpoint: Model, rows: list[dict[str, Any]], scratch: Path) -> LmEvalResult:
    """lm-eval's `triviaqa` on rows {question, answer: {aliases: [...]}}: exact_match."""
    return run_lm_eval(checkpoint, "triviaqa", "triviaqa/default.yaml", rows, scratch)


@dataclass(frozen=True)
class Asked:
    """One of lm-eval's tasks: its file inside lm_eval/tasks, its rows, settings over the file's."""

    file: str
    rows: list[dict[str, Any]]
    settings: dict[str, Any]


def save_results(
    checkpoint: Path,
    asked: dict[str, Asked],
    output: Path,
    scratch: Path,
    *,
    limit: int | None = None,
    samples: bool = True,
) -> dict[str, Any]:
    """What `lm_eval --output_path OUTPUT --log_samples` writes, by its own tracker; its results.

    Tasks keep their names; only where the rows come from is changed.
    """
    from lm_eval import simple_evaluate
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.tasks import TaskManager

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    scratch.mkdir(parents=True, exist_ok=True)
    for task, one in asked.items():
        data = scratch / f"{task}.jsonl"
        data.write_text("".join(json.dumps(row) + "\n" for row in one.rows), "utf-8")
        config = {
            "include": str(files("lm_eval") / "tasks" / one.file),
            "task": task,
            "dataset_path": "json",
            "dataset_name": None,
            "dataset_kwargs": {
                "data_files": {"test": str(data)},
                "cache_dir": str(scratch / "cache"),
            },
            "training_split": None,
            "validation_split": None,
            "test_split": "test",
            **one.settings,
        }
        (scratch / f"{task}.yaml").write_text(yaml.safe_dump(config), "utf-8")
    tracker = EvaluationTracker(output_path=str(output))
    tracker.general_config_tracker.log_experiment_args(
        model_source="hf",
        model_args=f"pretrained={checkpoint},dtype=float32",
        system_instruction="",
        chat_template="",
        fewshot_as_multiturn=False,
    )
    found = simple_evaluate(
        model="hf",
        model_args=f"pretrained={checkpoint},dtype=float32",
        tasks=list(asked),
        batch_size=4,
        limit=limit,
        device="cpu",
        bootstrap_iters=0,
        log_samples=samples,
        task_manager=TaskManager(include_path=str(scratch), include_defaults=False),
        evaluation_tracker=tracker,
    )
    logged = found.pop("samples", {})
    tracker.save_results_aggregated(results=found, samples=logged or None)
    for task, rows in logged.items():
        tracker.save_results_samples(task_name=task, samples=rows)
    return dict(found)
