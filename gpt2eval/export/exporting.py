"""`gpt2eval export`: from names of results on disk to files of another form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from gpt2eval.errors import StoreError, UsageError
from gpt2eval.export.order import Order, Written
from gpt2eval.results import find_results
from gpt2eval.task import discover

# Form -> the module whose `write(order)` makes it, and the options that it reads.
FORMATS: dict[str, tuple[str, frozenset[str]]] = {
    "lm-eval": ("gpt2eval.export.lm_eval", frozenset()),
    "model-index": ("gpt2eval.export.model_index", frozenset({"into"})),
    "eval-results": ("gpt2eval.export.eval_results", frozenset()),
    "tensorboard": ("gpt2eval.export.to_tensorboard", frozenset()),
    "mlflow": ("gpt2eval.export.to_mlflow", frozenset({"report"})),
    "wandb": ("gpt2eval.export.to_wandb", frozenset({"report"})),
}


def export(
    names: Sequence[str | Path],
    form: str,
    output: str | Path,
    *,
    report: str | Path | None = None,
    into: str | Path | None = None,
    tasks_dir: str | Path | None = None,
) -> Written:
    """Write the results with these names in another form; the paths, and what there is to say.

    names      as `find_results` takes them
    form       one of FORMATS
    output     directory that the files go to
    report     directory of a report, kept as an artifact (mlflow, wandb)
    into       README.md whose metadata get the numbers (model-index)
    tasks_dir  directory with task files of the user's own

    Raises UsageError for a name that leads to no result, for a form that does not exist, and for
    an option that the form does not read; StoreError where nothing can be written.
    """
    if form not in FORMATS:
        raise UsageError(f"--format {form!r}; expected one of {', '.join(FORMATS)}")
    module, reads = FORMATS[form]
    for option, value in (("report", report), ("into", into)):
        if value is not None and option not in reads:
            able = " and ".join(name for name, (_, options) in FORMATS.items() if option in options)
            raise UsageError(f"--{option} {str(value)!r} is for --format {able}; leave it out")
    if report is not None and not (Path(report) / "report.html").is_file():
        raise UsageError(
            f"--report {str(report)!r} holds no report.html; expected a directory that `gpt2eval"
            " report` wrote"
        )
    found = find_results(names)
    order = Order(
        found.results,
        Path(output),
        discover(tasks_dir),
        Path(report) if report is not None else None,
        Path(into) if into is not None else None,
    )
    write: Callable[[Order], Written] = import_module(module).write
    try:
        written = write(order)
    except OSError as error:
        raise StoreError(
            f"{error.filename or output} could not be written ({error.strerror or error}); make"
            " room, check permissions, or give another --output"
        ) from error
    left = [f"left out, since it has not finished: {path}" for path in found.unfinished]
    return replace(written, notes=[*left, *written.notes])
