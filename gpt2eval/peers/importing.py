"""Runs of lm-evaluation-harness -> Results in our store; runs of lighteval likewise.

A task keeps lm-eval's name, with the protocol "lm-eval": `lambada_openai@lm-eval`. Where one of our
protocols says that it asks the same (`Protocol.lm_eval`) and the data are at hand, every request is
compared with what lm-eval asked; if all are equal the result is one of ours, `lambada@openai`, on
the same data, and compares with ours sample by sample.

Values are those that lm-eval printed. Statistics of samples are kept where they give that value;
where they do not, or where lm-eval kept none, the value stands alone.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from gpt2eval import metrics
from gpt2eval.digests import digest_files, digest_items
from gpt2eval.errors import DataError
from gpt2eval.naming import safe_name
from gpt2eval.options import RunOptions
from gpt2eval.peers.lm_eval import Document, Run, read_documents, read_runs
from gpt2eval.peers.lm_eval_names import OURS
from gpt2eval.results import (
    FORMAT,
    RECORDS,
    RESULT,
    RecordWriter,
    encode_requests,
    prepare_output,
    read_result,
    run_directory,
    write_result,
)
from gpt2eval.stats import LEVEL, estimate_all
from gpt2eval.task import Metric, Protocol, Task, discover
from gpt2eval.types import (
    Embed,
    Estimate,
    Generate,
    Generated,
    Record,
    Request,
    Result,
    Rolling,
    Sample,
    Score,
)
from gpt2eval.work import Work, load_work

SHARES = {*OURS, "exact_match", "f1", "acc_all", "acc_none"}  # between 0 and 1, never in percent
# How lm-eval aggregates where the task's file does not say.
USUAL = {
    "word_perplexity": "weighted_perplexity",
    "byte_perplexity": "weighted_perplexity",
    "bits_per_byte": "bits_per_byte",
    "perplexity": "perplexity",
    "bleu": "bleu",
    "chrf": "chrf",
}
NAMES = {"lm-eval": "lm-evaluation-harness"}  # of tools, in a sentence
MAX_NEW_TOKENS = 256  # what lm-eval lets a model write where the task does not say


@dataclass(frozen=True, slots=True)
class Imported:
    """The result, and in words what there was to say about it."""

    result: Result
    note: str


def import_results(
    names: Sequence[str | Path],
    output: str | Path = "results",
    *,
    data: str | None = None,
    tasks_dir: str | None = None,
) -> list[Imported]:
    """Read lm-eval's or lighteval's files and keep each task as a run, or read the run again.

    names      results_*.json, or directories that hold some
    data       where our tasks find their data ("bundled", "hub" or a directory), to prove which of
               lm-eval's tasks ask the same as ours; None: all keep lm-eval's names

    Raises UsageError and DataError for files that lm-eval did not write.
    """
    runs = read_runs(names)
    ours = _ours(tasks_dir) if data is not None else {}
    prepare_output(Path(output))
    return [
        _import(run, checkpoint, task, Path(output), ours.get(task), data)
        for run, checkpoint in zip(runs, _checkpoint_names(runs), strict=True)
        for task in run.tasks
    ]


def metrics_of(result: Result) -> dict[str, Metric]:
    """The metrics of an imported result that the statistics of its records belong to."""
    found = {}
    for name, estimate in result.metrics.items():
        parts = dict(part.partition(":")[::2] for part in estimate.signature.split("|"))
        metric = _metric(name, parts.get("aggregation", ""), estimate.signature)
        if metric is not None and "statistics" in parts:
            found[name] = metric
    return found


def _ours(tasks_dir: str | None) -> dict[str, tuple[Task, Protocol]]:
    """lm-eval's task -> the protocol of ours that asks the same; without one, `export`'s name."""
    return {
        protocol.lm_eval or f"{task.name}@{protocol.name}": (task, protocol)
        for task in discover(tasks_dir).values()
        for protocol in task.protocols
    }


def _checkpoint_names(runs: Sequence[Run]) -> list[str]:
    """A name for the model of each run; two models have the same one only if lm-eval says so."""
    models = [run.model for run in runs]
    short = {
        model: safe_name(model if not PurePath(model).is_absolute() else PurePath(model).name)
        for model in models
    }
    used = list(short.values())
    return [
        safe_name(f"{PurePath(model).parent.name}-{short[model]}")
        if used.count(short[model]) > 1
        else short[model]
        for model in models
    ]


# ---- one task -----------------------------------------------------------------------------------


def _import(
    run: Run,
    checkpoint: str,
    task: str,
    output: Path,
    twin: tuple[Task, Protocol] | None,
    data: str | None,
) -> Imported:
    path = run.samples_path(task)
    documents = list(read_documents(path)) if path else []
    _check_documents(run, task, path, documents)
    work, documents, note = _matching(run, documents, twin, data)
    sections = _sections(run, checkpoint, task, documents, work)
    name = f"{sections['task']['name']}@{sections['task']['protocol']}"
    identity = {
        "format": FORMAT,
        "tool": run.tool,
        "task": task,
        "name": name,
        "results": digest_files([run.path]),
        "samples": digest_files([path]) if path else "",
        "data": sections["data"]["sha256"],
    }
    directory = run_directory(output, checkpoint, name, identity)
    if not (directory / RESULT).exists():
        estimates, statistics = _estimates(run, task, documents, work)
        _write_records(directory, documents, statistics, work)
        result = Result(
            **sections,
            metrics=estimates,
            ledger={},
            signature=_signature(run, sections),
            path=directory,
        )
        write_result(result, directory)
    told = [note] if note else []
    told += [] if path else ["no samples were logged: values only"]
    return Imported(read_result(directory), "; ".join(told))


def _check_documents(run: Run, task: str, path: Path | None, documents: list[Document]) -> None:
    """DataError where the samples are not those of the results."""
    if path is None:
        return
    counted = run.of("n-samples", task)
    told = counted.get("effective") if isinstance(counted, Mapping) else None
    found = len({document.id for document in documents})
    if not found or (isinstance(told, int) and found != told):
        raise DataError(
            f"{path} has {found} samples of task {task!r}, {run.path.name} counts {told}; one of"
            " the two files is cut short or of another run. Copy both again, or remove the samples"
            " to import the values alone"
        )
    seen: set[tuple[int, str]] = set()
    for document in documents:
        key = (document.id, document.filter)
        if key in seen:
            raise DataError(
                f"{path} has document {document.id} twice under filter {document.filter!r};"
                " lm-eval appends to a file that is there already. Remove one of the two runs in it"
            )
        seen.add(key)


def _matching(
    run: Run, documents: list[Document], twin: tuple[Task, Protocol] | None, data: str | None
) -> tuple[Work | None, list[Document], str]:
    """Our work that asks exactly what lm-eval asked; None, and why not, where there is none.

    The documents come back with their number among our samples.
    """
    if twin is None or data is None:
        return None, documents, ""
    name = f"{twin[0].name}@{twin[1].name}"
    if not documents:
        return None, documents, f"not {name}: without samples nobody can tell"
    try:
        (work,) = load_work([twin], data, RunOptions())
    except DataError as error:
        return None, documents, f"not {name}: {error}"
    numbered = _numbered(documents, work) if run.exported else documents
    for document in numbered:
        if not 0 <= document.id < len(work.samples):
            words = f"the data have {len(work.samples)} samples, not these"
            return None, documents, f"not {name}: {words}"
        if not _same(work.requests[document.id], document.asked):
            return None, documents, f"not {name}: document {document.id} asks something else"
    return work, numbered, f"the same requests as {name}, all {len(documents):,} documents"


def _numbered(documents: Sequence[Document], work: Work) -> list[Document]:
    """Documents of our own export, which says what our samples are called."""
    place = {sample.id: number for number, sample in enumerate(work.samples)}
    return [
        replace(document, id=place.get(str(document.doc.get("id")), -1)) for document in documents
    ]


def _same(ours: Sequence[Request], theirs: Sequence[tuple[Any, ...]]) -> bool:
    """Whether lm-eval asked what we ask first; for `accuracy_pmi` we ask more than it may have."""
    return 0 < len(theirs) <= len(ours) and all(
        _alike(request, arguments) for request, arguments in zip(ours, theirs, strict=False)
    )


def _alike(request: Request, arguments: tuple[Any, ...]) -> bool:
    if isinstance(request, Score):
        return arguments == (request.context, request.continuation)
    if isinstance(request, Rolling):
        plain = request.windows == "disjoint" and (request.start, request.end) == (0, None)
        return plain and arguments == (request.text,)
    if isinstance(request, Embed):  # lm-eval has no such thing
        return False
    if len(arguments) != 2 or not isinstance(arguments[1], Mapping):
        return False
    prompt, settings = arguments
    greedy = not settings.get("do_sample") and not settings.get("temperature")
    return (
        prompt == request.prompt
        and tuple(settings.get("until", ())) == request.stop
        and settings.get("max_gen_toks", MAX_NEW_TOKENS) == request.max_new_tokens
        and greedy
        and request.temperature == 0
    )


# ---- values -------------------------------------------------------------------------------------


def _estimates(
    run: Run, task: str, documents: Sequence[Document], work: Work | None
) -> tuple[dict[str, Estimate], dict[int, dict[str, list[float]]]]:
    """Metric -> estimate, and document -> metric -> statistics."""
    statistics: dict[int, dict[str, list[float]]] = {document.id: {} for document in documents}
    estimates = {}
    values = run.content["results"][task]
    filters = {key.partition(",")[2] for key in values if "," in key}
    for key, value in values.items():
        metric, comma, behind = key.partition(",")
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not comma or metric.endswith("_stderr") or not number:
            continue
        own = _own_metric(OURS.get(metric, metric), work)
        # With several filters a metric has several values, and lm-eval prints the filter too.
        name = (own.name if own else metric) if len(filters) == 1 else key
        rows = {
            document.id: numbers
            for document in documents
            if document.filter == behind
            and (numbers := _statistics(document.row.get(metric))) is not None
        }
        signature = f"{run.tool}:{run.version}|aggregation:{_aggregation(run, task, metric)}"
        signature += f"|filter:{behind}"
        counted = own or _metric(name, _aggregation(run, task, metric), signature)
        if own and work and not rows:  # of texts that lm-eval puts together into one
            rows = _of_texts(own, documents, work)
            found = _given(own, rows, float(value))
        else:
            found = _estimate(counted, rows, float(value), len(statistics))
        if found is None:
            error = values.get(f"{metric}_stderr,{behind}")
            found = _alone(run, task, metric, float(value), error, signature)
        elif counted:
            for document, numbers in rows.items():
                statistics[document][name] = numbers
            if not own:
                found = replace(
                    found,
                    unit=_unit(metric, _aggregation(run, task, metric)),
                    higher_is_better=_better(run, task, metric),
                    signature=f"{signature}|statistics:yes",
                )
        estimates[name] = found
    if not estimates:
        raise DataError(
            f'{run.path}: task {task!r} has no value; expected entries such as "acc,none". Leave'
            " the file out, or run the task again"
        )
    return estimates, statistics


def _own_metric(name: str, work: Work | None) -> Metric | None:
    """Our metric of that name, where the task is ours."""
    for metric in work.protocol.metrics if work else ():
        if metric.name == name and not metric.corpus and metric.member is None:
            return metric
    return None


def _aggregation(run: Run, task: str, metric: str) -> str:
    """How lm-eval made one value of many, as far as it tells."""
    config = run.of("configs", task)
    listed = config.get("metric_list") if isinstance(config, Mapping) else None
    for entry in listed or ():
        if isinstance(entry, Mapping) and entry.get("metric") == metric:
            said = entry.get("aggregation")
            return str(said) if said else USUAL.get(metric, "mean")
    return USUAL.get(metric, "mean")


def _metric(name: str, aggregation: str, signature: str) -> Metric | None:
    """The metric that turns sums into lm-eval's value; None for an aggregation not known here."""
    made = {
        "mean": metrics.accuracy(name, per="documents"),
        "perplexity": metrics.sample_perplexity(name, per="documents"),
        "weighted_perplexity": metrics.perplexity(name, "units that lm-eval counted", _never),
        "bits_per_byte": metrics.bits(name, "units that lm-eval counted", _never),
    }.get(aggregation)
    return replace(made, signature=signature) if made else None


def _never(sample: Sample) -> float:
    raise AssertionError(f"statistics of sample {sample.id} are lm-eval's")


def _statistics(value: Any) -> list[float] | None:
    """The value of a sample as (value, 1), or the (log-likelihood, units) that it is."""
    pair = value if isinstance(value, list) else [value, 1.0]
    numbers = [each for each in pair if isinstance(each, (int, float))]
    # Beyond any likelihood, and sums of it would not be finite.
    if len(pair) != 2 or len(numbers) != 2 or not all(abs(each) < 1e100 for each in numbers):
        return None
    return [float(each) for each in numbers]


def _estimate(
    metric: Metric | None, rows: dict[int, list[float]], printed: float, documents: int
) -> Estimate | None:
    """The value with its interval, where the samples give it; `rows` becomes their statistics."""
    if metric is None or not rows or len(rows) != documents:
        return None
    if metric.unit in ("perplexity", "bits"):  # a sample has the log-likelihood, we its negative
        for numbers in rows.values():
            numbers[0] = 0.0 - numbers[0]
    shares = {numbers[0] for numbers in rows.values()}
    if metric.interval == "wilson" and not shares <= {0.0, 1.0}:
        metric = replace(metric, interval="bootstrap")
    return _given(metric, rows, printed)


def _given(metric: Metric, rows: Mapping[int, Sequence[float]], printed: float) -> Estimate | None:
    """The estimate that these statistics give, if it is the value that was printed."""
    if not rows:
        return None
    (found,) = estimate_all(
        [(metric, list(rows.values()), [""] * len(rows))], lambda: np.random.default_rng(0)
    )
    if not math.isclose(found.value, printed, rel_tol=1e-9, abs_tol=1e-12):
        return None
    return replace(found, value=printed)


def _of_texts(metric: Metric, documents: Sequence[Document], work: Work) -> dict[int, list[float]]:
    """The statistics of our metric for what the model wrote; none where it wrote nothing."""
    rows = {}
    for document in documents:
        written = [each for each in _responses(document) if each["type"] == "generated"]
        if len(written) != 1:
            return {}
        text = written[0]["text"]
        nothing = np.zeros(0)
        response = Generated(
            text,
            nothing.astype(np.int32),
            nothing.astype(np.float32),
            "stop",
            prediction=work.protocol.extract(text),
        )
        numbers = metric.stats(work.samples[document.id], [response])
        rows[document.id] = [float(number) for number in numbers]
    return rows


def _alone(run: Run, task: str, metric: str, value: float, error: Any, signature: str) -> Estimate:
    """A value without samples: its interval comes from lm-eval's standard error, if it has one."""
    counted = run.of("n-samples", task)
    n = int(counted.get("effective") or 0) if isinstance(counted, Mapping) else 0
    known = isinstance(error, (int, float)) and math.isfinite(error) and error > 0
    return Estimate(
        value=value,
        low=value - 1.96 * error if known else None,
        high=value + 1.96 * error if known else None,
        level=LEVEL,
        method=f"1.96 standard errors either way, as {run.tool} gives them"
        if known
        else f"no interval: {run.tool} gives none, and its samples do not give the value",
        n=n,
        unit=_unit(metric, _aggregation(run, task, metric)),
        denominator="unknown",
        higher_is_better=_better(run, task, metric),
        signature=signature,
    )


def _unit(metric: str, aggregation: str) -> str:
    """The unit, where lm-eval's name of the metric leaves no doubt."""
    if metric in SHARES and aggregation == "mean":
        return "fraction"
    if "perplexity" in aggregation:
        return "perplexity"
    return {"bits_per_byte": "bits", "bleu": "points", "chrf": "points"}.get(metric, "unknown")


def _better(run: Run, task: str, metric: str) -> bool | None:
    told = run.of("higher_is_better", task)
    better = told.get(metric) if isinstance(told, Mapping) else None
    return better if isinstance(better, bool) else None


# ---- records ------------------------------------------------------------------------------------


def _write_records(
    directory: Path,
    documents: Sequence[Document],
    statistics: Mapping[int, Mapping[str, list[float]]],
    work: Work | None,
) -> None:
    """A line a document; what an interrupted import left is written anew."""
    (directory / RECORDS).unlink(missing_ok=True)
    with closing(RecordWriter(directory)) as writer:
        written: set[int] = set()
        for document in documents:
            if document.id in written:  # under another filter
                continue
            written.add(document.id)
            try:
                writer.write(_record(document, statistics[document.id], work))
            except (TypeError, ValueError, IndexError, OverflowError) as error:
                raise DataError(
                    f"document {document.id} of the samples has answers that are none of lm-eval's"
                    f" ({error!r:.200}); copy the file again, or remove it to import the values"
                    " alone"
                ) from error


def _record(document: Document, statistics: Mapping[str, list[float]], work: Work | None) -> Record:
    sample = work.samples[document.id] if work else None
    references = list(sample.references) if sample else _references(document)
    choices = [str(arguments[-1]) for arguments in document.asked] if _chooses(document) else []
    return Record(
        id=sample.id if sample else str(document.id),
        group=sample.group if sample else "",
        statistics=statistics,
        responses=_responses(document),
        references=references,
        asked=encode_requests([_request(arguments) for arguments in document.asked]),
        choices=choices,
        gold=int(document.target) if choices and _references(document) else None,
    )


def _request(arguments: tuple[Any, ...]) -> Request:
    """What lm-eval asked, as a request of ours."""
    if len(arguments) != 2:
        return Rolling(str(arguments[-1]) if arguments else "")
    first, second = arguments
    if not isinstance(second, Mapping):
        return Score(str(first), str(second))
    until = second.get("until") or ()
    return Generate(
        str(first),
        int(second.get("max_gen_toks", MAX_NEW_TOKENS)),
        stop=tuple(map(str, [until] if isinstance(until, str) else until)),
        temperature=float(second.get("temperature") or 0.0) if second.get("do_sample") else 0.0,
    )


def _chooses(document: Document) -> bool:
    """Whether the model was asked which of several continuations is likeliest."""
    asked = document.asked
    return len(asked) > 1 and all(len(a) == 2 and not isinstance(a[1], Mapping) for a in asked)


def _responses(document: Document) -> list[dict[str, Any]]:
    """What the model answered; log-probabilities are of whole texts, lm-eval keeps no others."""
    found: list[dict[str, Any]] = []
    for number, arguments in enumerate(document.asked):
        answer = document.answers[number] if number < len(document.answers) else None
        answer = answer[0] if isinstance(answer, list) and answer else answer
        if len(arguments) == 2 and isinstance(arguments[1], Mapping):
            filtered = document.filtered[number] if number < len(document.filtered) else ""
            found.append(
                {
                    "type": "generated",
                    "text": str(answer),
                    "prediction": filtered if isinstance(filtered, str) else str(answer),
                    "stopped": "unknown",
                    "truncated": None,
                    "tokens": [],
                    "logprobs": [],
                }
            )
            continue
        logprob, greedy = answer if isinstance(answer, list) else (answer, None)
        found.append(
            {
                "type": "summed",
                "text": str(arguments[-1]),
                "logprob": float(str(logprob)),
                "greedy": None if greedy is None else str(greedy) == "True",
                "truncated": None,
            }
        )
    return found


def _references(document: Document) -> list[str]:
    """What was right: a choice by its index, several texts by Python's notation of a list."""
    target = document.target
    if _chooses(document):
        index = int(target) if target.isdecimal() else -1
        return [str(document.asked[index][1])] if 0 <= index < len(document.asked) else []
    if target.startswith("["):
        try:
            texts = ast.literal_eval(target)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            return [target]
        if isinstance(texts, list) and all(isinstance(text, str) for text in texts):
            return texts
    return [target]


# ---- the sections of a result -------------------------------------------------------------------


def _sections(
    run: Run, checkpoint: str, task: str, documents: Sequence[Document], work: Work | None
) -> dict[str, dict[str, Any]]:
    """checkpoint, task, data and run as DESIGN.md has them; unknown is "" or None."""
    config = run.config
    parameters = config.get("model_num_parameters")
    known = isinstance(parameters, int) and parameters > 0
    return {
        "checkpoint": {
            "name": checkpoint,
            "path": run.model,
            "revision": str(config.get("model_sha") or ""),
            "sha256": "",
            "tokenizer_sha256": "",
            "parameters": parameters if known else None,
            "kind": "unknown",
        },
        "task": _task_section(run, task, work),
        "data": _data_section(run, task, documents, work),
        "run": {
            "tool": run.tool,
            "device": str(config.get("device") or ""),
            "dtype": str(config.get("model_dtype") or "").removeprefix("torch."),
            "n_ctx": run.content.get("max_length"),
            "batch_policy": f"batches of {config['batch_size']}"
            if config.get("batch_size")
            else "",
            "seed": ", ".join(
                f"{name} {config[f'{name}_seed']}"
                for name in ("random", "numpy", "torch", "fewshot")
                if config.get(f"{name}_seed") is not None
            ),
            "versions": run.versions,
            "git_commit": "",
            "command": "",
            "started": run.started,
            "seconds": None,
            "resumed_samples": 0,
            "tokens": None,
            "tokens_per_second": None,
            "peak_memory_bytes": None,
            "imported_from": run.path.name,
        },
    }


def _task_section(run: Run, task: str, work: Work | None) -> dict[str, Any]:
    config = run.of("configs", task)
    config = config if isinstance(config, Mapping) else {}
    kind = "generation" if config.get("output_type") == "generate_until" else "likelihood"
    if work:
        return {
            "name": work.task.name,
            "protocol": work.protocol.name,
            "version": work.task.version,
            "options": dict(work.protocol.options),
            "kind": kind,
            "summary": work.protocol.summary,
            "source": work.task.source,
            "bibtex": work.task.bibtex,
            "references": [dict(row) for row in work.protocol.references],
        }
    keys = ("dataset_path", "dataset_name", "test_split", "output_type", "generation_kwargs")
    options = {key: config[key] for key in keys if config.get(key) is not None}
    shots = run.of("n-shot", task)
    return {
        "name": task,
        "protocol": run.tool,
        "version": run.of("versions", task),
        "options": options if shots is None else {**options, "num_fewshot": shots},
        "kind": kind,
        "summary": f"{task} of {NAMES.get(run.tool, run.tool)}",
        "source": "",
        "bibtex": "",
        "references": [],
    }


def _data_section(
    run: Run, task: str, documents: Sequence[Document], work: Work | None
) -> dict[str, Any]:
    counted = run.of("n-samples", task)
    counted = counted if isinstance(counted, Mapping) else {}
    ids = sorted({document.id for document in documents})
    selected = len(ids) or counted.get("effective")
    if work:
        subset = _subset(ids, len(work.samples))
        return {**work.provenance, "selected": selected, "subset": subset}
    available = counted.get("original")
    hashes = {document.id: document.hash for document in documents}
    known = bool(hashes) and all(hashes.values())
    limited = available is None and run.config.get("limit")
    whole = selected == available or (available is None and not limited)
    return {
        "source": run.tool,
        "files": {},
        "sha256": digest_items([number, hashes[number]] for number in ids) if known else "",
        "verdict": f"sha256 over {run.tool}'s hashes of the documents"
        if known
        else "digest unknown",
        "available": available,
        "selected": selected,
        "subset": f"at most {run.config['limit']}, of a number that is not told"
        if limited
        else _subset(ids, available)
        if ids
        else ("all" if whole else f"{selected}, chosen in a way that is not told"),
    }


def _subset(ids: Sequence[int], available: int | None) -> str:
    """Which documents were taken, in the words of our own runs."""
    if available is None or len(ids) == available:
        return "all"
    if list(ids) == list(range(len(ids))):
        return f"first {len(ids)}"
    return f"{len(ids)} chosen by number, sha256 {digest_items(ids)[:12]}"


def _signature(run: Run, sections: Mapping[str, Mapping[str, Any]]) -> str:
    task, data, made = sections["task"], sections["data"], sections["run"]
    parts = {
        "task": f"{task['name']}@{task['protocol']}",
        "v": task["version"],
        **task["options"],
        "data": str(data["sha256"])[:12] or "unknown",
        "n": f"{data['selected']}/{data['available']}",
        "subset": data["subset"],
        "ckpt": "unknown",
        "dtype": made["dtype"] or "unknown",
        run.tool: run.version,
    }
    return "|".join(f"{key}:{str(value).replace('|', '/')}" for key, value in parts.items())
