"""What a run is asked to do: samples and requests, read and checked before a model is loaded."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from typing import Any

import numpy as np

from gpt2eval.checkpoint import Checkpoint, open_checkpoint
from gpt2eval.data import Loaded, lacking, load
from gpt2eval.errors import MACHINE, DataError, Gpt2EvalError, TaskError, UsageError, reason_of
from gpt2eval.fewshot import count_examples, with_examples
from gpt2eval.options import RunOptions
from gpt2eval.task import Protocol, Task
from gpt2eval.types import Embed, Generate, Request, Rolling, Sample, Score


@dataclass(frozen=True, slots=True)
class Work:
    """One task@protocol with its samples and what each of them asks.

    broken  id of a sample -> why what it asks could not be made; its requests are ()
    scorer  who is asked the protocol's `followup`; None: the model itself
    """

    task: Task
    protocol: Protocol
    provenance: Mapping[str, Any]
    samples: tuple[Sample, ...]
    requests: tuple[tuple[Request, ...], ...]
    scorer: Checkpoint | None = None
    broken: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """`task@protocol`."""
        return f"{self.task.name}@{self.protocol.name}"


def load_work(
    chosen: Sequence[tuple[Task, Protocol]], place: str, options: RunOptions
) -> list[Work]:
    """The samples and requests of each protocol, its data read from `place` (see `data.load`).

    Raises UsageError where a metric needs a package that is not installed, and DataError that lists
    all tasks whose data are not there, before any are read.
    """
    check_packages(chosen, options.tasks)
    check_sources(chosen, place, options)
    loaded: dict[Any, Loaded] = {}
    work = []
    for task, zero_shot in chosen:
        protocol, examples = with_examples(task, zero_shot, place, options)
        # By identity: another dataset may read the same files in another way.
        key = id(protocol.dataset)
        if key not in loaded:
            loaded[key] = load(protocol.dataset, place, offline=options.offline)
        samples = tuple(protocol.samples(loaded[key].rows))
        _check_samples(f"{task.name}@{protocol.name}", samples)
        kept, subset = _subset(samples, options)
        if examples:
            kept = tuple(
                replace(sample, fields={**sample.fields, "examples": examples}) for sample in kept
            )
        provenance = {
            **loaded[key].provenance,
            "available": len(samples),
            "selected": len(kept),
            "subset": subset,
        }
        requests, broken = _ask(f"{task.name}@{protocol.name}", protocol, kept)
        work.append(Work(task, protocol, provenance, kept, requests, broken=broken))
    return work


def scored(work: Work, samples: Collection[str]) -> Work:
    """The work without the samples that could not be scored."""
    pairs = [
        (sample, asked)
        for sample, asked in zip(work.samples, work.requests, strict=True)
        if sample.id in samples
    ]
    return replace(
        work,
        samples=tuple(sample for sample, _ in pairs),
        requests=tuple(asked for _, asked in pairs),
    )


def check_packages(chosen: Sequence[tuple[Task, Protocol]], asked: str = "") -> None:
    """UsageError for protocols with metrics of packages that are not installed.

    asked  the names by which the protocols were chosen; others among them are named then
    """
    missing: dict[str, str] = {}
    for task, protocol in chosen:
        for metric in protocol.metrics:
            for module, source in metric.needs.items():
                if find_spec(module) is None:
                    missing[f"{task.name}@{protocol.name}"] = source
    if not missing:
        return
    others = [f"{task.name}@{one.name}" for task, one in chosen]
    others = [name for name in others if name not in missing]
    remedy = f"; or leave it out: --tasks {','.join(others)}" if others and asked else ""
    sources = " ".join(f"'{source}'" for source in dict.fromkeys(missing.values()))
    raise UsageError(
        f"{', '.join(missing)}: a metric needs a package that is not installed:"
        f" pip install {sources}{remedy}"
    )


def check_sources(chosen: Sequence[tuple[Task, Protocol]], place: str, options: RunOptions) -> None:
    """DataError for all tasks that lack their data at once; of a single one, loading says more."""
    if len(chosen) == 1:
        return
    needed: dict[str, str] = {}
    there = []
    for task, protocol in chosen:
        name = task.name if protocol is task.protocols[0] else f"{task.name}@{protocol.name}"
        datasets = [protocol.dataset]
        if protocol.fewshot and count_examples(protocol, options):
            datasets.append(protocol.fewshot.dataset)
        if files := "; ".join(filter(None, (lacking(one, place) for one in datasets))):
            needed[name] = files
        else:
            there.append(name)
    if not needed:
        return
    where, remedy = {
        "hub": ("on the hub in a form that can be read", "Give a directory with them by --data"),
        "bundled": ("among the bundled samples", "Give a directory with them by --data"),
    }.get(place, (f"in {place}", "Put the files there"))
    lines = [
        f"--tasks {options.tasks}: {len(needed)} of {len(chosen)} tasks have no data {where}:",
        *(f"  {name}: {files}" for name, files in needed.items()),
        remedy + (f", or leave the tasks out:\n  --tasks {','.join(there)}" if there else ""),
    ]
    raise DataError("\n".join(lines))


def with_scorer(work: list[Work], options: RunOptions) -> list[Work]:
    """The work, with the checkpoint of `--scorer` where a protocol asks one."""
    if options.scorer is None:
        return work
    if not any(item.protocol.followup for item in work):
        raise UsageError(
            f"--scorer {options.scorer!r}: none of the tasks has texts that a second checkpoint"
            f" scores ({', '.join(item.name for item in work)}); leave it out"
        )
    scorer = open_checkpoint(options.scorer, offline=options.offline)
    return [replace(item, scorer=scorer) if item.protocol.followup else item for item in work]


def _check_samples(name: str, samples: Sequence[Sample]) -> None:
    if not samples:
        raise DataError(f"{name}: the data hold no samples; expected at least one")
    seen: set[str] = set()
    for sample in samples:
        if sample.id in seen:
            raise DataError(
                f"{name}: two samples have the id {sample.id!r}; expected ids that differ. Remove"
                " one of the two, or the ids: then rows are counted"
            )
        seen.add(sample.id)


def _ask(
    name: str, protocol: Protocol, samples: Sequence[Sample]
) -> tuple[tuple[tuple[Request, ...], ...], dict[str, str]]:
    """What each sample asks, and why those that ask nothing do not.

    Raises TaskError where there is none that asks: then the task is broken, not a sample.
    """
    requests: list[tuple[Request, ...]] = []
    broken: dict[str, str] = {}
    for sample in samples:
        try:
            asked = tuple(protocol.requests(sample))
            check_requests(name, sample, asked)
        except MACHINE:
            raise
        except Exception as error:  # a task's function may raise anything
            if not broken:
                first = error
            asked, broken[sample.id] = (), reason_of(error)
        requests.append(asked)
    if len(broken) == len(samples):
        if isinstance(first, Gpt2EvalError):
            raise first
        raise TaskError(
            f"{name}: sample {samples[0].id!r} cannot be asked: {first!r}; nor can the others"
        ) from first
    return tuple(requests), broken


def check_requests(name: str, sample: Sample, asked: tuple[Request, ...]) -> None:
    """TaskError for a sample that asks nothing, or what no model can be asked."""
    if not asked:
        raise TaskError(f"{name}: sample {sample.id!r} asks nothing; expected a request or more")
    for request in asked:
        if not isinstance(request, (Score, Rolling, Generate, Embed)):
            raise TaskError(
                f"{name}: sample {sample.id!r} asks {request!r:.80}; expected a Score, a Rolling, a"
                " Generate or an Embed"
            )
        texts = [getattr(request, key, "") for key in ("context", "continuation", "text", "prompt")]
        if not all(isinstance(text, str) for text in texts):
            raise TaskError(f"{name}: sample {sample.id!r} asks {request!r:.80}; expected texts")
    check_hashable(name, sample, asked)


def check_hashable(name: str, sample: Sample, asked: tuple[Request, ...]) -> None:
    """TaskError for a request without a hash: identical ones are computed once."""
    try:
        hash(asked)
    except TypeError as error:
        raise TaskError(
            f"{name}: a request of sample {sample.id!r} cannot be hashed ({error}); `stop` and"
            " `exclude` are tuples"
        ) from error


def _subset(samples: tuple[Sample, ...], options: RunOptions) -> tuple[tuple[Sample, ...], str]:
    """The samples to score, in their order, and how they were chosen."""
    count = options.limit or options.limit_first or len(samples)
    if count >= len(samples):
        return samples, "all"
    if options.limit_first:
        return samples[:count], f"first {count}"
    # A permutation cut short: the first 100 of a seed lie inside its first 500.
    order = np.random.default_rng(options.seed).permutation(len(samples))
    kept = tuple(samples[i] for i in sorted(order[:count]))
    return kept, f"random {count}, seed {options.seed}"
