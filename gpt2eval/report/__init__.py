"""Results -> a report directory: tables, plots and a page, made from result files alone.

    gpt2eval.write_report(gpt2eval.load_results("results"), "reports/ab")

No part of a run calls this room, and it needs neither torch nor a model: a report can be made,
and made again, on a laptop. What makes it is imported when it is first used: a run, which only asks
whether a directory can take a report, needs no memory for pandas and matplotlib.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gpt2eval.report.frame import to_frame
    from gpt2eval.report.writing import report_files, write_report

_HOME_OF = {"to_frame": "frame", "write_report": "writing", "report_files": "writing"}

__all__ = ["report_files", "to_frame", "write_report"]


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(import_module(f"gpt2eval.report.{_HOME_OF[name]}"), name)
    raise AttributeError(f"module 'gpt2eval.report' has no attribute {name!r}")
