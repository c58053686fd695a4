"""Our numbers as modules of Hugging Face `evaluate`: `evaluate.load(path("perplexity"))`.

Each module is a script of its own, as `evaluate` wants it, in a directory of its name.
"""

from __future__ import annotations

from pathlib import Path

from gpt2eval.errors import UsageError

MODULES = ("lambada", "perplexity")


def path(name: str) -> str:
    """Where the installed package has a module, for `evaluate.load`."""
    if name not in MODULES:
        raise UsageError(f"no evaluate module {name!r}; there are {', '.join(MODULES)}")
    return str(Path(__file__).parent / name)
