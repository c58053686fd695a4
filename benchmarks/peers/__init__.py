"""One module a tool. Each is a process of its own: `python -m benchmarks.peers.NAME JOB.json`.

A job names the workload, the checkpoint, the directory that `benchmarks.prepare` filled, the dtype,
the number of threads, the batch size, an empty scratch directory, and the file for the answer. An
answer is {"numbers": ..., "seconds": ...}, or {"skipped": why}. Its numbers are

    rolling, last-word, choice   "total": the sum of the log-probabilities that were asked for
    last-word, choice            "right": how many were answered right
    generation                   "texts": what was written, in order

and its seconds are those after the model was loaded, by the tool's own count where it has one.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

Job = dict[str, Any]


def serve(answer: Callable[[Job], dict[str, Any]]) -> None:
    """Read the job that the command line names, and write the answer to it."""
    job = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    Path(job["answer"]).write_text(json.dumps(answer(job)), "utf-8")


def asked(job: Job) -> dict[str, Any]:
    """The texts of the job's workload."""
    content: dict[str, Any] = json.loads(
        (Path(job["prepared"]) / f"{job['workload']}.json").read_text("utf-8")
    )
    return content
