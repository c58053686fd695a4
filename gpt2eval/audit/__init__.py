"""Does a score change with the dtype or the batch size, and does it matter?

A sample of the tasks is scored twice: by transformers in float32, one text at a time with attention
as its formula stands, and by the engine under the setting in question. What is found is set beside
what rounding does, and beside the intervals of the metrics. Nothing is stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from gpt2eval.audit.asking import Asked, alone, ask, engine
from gpt2eval.audit.diagnosis import cause_of
from gpt2eval.audit.differences import Pair, flips, moved, nats
from gpt2eval.audit.types import Allowed, Flip, ModelAudit, Nats, Place, Setting, TaskAudit
from gpt2eval.audit.verdicts import explains, in_words, judge, usual, widened
from gpt2eval.checkpoint import BUNDLED, Checkpoint, open_checkpoints
from gpt2eval.errors import SampleError
from gpt2eval.model import Model, Reference, load_model, load_reference
from gpt2eval.model.linear import Linear
from gpt2eval.options import RunOptions
from gpt2eval.scoring import Progress
from gpt2eval.task import discover, select
from gpt2eval.work import Work, load_work

SAMPLES = 32
"""Samples of a task, where nobody says how many."""

KERNELS = "transformers, float32, one text at a time, eager attention"


def audit(options: RunOptions, settings: Sequence[Setting], progress: Progress) -> list[ModelAudit]:
    """Audit each checkpoint of `options.models`, by default the bundled ones.

    Of the options, dtype and batch_size do not count: the settings have them. Raises SampleError
    where no sample of a task can be scored on both sides.
    """
    models = options.models or BUNDLED
    if options.limit is None and options.limit_first is None:
        options = replace(options, limit=SAMPLES)
    chosen = select(options.tasks, discover(options.tasks_dir))
    checkpoints = open_checkpoints(models, offline=options.offline)
    place = options.data or ("bundled" if set(models) <= set(BUNDLED) else "hub")
    work = load_work(chosen, place, options)
    return [_audit(checkpoint, work, options, settings, progress) for checkpoint in checkpoints]


@dataclass(frozen=True, slots=True)
class _Case:
    """What one checkpoint is audited with."""

    checkpoint: Checkpoint
    reference: Reference
    work: Sequence[Work]
    options: RunOptions
    progress: Progress


def _audit(
    checkpoint: Checkpoint,
    work: Sequence[Work],
    options: RunOptions,
    settings: Sequence[Setting],
    progress: Progress,
) -> ModelAudit:
    progress.begin(f"{checkpoint.name}: loading")
    reference = load_reference(checkpoint, options.device)
    case = _Case(checkpoint, reference, work, options, progress)
    model: Model | None = None
    known: list[Asked] = []
    found: list[TaskAudit] = []
    for setting in settings:
        if model is None or model.dtype != getattr(torch, setting.dtype):
            model = load_model(checkpoint, options.device, setting.dtype)
        if not known:
            progress.begin(f"{checkpoint.name}: the reference")
            known = ask(work, alone(reference, model, options.seed, progress))
        progress.begin(f"{checkpoint.name}: {setting}")
        asked = ask(work, engine(model, options.seed, setting.batch_size, progress))
        found += _tasks(case, model, setting, asked, known)
    assert model is not None
    return ModelAudit(
        checkpoint.name,
        checkpoint.sha256,
        str(model.device),
        KERNELS,
        _engine(model),
        found,
    )


def _engine(model: Model) -> dict[str, str]:
    """What computes, in words."""
    linears: Sequence[Linear] = list(model.transformer.linears.values())
    return {
        "attention": "torch.nn.functional.scaled_dot_product_attention",
        "linear": "oneDNN, packed weights" if linears[0].packed else "torch.addmm",
        "head": "float32, in pieces of the vocabulary",
        "threads": str(torch.get_num_threads()),
        "torch": torch.__version__,
    }


def _tasks(
    case: _Case, model: Model, setting: Setting, asked: Sequence[Asked], known: Sequence[Asked]
) -> Iterator[TaskAudit]:
    for item, left, right in zip(case.work, asked, known, strict=True):
        pairs = [
            Pair(sample, left.given[sample.id], right.given[sample.id])
            for sample in item.samples
            if sample.id in left.given and sample.id in right.given
        ]
        failed = {**right.failed, **left.failed}
        if not pairs:
            name, reason = next(iter(failed.items()))
            raise SampleError(
                f"{item.name} of {case.checkpoint.name}: none of {len(item.samples)} samples could"
                f" be scored on both sides ({setting}); the first, {name!r}: {reason}",
                [],
            )
        yield _task(case, model, setting, item, pairs, failed)


def _task(
    case: _Case,
    model: Model,
    setting: Setting,
    item: Work,
    pairs: Sequence[Pair],
    failed: dict[str, str],
) -> TaskAudit:
    def text(token: int) -> str:
        return model.decode([token])

    off, flipped = nats(pairs, text), flips(pairs, text)
    metrics = moved(item, pairs, case.options.seed)
    allowed, cause = usual(setting.dtype), ""
    explained = explains(allowed, off, flipped)
    if not explained:
        allowed, cause = _look_closer(case, model, setting, item, pairs, off, flipped)
        explained = not cause
    verdict = judge(metrics, explained)
    return TaskAudit(
        task=item.name,
        setting=setting,
        samples=len(pairs),
        available=item.provenance["available"],
        subset=item.provenance["subset"],
        failed=failed,
        nats=off,
        flips=flipped,
        metrics=metrics,
        allowed=allowed,
        explained=explained,
        cause=cause,
        verdict=verdict,
        words=in_words(verdict, off, metrics, allowed, cause),
    )


def _look_closer(
    case: _Case,
    model: Model,
    setting: Setting,
    item: Work,
    pairs: Sequence[Pair],
    off: Nats,
    flipped: Sequence[Flip],
) -> tuple[Allowed, str]:
    """What rounding does to this checkpoint on these texts, and the cause of what is more."""
    rounded = load_reference(case.checkpoint, case.options.device, setting.dtype, "sdpa")
    case.progress.begin(f"{case.checkpoint.name}: {item.name}, transformers in {setting.dtype}")
    (answers,) = ask([item], alone(rounded, model, case.options.seed, case.progress))
    theirs = [
        replace(pair, left=answers.given[pair.sample.id])
        for pair in pairs
        if pair.sample.id in answers.given
    ]
    allowed = widened(setting.dtype, nats(theirs, lambda _: ""))
    if explains(allowed, off, flipped):
        return allowed, ""
    place = _suspect(allowed, off, flipped)
    if place is None:  # nothing but a mean that is too large
        return allowed, "spread over many tokens"
    (pair,) = [pair for pair in pairs if pair.sample.id == place.sample]
    cause = cause_of(model, case.reference, rounded, pair, place, allowed, case.options.seed)
    return allowed, cause


def _suspect(allowed: Allowed, off: Nats, flipped: Sequence[Flip]) -> Place | None:
    """The token that is farthest off; where texts part too early, that place."""
    if off.place is not None and not off.largest <= allowed.largest:
        return off.place
    wide = [flip for flip in flipped if flip.kind != "choice" and flip.margin is not None]
    widest = max(wide, key=lambda flip: flip.margin or 0.0, default=None)
    return widest.place if widest else off.place
