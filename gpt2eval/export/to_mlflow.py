"""Results -> runs of the experiment "gpt2eval" in a local store of MLflow.

The store is a SQLite file where MLflow can write one (the whole package, or mlflow-skinny beside
sqlalchemy and alembic), and a directory of files otherwise. A checkpoint is a run.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gpt2eval.export.order import Order, Written
from gpt2eval.export.tracked import COLUMNS, environment, need, scalars, settings, step_of, table
from gpt2eval.types import Result

EXPERIMENT = "gpt2eval"
LONGEST = 500  # characters of a parameter
# No word to its makers; and the directory of files, which is deprecated, without being asked twice.
OURS = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ALLOW_FILE_STORE": "true"}


def write(order: Order) -> Written:
    """Write a run for each checkpoint: params, metrics with intervals, table.json, the report."""
    with environment(**OURS):
        need("mlflow", "mlflow")
        return _write(order)


def _write(order: Order) -> Written:
    from mlflow import MlflowClient

    order.output.mkdir(parents=True, exist_ok=True)
    where = order.output.resolve()
    whole = bool(find_spec("sqlalchemy") and find_spec("alembic"))
    store = where / ("mlflow.db" if whole else "mlruns")
    uri = f"sqlite:///{store}" if whole else store.as_uri()
    client = MlflowClient(tracking_uri=uri)
    known = client.get_experiment_by_name(EXPERIMENT)
    artifacts = (where / "artifacts").as_uri()
    experiment = known.experiment_id if known else client.create_experiment(EXPERIMENT, artifacts)
    for label, results in order.by_checkpoint().items():
        _write_run(client, experiment, label, results, order.report)
    allowed = "" if whole else "MLFLOW_ALLOW_FILE_STORE=true "
    return Written([store], [f"look at it: {allowed}mlflow ui --backend-store-uri {uri}"])


def _write_run(
    client: Any, experiment: str, label: str, results: Sequence[Result], report: Path | None
) -> None:
    run = client.create_run(experiment, run_name=label).info.run_id
    for name, value in settings(results).items():
        client.log_param(run, name, str(value)[:LONGEST])
    step = step_of(label)
    for result in results:
        for name, number in scalars(result).items():
            client.log_metric(run, name, number, step=step)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "table.json"
        content = {"columns": list(COLUMNS), "data": table(results)}
        path.write_text(json.dumps(content, ensure_ascii=False), "utf-8", "backslashreplace")
        client.log_artifact(run, str(path))
    if report is not None:
        client.log_artifacts(run, str(report), artifact_path="report")
    client.set_terminated(run)
