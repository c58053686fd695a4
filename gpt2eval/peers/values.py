"""The values that were printed, with intervals where the samples give them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gpt2eval import metrics
from gpt2eval.errors import DataError
from gpt2eval.peers.answers import responses_of
from gpt2eval.peers.lm_eval import Document, Run
from gpt2eval.peers.lm_eval_names import OURS
from gpt2eval.stats import LEVEL, estimate_all
from gpt2eval.task import Metric
from gpt2eval.types import Estimate, Generated, Sample
from gpt2eval.work import Work

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


def estimates_of(
    run: Run, task: str, documents: Sequence[Document], work: Work | None
) -> tuple[dict[str, Estimate], dict[int, dict[str, list[float]]]]:
    """Metric -> estimate, and document -> metric -> statistics."""
    statistics: dict[int, dict[str, list[float]]] = {document.id: {} for document in documents}
    estimates = {}
    values = run.content["results"][task]
    filters = {key.partition(",")[2] for key in values if "," in key}
    for key, metric, behind, value in _numbers(values):
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
        counted = own or metric_of(name, _aggregation(run, task, metric), signature)
        if own and work and not rows:  # of texts that lm-eval puts together into one
            rows = _of_texts(own, documents, work)
            found = _given(own, rows, value)
        else:
            found = _estimate(counted, rows, value, len(statistics))
        if found is None:
            error = values.get(f"{metric}_stderr,{behind}")
            found = _alone(run, task, metric, value, error, signature)
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


def _numbers(values: Mapping[str, Any]) -> Iterator[tuple[str, str, str, float]]:
    """The values of a task: what lm-eval calls each, its metric, its filter, and the number."""
    for key, value in values.items():
        metric, comma, behind = key.partition(",")
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if comma and number and not metric.endswith("_stderr"):
            yield key, metric, behind, float(value)


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


def metric_of(name: str, aggregation: str, signature: str) -> Metric | None:
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
        written = [each for each in responses_of(document) if each["type"] == "generated"]
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
