"""How a number came about: its signature, and the software and hardware behind it."""

from __future__ import annotations

import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpt2eval import __version__
from gpt2eval.checkpoint import Checkpoint
from gpt2eval.options import RunOptions

if TYPE_CHECKING:
    from gpt2eval.model import Model

PACKAGES = ("torch", "transformers", "tokenizers", "numpy", "sacrebleu", "rouge-score", "datasets")


def checkpoint_section(model: Model) -> dict[str, Any]:
    """The `checkpoint` section of a result."""
    checkpoint = model.checkpoint
    return {
        "name": checkpoint.name,
        "path": checkpoint.source,
        "revision": checkpoint.revision,
        "sha256": checkpoint.sha256,
        "tokenizer_sha256": checkpoint.tokenizer_sha256,
        "parameters": model.parameters,
        "kind": checkpoint.kind,
        **({"finetuned": checkpoint.lineage} if checkpoint.lineage else {}),
        **({"assumed": list(checkpoint.assumed)} if checkpoint.assumed else {}),
        **({"base": _base_section(checkpoint.base)} if checkpoint.base else {}),
    }


def _base_section(base: Checkpoint) -> dict[str, Any]:
    """What an adapter was merged into."""
    return {"path": base.source, "revision": base.revision, "sha256": base.sha256} | {
        "kind": base.kind
    }


def run_section(
    model: Model,
    options: RunOptions,
    started: str,
    *,
    seconds: float,
    tokens: int,
    resumed: int = 0,
) -> dict[str, Any]:
    """The `run` section of a result, for work that took the model so many seconds and tokens."""
    return {
        "device": str(model.device),
        "dtype": options.dtype,
        "n_ctx": model.n_ctx,
        "batch_policy": f"at most {options.batch_size} sequences" if options.batch_size else "auto",
        "seed": options.seed,
        "versions": versions(),
        "git_commit": git_commit(),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "started": started,
        "seconds": round(seconds, 3),
        "resumed_samples": resumed,
        "tokens": tokens,
        "tokens_per_second": round(tokens / seconds, 1) if seconds else None,
        "peak_memory_bytes": peak_memory(model),
    }


def signature(
    checkpoint: Checkpoint,
    task: Mapping[str, Any],
    data: Mapping[str, Any],
    options: RunOptions,
    n_ctx: int,
    *,
    scorer: Checkpoint | None = None,
) -> str:
    """One line with all that can change the number, in the manner of sacrebleu.

    task, data  sections of the result
    scorer      who was asked the followup of a protocol that has one
    """
    parts = {
        "task": f"{task['name']}@{task['protocol']}",
        "v": task["version"],
        **{key: _short(value) for key, value in task["options"].items()},
        "data": data["sha256"][:12],
        "n": f"{data['selected']}/{data['available']}",
        "subset": data["subset"],
        "ckpt": checkpoint.sha256[:12],
        "tok": checkpoint.tokenizer_sha256[:12],
        "ctx": n_ctx,
        "dtype": options.dtype,
        "seed": options.seed,
        **({"scorer": f"{_short(scorer.name)}@{scorer.sha256[:12]}"} if scorer else {}),
        "gpt2eval": __version__,
    }
    return "|".join(f"{key}:{value}" for key, value in parts.items())


def _short(value: object) -> str:
    """A digest by its beginning, anything else whole; the separators of the signature escaped."""
    text = str(value).replace("|", "/")
    return text[:12] if re.fullmatch("[0-9a-f]{64}", text) else text


def versions() -> dict[str, str]:
    """Of gpt2eval, Python and the packages that can change a number."""
    found = {"gpt2eval": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def git_commit() -> str:
    """Commit of the gpt2eval that runs, if it runs from a clone; empty otherwise."""
    package = Path(__file__).parent
    try:
        out = subprocess.run(
            ["git", "-C", str(package), "log", "-1", "--format=%H", "--", str(package)],
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return out.stdout.strip() if out.returncode == 0 else ""


def peak_memory(model: Model) -> int:
    """Most memory this process has held so far, in bytes: of the GPU, or resident on the CPU."""
    if model.device.type == "cuda":
        import torch

        return int(torch.cuda.max_memory_allocated(model.device))
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)
