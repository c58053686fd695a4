"""The results store: one directory a run, records as they come, `result.json` last.

`OUTPUT/<checkpoint>/<task>@<protocol>/<run id>/` holds `records.jsonl`, one line a sample, and
`result.json`, which exists only when the run is complete. The run id is a digest of everything that
can change the numbers, so the same command finds its own unfinished run and goes on, and a changed
one never mixes with it.

Format history:
  1  first
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from difflib import get_close_matches
from glob import glob
from pathlib import Path
from typing import Any, TextIO

from gpt2eval.errors import StoreError, UsageError
from gpt2eval.naming import safe_name, safe_task
from gpt2eval.types import Estimate, Generated, Record, Response, Result, Scored

FORMAT = 1
RESULT = "result.json"
RECORDS = "records.jsonl"
# What stands around the responses of a record.
RESPONSES, REFERENCES = '}, "responses": [', '], "references": ['


def run_directory(output: Path, checkpoint: str, task: str, identity: Mapping[str, Any]) -> Path:
    """Where the run with this identity keeps its files: below `output`, whatever the names are."""
    content = json.dumps(identity, sort_keys=True, ensure_ascii=False)
    run_id = hashlib.sha256(content.encode()).hexdigest()[:12]
    return output / safe_name(checkpoint) / safe_task(task) / run_id


def prepare_output(output: Path) -> None:
    """Create the output directory and prove that it can be written; UsageError if not."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        probe = output / f".write-test-{os.getpid()}"
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        raise UsageError(
            f"output directory {str(output)!r} cannot be written ({error.strerror}); give another"
            " one with --output"
        ) from error


# ---- records ------------------------------------------------------------------------------------


class RecordWriter:
    """Appends records to a run's `records.jsonl`; each is on disk when `write` returns."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / RECORDS
        self.file: TextIO
        with _saving(self.path):
            directory.mkdir(parents=True, exist_ok=True)
            # Half a surrogate pair, from a file name say, becomes the escape that JSON has for it.
            self.file = self.path.open("a", encoding="utf-8", errors="backslashreplace")

    def write(self, record: Record) -> None:
        """Append one line."""
        with _saving(self.path):
            self.file.write(_line(record))
            self.file.flush()

    def close(self) -> None:
        """Make sure that the disk has it all; closing twice is harmless."""
        if self.file.closed:
            return
        with _saving(self.path):
            self.file.flush()
            os.fsync(self.file.fileno())
            self.file.close()


def _line(record: Record) -> str:
    return json.dumps(asdict(record), ensure_ascii=False, allow_nan=False) + "\n"


def replace_records(directory: Path, records: Iterable[Record]) -> None:
    """Put these records where the others are, at once; they may be made from those as they go."""
    _replace(directory / RECORDS, map(_line, records))


def read_records(directory: Path, *, responses: bool = True) -> Iterator[Record]:
    """The records of a run, in the order they were written.

    Without `responses`, which are most of the file, they are read several times as fast.

    Raises StoreError for a line that is not a record, naming it.
    """
    path = directory / RECORDS
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                yield _parse_record(path, number, line if responses else _lighter(line))
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{path} cannot be read ({error}); {_anew(path)}") from error


def recover_records(directory: Path) -> list[Record]:
    """What an interrupted run left; a torn last line is cut off so that appending is safe."""
    path = directory / RECORDS
    if not path.exists():
        return []
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StoreError(f"{path} cannot be read ({error.strerror}); {_anew(path)}") from error
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        with _saving(path), path.open("r+b") as file:
            file.truncate(whole)
    return list(read_records(directory))


def _parse_record(path: Path, number: int, line: str) -> Record:
    try:
        content = json.loads(line, parse_constant=_refuse)
        return Record(**{item.name: content[item.name] for item in fields(Record)})
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise StoreError(
            f"{path}, line {number}: not a record ({error!r}); {_anew(path)}"
        ) from error


def _lighter(line: str) -> str:
    """The line without what is in its responses, if it is written as `RecordWriter` does.

    A quotation mark inside a text has a backslash before it, so neither mark can be found in one.
    """
    start, end = line.find(RESPONSES), line.rfind(REFERENCES)
    return line[: start + len(RESPONSES)] + line[end:] if 0 <= start < end else line


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not a number")


def _anew(path: Path) -> str:
    return f"delete {path.parent} and run the same command again, which makes it anew"


def encode_response(response: Response) -> dict[str, Any]:
    """A response as JSON: arrays as lists, flags as a string of 0 and 1, contexts run-length."""
    if isinstance(response, Generated):
        return {
            "type": "generated",
            "text": response.text,
            "prediction": response.prediction,
            "stopped": response.stopped,
            "truncated": response.truncated,
            "tokens": response.tokens.tolist(),
            "logprobs": _shortest(response.logprobs),
        }
    content: dict[str, Any] = {
        "type": "scored",
        "truncated": response.truncated,
        "tokens": response.tokens.tolist(),
        "logprobs": _shortest(response.logprobs),
        "greedy": _flags(response.greedy),
        "context": _runs(response.context.tolist()),
    }
    if (response.greedy_excluding != response.greedy).any():
        content["greedy_excluding"] = _flags(response.greedy_excluding)
    if (response.weights != 1).any():
        content["weights"] = response.weights.tolist()
    return content


def decode_response(content: Mapping[str, Any]) -> Response:
    """The inverse of `encode_response`."""
    import numpy as np

    log_probs = np.asarray(content["logprobs"], dtype=np.float32)
    tokens = np.asarray(content["tokens"], dtype=np.int32)
    if content["type"] == "generated":
        return Generated(
            text=content["text"],
            tokens=tokens,
            logprobs=log_probs,
            stopped=content["stopped"],
            truncated=content["truncated"],
            prediction=content["prediction"],
        )
    greedy = np.array([flag == "1" for flag in content["greedy"]], dtype=bool)
    excluding = content.get("greedy_excluding", content["greedy"])
    context = [start + i for start, count in content["context"] for i in range(count)]
    return Scored(
        tokens=tokens,
        logprobs=log_probs,
        greedy=greedy,
        context=np.asarray(context, dtype=np.int32),
        weights=np.asarray(content.get("weights", [1.0] * len(tokens)), dtype=np.float64),
        greedy_excluding=np.array([flag == "1" for flag in excluding], dtype=bool),
        truncated=content["truncated"],
    )


def _shortest(values: Any) -> list[float]:
    """float32 values by their shortest decimal form, which reads back to the same float32."""
    return [float(text) for text in values.astype(str)]


def _flags(values: Any) -> str:
    return "".join("1" if value else "0" for value in values.tolist())


def _runs(values: Sequence[int]) -> list[list[int]]:
    """1,2,3,1,2 -> [[1, 3], [1, 2]]: start and length of each stretch that rises by one."""
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][0] + runs[-1][1]:
            runs[-1][1] += 1
        else:
            runs.append([value, 1])
    return runs


# ---- results ------------------------------------------------------------------------------------


def write_result(result: Result, directory: Path) -> None:
    """Write `result.json`, atomically: it is there whole, or not at all."""
    content = {"format": FORMAT, **asdict(result)}
    del content["path"]
    text = json.dumps(finite(content), ensure_ascii=False, indent=2, allow_nan=False)
    write_atomically(directory / RESULT, text + "\n")


def write_atomically(path: Path, text: str) -> None:
    """Replace a file by one with this text; StoreError where the disk says no."""
    _replace(path, [text])


def _replace(path: Path, pieces: Iterable[str]) -> None:
    partial = path.with_name(f"{path.name}.partial")
    with _saving(path):
        with partial.open("w", encoding="utf-8", errors="backslashreplace") as file:
            file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)


def finite(content: Any) -> Any:
    """JSON has no infinity: the perplexity of a hopeless model is kept as the text "inf"."""
    if isinstance(content, float) and not math.isfinite(content):
        return str(content)
    if isinstance(content, Mapping):
        return {key: finite(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [finite(value) for value in content]
    return content


def read_result(directory: Path) -> Result:
    """The result of a finished run; StoreError where there is none or it is not ours."""
    path = directory / RESULT
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise StoreError(f"{path} cannot be read ({error}); {_anew(path)}") from error
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT:
        raise StoreError(
            f"{path} has format {found!r}; this version of gpt2eval reads {FORMAT}. Use the version"
            f" that wrote it, or {_anew(path)}"
        )
    try:
        estimates = {name: _estimate(entry) for name, entry in content["metrics"].items()}
        baselines = {
            system: {name: _estimate(entry) for name, entry in metrics.items()}
            for system, metrics in content["baselines"].items()
        }
        sections = {
            key: content[key]
            for key in ("checkpoint", "task", "data", "run", "ledger", "signature")
        }
        _check_sections(sections)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise StoreError(
            f"{path} is not a result of gpt2eval ({error!r}); {_anew(path)}"
        ) from error
    return Result(**sections, metrics=estimates, baselines=baselines, path=directory)


def _check_sections(sections: Mapping[str, Any]) -> None:
    """ValueError where what every reader takes for granted is not there."""
    for key, section in sections.items():
        if not isinstance(section, str if key == "signature" else dict):
            raise ValueError(f"{key} is {section!r:.40}")
    for key, name in (("checkpoint", "name"), ("task", "name"), ("task", "protocol")):
        if not isinstance(sections[key].get(name), str):
            raise ValueError(f"{key}.{name} is {sections[key].get(name)!r:.40}")


def _estimate(entry: Mapping[str, Any]) -> Estimate:
    numbers = {
        key: None if entry[key] is None else float(entry[key])
        for key in ("value", "low", "high", "level")
    }
    return Estimate(**{**entry, **numbers})


def load_results(*paths: str | Path) -> list[Result]:
    """All finished runs in these directories or below, sorted by path.

    Raises StoreError where there is none.
    """
    directories: set[Path] = set()
    for path in map(Path, paths):
        found = {file.parent for file in path.rglob(RESULT)}
        if not found:
            raise StoreError(f"{str(path)!r} holds no {RESULT}; expected the --output of a run")
        directories |= found
    return [read_result(directory) for directory in sorted(directories)]


def find_results(names: Sequence[str], output: str | Path = "results") -> list[Result]:
    """All finished runs that are named, in the order of the names, none twice.

    names   directories or result.json files; names of checkpoints, or of anything else below
            `output`; globs over either
    output  where runs are kept

    Raises UsageError for a name of nothing, StoreError for a run that is not finished or not ours.
    """
    directories: dict[Path, None] = {}
    for name in names:
        found = [run for place in _places(name, Path(output)) for run in _finished(place)]
        if not found:
            raise _nothing_found(name, Path(output))
        directories |= {run.resolve(): None for run in found}
    return [read_result(directory) for directory in directories]


def unfinished_runs(results: Sequence[Result]) -> list[Path]:
    """Runs of the same checkpoints, kept in the same place, that were interrupted."""
    checkpoints = {result.path.parent.parent for result in results if result.path}
    return sorted(
        file.parent
        for checkpoint in checkpoints
        for file in checkpoint.glob(f"*/*/{RECORDS}")
        if not (file.parent / RESULT).exists()
    )


def _places(name: str, output: Path) -> list[Path]:
    """The paths that a name may mean: as it stands, then below the output directory."""
    if any(char in name for char in "*?["):
        for pattern in (name, str(output / name)):
            places = [Path(path) for path in sorted(glob(pattern, recursive=True))]
            if found := [place for place in places if _finished(place)]:
                return found
        return []
    path = Path(name)
    # A directory of the same name may be the checkpoint itself.
    return [path] if _finished(path) else [output / name]


def _finished(place: Path) -> list[Path]:
    if place.name == RESULT and place.is_file():
        return [place.parent]
    return sorted(file.parent for file in place.rglob(RESULT)) if place.is_dir() else []


def _nothing_found(name: str, output: Path) -> StoreError | UsageError:
    for place in (Path(name), *_places(name, output)):
        if place.is_dir() and (torn := sorted(place.rglob(RECORDS))):
            return StoreError(
                f"{name!r} holds no finished run, only {torn[0].parent}, which was interrupted;"
                " give the command that made it again, and it goes on"
            )
    known = sorted(
        {file.parents[2].name for file in output.glob(f"*/*/*/{RESULT}")} if output.is_dir() else ()
    )
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    there = f"; there are {', '.join(known[:10])}" if known else ""
    return UsageError(
        f"no results are called {name!r}, here or in {str(output)!r}{hint}{there}. Expected a"
        " directory that `gpt2eval run` wrote, the name of a checkpoint in it, or a glob"
    )


@contextmanager
def _saving(path: Path) -> Iterator[None]:
    """Turn a failed write into a StoreError that says what was being saved and why it failed."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        remedy = "make room" if full else "check permissions"
        raise StoreError(
            f"{path} could not be saved ({error.strerror}); {remedy} and run the same command"
            " again: what was saved is kept"
        ) from error
