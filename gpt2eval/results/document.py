"""`result.json`: written last, so that a run with one is complete."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gpt2eval.digests import digest_files
from gpt2eval.errors import StoreError
from gpt2eval.results.files import anew, write_atomically
from gpt2eval.results.layout import FORMAT, RECORDS, RESULT
from gpt2eval.shapes import misshapen
from gpt2eval.types import Estimate, Result

DIGESTS = "digests"


def write_result(result: Result, directory: Path) -> None:
    """Write `result.json`, atomically: it is there whole, or not at all.

    `digests` has the sha256 of the records and of each section, for `gpt2eval verify`.
    """
    content = finite({"format": FORMAT, **asdict(result)})
    del content["path"]
    content["digests"] = digests_of(content, directory)
    text = json.dumps(content, ensure_ascii=False, indent=2, allow_nan=False)
    write_atomically(directory / RESULT, text + "\n")


def digests_of(content: Mapping[str, Any], directory: Path) -> dict[str, str]:
    """sha256 of the records of a run, where it has some, and of each section of its result."""
    path = directory / RECORDS
    found = {RECORDS: digest_files([path])} if path.exists() else {}
    for section, value in content.items():
        if section != DIGESTS:
            text = json.dumps(value, sort_keys=True, allow_nan=False)
            found[section] = hashlib.sha256(text.encode()).hexdigest()
    return found


def finite(content: Any) -> Any:
    """JSON has no infinity: the perplexity of a hopeless model is kept as the text "inf"."""
    if isinstance(content, float) and not math.isfinite(content):
        return str(content)
    if isinstance(content, Mapping):
        return {key: finite(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [finite(value) for value in content]
    return content


def read_content(directory: Path) -> Any:
    """What `result.json` holds, as it stands; StoreError where that is not JSON."""
    path = directory / RESULT
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise StoreError(f"{path} cannot be read ({error}); {anew(path)}") from error


def read_result(directory: Path) -> Result:
    """The result of a finished run; StoreError where there is none or it is not ours."""
    path, content = directory / RESULT, read_content(directory)
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT:
        raise StoreError(
            f"{path} has format {found!r}; this version of gpt2eval reads {FORMAT}. Use the version"
            f" that wrote it, or {anew(path)}"
        )
    if wrong := misshapen(content):
        raise StoreError(f"{path} is not a result of gpt2eval: {wrong}; {anew(path)}")
    sections = {
        key: content[key] for key in ("checkpoint", "task", "data", "run", "ledger", "signature")
    }
    baselines = {
        system: {name: _estimate(entry) for name, entry in metrics.items()}
        for system, metrics in content["baselines"].items()
    }
    metrics = {name: _estimate(entry) for name, entry in content["metrics"].items()}
    return Result(**sections, metrics=metrics, baselines=baselines, path=directory)


def _estimate(entry: Mapping[str, Any]) -> Estimate:
    numbers = {
        key: None if entry[key] is None else float(entry[key])
        for key in ("value", "low", "high", "level")
    }
    return Estimate(**{**entry, **numbers})
