"""gpt2eval: score GPT-2 checkpoints on standard benchmarks, compare them, report the result.

The public names are loaded when they are first used, so that `import gpt2eval` and
`gpt2eval --help` stay fast.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "gpt2eval.errors": ("DataError", "Gpt2EvalError"),
    "gpt2eval.types": (
        "Comparison",
        "Embed",
        "Embedded",
        "Estimate",
        "Generate",
        "Generated",
        "Record",
        "Request",
        "Response",
        "Result",
        "Rolling",
        "Sample",
        "Score",
        "Scored",
    ),
    "gpt2eval.task": ("Fewshot", "Metric", "Protocol", "Task"),
    "gpt2eval.data": ("Dataset", "Hub"),
    "gpt2eval.evaluation": ("run",),
    "gpt2eval.finetuning.callback": ("EvalCallback",),
    "gpt2eval.results": ("load_results",),
    "gpt2eval.report": ("to_frame", "write_report"),
}
_ROOMS = ("data", "metrics", "recipes")  # modules that task plug-ins use whole
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = ["__version__", *_ROOMS, *sorted(_HOME_OF)]


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(import_module(_HOME_OF[name]), name)
    if name in _ROOMS:
        return import_module(f"gpt2eval.{name}")
    raise AttributeError(f"module 'gpt2eval' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
