"""Results made by hand, shaped like those of real runs, for the tests of the report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gpt2eval.results import write_result
from gpt2eval.types import Comparison, Estimate, Result

PAPER = "Radford et al. 2019, GPT-2 paper Table 3"
SIZES = {
    "gpt2": 124_439_808,
    "gpt2-medium": 354_823_168,
    "gpt2-large": 774_030_080,
    "gpt2-xl": 1_557_611_200,
}


def estimate(
    value: float,
    low: float | None = None,
    high: float | None = None,
    unit: str = "perplexity",
    higher: bool | None = False,
    **changes: Any,
) -> Estimate:
    """An estimate with believable surroundings."""
    fields: dict[str, Any] = {"level": 0.95, "method": "bootstrap over 62 groups", "n": 62}
    fields |= {"denominator": "241335 words"} | changes
    return Estimate(value, low, high, unit=unit, higher_is_better=higher, **fields)


def result(
    checkpoint: str = "gpt2",
    task: str = "wikitext2@lm-eval",
    metrics: Mapping[str, Estimate] | None = None,
    *,
    parameters: int | None = None,
    source: str = "directory",
    subset: str = "all",
    selected: int = 62,
    available: int = 62,
    references: Sequence[Mapping[str, Any]] = (),
    baselines: Mapping[str, Mapping[str, Estimate]] | None = None,
    kind: str = "likelihood",
    ledger: Mapping[str, int] | None = None,
    dtype: str = "fp32",
    sha256: str = "",
    path: Path | None = None,
) -> Result:
    """A Result; what a test does not name has a sensible value."""
    name, _, protocol = task.partition("@")
    endings = ("stopped_by_length", "stopped_by_stop", "stopped_by_eos")
    counts = dict.fromkeys(("failed", "contexts_truncated", "empty_generations", *endings), 0)
    return Result(
        checkpoint={
            "name": checkpoint,
            "path": f"/models/{checkpoint}",
            "sha256": sha256 or checkpoint.encode().hex().ljust(64, "0")[:64],
            "tokenizer_sha256": "7e57" * 16,
            "parameters": parameters or SIZES.get(checkpoint, 124_439_808),
            "kind": "transformers",
        },
        task={
            "name": name,
            "protocol": protocol,
            "version": 1,
            "options": {"windows": "disjoint", "detokenizer": "lm-eval"},
            "kind": kind,
            "summary": f"What {name} asks of a model, in one line.",
            "references": list(references),
        },
        data={
            "source": source,
            "files": [f"{name}.test.txt"],
            "sha256": {f"{name}.test.txt": "d790b833ef8cf03a" * 4},
            "available": available,
            "selected": selected,
            "subset": subset,
            "verdict": "the official test set",
        },
        run={
            "device": "cuda (NVIDIA H200)",
            "dtype": dtype,
            "batch_policy": "auto",
            "seed": 0,
            "versions": {"torch": "2.13.0", "transformers": "5.1.0"},
            "git_commit": "43e3a76",
            "command": f"gpt2eval run --model {checkpoint} --tasks {task}",
            "started": "2026-11-23T12:00:00Z",
            "seconds": 12.5,
            "tokens": 287_644,
            "tokens_per_second": 23011.5,
            "peak_memory_bytes": 3_435_973_836,
        },
        metrics=metrics
        if metrics is not None
        else {"word_perplexity": estimate(37.37, 36.5, 38.3)},
        ledger=counts | dict(ledger or {}),
        signature=f"{task}|v1|{dtype}|seed:0|gpt2eval:0.1.0",
        baselines=baselines or {},
        path=path,
    )


def paper(metric: str, *values: float) -> list[dict[str, Any]]:
    """Published values of the four sizes, smallest first."""
    return [
        {"model": model, "parameters": size, "metric": metric, "value": value, "source": PAPER}
        for (model, size), value in zip(SIZES.items(), values, strict=False)
    ]


def write_records(
    directory: Path, documents: int = 20, windows: int = 4, loss: float = 3.2, seed: int = 0
) -> Path:
    """`records.jsonl` of rolling responses whose loss falls with context as models' does."""
    rng = np.random.default_rng(seed)
    lines = []
    for document in range(documents):
        count = 1024 * windows - int(rng.integers(0, 900))
        runs = [[1, min(1023, count - start)] for start in range(0, count, 1023)]
        context = np.concatenate([np.arange(length) + start for start, length in runs])
        mean = loss + 3.2 * context**-0.45 + rng.normal(0, 0.15)
        logprobs = -rng.gamma(1.2, mean / 1.2)
        lines.append(_record(f"doc-{document}", logprobs, runs))
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "records.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return directory


def _record(name: str, logprobs: Any, runs: list[list[int]]) -> str:
    response = {
        "type": "scored",
        "tokens": [11] * len(logprobs),
        "logprobs": [round(float(value), 5) for value in logprobs],
        "greedy": "0" * len(logprobs),
        "context": runs,
        "truncated": 0,
    }
    statistics = {"word_perplexity": [float(-sum(logprobs)), 900.0]}
    row = {"id": name, "group": name, "statistics": statistics, "responses": [response]}
    return json.dumps(row | {"references": [], "error": ""})


def compared(
    candidate: str,
    difference: float,
    task: str = "lambada@openai",
    metric: str = "accuracy",
    *,
    baseline: str = "gpt2",
    p: float | None = 0.01,
    unit: str = "fraction",
    higher: bool = True,
    spread: float = 0.02,
    **changes: Any,
) -> Comparison:
    """A comparison with believable surroundings."""
    fields: dict[str, Any] = {
        "baseline_value": 0.3,
        "candidate_value": 0.3 + difference,
        "low": difference - spread,
        "high": difference + spread,
        "level": 0.95,
        "test": "exact McNemar test" if unit == "fraction" else "paired sign-flip permutation test",
        "p_corrected": None if p is None else min(1.0, 2 * p),
        "correction": "holm",
        "effect": None,
        "effect_name": "",
        "smallest": 0.03,
        "n": 600,
        "units": 600,
        "wins": 90,
        "ties": 480,
        "losses": 30,
    } | changes
    return Comparison(
        task=task,
        metric=metric,
        baseline=baseline,
        candidate=candidate,
        unit=unit,
        higher_is_better=higher,
        difference=difference,
        p=p,
        **fields,
    )


def write_words(directory: Path, samples: int = 600, skill: float = 0.3, seed: int = 0) -> Path:
    """`records.jsonl` of last words, as LAMBADA has them: frequent words are easier.

    `accuracy` has the statistics (right, 1), `perplexity` (nll, 1).
    """
    rng = np.random.default_rng(0)  # of the samples, alike for every checkpoint
    often = np.minimum(rng.zipf(1.7, samples), 60)
    lengths = rng.integers(40, 180, samples)
    words = [f"word{rng.integers(0, 1 + 200 // often[i])}-{often[i]}" for i in range(samples)]
    noise = np.random.default_rng(seed)
    lines = []
    for i in range(samples):
        ease = skill + 0.06 * np.log2(often[i]) + 0.001 * (lengths[i] - 100)
        right = bool(noise.random() < ease)
        nll = float(noise.gamma(2.0, 1.2 if right else 2.2))
        response = {
            "type": "scored",
            "tokens": [11],
            "logprobs": [-nll],
            "greedy": "1" if right else "0",
            "context": [[int(lengths[i]), 1]],
            "truncated": 0,
        }
        row = {
            "id": str(i + 1),
            "group": "",
            "statistics": {"accuracy": [float(right), 1.0], "perplexity": [nll, 1.0]},
            "responses": [response],
            "references": [words[i]],
            "error": "",
        }
        lines.append(json.dumps(row))
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "records.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return directory


def keep(root: Path, name: str, task: str = "wikitext2@lm-eval", run: str = "0123456789ab") -> Path:
    """A finished run with records, where a run would leave it."""
    directory = write_records(root / name / task / run, documents=12, windows=1)
    write_result(result(name, task, path=directory), directory)
    return directory


def keep_four(root: Path) -> Path:
    """Results of two checkpoints on two tasks, in a store; its root."""
    for name in ("gpt2", "mine"):
        keep(root, name)
        keep(root, name, "wikitext2@paper", "ba9876543210")
    return root
