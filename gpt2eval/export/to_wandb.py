"""Results -> runs of Weights & Biases on disk: offline, to be sent by `wandb sync` if one wants to.

Nothing is asked of a server, and wandb's own habits are switched off: it keeps no console output,
no code, no state of git, no packages and nothing about the machine. What stands in the run is what
`gpt2eval.export.tracked` lists.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gpt2eval.export.order import Order, Written
from gpt2eval.export.tracked import COLUMNS, environment, need, scalars, settings, step_of, table
from gpt2eval.naming import safe_name
from gpt2eval.types import Result

PROJECT = "gpt2eval"


def write(order: Order) -> Written:
    """Write `wandb/offline-run-...` for each checkpoint: summary, table, the report as artifact."""
    order.output.mkdir(parents=True, exist_ok=True)
    # An offline run has no use for a key, and its makers none for a word on errors.
    with environment(WANDB_API_KEY=None, WANDB_ERROR_REPORTING="false"):
        wandb = need("wandb", "wandb")
        paths = [
            _write_run(wandb, order.output, label, results, order.report)
            for label, results in order.by_checkpoint().items()
        ]
    return Written(paths, [f"to send it: wandb sync {path}" for path in paths])


def _write_run(
    wandb: Any, output: Path, label: str, results: Sequence[Result], report: Path | None
) -> Path:
    quiet = wandb.Settings(
        console="off",
        silent=True,
        disable_code=True,
        disable_git=True,
        save_code=False,
        x_disable_meta=True,
        x_disable_stats=True,
        x_disable_machine_info=True,
        x_save_requirements=False,
    )
    run = wandb.init(
        project=PROJECT,
        name=label,
        dir=str(output),
        mode="offline",
        config=settings(results),
        settings=quiet,
    )
    try:
        numbers = {name: x for result in results for name, x in scalars(result).items()}
        run.log({**numbers, "table": wandb.Table(list(COLUMNS), table(results))}, step_of(label))
        if report is not None:
            artifact = wandb.Artifact(f"report-{safe_name(label)}", type="report")
            artifact.add_dir(str(report))
            run.log_artifact(artifact)
        return Path(run.dir).parent
    finally:
        run.finish()
