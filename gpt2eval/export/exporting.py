"""`gpt2eval export`: from names of results on disk to files of another form."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path

from gpt2eval.errors import StoreError, UsageError
from gpt2eval.results import Found, find_results
from gpt2eval.task import Task, discover
from gpt2eval.types import Result

# Form -> the module whose `write(results, output, tasks)` makes it and gives the paths.
FORMATS = {
    "lm-eval": "gpt2eval.export.lm_eval",
}

Writer = Callable[[Sequence[Result], Path, Mapping[str, Task]], list[Path]]


def export(
    names: Sequence[str | Path],
    form: str,
    output: str | Path,
    *,
    tasks_dir: str | Path | None = None,
) -> tuple[list[Path], Found]:
    """Write the results with these names in another form; the paths, and what was found.

    names      as `find_results` takes them
    form       one of FORMATS
    output     directory that the files go to
    tasks_dir  directory with task files of the user's own

    Raises UsageError for a name that leads to no result and for a form that does not exist;
    StoreError where nothing can be written.
    """
    if form not in FORMATS:
        raise UsageError(f"--format {form!r}; expected one of {', '.join(FORMATS)}")
    found = find_results(names)
    write: Writer = import_module(FORMATS[form]).write
    try:
        return write(found.results, Path(output), discover(tasks_dir)), found
    except OSError as error:
        raise StoreError(
            f"{error.filename or output} could not be written ({error.strerror}); make room, check"
            " permissions, or give another --output"
        ) from error
