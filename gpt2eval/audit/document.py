"""An audit as a page of Markdown, to keep beside results or to send along."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gpt2eval.audit.types import Flip, ModelAudit, Moved, TaskAudit
from gpt2eval.report.text import NOTHING, format_value, markdown

FLIPS = 10  # that are listed of a task; --json has all
HEADERS = ("task", "samples", "tokens", "mean", "largest", "flipped", "of its interval", "verdict")


def document(audits: Sequence[ModelAudit]) -> str:
    """All audits, as Markdown."""
    return "\n".join(line for one in audits for line in _model(one)) + "\n"


def row(one: TaskAudit) -> tuple[str, ...]:
    """A task in a table, under HEADERS."""
    shares = [each.share for each in one.metrics if each.share is not None and not each.part]
    return (
        one.task,
        f"{one.samples} of {one.available}",
        f"{one.nats.tokens:,}",
        f"{one.nats.mean:.1e}",
        f"{one.nats.largest:.1e}",
        flipped(one),
        f"{max(shares):.2g}" if shares else NOTHING,
        one.verdict,
    )


def flipped(one: TaskAudit) -> str:
    """How many answers of which kind flipped: "2 choices, 1 text"."""
    names = {"choice": "choices", "greedy": "greedy", "text": "texts"}
    found = [f"{one.count(kind)} {name}" for kind, name in names.items() if one.count(kind)]
    return ", ".join(found) or "none"


def where(one: TaskAudit) -> str:
    """The token that is farthest off, in words."""
    place = one.nats.place
    if place is None:
        return ""
    return (
        f"farthest off: sample {place.sample}, token {place.token + 1} of request"
        f" {place.request + 1}, {place.text!r}: {one.nats.found:.6f} instead of"
        f" {one.nats.expected:.6f} nats"
    )


def flip_in_words(flip: Flip) -> str:
    """A flipped answer in words."""
    place = f"sample {flip.place.sample}"
    if flip.kind == "choice":
        by = f", {flip.margin:.2g} nats behind" if flip.margin is not None else ""
        return f"{place}: chose {flip.found!r} instead of {flip.expected!r}{by}"
    if flip.kind == "greedy":
        by = f", decided by {flip.margin:.2g} nats" if flip.margin is not None else ""
        return f"{place}: {flip.found} instead of {flip.expected} at {flip.place.text!r}{by}"
    margin = "drawn" if flip.margin is None else f"{flip.margin:.2g} nats behind"
    return (
        f"{place}: texts part at token {flip.place.token + 1}, {flip.found!r} instead of"
        f" {flip.expected!r} ({margin})"
    )


def metric_cells(one: Moved) -> tuple[str, ...]:
    """A metric in a table: name, reference, its interval, setting, shift."""
    interval = NOTHING
    if one.low is not None and one.high is not None:
        interval = f"[{format_value(one.low, one.unit)}, {format_value(one.high, one.unit)}]"
    return (
        one.metric,
        format_value(one.expected, one.unit),
        interval,
        format_value(one.found, one.unit),
        f"{one.shift:+.2g}",
        NOTHING if one.share is None else f"{one.share:.2g}",
        NOTHING if one.share_of_all is None else f"{one.share_of_all:.2g}",
        str(one.changed),
    )


METRIC_HEADERS = (
    "metric",
    "reference",
    "interval",
    "setting",
    "shift",
    "of its interval",
    "of that of all samples",
    "samples changed",
)


def _model(one: ModelAudit) -> Iterator[str]:
    yield f"# Numerics of {markdown(one.checkpoint)}: {one.verdict}"
    yield ""
    yield f"Reference: {one.reference}. Weights {one.sha256[:12]}, device {one.device}."
    yield "Engine: " + ", ".join(f"{key} {value}" for key, value in one.engine.items()) + "."
    yield "Differences are in nats a token."
    for setting in dict.fromkeys(task.setting for task in one.tasks):
        tasks = [task for task in one.tasks if task.setting == setting]
        yield f"\n## {setting}\n"
        yield from _table(HEADERS, [row(task) for task in tasks])
        for task in tasks:
            yield f"\n### {markdown(task.task)}, {setting}\n"
            yield f"{markdown(task.verdict)}: {markdown(task.words)}.\n"
            yield from _table(
                METRIC_HEADERS, [metric_cells(each) for each in task.metrics if not each.part]
            )
            yield ""
            if words := where(task):
                yield f"- {markdown(words)}"
            for flip in task.flips[:FLIPS]:
                yield f"- {markdown(flip_in_words(flip))}"
            if len(task.flips) > FLIPS:
                yield f"- and {len(task.flips) - FLIPS} more flipped answers"
            for sample, reason in list(task.failed.items())[:FLIPS]:
                yield f"- not scored: {markdown(sample)}: {markdown(reason)}"
    yield ""


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(headers) + " |"
    yield "| " + " | ".join("---" for _ in headers) + " |"
    for cells in rows:
        yield "| " + " | ".join(map(markdown, cells)) + " |"
