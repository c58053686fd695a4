"""Results -> the files that lm-evaluation-harness 0.4 writes.

`<model>/results_<time>.json` for each checkpoint, and `samples_<task>_<time>.jsonl` beside it. A
task that one of lm-eval's asks the same as (`Protocol.lm_eval`) has the name that it has there, and
so have its metrics; every other keeps `task@protocol`. What lm-eval tells and we do not know (the
columns of a data set, the settings of its engine) is not made up: it is left out.

Values are ours to the last digit. The standard error of a mean of samples is lm-eval's own formula;
of everything else it is the width of our 95 % interval over 3.92.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import isclose, log
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from gpt2eval import __version__
from gpt2eval.alphabet import text_of_letters
from gpt2eval.compare.records import Run, read_run
from gpt2eval.export.order import Order, Written
from gpt2eval.peers.lm_eval_names import metric_name, twin
from gpt2eval.results import (
    decode_requests,
    locate_records,
    own_responses,
    read_vocabulary,
    records_at,
    write_atomically,
)
from gpt2eval.task import Task
from gpt2eval.types import Estimate, Record, Result

LAYOUT = "0.4.13"  # of lm-eval, which the files follow
# A local version says who really wrote them, and compares as that of the layout does.
VERSION = f"{LAYOUT}+gpt2eval.{__version__}"


@dataclass(frozen=True, slots=True)
class Column:
    """A metric of a task as lm-eval has it.

    name, filter  its key is `name,filter`
    aggregation   how lm-eval would make the value of what it has of samples; "" where it could not
    samples       sample id -> what a samples file has: a number, or log-likelihood and units
    error         standard error; None where nothing is known of it
    """

    name: str
    filter: str
    estimate: Estimate
    aggregation: str = ""
    samples: Mapping[str, float | list[float]] = field(default_factory=dict)
    error: float | None = None

    @property
    def key(self) -> str:
        """How the value is found in `results`."""
        return f"{self.name},{self.filter}"


@dataclass(frozen=True, slots=True)
class Part:
    """One entry of `results`: a task with its metrics; a task of a group has the group's name."""

    name: str
    result: Result
    columns: Sequence[Column]
    group: str = ""


def write(order: Order) -> Written:
    """Write the files; the paths are those of results files, in the order of the checkpoints."""
    written = []
    taken: set[Path] = set()
    for group in _files(order):
        model = _model(group[0][1])
        folder = order.output / re.sub(r'["<>:/|\\?*\[\]]+', "__", model)
        when = _time([result for _, result in group])
        while (path := folder / f"results_{when.isoformat().replace(':', '-')}.json") in taken:
            when = when.replace(microsecond=when.microsecond + 1)
        taken.add(path)
        folder.mkdir(parents=True, exist_ok=True)
        _write_file(path, model, when, group)
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

    A task that came from lm-eval by `import` has the name that it had there.
    """
    if result.run.get("tool") and result.task["protocol"] == result.run["tool"]:
        return str(result.task["name"])
    task = tasks.get(result.task["name"])
    for protocol in task.protocols if task else ():
        if protocol.name == result.task["protocol"] and protocol.lm_eval:
            return protocol.lm_eval
    return result.name


def _model(result: Result) -> str:
    """What the user called the checkpoint."""
    return str(result.checkpoint.get("path") or result.checkpoint["name"])


def _time(results: Sequence[Result]) -> datetime:
    """When the last of the results was begun, so that equal results make equal files."""
    known = [str(result.run["started"]) for result in results if result.run.get("started")]
    started = datetime.fromisoformat(max(known)) if known else datetime.fromtimestamp(0, UTC)
    return started.replace(tzinfo=None, microsecond=0)


def _write_file(
    path: Path, model: str, when: datetime, group: Sequence[tuple[str, Result]]
) -> None:
    hashes: dict[str, str] = {}
    configs: dict[str, Any] = {}
    parts: list[Part] = []
    for name, result in group:
        run = read_run(result)
        for part in _parts(name, result, run):
            parts.append(part)
            if twin(part.name).group:
                continue
            samples = path.with_name(f"samples_{part.name}_{path.stem.partition('_')[2]}.jsonl")
            output_type = _output_type(result)
            if run.ids:
                output_type, hashes[part.name] = _write_samples(samples, part, run)
            configs[part.name] = _config(part, output_type)
    content = _content(model, when, [result for _, result in group], parts)
    content |= {"configs": configs, "task_hashes": hashes}
    write_atomically(path, json.dumps(content, ensure_ascii=False, indent=2) + "\n")


# ---- values -------------------------------------------------------------------------------------


def _parts(name: str, result: Result, run: Run) -> Iterator[Part]:
    """The task; where lm-eval has a group of that name, the parts as the tasks of it, too."""
    whole = {key: each for key, each in result.metrics.items() if not each.part}
    grouped = twin(name).group
    shown = whole if grouped else result.metrics
    yield Part(name, result, [_column(name, key, each, run) for key, each in shown.items()])
    members: dict[str, list[Column]] = {}
    for key, each in result.metrics.items() if grouped else ():
        if each.part:
            member, metric = f"{name}_{each.part}", key.removesuffix(f"/{each.part}")
            members.setdefault(member, []).append(_column(member, key, each, run, metric))
    for member, columns in members.items():
        yield Part(member, result, columns, group=name)


def _column(task: str, name: str, estimate: Estimate, run: Run, called: str = "") -> Column:
    """A metric, with what its samples are worth in lm-eval's form.

    called  its name where that is not `name`: that of a part is `accuracy/part`
    """
    told = dict(part.partition(":")[::2] for part in estimate.signature.split("|"))
    if "filter" in told:  # it came from there
        own, filter = name.partition(",")[0], told.get("filter", "none")
    else:
        own, filter = metric_name(task, called or name), twin(task).filter
    if name in run.rows:
        numbers, table = run.rows[name]
        ids = [run.ids[number] for number in numbers]
        found = _samples(estimate, table)
        if found is not None:
            aggregation, values = found
            error = _error(estimate, values if aggregation == "mean" else [])
            return Column(
                own, filter, estimate, aggregation, dict(zip(ids, values, strict=True)), error
            )
    return Column(own, filter, estimate, error=_error(estimate, []))


def _samples(
    estimate: Estimate, table: np.ndarray[Any, np.dtype[np.float64]]
) -> tuple[str, list[Any]] | None:
    """lm-eval's aggregation and what it is of, if that gives the value; None where none does."""
    if table.shape[1] != 2 or not (table[:, 1] > 0).all():
        return None
    part, whole = table.T
    with np.errstate(all="ignore"):
        ratio = float(part.sum() / whole.sum())
        found: tuple[str, list[Any], float]
        if estimate.unit == "perplexity" and (whole == 1).all():
            found = "perplexity", (0.0 - part).tolist(), float(np.exp(ratio))
        elif estimate.unit in ("perplexity", "bits"):
            bits = estimate.unit == "bits"
            pairs = np.column_stack([0.0 - part, whole]).tolist()
            value = ratio / log(2) if bits else float(np.exp(ratio))
            found = "bits_per_byte" if bits else "weighted_perplexity", pairs, value
        else:
            scale = 100 if estimate.unit == "points" else 1
            values = scale * part / whole
            found = "mean", values.tolist(), float(values.mean())
    aggregation, values, value = found
    return (aggregation, values) if isclose(value, estimate.value, rel_tol=1e-9) else None


def _error(estimate: Estimate, values: Sequence[float]) -> float | None:
    """The standard error of a mean of these values; without any, what the interval says."""
    if len(values) > 1 and "group" not in estimate.method:
        return float(np.std(values, ddof=1) / np.sqrt(len(values)))
    if estimate.low is None or estimate.high is None:
        return None
    error = (estimate.high - estimate.low) / (2 * NormalDist().inv_cdf((1 + estimate.level) / 2))
    return error if np.isfinite(error) else None


def _values(part: Part) -> dict[str, Any]:
    """An entry of `results` or `groups`."""
    counts = [column.estimate.n for column in part.columns]
    found: dict[str, Any] = {"name": part.name, "alias": part.name, "sample_len": max(counts)}
    for column in part.columns:
        error = "N/A" if column.error is None else column.error
        found |= {column.key: column.estimate.value}
        found |= {f"{column.name}_stderr,{column.filter}": error}
    return found


# ---- samples ------------------------------------------------------------------------------------


def _write_samples(path: Path, part: Part, run: Run) -> tuple[str, str]:
    """The samples of a task, in the order of the data; lm-eval's type of it, and its hash."""
    directory = part.result.path
    assert directory is not None
    scored = {name for column in part.columns for name in column.samples} or set(run.ids)
    places = {
        record.id: place
        for place, record in locate_records(directory, responses=False)
        if record.id in scored and not record.error
    }
    numbers = document_ids(list(places)) if not part.group else _in_part(list(places))
    order = sorted(places, key=numbers.__getitem__)
    texts = read_vocabulary(directory).get("model", {})
    hashes = hashlib.sha256()
    output_type = ""
    rows = []
    for record in records_at(directory, [places[name] for name in order]):
        output_type, row = _row(record, numbers[record.id], part, texts)
        hashes.update("".join(row[f"{key}_hash"] for key in ("doc", "prompt", "target")).encode())
        rows.append(json.dumps(row, ensure_ascii=False))
    write_atomically(path, "".join(row + "\n" for row in rows))
    return output_type, hashes.hexdigest()


def document_ids(ids: Sequence[str]) -> dict[str, int]:
    """Sample id -> number of the document, from 0.

    Samples that are counted in the data (from 1) keep their place in it, whatever subset was
    scored; others are counted in the order of their names.
    """
    if all(re.fullmatch(r"[1-9]\d{0,17}", name) for name in ids):
        return {name: int(name) - 1 for name in ids}
    return {name: number for number, name in enumerate(sorted(ids, key=_natural))}


def _in_part(ids: Sequence[str]) -> dict[str, int]:
    """The same for samples of a part, which are called `part/number`."""
    inside = document_ids([name.rpartition("/")[2] for name in ids])
    return {name: inside[name.rpartition("/")[2]] for name in ids}


def _natural(name: str) -> list[tuple[int, int, str]]:
    """A sort key by which "a/10" comes after "a/9"."""
    pieces = re.findall(r"\d{1,17}|\D+|\d+", name)
    return [
        (0, int(piece), "") if piece.isdecimal() and len(piece) < 18 else (1, 0, piece)
        for piece in pieces
    ]


def _row(
    record: Record, number: int, part: Part, texts: Mapping[int, str]
) -> tuple[str, dict[str, Any]]:
    """lm-eval's type of what was asked, and the line of a sample."""
    asked = decode_requests(record.asked, str(part.result.task.get("beginning", "")))
    own = own_responses(record)
    arguments: list[list[Any]] = []
    answers: list[Any] = []
    filtered: list[Any] = []
    kinds: set[str] = set()
    for position, response in enumerate(own):
        about = asked[position] if position < len(asked) else {}
        kind, given, answer = _request(response, about, texts)
        kinds.add(kind)
        arguments.append(given)
        answers.append([answer])
        written = response.get("prediction", answer)  # the first runs kept no other
        filtered.append(written if kind == "generate_until" else answer)
    kind = "multiple_choice" if kinds == {"loglikelihood"} and len(own) > 1 else "".join(kinds)
    target = _target(record, kind, arguments)
    doc = {"id": record.id, "references": list(record.references)}
    if record.choices:
        doc |= {"choices": list(record.choices), "gold": record.gold}
    values = {
        column.name: column.samples[record.id]
        for column in part.columns
        if record.id in column.samples
    }
    return kind, {
        "doc_id": number,
        "doc": doc,
        "target": target,
        "arguments": {
            f"gen_args_{i}": {f"arg_{j}": each for j, each in enumerate(given)}
            for i, given in enumerate(arguments)
        },
        "resps": answers,
        "filtered_resps": filtered,
        "filter": part.columns[0].filter,
        "metrics": list(values),
        "doc_hash": _hash(json.dumps(doc, indent=2, ensure_ascii=False)),
        "prompt_hash": _hash(str(arguments[0][0]) if arguments and arguments[0] else ""),
        "target_hash": _hash(target),
        **values,
    }


def _request(
    response: Mapping[str, Any], about: Mapping[str, Any], texts: Mapping[int, str]
) -> tuple[str, list[Any], Any]:
    """lm-eval's type of a request, its arguments as far as the record has them, and the answer.

    Answers are texts there, numbers too.
    """
    if response["type"] == "generated":
        settings = {}
        if "stop" in about:
            warm = about.get("temperature", 0.0)
            settings = {"until": about["stop"], "max_gen_toks": about["max_new_tokens"]}
            settings |= {"do_sample": warm > 0, "temperature": warm}
        given = [about["prompt"], settings] if "prompt" in about else []
        return "generate_until", given, response["text"]
    if response["type"] == "summed":  # of another tool, which adds the tokens up
        total, greedy = response["logprob"], response["greedy"]
    else:
        total = float(np.sum(response["logprobs"])) if response["logprobs"] else 0.0
        greedy = "0" not in response["greedy"]
    if "continuation" in about:
        answer = [str(total), str(greedy)]
        return "loglikelihood", [about["context"], about["continuation"]], answer
    if response["type"] == "summed" and greedy is not None:
        return "loglikelihood", [], [str(total), str(greedy)]
    return "loglikelihood_rolling", [_text(response, texts)], str(total)


def _text(response: Mapping[str, Any], texts: Mapping[int, str]) -> str:
    """The text that was scored, from its tokens; empty where nothing says what they spell."""
    if "text" in response:
        return str(response["text"])
    letters = [texts.get(token) for token in response["tokens"]]
    return text_of_letters("".join(map(str, letters))) if None not in letters else ""


def _target(record: Record, kind: str, arguments: Sequence[Sequence[Any]]) -> str:
    """What was right, as lm-eval writes it: the number of a choice, a text, or a list of texts."""
    if kind == "multiple_choice":
        return str(record.gold) if record.gold is not None else ""
    if kind in ("loglikelihood", "loglikelihood_rolling") and arguments and arguments[0]:
        return str(arguments[0][-1])
    texts = list(record.references)
    return texts[0] if len(texts) == 1 and not texts[0].startswith("[") else str(texts)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()


# ---- the rest of a results file -----------------------------------------------------------------


def _content(
    model: str, when: datetime, results: Sequence[Result], parts: Sequence[Part]
) -> dict[str, Any]:
    groups = [part for part in parts if twin(part.name).group]
    tasks = [part for part in parts if part not in groups]
    first = results[0]
    checkpoint, made = first.checkpoint, first.run
    versions = made.get("versions", {})
    seconds = [result.run.get("seconds") for result in results]
    seed = made.get("seed")
    return {
        "results": {part.name: _values(part) for part in parts},
        **({"groups": {part.name: _values(part) for part in groups}} if groups else {}),
        "group_subtasks": {
            group.name: [part.name for part in tasks if part.group == group.name]
            for group in groups
        },
        "configs": {},
        "versions": {part.name: _version(part) for part in parts},
        "n-shot": {part.name: _shots(part.result) for part in tasks},
        "higher_is_better": {
            part.name: {one.name: one.estimate.higher_is_better for one in part.columns}
            for part in parts
        },
        "n-samples": {part.name: _counts(part) for part in tasks},
        "config": {
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
        },
        "git_hash": str(made.get("git_commit") or "")[:7],
        "date": when.replace(tzinfo=UTC).timestamp(),
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


def _version(part: Part) -> float | str:
    """lm-eval's version of its task; that of ours, where it has none."""
    name = part.group or part.name
    if name == part.result.name or part.result.task["protocol"] == part.result.run.get("tool"):
        return part.result.task["version"] if part.result.task["version"] is not None else "N/A"
    return twin(part.name).version


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
        "metadata": {"version": _version(part)},
    }
