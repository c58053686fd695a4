"""Where runs keep their files, and what those are called."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gpt2eval.errors import UsageError
from gpt2eval.naming import safe_name, safe_task

FORMAT = 1
RESULT = "result.json"
RECORDS = "records.jsonl"
VOCABULARY = "vocabulary.json"
SHARDS = "shards"  # directory of what shards of a run have saved, until they are merged


def run_directory(output: Path, checkpoint: str, task: str, identity: Mapping[str, Any]) -> Path:
    """Where the run with this identity keeps its files: below `output`, whatever the names are."""
    content = json.dumps(identity, sort_keys=True, ensure_ascii=False)
    run_id = hashlib.sha256(content.encode()).hexdigest()[:12]
    return output / safe_name(checkpoint) / safe_task(task) / run_id


def prepare_output(output: Path) -> None:
    """Create the output directory and prove that it can be written; UsageError if not."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        probe = output / f".write-test-{os.getpid()}"
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        raise UsageError(
            f"output directory {str(output)!r} cannot be written ({error.strerror}); give another"
            " one with --output"
        ) from error
