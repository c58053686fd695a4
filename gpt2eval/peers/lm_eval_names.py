"""What lm-evaluation-harness calls the tasks and metrics that ours are twins of.

Which of our protocols is whose twin is said by `Protocol.lm_eval`; here stands what its own task
files say of the names, so that scripts find a number where lm-eval would have put it. The tests
hold it against those files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

# lm-eval's names of metrics that ours compute in the same way from the same answers.
OURS = {
    "acc": "accuracy",
    "acc_norm": "accuracy_norm",
    "acc_bytes": "accuracy_bytes",
    "acc_mutual_info": "accuracy_pmi",
    "em": "exact_match",
    "chrf": "chrf2",
}


@dataclass(frozen=True, slots=True)
class Twin:
    """What the file of a task of lm-eval says beside what it asks.

    version  of the task
    filter   name of the only filter that answers go through
    metrics  our name of a metric -> its own, where that is not the usual one
    group    whether it is a group, whose tasks are the parts of ours
    """

    version: float = 1.0
    filter: str = "none"
    metrics: Mapping[str, str] = field(default_factory=dict)
    group: bool = False


_USUAL = {ours: theirs for theirs, ours in OURS.items() if theirs != "em"}
_TWINS = {
    "blimp": Twin(2.0, metrics={"accuracy_macro": "acc", "accuracy": "acc_of_pairs"}, group=True),
    "coqa": Twin(3.0, metrics={"exact_match": "em"}),
    "nq_open": Twin(4.0, "remove_whitespace"),
    "triviaqa": Twin(3.0, "remove_whitespace"),
    "wikitext": Twin(2.0),
}


def twin(task: str) -> Twin:
    """What lm-eval's file of the task says; of most there is nothing special."""
    return _TWINS.get(task, Twin())


def metric_name(task: str, metric: str) -> str:
    """lm-eval's name of a metric of ours, in a task of its own."""
    return twin(task).metrics.get(metric) or _USUAL.get(metric, metric)
