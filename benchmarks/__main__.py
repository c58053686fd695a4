"""Runs every tool on every workload in turn, each as a whole process, and writes the table."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from benchmarks.summary import draw, summarize, table

ROOT = Path(__file__).resolve().parents[1]
WORKLOADS = ("rolling", "last-word", "choice", "generation")
TOOLS = {  # name -> its module in benchmarks.peers, which is called like the package it needs
    "gpt2eval": "gpt2eval",
    "lm-eval": "lm_eval",
    "CTranslate2": "ctranslate2",
    "transformers": "transformers",
}
DTYPES = ("float32", "bfloat16")
SHARED = Path(os.environ.get("GPT2EVAL_SHARED") or ROOT.parent / "shared") / "data"


def _names(known: tuple[str, ...]) -> Any:
    """A click callback that splits names at commas and refuses unknown ones."""

    def split(_context: Any, option: Any, value: str) -> list[str]:
        names = [name.strip() for name in value.split(",") if name.strip()]
        wrong = [name for name in names if name not in known]
        if wrong or not names:
            raise click.BadParameter(f"{value!r}; expected some of {', '.join(known)}")
        return names

    return split


def _shape(_context: Any, _option: Any, value: str) -> list[int]:
    try:
        layers, width, heads = map(int, value.split(","))
    except ValueError as error:
        raise click.BadParameter(f"{value!r}; expected layers,width,heads") from error
    return [layers, width, heads]


def _batches(_context: Any, _option: Any, values: tuple[str, ...]) -> dict[str, int]:
    """TOOL:WORKLOAD=N, several times."""
    found = {}
    for value in values:
        key, _, number = value.partition("=")
        tool, _, workload = key.partition(":")
        if tool not in TOOLS or workload not in WORKLOADS or not number.isdigit():
            raise click.BadParameter(f"{value!r}; expected TOOL:WORKLOAD=N, as lm-eval:rolling=4")
        found[key] = int(number)
    return found


@click.command(context_settings={"show_default": True})
@click.option("--output", default="reports/benchmarks", help="Where table, plot and JSON go.")
@click.option("--data", default=str(SHARED), help="Directory with the benchmark files.")
@click.option("--tokenizer", help="Directory with GPT-2's tokenizer.  [default: in --data, or hub]")
@click.option(
    "--workloads", default=",".join(WORKLOADS), callback=_names(WORKLOADS), help="With commas."
)
@click.option("--dtypes", default=",".join(DTYPES), callback=_names(DTYPES), help="With commas.")
@click.option("--peers", default=",".join(TOOLS), callback=_names(tuple(TOOLS)), help="Tools.")
@click.option("--repeats", default=3, type=click.IntRange(1), help="Processes of each kind.")
@click.option("--threads", default=os.cpu_count() or 1, type=click.IntRange(1), help="Of each.")
@click.option("--articles", default=8, type=click.IntRange(1), help="Of WikiText-2, rolling.")
@click.option("--passages", default=300, type=click.IntRange(1), help="Of LAMBADA, last-word.")
@click.option("--items", default=100, type=click.IntRange(1), help="Of HellaSwag, choice.")
@click.option("--prompts", default=24, type=click.IntRange(1), help="CNN/DM, generation.")
@click.option("--prompt-tokens", default=350, type=click.IntRange(1, 900), help="Of a prompt.")
@click.option("--new-tokens", default=64, type=click.IntRange(1, 100), help="Of an answer.")
@click.option("--shape", default="12,768,12", callback=_shape, help="Layers, width, heads.")
@click.option("--seed", default=0, help="Of the random weights.")
@click.option("--batch", multiple=True, callback=_batches, help="TOOL:WORKLOAD=N, several times.")
def main(output: str, batch: dict[str, int], peers: list[str], **plan: Any) -> None:
    """Speed and memory of gpt2eval and its peers, side by side; see benchmarks/README.md."""
    place = Path(output).resolve()
    place.mkdir(parents=True, exist_ok=True)
    plan["data"] = str(Path(plan["data"]).resolve())
    local = Path(plan["data"]) / "gpt2_tokenizer"
    plan["tokenizer"] = plan["tokenizer"] or (str(local) if local.is_dir() else "gpt2")
    plan["prepared"] = str(place / "work")
    content = _prepare(plan)
    content["absent"] = {
        tool: "not installed (pip install '.[bench]')"
        for tool in peers
        if not find_spec(TOOLS[tool])
    }
    present = [tool for tool in peers if tool not in content["absent"]]
    for dtype in plan["dtypes"]:
        for workload in plan["workloads"]:
            skipped: set[str] = set()
            for repeat in range(plan["repeats"]):
                for tool in present:
                    if tool not in skipped:
                        run = _measure(plan, tool, workload, dtype, batch)
                        content["runs"].append(run)
                        _tell(run, repeat)
                        if "wall" not in run:
                            skipped.add(tool)
            _write(place, content)  # after every workload: an interruption keeps what there is
    draw(content, place / "seconds.png")  # at last: matplotlib would make this process large
    click.echo((place / "table.md").read_text("utf-8"))
    bad = [row for row in content["rows"] if not row.get("agrees", True)]
    failed = [run for run in content["runs"] if "failed" in run]
    sys.exit(1 if bad or failed else 0)


def _prepare(plan: dict[str, Any]) -> dict[str, Any]:
    """Make checkpoint and texts in another process; the frame of the results."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "plan.json"
        # What is measured and how often does not change what is made.
        ignored = ("dtypes", "repeats", "threads")
        path.write_text(json.dumps({k: v for k, v in plan.items() if k not in ignored}), "utf-8")
        command = [sys.executable, "-m", "benchmarks.prepare", str(path)]
        if subprocess.run(command, cwd=ROOT, env=_environment(plan)).returncode:
            sys.exit(2)
    prepared = Path(plan["prepared"])
    texts = {
        name: json.loads((prepared / f"{name}.json").read_text()) for name in plan["workloads"]
    }
    places = ("data", "tokenizer", "prepared")  # of this machine; nobody else's business
    return {
        "plan": {key: value for key, value in plan.items() if key not in places},
        "machine": json.loads((prepared / "machine.json").read_text("utf-8")),
        "workloads": {
            name: {key: text[key] for key in ("tokens", "counted")} for name, text in texts.items()
        },
        "runs": [],
        "rows": [],
    }


def _environment(plan: dict[str, Any]) -> dict[str, str]:
    threads = {name: str(plan["threads"]) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    offline = {"HF_DATASETS_OFFLINE": "1", "MPLBACKEND": "agg"}
    if plan["tokenizer"] != "gpt2":
        offline |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    return {**os.environ, **threads, **offline}


def _measure(
    plan: dict[str, Any], tool: str, workload: str, dtype: str, batch: dict[str, int]
) -> dict[str, Any]:
    """One process, from start to exit."""
    module = TOOLS[tool]
    size = batch.get(
        f"{tool}:{workload}", import_module(f"benchmarks.peers.{module}").BATCH[workload]
    )
    run: dict[str, Any] = {"tool": tool, "workload": workload, "dtype": dtype, "batch": size}
    scratch = Path(tempfile.mkdtemp(prefix="gpt2eval-bench-"))
    job = {
        **run,
        "prepared": plan["prepared"],
        "checkpoint": str(Path(plan["prepared"]) / "gpt2-shaped"),
        "threads": plan["threads"],
        "scratch": str(scratch),
        "answer": str(scratch / "answer.json"),
    }
    (scratch / "job.json").write_text(json.dumps(job), "utf-8")
    command = [sys.executable, "-m", f"benchmarks.peers.{module}", str(scratch / "job.json")]
    with (scratch / "log.txt").open("w") as log:
        begin = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=ROOT, env=_environment(plan), stdout=log, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(process.pid, 0)  # of this child alone
        wall = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
    try:
        if process.returncode:
            words = (scratch / "log.txt").read_text("utf-8", "replace").strip()
            return {**run, "failed": words[-2000:] or f"exit code {process.returncode}"}
        answer = json.loads((scratch / "answer.json").read_text("utf-8"))
    finally:
        shutil.rmtree(scratch)
    if "skipped" in answer:
        return {**run, **answer}
    peak = usage.ru_maxrss if sys.platform == "darwin" else usage.ru_maxrss * 1024
    spent = usage.ru_utime + usage.ru_stime
    return {**run, **answer, "wall": wall, "cpu": spent, "peak_bytes": peak}


def _tell(run: dict[str, Any], repeat: int) -> None:
    what = f"{run['dtype']} {run['workload']} {run['tool']} #{repeat + 1}"
    if "wall" not in run:
        click.echo(f"{what}: {run.get('skipped') or 'FAILED: ' + run['failed']}")
        return
    click.echo(f"{what}: {run['wall']:.1f} s, {run['peak_bytes'] / 2**20:.0f} MiB")


def _write(place: Path, content: dict[str, Any]) -> None:
    tokens = {name: work["tokens"] for name, work in content["workloads"].items()}
    content["rows"] = summarize(content["runs"], tokens)
    (place / "results.json").write_text(json.dumps(content, indent=1), "utf-8")
    (place / "table.md").write_text(table(content), "utf-8")


if __name__ == "__main__":
    main()
