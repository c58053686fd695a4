"""Fixtures for test suites that hold a checkpoint to its predecessor's numbers.

Found by pytest through the entry point `pytest11`; nothing heavy is imported before a fixture is
called.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import fspath
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from gpt2eval.check import Check
    from gpt2eval.types import Estimate

    Names = str | Path | Sequence[str | Path]


@pytest.fixture(scope="session")
def gpt2eval_scores() -> Callable[..., dict[str, Estimate]]:
    """`gpt2eval_scores("results/new")["lambada@openai/accuracy"].value`.

    The numbers of one checkpoint's finished runs, by `task@protocol/metric`. The results are named
    as on the command line; `output` is where names of checkpoints are looked up.
    """

    def scores(results: Names, *, output: str | Path = "results") -> dict[str, Estimate]:
        from gpt2eval.compare.selection import find, label
        from gpt2eval.errors import UsageError

        found = find(_names(results), fspath(output)).results
        labels = list(dict.fromkeys(name for name, _ in label(found)))
        if len(labels) > 1:
            raise UsageError(f"results of {', '.join(labels)}; expected those of one checkpoint")
        return {
            f"{result.name}/{name}": estimate
            for result in found
            for name, estimate in result.metrics.items()
        }

    return scores


@pytest.fixture(scope="session")
def gpt2eval_check() -> Callable[..., list[Check]]:
    """`gpt2eval_check("results/new", "results/old", max_drop="lambada@openai/accuracy=0.5pt")`.

    `gpt2eval check` as an assertion: the test fails unless the data rule out that a metric dropped
    by more than its margin. Arguments as there: `max_drop` (one or several), `alpha`, `tasks`,
    `seed`, `tasks_dir`, `output`. Returns what was found of each metric.
    """

    def check(
        new: Names,
        baseline: Names,
        *,
        max_drop: str | Sequence[str] = (),
        alpha: float = 0.05,
        tasks: str | None = None,
        seed: int = 0,
        tasks_dir: str | Path | None = None,
        output: str | Path = "results",
    ) -> list[Check]:
        __tracebackhide__ = True
        from gpt2eval.check import cells, check, passed, summary
        from gpt2eval.compare.selection import find

        found = check(
            find(_names(new), fspath(output), tasks).results,
            find(_names(baseline), fspath(output), tasks).results,
            max_drop=(max_drop,) if isinstance(max_drop, str) else max_drop,
            alpha=alpha,
            seed=seed,
            tasks_dir=tasks_dir,
        )
        if not passed(found):
            lines = [
                f"{metric}: {old} -> {now}, difference {change}, may drop by {allowed}; {verdict}"
                for metric, old, now, change, allowed, verdict in map(cells, found)
            ]
            pytest.fail("\n  ".join([summary(found), *lines]), pytrace=False)
        return found

    return check


def _names(names: Names) -> tuple[str, ...]:
    given = (names,) if isinstance(names, (str, Path)) else names
    return tuple(fspath(name) for name in given)
