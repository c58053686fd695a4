"""What checkpoints are called where several stand together, and which results belong together.

Comparisons and reports use the same labels, so that each finds the other's.
"""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePath

from gpt2eval.naming import training_step as step_in
from gpt2eval.types import Result


def checkpoint_labels(results: Sequence[Result]) -> list[str]:
    """A label for each result; results share one only when weights and dtype are the same.

    The label is the checkpoint's name, followed by digest, dtype or number of the run where the
    name alone would put two different things in one column.
    """
    entities: list[tuple[str, str, str, str, int]] = []
    seen: Counter[tuple[str, ...]] = Counter()
    for result in results:
        name, checkpoint = plain(result.checkpoint["name"]), result.checkpoint
        digest = str(checkpoint.get("sha256") or "")
        # Without a digest, what the user called the checkpoint has to tell it from others.
        path = "" if digest else plain(checkpoint.get("path", ""))
        made_by = digest[:8] or str(result.run.get("tool", "digest unknown"))
        entity = (name, digest or made_by, path, str(result.run.get("dtype", "")))
        seen[(*entity, question(result))] += 1
        entities.append((*entity, seen[(*entity, question(result))]))
    unique = list(dict.fromkeys(entities))
    labels = distinguish(
        [name for name, *_ in unique],
        [digest[:8] for _, digest, *_ in unique],
        [path for _, _, path, *_ in unique],
        [dtype for *_, dtype, _ in unique],
        [f"run {number}" for *_, number in unique],
    )
    label_of = dict(zip(unique, labels, strict=True))
    return [label_of[entity] for entity in entities]


def distinguish(names: Sequence[str], *qualifiers: Sequence[str]) -> list[str]:
    """Names made unique: those used twice get the first qualifiers that tell their uses apart."""
    current = list(names)
    for column in (*qualifiers, [str(position + 1) for position in range(len(current))]):
        uses = Counter(current)
        values: dict[str, set[str]] = {}
        for name, value in zip(current, column, strict=True):
            values.setdefault(name, set()).add(value)
        current = [
            f"{name} ({value})" if uses[name] > 1 and len(values[name]) > 1 else name
            for name, value in zip(current, column, strict=True)
        ]
    return current


def question(result: Result) -> str:
    """Everything two results must share to be compared, as one string."""
    task, data = result.task, result.data
    parts = [result.name, task.get("version"), task.get("options", {}), is_bundled(result)]
    parts += [data.get(key) for key in ("sha256", "subset", "available", "selected")]
    return json.dumps(parts, sort_keys=True, default=str)


def training_step(result: Result) -> tuple[str, int] | None:
    """The run that a checkpoint belongs to and its step.

    They are those of the experiment file, if one was given; else from its name or its path.
    """
    checkpoint = result.checkpoint
    name = str(checkpoint.get("name", ""))
    path = PurePath(str(checkpoint.get("path", "")))
    told = checkpoint.get("step")
    for text, elsewhere in ((name, path.parent.name), (path.name, path.parent.name)):
        found = step_in(text)
        if found or told is not None:
            run, step = found or ("", 0)
            named = " ".join(
                str(checkpoint[key]) for key in ("variant", "seed") if key in checkpoint
            )
            return named or run or elsewhere or "checkpoint", step if told is None else int(told)
    return None


def is_bundled(result: Result) -> bool:
    """Whether a result was made from the samples that come with the package."""
    return bool(result.data.get("source") == "bundled")


def plain(value: object) -> str:
    """Text on one line without control or invisible formatting characters."""
    kept = (" " if unicodedata.category(char)[0] == "C" else char for char in str(value))
    return " ".join("".join(kept).split())
