"""What a peer tells of a run, as the sections of a result; unknown is "" or None."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gpt2eval.digests import digest_items
from gpt2eval.peers.lm_eval import Document, Run
from gpt2eval.work import Work

NAMES = {"lm-eval": "lm-evaluation-harness"}  # of tools, in a sentence


def sections_of(
    run: Run, checkpoint: str, task: str, documents: Sequence[Document], work: Work | None
) -> dict[str, dict[str, Any]]:
    """The sections checkpoint, task, data and run."""
    config = run.config
    parameters = config.get("model_num_parameters")
    known = isinstance(parameters, int) and parameters > 0
    return {
        "checkpoint": {
            "name": checkpoint,
            "path": run.model,
            "revision": str(config.get("model_sha") or ""),
            "sha256": "",
            "tokenizer_sha256": "",
            "parameters": parameters if known else None,
            "kind": "unknown",
        },
        "task": _task_section(run, task, work),
        "data": _data_section(run, task, documents, work),
        "run": {
            "tool": run.tool,
            "device": str(config.get("device") or ""),
            "dtype": str(config.get("model_dtype") or "").removeprefix("torch."),
            "n_ctx": run.content.get("max_length"),
            "batch_policy": f"batches of {config['batch_size']}"
            if config.get("batch_size")
            else "",
            "seed": ", ".join(
                f"{name} {config[f'{name}_seed']}"
                for name in ("random", "numpy", "torch", "fewshot")
                if config.get(f"{name}_seed") is not None
            ),
            "versions": run.versions,
            "git_commit": "",
            "command": "",
            "started": run.started,
            "seconds": None,
            "resumed_samples": 0,
            "tokens": None,
            "tokens_per_second": None,
            "peak_memory_bytes": None,
            "imported_from": run.path.name,
        },
    }


def _task_section(run: Run, task: str, work: Work | None) -> dict[str, Any]:
    config = run.of("configs", task)
    config = config if isinstance(config, Mapping) else {}
    kind = "generation" if config.get("output_type") == "generate_until" else "likelihood"
    if work:
        return {
            "name": work.task.name,
            "protocol": work.protocol.name,
            "version": work.task.version,
            "options": dict(work.protocol.options),
            "kind": kind,
            "summary": work.protocol.summary,
            "source": work.task.source,
            "bibtex": work.task.bibtex,
            "references": [dict(row) for row in work.protocol.references],
        }
    keys = ("dataset_path", "dataset_name", "test_split", "output_type", "generation_kwargs")
    options = {key: config[key] for key in keys if config.get(key) is not None}
    shots = run.of("n-shot", task)
    return {
        "name": task,
        "protocol": run.tool,
        "version": run.of("versions", task),
        "options": options if shots is None else {**options, "num_fewshot": shots},
        "kind": kind,
        "summary": f"{task} of {NAMES.get(run.tool, run.tool)}",
        "source": "",
        "bibtex": "",
        "references": [],
    }


def _data_section(
    run: Run, task: str, documents: Sequence[Document], work: Work | None
) -> dict[str, Any]:
    counted = run.of("n-samples", task)
    counted = counted if isinstance(counted, Mapping) else {}
    ids = sorted({document.id for document in documents})
    selected = len(ids) or counted.get("effective")
    if work:
        subset = _subset(ids, len(work.samples))
        return {**work.provenance, "selected": selected, "subset": subset}
    available = counted.get("original")
    hashes = {document.id: document.hash for document in documents}
    known = bool(hashes) and all(hashes.values())
    limited = available is None and run.config.get("limit")
    whole = selected == available or (available is None and not limited)
    return {
        "source": run.tool,
        "files": {},
        "sha256": digest_items([number, hashes[number]] for number in ids) if known else "",
        "verdict": f"sha256 over {run.tool}'s hashes of the documents"
        if known
        else "digest unknown",
        "available": available,
        "selected": selected,
        "subset": f"at most {run.config['limit']}, of a number that is not told"
        if limited
        else _subset(ids, available)
        if ids
        else ("all" if whole else f"{selected}, chosen in a way that is not told"),
    }


def _subset(ids: Sequence[int], available: int | None) -> str:
    """Which documents were taken, in the words of our own runs."""
    if available is None or len(ids) == available:
        return "all"
    if list(ids) == list(range(len(ids))):
        return f"first {len(ids)}"
    return f"{len(ids)} chosen by number, sha256 {digest_items(ids)[:12]}"


def signature_of(run: Run, sections: Mapping[str, Mapping[str, Any]]) -> str:
    """One line with all that can change the numbers, as far as it is told."""
    task, data, made = sections["task"], sections["data"], sections["run"]
    parts = {
        "task": f"{task['name']}@{task['protocol']}",
        "v": task["version"],
        **task["options"],
        "data": str(data["sha256"])[:12] or "unknown",
        "n": f"{data['selected']}/{data['available']}",
        "subset": data["subset"],
        "ckpt": "unknown",
        "dtype": made["dtype"] or "unknown",
        run.tool: run.version,
    }
    return "|".join(f"{key}:{str(value).replace('|', '/')}" for key, value in parts.items())
