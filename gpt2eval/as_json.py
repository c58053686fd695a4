"""What commands print with `--json`: one shape for each, listed in docs/json.md.

Every one is an object with "format" and "command". Numbers are in full; what is no finite number is
a text ("inf", "nan"), as in result.json, and what is not there is null.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gpt2eval.audit.types import ModelAudit
    from gpt2eval.check import Check as GateCheck
    from gpt2eval.compare.best import Best
    from gpt2eval.doctor import Finding
    from gpt2eval.options import RunOptions
    from gpt2eval.outlook import Outlook
    from gpt2eval.overlap import Overlap
    from gpt2eval.peers.importing import Imported
    from gpt2eval.rescore import Rescored
    from gpt2eval.selfcheck import Check
    from gpt2eval.task import Metric, Protocol, Task
    from gpt2eval.types import Comparison, Result, Split
    from gpt2eval.verify import Verified

FORMAT = 1
"""Raised when a key goes away or changes its meaning; new keys may come at any time."""


def as_text(command: str, content: Mapping[str, Any]) -> str:
    """The whole of what a command prints."""
    whole = {"format": FORMAT, "command": command, **content}
    return json.dumps(_plain(whole), ensure_ascii=False, indent=2, allow_nan=False)


def _plain(content: Any) -> Any:
    """Nothing but what JSON has."""
    if isinstance(content, float):
        # "inf" and "nan", as `results.finite` has them; no import, listing tasks must stay quick.
        return content if content - content == 0 else str(content)
    if content is None or isinstance(content, (str, bool, int)):
        return content
    if is_dataclass(content):
        return {item.name: _plain(getattr(content, item.name)) for item in fields(content)}
    if isinstance(content, Mapping):
        return {str(key): _plain(value) for key, value in content.items()}
    if isinstance(content, (list, tuple, set, frozenset)):
        return [_plain(value) for value in content]
    return str(content)  # a path, an option of a task


# ---- tasks --------------------------------------------------------------------------------------


def tasks(found: Mapping[str, Task]) -> dict[str, Any]:
    """`gpt2eval tasks`."""
    groups: dict[str, list[str]] = {}
    for task in found.values():
        for group in task.groups:
            groups.setdefault(group, []).append(task.name)
    return {
        "tasks": [
            {
                "name": f"{task.name}@{protocol.name}",
                "task": task.name,
                "protocol": protocol.name,
                "default": protocol is task.protocols[0],
                "version": task.version,
                "summary": protocol.summary,
                "groups": task.groups,
            }
            for task in found.values()
            for protocol in task.protocols
        ],
        "groups": dict(sorted(groups.items())),
    }


def explain(chosen: Sequence[tuple[Task, Protocol]]) -> dict[str, Any]:
    """`gpt2eval explain`."""
    from gpt2eval.published import entries

    named = {task.name: task for task, _ in chosen}
    return {
        "tasks": [
            {
                "name": name,
                "version": task.version,
                "summary": task.summary,
                "source": task.source,
                "story": task.story,
                "protocols": [_protocol(one) for other, one in chosen if other is task],
                "published": entries(name),
            }
            for name, task in named.items()
        ]
    }


def _protocol(protocol: Protocol) -> dict[str, Any]:
    return {
        "name": protocol.name,
        "summary": protocol.summary,
        "detail": protocol.detail,
        "metrics": [_metric(metric) for metric in protocol.metrics],
        "options": protocol.options,
        "baselines": list(protocol.baselines),
        "fewshot": protocol.fewshot.count if protocol.fewshot else None,
        "files": [list(names) for names in protocol.dataset.files],
        "hub": str(protocol.dataset.hub) if protocol.dataset.hub else None,
        "references": protocol.references,
    }


def _metric(metric: Metric) -> dict[str, Any]:
    keys = ("name", "unit", "per", "higher_is_better", "part")
    return {key: getattr(metric, key) for key in keys}


# ---- results ------------------------------------------------------------------------------------


def results(found: Sequence[Result], page: Path | None, **more: Any) -> dict[str, Any]:
    """`run`, `bench` and `report`: the scores, and where the page lies."""
    return {
        "results": [
            {
                "checkpoint": one.checkpoint["name"],
                "task": one.name,
                "path": one.path,
                "subset": one.data["subset"],
                "source": one.data["source"],
                "metrics": one.metrics,
                "baselines": one.baselines,
                "ledger": one.ledger,
                "signature": one.signature,
            }
            for one in found
        ],
        "report": page,
        **more,
    }


def comparisons(
    found: Sequence[Comparison], said: Sequence[str], splits: Sequence[Split] = ()
) -> dict[str, Any]:
    """`gpt2eval compare`, with the scores on clean and overlapping samples where it has them."""
    return {"comparisons": found, "remarks": said, **({"splits": splits} if splits else {})}


def best(chosen: Best, said: Sequence[str]) -> dict[str, Any]:
    """`gpt2eval best`."""
    return {"best": chosen, "set": chosen.members, "remarks": said}


def overlap(found: Overlap, path: str) -> dict[str, Any]:
    """`gpt2eval overlap`: what the file holds, and where it is."""
    content = {item.name: getattr(found, item.name) for item in fields(found)}
    return {**content, "path": path}


def outlook(found: Sequence[Outlook]) -> dict[str, Any]:
    """`gpt2eval run --dry-run`."""
    return {"runs": found}


def gate(checks: Sequence[GateCheck], passed: bool) -> dict[str, Any]:
    """`gpt2eval check`."""
    return {
        "passed": passed,
        "checks": [
            {
                "verdict": one.verdict,
                "words": one.words,
                "margin": one.margin,
                "comparison": one.comparison,
            }
            for one in checks
        ],
    }


def rescored(found: Sequence[Rescored], written: bool) -> dict[str, Any]:
    """`gpt2eval rescore`."""
    return {
        "reproduced": all(one.reproduced for one in found),
        "written": written,
        "results": [
            {
                "checkpoint": one.result.checkpoint["name"],
                "task": one.result.name,
                "path": one.result.path,
                "reproduced": one.reproduced,
                "source": one.source,
                "note": one.note,
                "problem": one.problem,
                "numbers": [
                    {
                        "metric": number.metric,
                        "system": number.system,
                        "verdict": number.verdict,
                        "recorded": number.recorded,
                        "found": number.found,
                    }
                    for number in one.numbers
                ],
            }
            for one in found
        ],
    }


def verified(found: Sequence[Verified]) -> dict[str, Any]:
    """`gpt2eval verify`."""
    return {"passed": not any(one.findings for one in found), "runs": found}


def imported(found: Sequence[Imported]) -> dict[str, Any]:
    """`gpt2eval import`."""
    return {
        "results": [
            {
                "checkpoint": one.result.checkpoint["name"],
                "task": one.result.name,
                "path": one.result.path,
                "note": one.note,
            }
            for one in found
        ]
    }


def fetched(put: Mapping[str, Any], use: Sequence[str]) -> dict[str, Any]:
    """`gpt2eval fetch`: the manifest's entries by file, and the command that uses them."""
    return {"files": put, "use": use}


def finetuned(path: Path, fresh: bool, record: Mapping[str, Any]) -> dict[str, Any]:
    """`gpt2eval finetune`: where the checkpoint is, and what its record says."""
    keys = ("base", "train", "step", "steps", "epoch", "tokens_seen", "seconds", "loss", "held_out")
    return {
        "path": path,
        "fresh": fresh,
        **{key: record.get(key) for key in (*keys, "eval", "weights_sha256", "remarks")},
    }


# ---- the machine --------------------------------------------------------------------------------


def selfcheck(checks: Sequence[Check], options: RunOptions) -> dict[str, Any]:
    """`gpt2eval selfcheck`."""
    return {
        "passed": all(check.passed for check in checks),
        "dtype": options.dtype,
        "device": options.device,
        "batch_size": options.batch_size,
        "checks": [{**_plain(check), "passed": check.passed} for check in checks],
    }


def audits(found: Sequence[ModelAudit]) -> dict[str, Any]:
    """`gpt2eval audit`."""
    return {"models": [{**_plain(one), "verdict": one.verdict} for one in found]}


def doctor(facts: Mapping[str, Any], findings: Sequence[Finding], healthy: bool) -> dict[str, Any]:
    """`gpt2eval doctor`."""
    return {"healthy": healthy, "findings": findings, "facts": facts}


Shape = Callable[..., dict[str, Any]]
