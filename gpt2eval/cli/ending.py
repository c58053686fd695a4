"""How `run` and `merge` end: the report, the table or JSON, and the failure that was held back."""

from __future__ import annotations

from collections.abc import Sequence

from gpt2eval.cli.options import print_json
from gpt2eval.errors import SampleError
from gpt2eval.options import ReportOptions, RunOptions
from gpt2eval.types import Result


def tell(
    command: str,
    options: RunOptions,
    results: Sequence[Result],
    failure: SampleError | None,
    *,
    as_json: bool,
    quiet: bool,
) -> None:
    """Report results and say where the report lies; then raise `failure`, if there was one."""
    if results:
        # Not before the models are gone: reports and tables bring a hundred megabytes of libraries.
        from gpt2eval import as_json as shapes
        from gpt2eval.reporting import report_results
        from gpt2eval.terminal.results import show_results

        page = report_results(results, options.report, ReportOptions(tasks_dir=options.tasks_dir))
        if as_json:
            print_json(command, shapes.results(results, page))
        elif not quiet:
            show_results(results, page)
    if failure:
        raise failure
