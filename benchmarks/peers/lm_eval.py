"""lm-evaluation-harness: its own tasks on local rows, or tasks of the same kind."""

from __future__ import annotations

import time
from importlib.resources import files
from pathlib import Path
from typing import Any

from benchmarks.peers import Job, asked, serve

BATCH = {"rolling": 1, "last-word": 8, "choice": 8, "generation": 8}


def answer(job: Job) -> dict[str, Any]:
    """`simple_evaluate` without a bootstrap, which our own runs have to carry and these do not."""
    import yaml
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    scratch = Path(job["scratch"])
    name = f"bench_{job['workload'].replace('-', '_')}"
    (scratch / f"{name}.yaml").write_text(yaml.safe_dump(_task(job, name)), "utf-8")
    model = HFLM(job["checkpoint"], dtype=job["dtype"], device="cpu", batch_size=int(job["batch"]))
    begin = time.perf_counter()
    output = simple_evaluate(
        model=model,
        tasks=[name],
        bootstrap_iters=0,
        log_samples=True,
        task_manager=TaskManager(include_path=str(scratch), include_defaults=False),
    )
    seconds = time.perf_counter() - begin
    samples = sorted(output["samples"][name], key=lambda sample: sample["doc_id"])
    return {"numbers": _numbers(job["workload"], samples), "seconds": seconds}


def _task(job: Job, name: str) -> dict[str, Any]:
    """The configuration of the task, with rows from a file instead of the hub."""
    rows = Path(job["prepared"]) / "lm_eval" / f"{job['workload']}.jsonl"
    common = {
        "task": name,
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {
            "data_files": {"test": str(rows)},
            "cache_dir": str(Path(job["prepared"]) / "lm_eval" / "cache"),
        },
        "training_split": None,
        "validation_split": None,
        "test_split": "test",
    }
    own = files("lm_eval") / "tasks"
    if job["workload"] == "rolling":
        return {"include": str(own / "wikitext" / "wikitext.yaml"), **common}
    if job["workload"] == "last-word":
        return {"include": str(own / "lambada" / "lambada_openai.yaml"), **common}
    if job["workload"] == "choice":
        return {
            **common,
            "output_type": "multiple_choice",
            "doc_to_text": "context",
            "doc_to_choice": "endings",
            "doc_to_target": "label",
            "metric_list": [{"metric": "acc"}],
        }
    return {
        **common,
        "output_type": "generate_until",
        "doc_to_text": "prompt",
        "doc_to_target": "",
        "generation_kwargs": {
            "until": [],
            "max_gen_toks": asked(job)["new"],
            "do_sample": False,
        },
        "metric_list": [{"metric": "bypass"}],
    }


def _numbers(workload: str, samples: list[dict[str, Any]]) -> dict[str, Any]:
    answers = [sample["filtered_resps"] for sample in samples]
    if workload == "generation":
        return {"texts": [texts[0] for texts in answers]}
    if workload == "rolling":
        return {"total": sum(float(total[0]) for total in answers)}
    pairs = [pair for sample in answers for pair in sample]
    numbers: dict[str, Any] = {"total": sum(float(pair[0]) for pair in pairs)}
    numbers["right"] = round(sum(sample["acc"] for sample in samples))
    return numbers


if __name__ == "__main__":
    serve(answer)
