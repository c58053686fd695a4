"""Shards: parts of a run that processes score side by side, each in a directory of its own.

`shards/2-of-4/` in the directory of a run has the `records.jsonl` of the second of four processes
and a `shard.json`, what is to be said of it. Whoever works on the run later, with another number of
shards or with none, uses every record that is in any of them: which sample a record is of is all
that counts, not who was to score it.
"""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpt2eval.errors import StoreError
from gpt2eval.options import Shard
from gpt2eval.results import (
    RECORDS,
    SHARDS,
    locate_records,
    recover_records,
    replace_lines,
    write_atomically,
)
from gpt2eval.scoring import Open, plan, recover
from gpt2eval.types import Request
from gpt2eval.work import Work

if TYPE_CHECKING:
    from gpt2eval.model import Model

ABOUT = "shard.json"
# What the result says of each process.
TOLD = ("shard", "host", "device", "started", "samples", "seconds", "tokens", "peak_memory_bytes")


def place_of(directory: Path, shard: Shard) -> Path:
    """Where a shard's part of a run is kept."""
    return directory / SHARDS / f"{shard.number}-of-{shard.of}"


def places(directory: Path) -> list[Path]:
    """Where records of a run are: its own directory, and those of its shards."""
    return [directory, *sorted(path.parent for path in directory.glob(f"{SHARDS}/*/{RECORDS}"))]


def recover_all(item: Open, mine: Path | None = None) -> None:
    """Count what all earlier processes had scored.

    mine  the only place that nobody else is at; None: nobody is at any
    """
    for place in places(item.directory):
        repair = mine is None or place == mine
        recover(item, recover_records(place, repair=repair))


def share_out(model: Model, work: Sequence[Work], count: int) -> list[list[int]]:
    """For each piece of work, for each of its samples, the number of the shard it is in, from 0.

    Shards hold about as many tokens, in stretches of the order in which one process would answer;
    what is on disk already makes no difference, so that all processes find the same.
    """
    from gpt2eval.runner import stretches

    asked: dict[Request, list[tuple[int, int, int]]] = {
        request: [] for item in work for requests in item.requests for request in requests
    }
    requests, parts, _ = plan(work, asked)
    found = dict(zip(requests, stretches(model, requests, parts, count), strict=True))
    return [[found[requests[0]] if requests else 0 for requests in item.requests] for item in work]


def restrict(item: Open, shards: Sequence[int], shard: Shard) -> None:
    """Leave to a run what is this shard's to do."""
    pairs = zip(item.work.samples, shards, strict=True)
    item.todo &= {sample.id for sample, number in pairs if number == shard.number - 1}


# ---- what is said of a shard --------------------------------------------------------------------


def now() -> str:
    """The time, as results have it."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def read_about(place: Path) -> dict[str, Any]:
    """What `shard.json` says of a shard.

    checkpoint  the section of a result
    processes   that were at it, see `process`
    done        whether nothing of it was left
    """
    path = place / ABOUT
    if not path.exists():
        return {"checkpoint": {}, "processes": [], "done": False}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {
            "checkpoint": dict(content["checkpoint"]),
            "processes": list(content["processes"]),
            "done": bool(content["done"]),
        }
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise StoreError(
            f"{path} cannot be read ({error!r}); delete {place} and run the shard again"
        ) from error


def _write_about(place: Path, content: Mapping[str, Any]) -> None:
    write_atomically(place / ABOUT, json.dumps(content, ensure_ascii=False, indent=2) + "\n")


def add_process(place: Path, checkpoint: Mapping[str, Any], process: Mapping[str, Any]) -> None:
    """Note that a process has begun to work on a shard."""
    about = read_about(place)
    processes = [*about["processes"], process]
    _write_about(place, {"checkpoint": checkpoint, "processes": processes, "done": False})


def replace_process(place: Path, process: Mapping[str, Any]) -> None:
    """Note what the last process took, now that it has ended."""
    about = read_about(place)
    _write_about(place, {**about, "processes": [*about["processes"][:-1], process]})


def end(place: Path) -> None:
    """Note that nothing of a shard is left."""
    _write_about(place, {**read_about(place), "done": True})


def account(directory: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The section of the checkpoint, and the processes, that the shards of a run tell of."""
    found = [read_about(path.parent) for path in sorted(directory.glob(f"{SHARDS}/*/{ABOUT}"))]
    sections = [about["checkpoint"] for about in found if about["checkpoint"]]
    return (sections[0] if sections else {}), [one for about in found for one in about["processes"]]


def process(run: Mapping[str, Any], samples: int | None, shard: str) -> dict[str, Any]:
    """A process as `shard.json` has it: the `run` section of its own work, and which that was.

    samples  that it scored; None: it has not ended, or was killed
    """
    return {**run, "shard": shard, "host": socket.gethostname(), "samples": samples}


def combine(processes: Sequence[Mapping[str, Any]], samples: int) -> dict[str, Any]:
    """The `run` section of a result that several processes made.

    Tokens and seconds are sums over the processes, so that tokens a second are those of one of
    them, and the memory is the most that one held. What a process that was killed had done is in
    no sum: its samples count as resumed. `processes` says what each of them took, and names the
    versions where they are not those of the first.

    samples  of the run that are done
    """
    first = min(processes, key=lambda one: str(one["started"]))
    seconds = sum(one["seconds"] for one in processes)
    tokens = sum(one["tokens"] for one in processes)
    return {
        **{key: value for key, value in first.items() if key not in ("shard", "host", "samples")},
        "device": ", ".join(dict.fromkeys(one["device"] for one in processes)),
        "seconds": round(seconds, 3),
        "resumed_samples": samples - sum(one["samples"] or 0 for one in processes),
        "tokens": tokens,
        "tokens_per_second": round(tokens / seconds, 1) if seconds else None,
        "peak_memory_bytes": max(one["peak_memory_bytes"] for one in processes),
        "processes": [
            {
                **{key: one[key] for key in TOLD},
                **({"versions": one["versions"]} if one["versions"] != first["versions"] else {}),
            }
            for one in sorted(processes, key=lambda one: (str(one["started"]), str(one["shard"])))
        ],
    }


# ---- one run again ------------------------------------------------------------------------------


def gather(directory: Path, samples: Sequence[str]) -> None:
    """Put the records of a run, wherever they are, into its own file in the order of its data.

    So a file does not tell in how many processes, or in which order, it was made. The lines are
    copied as they stand. Of several records of a sample the first counts, as in `recover_all`.
    """
    found: dict[str, tuple[Path, range]] = {}
    for place in places(directory):
        if (place / RECORDS).exists():
            for where, record in locate_records(place, responses=False):
                found.setdefault(record.id, (place, where))
    replace_lines(directory, _lines([found[sample] for sample in samples]))


def _lines(where: Sequence[tuple[Path, range]]) -> Iterator[str]:
    with ExitStack() as stack:
        files = {
            place: stack.enter_context((place / RECORDS).open("rb"))
            for place in dict.fromkeys(place for place, _ in where)
        }
        for place, span in where:
            files[place].seek(span.start)
            yield files[place].read(len(span)).decode()


def remove(directory: Path) -> None:
    """Remove what shards kept of a run, once its result stands."""
    shutil.rmtree(directory / SHARDS, ignore_errors=True)


def state(directory: Path) -> str:
    """Which shards of a run are there, which are not, and what is to be done: for a refusal."""
    seen: dict[int, dict[int, bool]] = {}  # of how many -> number -> whether it is done
    for place in (directory / SHARDS).glob("*-of-*"):
        first, _, second = place.name.partition("-of-")
        if first.isdecimal() and second.isdecimal():
            seen.setdefault(int(second), {})[int(first)] = read_about(place)["done"]
    if not seen:
        return "no shard of it is there"
    lines = []
    for of, shards in sorted(seen.items()):
        begun = [f"{number}/{of}" for number in sorted(shards) if not shards[number]]
        absent = [f"{number}/{of}" for number in range(1, of + 1) if number not in shards]
        words = [f"{sum(shards.values())} of {of} shards are done"]
        words += [f"interrupted: {', '.join(begun)}"] if begun else []
        words += [f"never begun: {', '.join(absent)}"] if absent else []
        lines.append(", ".join(words))
    return "; ".join(lines)
