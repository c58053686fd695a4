"""How a number came about: its signature, and the software and hardware behind it."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from gpt2eval import __version__
from gpt2eval.checkpoint import Checkpoint
from gpt2eval.options import RunOptions
from gpt2eval.work import Work

if TYPE_CHECKING:
    from gpt2eval.model import Model

PACKAGES = ("torch", "transformers", "tokenizers", "numpy", "sacrebleu", "rouge-score", "datasets")


def signature(checkpoint: Checkpoint, work: Work, options: RunOptions, n_ctx: int) -> str:
    """One line with all that can change the number, in the manner of sacrebleu."""
    parts = {
        "task": work.name,
        "v": work.task.version,
        **{key: _short(value) for key, value in work.protocol.options.items()},
        "data": work.provenance["sha256"][:12],
        "n": f"{work.provenance['selected']}/{work.provenance['available']}",
        "subset": work.provenance["subset"],
        "ckpt": checkpoint.sha256[:12],
        "tok": checkpoint.tokenizer_sha256[:12],
        "ctx": n_ctx,
        "dtype": options.dtype,
        "seed": options.seed,
        **({"scorer": _scorer(checkpoint, work)} if work.protocol.followup else {}),
        "gpt2eval": __version__,
    }
    return "|".join(f"{key}:{value}" for key, value in parts.items())


def _scorer(checkpoint: Checkpoint, work: Work) -> str:
    """Name and digest of who is asked the followup."""
    scorer = work.scorer or checkpoint
    return f"{_short(scorer.name)}@{scorer.sha256[:12]}"


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
