"""Every error that gpt2eval raises on purpose.

A message names the value received, what was expected and what to do next. The command line
prints it without a traceback and exits with the class's `exit_code`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class Gpt2EvalError(Exception):
    """Base of all errors raised on purpose; catch this to catch them all."""

    exit_code = 2


class UsageError(Gpt2EvalError):
    """An option, a task name or a protocol name that cannot be used."""


class CheckpointError(Gpt2EvalError):
    """A checkpoint that is missing, damaged, or not a GPT-2."""


class DataError(Gpt2EvalError):
    """Benchmark data that is missing, malformed or empty."""


class ComparisonError(Gpt2EvalError):
    """Results that cannot be compared, because they answer different questions or are damaged."""


class TaskError(Gpt2EvalError):
    """A task plug-in that breaks the contract of `gpt2eval.Task`."""


class ModelError(Gpt2EvalError):
    """A model that produced something that is not a number."""

    exit_code = 4


class SampleError(Gpt2EvalError):
    """More samples could not be scored than `--max-failed` allows; all else is scored and saved.

    results  the Results that were saved
    """

    exit_code = 4

    def __init__(self, message: str, results: Sequence[Any]) -> None:
        super().__init__(message)
        self.results = list(results)


class MissingError(SampleError):
    """Runs that cannot be merged, because nobody has scored some of their samples yet."""


class WorkerError(Gpt2EvalError):
    """Processes that died under their work, more often than it is begun again."""

    exit_code = 4


class StoreError(Gpt2EvalError):
    """Results or a report that could not be written or read."""

    exit_code = 4


MACHINE = (MemoryError, OSError, ImportError)
"""What a sample is never to blame for: such an error ends the run, and the next one goes on."""


def reason_of(error: Exception) -> str:
    """An error in words, for the record of a sample."""
    return str(error) if isinstance(error, Gpt2EvalError) else repr(error)


def out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory ran out; every allocator has its own words for it."""
    texts = ("out of memory", "not enough memory", "allocate memory", "failed to map segment")
    return isinstance(error, MemoryError) or any(text in str(error).lower() for text in texts)
