"""Results -> `.eval_results/*.yaml`, which the hub's leaderboards read in a model's repository.

https://huggingface.co/docs/hub/eval-results. One file for each task@protocol, with its first
metric: a leaderboard has one number for a model. The hub takes only what is of a data set that is
registered as a benchmark; which task of it a number belongs to is written in the `eval.yaml` of
that data set, so `task_id` is to be checked before anything is pushed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gpt2eval import __version__
from gpt2eval.errors import UsageError
from gpt2eval.export.model_index import hub_of, value_of
from gpt2eval.export.order import Order, Written, whole
from gpt2eval.labels import is_bundled
from gpt2eval.naming import safe_name, safe_task
from gpt2eval.report.text import SAMPLE_NOTICE
from gpt2eval.results import write_atomically
from gpt2eval.types import Result

DIRECTORY = ".eval_results"
UNKNOWN = "no task here says what the hub calls its data"


def write(order: Order) -> Written:
    """Write the files below `<checkpoint>/.eval_results/`; UsageError where none can be."""
    paths: list[Path] = []
    left: dict[str, dict[str, None]] = {}  # reason -> names
    for label, results in order.by_checkpoint().items():
        for result in results:
            if is_bundled(result):
                left.setdefault(SAMPLE_NOTICE, {})[result.name] = None
            elif hub_of(order, result) is None:
                left.setdefault(UNKNOWN, {})[result.name] = None
            else:
                name = f"{safe_task(result.name)}.yaml"
                path = order.output / safe_name(label) / DIRECTORY / name
                path.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(path, _to_yaml(order, result))
                paths.append(path)
    notes = [f"left out ({reason}): {', '.join(names)}" for reason, names in left.items()]
    if not paths:
        raise UsageError(
            f"no result can be an entry of a leaderboard; {'; '.join(notes)}. Score the benchmarks"
            " themselves, with --data"
        )
    return Written(paths, [*notes, "check each task_id against the eval.yaml of its data set"])


def _to_yaml(order: Order, result: Result) -> str:
    import yaml

    try:
        from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml
    except ImportError as error:
        raise UsageError(
            "--format eval-results needs a newer huggingface_hub, which has EvalResultEntry;"
            " install it: pip install --upgrade huggingface_hub"
        ) from error
    hub = hub_of(order, result)
    assert hub is not None
    name, estimate = next(iter(whole(result).items()))
    subset = result.data.get("subset")
    told = [result.name, f"{name} in {estimate.unit}", estimate.denominator]
    if estimate.low is not None and estimate.high is not None:
        told.append(f"{estimate.level:.0%} interval {estimate.low:.6g} to {estimate.high:.6g}")
    told += [str(subset)] if subset not in ("all", None) else []
    told.append(f"gpt2eval {__version__}")
    entry = EvalResultEntry(
        dataset_id=hub.id,
        task_id=hub.config if isinstance(hub.config, str) else "default",
        value=value_of(estimate),
        dataset_revision=result.data.get("revision") or None,
        date=str(result.run.get("started") or "") or None,
        notes="; ".join(told),
    )
    content: list[dict[str, Any]] = eval_result_entries_to_yaml([entry])
    return str(yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
