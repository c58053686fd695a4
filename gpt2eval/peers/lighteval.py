"""The files that lighteval writes: `results_*.json`, and with `--save-details` parquet files.

https://github.com/huggingface/lighteval, the layout of 0.13. `results/MODEL/results_TIME.json` has
the values of all tasks of one run; `details/MODEL/TIME/details_TASK_TIME.parquet` has a row for
each sample. What is read here comes out in the terms of lm-eval's files, which the importer knows.

A value that its samples do not give has no interval, whatever standard error stands beside it:
lighteval divides the spread of a bootstrap by the root of the number of resamples, which makes that
of a corpus metric some thirty times too small.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gpt2eval.digests import digest_items
from gpt2eval.errors import DataError

TOOL = "lighteval"
MEANS = ("acc", "acc_norm", "em", "pem", "qem", "f1")  # whose standard errors are those of a mean


def is_lighteval(content: Any) -> bool:
    """Whether the content of a results file is lighteval's."""
    return isinstance(content, Mapping) and "config_general" in content


def translate(path: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    """A results file in the terms of lm-eval's; DataError where it is none."""
    results, general = content.get("results"), content["config_general"]
    if not isinstance(results, Mapping) or not isinstance(general, Mapping):
        raise DataError(
            f"{path} is not a results file of lighteval: it has no results by task; expected what"
            " `lighteval accelerate --output-dir DIR` writes. Copy it again, or leave it out"
        )
    tasks = {
        str(name): values
        for name, values in results.items()
        # Averages over tasks are none: their tasks are imported one by one.
        if name != "all" and ":_average" not in str(name) and isinstance(values, Mapping)
    }
    known = {name: _config(content, name) for name in tasks}
    model = _mapping(general.get("model_config"))
    return {
        "results": {name: _values(values) for name, values in tasks.items()},
        "configs": {name: _settings(config) for name, config in known.items()},
        "versions": {name: config.get("version") for name, config in known.items()},
        "n-shot": {name: _shots(name) for name in tasks},
        "n-samples": {name: _counts(config) for name, config in known.items()},
        "higher_is_better": {name: _better(config) for name, config in known.items()},
        "config": {
            "model_dtype": model.get("dtype") or general.get("model_dtype") or "",
            "model_sha": general.get("model_sha") or "",
            "batch_size": model.get("batch_size"),
            "limit": general.get("max_samples"),
        },
        "max_length": model.get("max_length"),
        "model_name": general.get("model_name") or "unknown",
        "lighteval_version": str(general.get("lighteval_sha") or "unknown").replace("?", "unknown"),
    }


def _config(content: Mapping[str, Any], task: str) -> Mapping[str, Any]:
    """What the file says of a task; it is listed with or without the number of examples."""
    configs = _mapping(content.get("config_tasks"))
    return _mapping(configs.get(task) or configs.get(task.rpartition("|")[0]))


def _values(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values; standard errors only of what is a mean of samples by its name."""
    found = {}
    for name, value in values.items():
        metric = name.removesuffix("_stderr")
        if metric == name or metric in MEANS:
            found[f"{name},none"] = value
    return found


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    generates = any(metric.get("category") == "GENERATIVE" for metric in _metrics(config))
    splits = config.get("evaluation_splits")
    return {
        "dataset_path": config.get("hf_repo"),
        "dataset_name": config.get("hf_subset"),
        "test_split": ", ".join(map(str, splits)) if isinstance(splits, Sequence) else None,
        "output_type": "generate_until" if generates else "loglikelihood",
        "metric_list": [{"metric": "ppl", "aggregation": "perplexity"}],
    }


def _shots(task: str) -> int:
    shots = task.rpartition("|")[2]
    return int(shots) if shots.isdecimal() else 0


def _counts(config: Mapping[str, Any]) -> dict[str, int]:
    counts = {"original": "original_num_docs", "effective": "effective_num_docs"}
    return {
        ours: config[theirs]
        for ours, theirs in counts.items()
        if isinstance(config.get(theirs), int) and config[theirs] > 0
    }


def _better(config: Mapping[str, Any]) -> dict[str, bool]:
    return {
        str(metric["metric_name"]): bool(metric["higher_is_better"])
        for metric in _metrics(config)
        if isinstance(metric.get("higher_is_better"), bool) and "metric_name" in metric
    }


def _metrics(config: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    listed = config.get("metrics")
    return [x for x in listed if isinstance(x, Mapping)] if isinstance(listed, list) else []


def details_path(path: Path, task: str) -> Path | None:
    """The file with the samples of a task of a results file; None where none was kept."""
    time = path.stem.partition("_")[2]
    name = f"details_{task}_{time}.parquet"
    if Path(name).name != name or "\0" in name or len(name.encode()) > 255:
        return None
    # results/MODEL/results_TIME.json and details/MODEL/TIME/...; a model's name has directories.
    for parent in path.parents:
        found = parent.parent / "details" / path.parent.relative_to(parent) / time / name
        if parent.name == "results" and found.is_file():
            return found
    return None


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The samples of a details file as lines of lm-eval's samples files; DataError for others."""
    import pyarrow.parquet

    try:
        rows = pyarrow.parquet.read_table(path).to_pylist()
    except (OSError, ValueError, TypeError) as error:
        raise DataError(
            f"{path} cannot be read ({error!r:.200}); copy the file of lighteval again, or remove"
            " it to import the values alone"
        ) from error
    for number, row in enumerate(rows):
        try:
            own = str(row["doc"].get("id"))  # its place in the data, which are shuffled
            yield _row(int(own) if own.isdecimal() else number, row)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise DataError(
                f"{path}, row {number} is not a sample of lighteval ({error!r:.200}); expected the"
                " columns doc, metric and model_response of lighteval 0.13. Remove the file to"
                " import the values alone"
            ) from error


def _row(number: int, row: Mapping[str, Any]) -> dict[str, Any]:
    doc, said = row["doc"], row["model_response"]
    query, choices = str(doc["query"]), [str(choice) for choice in doc["choices"] or ()]
    gold = doc["gold_index"]
    golds = [int(one) for one in (gold if isinstance(gold, list) else [gold])]
    logprobs, greedy = said["logprobs"] or [], said["argmax_logits_eq_gold"] or []
    arguments: list[list[Any]]
    answers: list[list[Any]]
    if said["text"] and not logprobs:
        arguments = [[query, {"until": doc.get("stop_sequences") or []}]]
        answers = [[str(said["text"][0])]]
        target = str([choices[one] for one in golds])
    elif choices and len(logprobs) == len(choices):
        arguments = [[query, choice] for choice in choices]
        flags = greedy if len(greedy) == len(choices) else [None] * len(choices)
        answers = [[[str(x), str(flag)]] for x, flag in zip(logprobs, flags, strict=True)]
        target = str(golds[0]) if len(choices) > 1 else choices[0]
    else:
        arguments, answers = [[query]], [[str(sum(logprobs))]]
        target = query
    return {
        "doc_id": number,
        "doc": {"id": doc.get("id")},
        "target": target,
        "arguments": {
            f"gen_args_{i}": {f"arg_{j}": each for j, each in enumerate(given)}
            for i, given in enumerate(arguments)
        },
        "resps": answers,
        "filtered_resps": [answer[0] for answer in answers],
        "filter": "none",
        "doc_hash": digest_items([query, choices, golds]),
        **{str(name): _number(name, value) for name, value in row["metric"].items()},
    }


def _number(metric: str, value: Any) -> Any:
    """What lm-eval would have: a number, or the pair of log-likelihood and units."""
    if isinstance(value, Mapping) and set(value) == {"logprobs", "weights"}:
        # ppl is per sample, whatever the units.
        return value["logprobs"] if metric == "ppl" else [value["logprobs"], value["weights"]]
    return value


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
