"""gpt2eval: its command line from end to end, report and plots included."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from benchmarks.peers import Job, serve

BATCH = dict.fromkeys(("rolling", "last-word", "choice", "generation"), "auto")
TASKS = {
    "rolling": "wikitext2@lm-eval",
    "last-word": "lambada@openai",
    "choice": "hellaswag@lm-eval",
    "generation": "bench_generation",
}


def answer(job: Job) -> dict[str, Any]:
    """Run `gpt2eval run` in this process, then read the results it left."""
    from gpt2eval import cli

    scratch = Path(job["scratch"])
    sys.argv = ["gpt2eval", "run", "--model", job["checkpoint"], "--quiet", "--offline"]
    sys.argv += ["--tasks", TASKS[job["workload"]], "--tasks-dir", "benchmarks/tasks"]
    sys.argv += ["--data", str(Path(job["prepared"]) / "data"), "--device", "cpu"]
    sys.argv += ["--dtype", job["dtype"], "--batch-size", str(job["batch"])]
    sys.argv += ["--output", str(scratch / "results"), "--report", str(scratch / "report")]
    try:
        cli.main()
    except SystemExit as end:
        if end.code:
            raise
    return _read(scratch / "results")


def _read(output: Path) -> dict[str, Any]:
    from gpt2eval.results import load_results, read_records

    (result,) = load_results(output)
    assert result.path is not None
    records = list(read_records(result.path))
    numbers: dict[str, Any] = {}
    if result.task["kind"] == "generation":
        # Records come in the order in which they were done; texts are compared in that of the data.
        records.sort(key=lambda record: int(record.id))
        numbers["texts"] = [record.responses[0]["text"] for record in records]
    else:
        numbers["total"] = sum(
            sum(response["logprobs"]) for record in records for response in record.responses
        )
    if "accuracy" in result.metrics:
        numbers["right"] = round(result.metrics["accuracy"].value * len(records))
    return {"numbers": numbers, "seconds": result.run["seconds"]}


if __name__ == "__main__":
    serve(answer)
