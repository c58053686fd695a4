"""Results -> the files that lm-evaluation-harness 0.4 writes.

`<model>/results_<time>.json` for each checkpoint, and `samples_<task>_<time>.jsonl` beside it. A
task that one of lm-eval's asks the same as (`Protocol.lm_eval`) has the name that it has there, and
so have its metrics; every other keeps `task@protocol`. What lm-eval tells and we do not know (the
columns of a data set, the settings of its engine) is not made up: it is left out.

Values are ours to the last digit. The standard error of a mean of samples is lm-eval's own formula;
of everything else it is the width of our 95 % interval over 3.92.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from gpt2eval import __version__
from gpt2eval.compare.records import read_run
from gpt2eval.export.lm_eval_samples import write_samples
from gpt2eval.export.lm_eval_values import Part, parts_of, values_of
from gpt2eval.export.order import Order, Written, began
from gpt2eval.peers.lm_eval_names import twin
from gpt2eval.results import write_atomically
from gpt2eval.task import Task
from gpt2eval.types import Result

LAYOUT = "0.4.13"  # of lm-eval, which the files follow
# A local version says who really wrote them, and compares as that of the layout does.
VERSION = f"{LAYOUT}+gpt2eval.{__version__}"


def write(order: Order) -> Written:
    """Write the files; the paths are those of results files, in the order of the checkpoints."""
    written = []
    taken: set[Path] = set()
    for group in _files(order):
        model = _model(group[0][1])
        folder = order.output / re.sub(r'["<>:/|\\?*\[\]]+', "__", model)
        when = began([result for _, result in group]).replace(tzinfo=None, microsecond=0)
        while (path := folder / f"results_{when.isoformat().replace(':', '-')}.json") in taken:
            when = when.replace(microsecond=when.microsecond + 1)
        taken.add(path)
        folder.mkdir(parents=True, exist_ok=True)
        _write_file(path, model, when, group, order.tasks)
        written.append(path)
    return Written(written)


def _files(order: Order) -> Iterator[list[tuple[str, Result]]]:
    """What goes into one results file: (lm-eval's name, result), each name once."""
    for results in order.by_checkpoint().values():
        files: list[dict[str, Result]] = []
        for result in results:
            name = task_name(result, order.tasks)
            file = next((file for file in files if name not in file), None)
            if file is None:
                files.append(file := {})
            file[name] = result
        yield from (list(file.items()) for file in files)


def task_name(result: Result, tasks: Mapping[str, Task]) -> str:
    """What lm-eval calls the task of a result; `task@protocol` where it has none that is the same.

    A task that came from another tool by `import` has the name that it had there.
    """
    if name := _twin_of(result, tasks):
        return name
    if result.task["protocol"] == result.run.get("tool"):
        return str(result.task["name"])
    return result.name


def _twin_of(result: Result, tasks: Mapping[str, Task]) -> str:
    """lm-eval's task that asks the same as that of a result; "" where it has none."""
    task = tasks.get(result.task["name"])
    for protocol in task.protocols if task else ():
        if protocol.name == result.task["protocol"]:
            return protocol.lm_eval
    return ""


def _model(result: Result) -> str:
    """What the user called the checkpoint."""
    return str(result.checkpoint.get("path") or result.checkpoint["name"])


def _write_file(
    path: Path,
    model: str,
    when: datetime,
    group: Sequence[tuple[str, Result]],
    tasks: Mapping[str, Task],
) -> None:
    hashes: dict[str, str] = {}
    configs: dict[str, Any] = {}
    parts: list[Part] = []
    for name, result in group:
        run = read_run(result)
        version = twin(name).version if _twin_of(result, tasks) else result.task["version"]
        for part in parts_of(name, result, run, version):
            parts.append(part)
            if twin(part.name).group:
                continue
            samples = path.with_name(f"samples_{part.name}_{path.stem.partition('_')[2]}.jsonl")
            output_type = _output_type(result)
            if run.ids:
                output_type, hashes[part.name] = write_samples(samples, part, run)
            configs[part.name] = _config(part, output_type)
    content = _content(model, when, [result for _, result in group], parts)
    content |= {"configs": configs, "task_hashes": hashes}
    write_atomically(path, json.dumps(content, ensure_ascii=False, indent=2) + "\n")


# ---- the rest of a results file -----------------------------------------------------------------


def _content(
    model: str, when: datetime, results: Sequence[Result], parts: Sequence[Part]
) -> dict[str, Any]:
    groups = [part for part in parts if twin(part.name).group]
    tasks = [part for part in parts if part not in groups]
    made = results[0].run
    versions = made.get("versions", {})
    seconds = [result.run.get("seconds") for result in results]
    return {
        "results": {part.name: values_of(part) for part in parts},
        **({"groups": {part.name: values_of(part) for part in groups}} if groups else {}),
        "group_subtasks": {
            group.name: [part.name for part in tasks if part.group == group.name]
            for group in groups
        },
        "configs": {},
        "versions": {part.name: part.version for part in parts},
        "n-shot": {part.name: _shots(part.result) for part in tasks},
        "higher_is_better": {
            part.name: {one.name: one.estimate.higher_is_better for one in part.columns}
            for part in parts
        },
        "n-samples": {part.name: _counts(part) for part in tasks},
        "config": _model_section(model, results),
        "git_hash": str(made.get("git_commit") or "")[:7],
        "date": when.replace(tzinfo=timezone.utc).timestamp(),
        "pretty_env_info": f"PyTorch version: {versions['torch']}" if "torch" in versions else "",
        "transformers_version": versions.get("transformers", ""),
        "lm_eval_version": VERSION,
        "upper_git_hash": None,
        "max_length": made.get("n_ctx"),
        "model_source": "gpt2eval",
        "model_name": model,
        "model_name_sanitized": re.sub(r'["<>:/|\\?*\[\]]+', "__", model),
        "system_instruction": None,
        "system_instruction_sha": None,
        "fewshot_as_multiturn": False,
        "chat_template": None,
        "chat_template_sha": None,
        "total_evaluation_time_seconds": str(sum(each for each in seconds if each)),
        # What lm-eval has no place for.
        "gpt2eval": {part.name: _ours(part) for part in parts if not part.group},
    }


def _model_section(model: str, results: Sequence[Result]) -> dict[str, Any]:
    """How the model was run, in lm-eval's words."""
    checkpoint, made = results[0].checkpoint, results[0].run
    seed = made.get("seed")
    return {
        "model": "gpt2eval",
        "model_args": f"pretrained={model},dtype={made.get('dtype') or 'unknown'}",
        "model_num_parameters": checkpoint.get("parameters") or -1,
        "model_dtype": f"torch.{made['dtype']}" if made.get("dtype") else "",
        "model_revision": str(checkpoint.get("revision") or "main"),
        "model_sha": str(checkpoint.get("revision") or ""),
        "batch_size": made.get("batch_policy") or None,
        "batch_sizes": [],
        "device": made.get("device") or None,
        "use_cache": None,
        "limit": _limit(results),
        "bootstrap_iters": 0,
        "gen_kwargs": None,
        **dict.fromkeys(
            ("random_seed", "numpy_seed", "torch_seed", "fewshot_seed"),
            seed if isinstance(seed, int) else None,
        ),
    }


def _ours(part: Part) -> dict[str, Any]:
    result = part.result
    return {
        "task": result.name,
        "checkpoint_sha256": result.checkpoint.get("sha256", ""),
        "data": {key: result.data.get(key) for key in ("source", "sha256", "subset")},
        "signature": result.signature,
        "intervals": {
            column.key: [column.estimate.low, column.estimate.high, column.estimate.method]
            for column in part.columns
        },
    }


def _shots(result: Result) -> int:
    return int(result.task.get("options", {}).get("num_fewshot") or 0)


def _counts(part: Part) -> dict[str, int]:
    """How many documents there are, and how many were scored."""
    count = max(column.estimate.n for column in part.columns)
    available = part.result.data.get("available")
    return {"original": count if part.group or available is None else available, "effective": count}


def _limit(results: Sequence[Result]) -> int | None:
    """How many samples were asked for of each task, where not all were."""
    counts = [
        result.data.get("selected") for result in results if result.data.get("subset") != "all"
    ]
    return max((count for count in counts if count), default=None)


def _output_type(result: Result) -> str:
    """lm-eval's type of a task without records, as far as one can tell."""
    return "generate_until" if result.task.get("kind") == "generation" else "loglikelihood"


def _config(part: Part, output_type: str) -> dict[str, Any]:
    """What the file of the task would say."""
    result = part.result
    data = result.data
    return {
        "task": part.name,
        **({"group": part.group} if part.group else {}),
        "dataset_path": data.get("id") or data.get("source"),
        "dataset_name": data.get("config"),
        "test_split": data.get("split"),
        "output_type": output_type,
        "num_fewshot": _shots(result),
        "metric_list": [
            {
                "metric": column.name,
                "aggregation": column.aggregation,
                "higher_is_better": column.estimate.higher_is_better,
            }
            for column in part.columns
            if column.aggregation
        ],
        "metadata": {"version": part.version},
    }
