"""Is this machine fit to score checkpoints, and what is missing or slow?

Nothing heavy is imported until it is looked at, so that a broken torch is a finding like any other.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from gpt2eval import __version__
from gpt2eval.digests import digest_files

Level = Literal["error", "warning", "note"]

GEMM = (1024, 1024, 1024)  # rows, in, out
GEMM_SECONDS = 0.25
# A kernel that reaches less than this share of the other one is called slow.
SLOW = 0.6
SIZE_SECONDS = 0.5  # that counting the bytes of a cache may take
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TOKENIZERS_PARALLELISM")
OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_EVALUATE_OFFLINE", "TRANSFORMERS_OFFLINE")
WHAT_FOR = {  # extra -> what it is for
    "bench": "`make bench`: other tools beside gpt2eval",
    "docs": "`make docs`: the site",
    "evaluate": "metrics of Hugging Face evaluate",
    "finetune": "`gpt2eval finetune`",
    "gguf": "checkpoints in GGUF",
    "lora": "adapters: `--model`, and `gpt2eval finetune --lora`",
    "mauve": "open_generation@mauve",
    "mlflow": "`gpt2eval export --format mlflow`",
    "ray": "`gpt2eval run --ray`",
    "tensorboard": "`gpt2eval export --format tensorboard`",
    "test": "the test suite",
    "wandb": "`gpt2eval export --format wandb`",
    "zst": "corpora compressed as .zst: `gpt2eval overlap`",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to know: what it is, and what to do.

    level  "error": gpt2eval cannot score; "warning": it will be slow or may fail; "note"
    """

    level: Level
    what: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Examination:
    """All that was seen, by topic, and what follows."""

    facts: Mapping[str, Mapping[str, Any]]
    findings: Sequence[Finding]

    @property
    def healthy(self) -> bool:
        """Whether checkpoints can be scored here."""
        return not any(one.level == "error" for one in self.findings)


def examine() -> Examination:
    """Look at everything; takes a few seconds."""
    facts: dict[str, dict[str, Any]] = {}
    findings: list[Finding] = []
    topics: dict[str, Callable[[], tuple[dict[str, Any], Iterator[Finding]]]] = {
        "versions": _versions,
        "torch": _torch,
        "threads": _threads,
        "speed": _speed,
        "caches": _caches,
        "network": _network,
        "extras": _extras,
        "bundled": _bundled,
    }
    for topic, look in topics.items():
        facts[topic], found = look()
        findings += found
    return Examination(facts, findings)


# ---- software -----------------------------------------------------------------------------------


def _requirements() -> Iterator[tuple[str, str]]:
    """(package, extra) of all that gpt2eval asks for; the extra is empty for what it needs."""
    for line in requires("gpt2eval") or ():
        name, _, marker = line.partition(";")
        extra = marker.partition("extra ==")[2].strip(" \"'")
        end = next((i for i, char in enumerate(name) if char in " <>=!~["), len(name))
        yield name[:end], extra


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _versions() -> tuple[dict[str, Any], Iterator[Finding]]:
    try:
        needed = [name for name, extra in _requirements() if not extra]
    except PackageNotFoundError:  # run from a copy of the files
        needed = []
    facts: dict[str, Any] = {
        "gpt2eval": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        **{name: _version(name) for name in needed},
    }

    def findings() -> Iterator[Finding]:
        if not needed:
            yield Finding(
                "warning", "gpt2eval is not installed here", "pip install . in its directory"
            )
        for name in needed:
            if facts[name] is None:
                yield Finding("error", f"{name} is not installed", f"pip install {name}")

    return facts, findings()


def _import_torch() -> Any:
    """torch, or why it cannot be had; a broken one raises anything."""
    try:
        torch = import_module("torch")
        torch.ones(1).sum().item()
    except Exception as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return torch


def _torch() -> tuple[dict[str, Any], Iterator[Finding]]:
    torch = _import_torch()
    if isinstance(torch, str):
        broken = Finding(
            "error",
            f"torch cannot be used ({torch})",
            "pip install --force-reinstall torch, in the version that fits this machine",
        )
        return {"usable": False, "reason": torch}, iter([broken])
    devices = ["cpu"]
    if torch.cuda.is_available():
        count = torch.cuda.device_count()
        devices += [f"cuda:{i} {torch.cuda.get_device_name(i)}" for i in range(count)]
    if torch.backends.mps.is_available():
        devices.append("mps")
    facts = {
        "usable": True,
        "version": torch.__version__,
        "cuda": torch.version.cuda,
        "devices": devices,
        "mkl": torch.backends.mkl.is_available(),
        "onednn": torch.backends.mkldnn.is_available(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
    }

    def findings() -> Iterator[Finding]:
        if torch.version.cuda and not torch.cuda.is_available():
            yield Finding(
                "note",
                f"this torch is built for CUDA {torch.version.cuda}, and no such device is usable",
                "check nvidia-smi and the driver, if there is a GPU",
            )
        if not torch.backends.mkldnn.is_available():
            yield Finding(
                "warning",
                "this torch has no oneDNN: linear layers take the slower path",
                "install a build of torch with oneDNN; those on PyPI have it",
            )

    return facts, findings()


def _extras() -> tuple[dict[str, Any], Iterator[Finding]]:
    try:
        pairs = [(name, extra) for name, extra in _requirements() if extra]
    except PackageNotFoundError:
        pairs = []
    facts: dict[str, Any] = {}
    for extra in dict.fromkeys(extra for _, extra in pairs):
        missing = [name for name, other in pairs if other == extra and _version(name) is None]
        facts[extra] = {
            "for": WHAT_FOR.get(extra, f"what needs {extra}"),
            "missing": missing,
            "install": f"pip install 'gpt2eval[{extra}]'",
        }
    findings = [
        Finding(
            "note",
            f"extra {extra} is not complete: {', '.join(one['missing'])}",
            f"{one['install']}, for {one['for']}",
        )
        for extra, one in facts.items()
        if one["missing"]
    ]
    return facts, iter(findings)


# ---- the machine --------------------------------------------------------------------------------


def cores() -> dict[str, Any]:
    """Cores of the machine, those this process may use, and the limit of its cgroup."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"machine": os.cpu_count(), "allowed": allowed, "cgroup": cgroup_limit()}


def cgroup_limit(root: Path = Path("/sys/fs/cgroup")) -> float | None:
    """How many cores' worth of time the container grants; None where it does not say."""
    try:
        quota, period = (root / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        pass
    try:
        quota, period = (
            (root / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period")
        )
        return int(quota) / int(period) if int(quota) > 0 else None
    except (OSError, ValueError):
        return None


def _threads() -> tuple[dict[str, Any], Iterator[Finding]]:
    torch: Any = sys.modules.get("torch")
    threads = torch.get_num_threads() if hasattr(torch, "get_num_threads") else None
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    facts = {
        "cores": cores(),
        "torch": threads,
        "load": load,
        "environment": {name: os.environ[name] for name in THREADS if name in os.environ},
    }
    return facts, thread_findings(facts)


def thread_findings(facts: Mapping[str, Any]) -> Iterator[Finding]:
    """What is wrong with as many threads on so many cores."""
    counts = facts["cores"]
    usable = min(
        value for value in (counts["allowed"], counts["cgroup"], counts["machine"]) if value
    )
    threads, load = facts["torch"], facts["load"]
    if threads and threads > max(1, usable):
        yield Finding(
            "warning",
            f"torch starts {threads} threads, and {usable:g} cores may be used: they wait for each"
            " other",
            f"export OMP_NUM_THREADS={max(1, int(usable))}",
        )
    if threads and threads < int(usable):
        yield Finding(
            "note",
            f"torch uses {threads} of {usable:g} cores",
            f"export OMP_NUM_THREADS={int(usable)}, if nothing else needs them",
        )
    if load and counts["machine"] and load > 1.5 * counts["machine"]:
        yield Finding(
            "note",
            f"the machine is busy: load {load:.1f} on {counts['machine']} cores",
            "times will be longer than on a quiet machine",
        )


def _speed() -> tuple[dict[str, Any], Iterator[Finding]]:
    torch = _import_torch()
    if isinstance(torch, str):
        return {}, iter(())
    rates = {"float32 by torch": _rate(torch, "float32"), "bfloat16": _rate(torch, "bfloat16")}
    rates["float32 by gpt2eval"] = _own_rate(torch)
    facts = {name: round(rate / 1e9, 1) for name, rate in rates.items() if rate}
    return {"unit": "GFLOP/s", **facts}, speed_findings(facts)


def speed_findings(rates: Mapping[str, float]) -> Iterator[Finding]:
    """Which kernel is the slow one."""
    plain, own = rates.get("float32 by torch"), rates.get("float32 by gpt2eval")
    half = rates.get("bfloat16")
    if plain and own and plain < SLOW * own:
        yield Finding(
            "note",
            f"the BLAS of torch is the slow one here: {plain:g} GFLOP/s in float32, where oneDNN"
            f" reaches {own:g}",
            "nothing for gpt2eval, which uses oneDNN; other tools will be slower on this machine",
        )
    if plain and own and own < SLOW * plain:
        yield Finding(
            "warning",
            f"the kernel that gpt2eval uses is the slow one: {own:g} GFLOP/s, where torch reaches"
            f" {plain:g}",
            "install the build of torch that PyPI has for this processor",
        )
    if half and own and half < own:
        yield Finding(
            "note",
            f"bfloat16 is no faster than float32 here ({half:g} and {own:g} GFLOP/s)",
            "use --dtype bfloat16 to save memory, not time",
        )


def _rate(torch: Any, dtype: str) -> float | None:
    """Operations a second of plain matrix products; None where the dtype is not supported."""
    rows, inside, outside = GEMM
    try:
        kind = getattr(torch, dtype)
        x, weight = torch.ones(rows, inside, dtype=kind), torch.ones(inside, outside, dtype=kind)
        return _best(lambda: x @ weight)
    except Exception:  # a build without the kernel
        return None


def _own_rate(torch: Any) -> float | None:
    """The same of the layers that the engine has."""
    rows, inside, outside = GEMM
    try:
        from gpt2eval.model.linear import linear

        layer = linear(torch.ones(inside, outside), torch.ones(outside))
        x = torch.ones(rows, inside)
        return _best(lambda: layer(x))
    except Exception:  # transformers that cannot be imported, say: a finding of its own
        return None


def _best(call: Callable[[], Any]) -> float:
    rows, inside, outside = GEMM
    call()
    best, end = 0.0, time.perf_counter() + GEMM_SECONDS
    while not best or time.perf_counter() < end:
        begin = time.perf_counter()
        call()
        best = max(best, 2 * rows * inside * outside / (time.perf_counter() - begin))
    return best


# ---- files --------------------------------------------------------------------------------------


def cache_places() -> dict[str, Path]:
    """Where the hub's libraries keep what they fetch, by their own rules."""
    home = Path(
        os.environ.get("HF_HOME")
        or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    ).expanduser()
    return {
        "HF_HOME": home,
        "hub": Path(os.environ.get("HF_HUB_CACHE") or home / "hub").expanduser(),
        "datasets": Path(os.environ.get("HF_DATASETS_CACHE") or home / "datasets").expanduser(),
    }


def _caches() -> tuple[dict[str, Any], Iterator[Finding]]:
    facts = {name: _describe(path) for name, path in cache_places().items()}

    def findings() -> Iterator[Finding]:
        for name, one in facts.items():
            if not one["writable"]:
                yield Finding(
                    "warning",
                    f"the cache {one['path']} ({name}) cannot be written",
                    "set HF_HOME to a directory that can, or give checkpoints and data as"
                    " directories",
                )

    return facts, findings()


def _describe(path: Path) -> dict[str, Any]:
    size, whole = _size(path)
    return {
        "path": str(path),
        "there": path.is_dir(),
        "writable": _writable(path),
        "bytes": size,
        "counted": "all" if whole else "in part, it is large",
    }


def _writable(path: Path) -> bool:
    """Whether a file can be made there, or in the nearest directory above that exists."""
    place = next((one for one in (path, *path.parents) if one.exists()), path)
    try:
        with tempfile.TemporaryFile(dir=place):
            return True
    except OSError:
        return False


def _size(path: Path) -> tuple[int, bool]:
    """Bytes below a directory, each file once, and whether there was time for all of them."""
    total, end = 0, time.perf_counter() + SIZE_SECONDS
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                status = os.lstat(os.path.join(folder, name))
            except OSError:
                continue
            total += status.st_size
        if time.perf_counter() > end:
            return total, False
    return total, True


def _network() -> tuple[dict[str, Any], Iterator[Finding]]:
    facts = {name: os.environ[name] for name in OFFLINE if name in os.environ}
    on = [name for name, value in facts.items() if value.upper() in ("1", "ON", "YES", "TRUE")]
    findings = [
        Finding(
            "note",
            f"{', '.join(on)} set: nothing is fetched from the hub",
            "unset them to use --model and data from the hub",
        )
    ]
    return facts, iter(findings if on else ())


def _bundled() -> tuple[dict[str, Any], Iterator[Finding]]:
    """Checkpoints against the digests that their answers are of; sample texts by being there."""
    root = Path(str(files("gpt2eval")))
    facts: dict[str, Any] = {}
    findings = []
    again = "install gpt2eval again"
    try:
        answers = json.loads((root / "demo" / "answers.json").read_text("utf-8"))["answers"]
    except (OSError, ValueError, KeyError) as error:
        answers = {}
        findings.append(
            Finding("error", f"answers.json of the bundled checkpoints: {error}", again)
        )
    for name, known in answers.items():
        path = root / "demo" / name / "model.safetensors"
        try:
            facts[name] = digest_files([path]) == known["sha256"]
        except (OSError, KeyError):
            facts[name] = False
        if not facts[name]:
            findings.append(
                Finding("error", f"the bundled checkpoint {name} is damaged or missing", again)
            )
    texts = [path for path in (root / "samples").rglob("*") if path.is_file()]
    facts["sample_files"] = len(texts)
    facts["samples"] = hashlib.sha256(
        b"".join(path.read_bytes() for path in sorted(texts))
    ).hexdigest()[:12]
    if not texts:
        findings.append(Finding("error", "the bundled sample texts are missing", again))
    if importlib.util.find_spec("gpt2eval_tasks") is None:
        findings.append(Finding("error", "the built-in tasks are not installed", again))
    return facts, iter(findings)
