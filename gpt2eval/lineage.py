"""Where weights come from: what `gpt2eval finetune` writes beside a checkpoint, for its results.

The file stands in a checkpoint directory of anybody, so it is read with the same distrust as the
weights: a bounded JSON object, nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gpt2eval.errors import CheckpointError

LINEAGE = "gpt2eval_finetune.json"
LIMIT = 1_000_000  # bytes; one of a hundred training files has 20,000


def read_lineage(place: Path) -> dict[str, Any] | None:
    """What is recorded of the fine-tuning that made the checkpoint here; None where nothing is.

    place  the directory, or a file in it. Raises CheckpointError for a file that cannot be used.
    """
    path = (place if place.is_dir() else place.parent) / LINEAGE
    if not path.is_file():
        return None
    if path.stat().st_size > LIMIT:
        raise CheckpointError(
            f"{path} has {path.stat().st_size} bytes; expected at most {LIMIT}. Delete it if it is"
            " not the record of `gpt2eval finetune`"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path} is not valid JSON ({error}); delete it, and results will not say how the"
            " checkpoint was made"
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__}; expected a JSON object")
    return content


def lineage_text(content: Mapping[str, Any]) -> str:
    """The file's text."""
    return json.dumps(content, ensure_ascii=False, indent=2, allow_nan=False) + "\n"


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not a number")
