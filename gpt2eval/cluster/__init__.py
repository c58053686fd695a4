"""Units of work over a Ray cluster: `--ray`, the extra `gpt2eval[ray]`.

A unit is a shard of one task of one checkpoint. A worker is a Ray actor with a GPU of its own, or
with cores; it keeps a checkpoint in memory and serves its units one after the other. Records come
back to this process, which alone writes: nodes need the checkpoints and the data, but not the
store. The unit of a worker that dies is given to another; what it had done of it is lost, and so
nothing counts twice.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import asdict

from gpt2eval.checkpoint import Checkpoint
from gpt2eval.cluster.connection import connected, room_for
from gpt2eval.cluster.pool import Pool
from gpt2eval.cluster.store import Store
from gpt2eval.cluster.units import plan_units, task_sizes
from gpt2eval.options import RunOptions
from gpt2eval.scoring import Progress
from gpt2eval.work import Work


def spread(
    options: RunOptions, checkpoints: Sequence[Checkpoint], work: Sequence[Work], progress: Progress
) -> None:
    """Score what is missing on the cluster that `options.ray` names.

    Results are written as their checkpoints are complete. Raises UsageError where Ray or the
    cluster is not there, WorkerError for a unit whose workers died, and whatever else a worker
    raises. What was scored is kept.
    """
    store = Store(options, checkpoints, work)
    missing = store.missing()
    if not any(missing):
        return
    progress.begin("Ray: starting workers")
    with connected(options.ray or "auto") as ray:
        count, resources = room_for(ray, options)
        expected = [directory.name for directory in store.directories[0]]
        values = {**asdict(options), "ray": None, "workers": None}
        arguments = (values, os.getcwd(), list(sys.argv), expected)
        sizes = task_sizes(work)
        units = plan_units(missing, sizes, count)
        progress.begin(f"Ray: {len(units)} units, {count} workers")
        try:
            Pool(ray, count, resources, arguments, units, store, progress).work_off(sizes)
            store.wait()
        finally:
            store.close()
