"""The results store: one directory a run, records as they come, `result.json` last.

`OUTPUT/<checkpoint>/<task>@<protocol>/<run id>/` holds `records.jsonl`, one line a sample,
`vocabulary.json`, the texts of the tokens in them, and `result.json`, which exists only when the
run is complete. The run id is a digest of everything that
can change the numbers, so the same command finds its own unfinished run and goes on, and a changed
one never mixes with it.

Format history:
  1  first
"""

from __future__ import annotations

import base64
import errno
import fcntl
import hashlib
import json
import math
import os
import socket
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from difflib import get_close_matches
from glob import glob, has_magic
from pathlib import Path
from typing import Any, TextIO

from gpt2eval.digests import digest_files
from gpt2eval.errors import StoreError, UsageError
from gpt2eval.naming import natural_key, safe_name, safe_task
from gpt2eval.shapes import misshapen
from gpt2eval.types import (
    Embedded,
    Estimate,
    Generate,
    Generated,
    Record,
    Request,
    Response,
    Result,
    Score,
    Scored,
)

FORMAT = 1
RESULT = "result.json"
RECORDS = "records.jsonl"
LOCK = "lock"
DIGESTS = "digests"
SHARDS = "shards"  # directory of what shards of a run have saved, until they are merged
# What stands around the responses of a record, and before what was asked.
RESPONSES, REFERENCES = b'}, "responses": [', b'], "references": ['
ASKED = b', "asked": ['
VOCABULARY = "vocabulary.json"
_SAMPLING = ("temperature", "top_k", "top_p")  # of a Generate, where it is not greedy
SHARING = 10  # tenths of a second in which a shard that ends may hold up one that begins
_WORTH = 16  # shared characters from which on it is shorter to count them


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


@contextmanager
def locked(directory: Path, *, shared: bool = False) -> Iterator[None]:
    """Keep every other process away from a directory; StoreError that names the one that has it.

    The lock is the operating system's and goes with the process, however that ends. The file says
    who has it; one that a killed process left behind holds nobody up.

    shared  keep those away that do not share: shards of a run work at the same time
    """
    path = directory / LOCK
    with ExitStack() as stack:
        with _saving(path):
            directory.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(_lock(path, fcntl.LOCK_SH if shared else fcntl.LOCK_EX))
            file.truncate(0)
            file.write(
                f"{'shards, the last to begin being ' if shared else ''}"
                f"process {os.getpid()} on {socket.gethostname()},"
                f" since {datetime.now(timezone.utc).isoformat(timespec='seconds')}"
            )
            file.flush()
        try:
            yield
        finally:
            # Ours alone now: whoever waits for it finds a new one.
            if not shared or _is_last(file):
                path.unlink(missing_ok=True)


def _is_last(file: TextIO) -> bool:
    """Whether nobody else shares the lock on a file; then nobody else gets it either."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _lock(path: Path, kind: int) -> TextIO:
    """The file at this path, open and locked."""
    patience = SHARING if kind == fcntl.LOCK_SH else 0
    while True:
        file = path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except OSError as error:
            if patience and isinstance(error, BlockingIOError):
                file.close()
                time.sleep(0.1)
                patience -= 1
                continue
            file.seek(0)
            owner = file.read() or "another process"
            file.close()
            if not isinstance(error, BlockingIOError):
                raise StoreError(
                    f"{path.parent} cannot be locked ({error.strerror}): its file system has no"
                    " locks; give an --output on another one"
                ) from error
            raise StoreError(
                f"{path.parent} is being written by {owner}; wait until it is done, or end it, and"
                " run the same command again: what was saved is kept"
            ) from error
        if _is_at(file, path):
            return file
        file.close()  # its owner was done and removed it just now


def _is_at(file: TextIO, path: Path) -> bool:
    """Whether an open file is the one that is found under this path."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


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

    Without `responses`, and what those answer, which are most of the file, they are read several
    times as fast.

    Raises StoreError for a line that is not a record, naming it.
    """
    return (record for _, record in locate_records(directory, responses=responses))


def records_size(results: Iterable[Result]) -> int:
    """Bytes of the records of these results, as far as they are there."""
    paths = {result.path / RECORDS for result in results if result.path}
    return sum(path.stat().st_size for path in paths if path.is_file())


def locate_records(directory: Path, *, responses: bool = True) -> Iterator[tuple[range, Record]]:
    """Each record of a run with the bytes of `records.jsonl` that hold it."""
    path = directory / RECORDS
    begin = 0
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                text = line if responses else _lighter(line)
                yield range(begin, begin + len(line)), _parse_record(path, number, text.decode())
                begin += len(line)
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{path} cannot be read ({error}); {_anew(path)}") from error


def records_at(directory: Path, places: Iterable[range]) -> Iterator[Record]:
    """The records that `locate_records` found in these places, in this order."""
    path = directory / RECORDS
    try:
        with path.open("rb") as file:
            for number, place in enumerate(places, 1):
                file.seek(place.start)
                yield _parse_record(path, number, file.read(len(place)).decode())
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{path} cannot be read ({error}); {_anew(path)}") from error


@contextmanager
def trusting(what: str) -> Iterator[None]:
    """Work with records as if they were as `RecordWriter` writes them; StoreError where not.

    To look at every token of every record beforehand would take longer than the work.

    what  whose records they are, for the message
    """
    try:
        yield
    except (TypeError, ValueError, LookupError, AttributeError, OverflowError) as error:
        raise StoreError(
            f"{what}: a record is not what gpt2eval writes ({error!r}), so somebody changed it;"
            " `gpt2eval verify` names the file. Delete its directory and run the same command"
            " again, which makes it anew"
        ) from error


def replace_lines(directory: Path, lines: Iterable[str]) -> None:
    """The same of records as they stand in a file."""
    _replace(directory / RECORDS, lines)


def recover_records(directory: Path, *, repair: bool = True) -> list[Record]:
    """What an interrupted run left, without a torn last line.

    repair  cut that line off, so that appending is safe; without it somebody may be at the file
    """
    path = directory / RECORDS
    if not path.exists():
        return []
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StoreError(f"{path} cannot be read ({error.strerror}); {_anew(path)}") from error
    whole = content.rfind(b"\n") + 1
    if repair and whole < len(content):
        with _saving(path), path.open("r+b") as file:
            file.truncate(whole)
    try:
        lines = content[:whole].decode().split("\n")[:-1]
    except UnicodeDecodeError as error:
        raise StoreError(f"{path} cannot be read ({error}); {_anew(path)}") from error
    return [_parse_record(path, number, line) for number, line in enumerate(lines, 1)]


def _parse_record(path: Path, number: int, line: str) -> Record:
    try:
        content = _DECODER.decode(line)
        return Record(
            content["id"],
            content["group"],
            content["statistics"],
            content["responses"],
            content["references"],
            content["error"],
            # The first runs did not write these.
            content.get("asked", ()),
            content.get("choices", ()),
            content.get("gold"),
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise StoreError(
            f"{path}, line {number}: not a record ({error!r}); {_anew(path)}"
        ) from error


def _lighter(line: bytes) -> bytes:
    """The line without what is in its responses, and what was asked, if it is written as
    `RecordWriter` does.

    A quotation mark inside a text has a backslash before it, so no mark can be found in one.
    """
    start, end = line.find(RESPONSES), line.rfind(REFERENCES)
    if not (0 <= start < end and line.endswith(b"}\n")):
        return line
    asked = line.find(ASKED, end)
    rest = line[end:] if asked < 0 else line[end:asked] + b"}"
    return line[: start + len(RESPONSES)] + rest


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not a number")


# Made once: there are a million lines to read where fifty checkpoints are compared.
_DECODER = json.JSONDecoder(parse_constant=_refuse)


def _anew(path: Path) -> str:
    return f"delete {path.parent} and run the same command again, which makes it anew"


def encode_response(response: Response) -> dict[str, Any]:
    """A response as JSON: arrays as lists, flags as a string of 0 and 1, contexts run-length.

    A vector is the base64 of its float32 values, little-endian: their bytes and a third.
    """
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
    if isinstance(response, Embedded):
        return {
            "type": "embedded",
            "truncated": response.truncated,
            "tokens": response.tokens.tolist(),
            "vector": base64.b64encode(response.vector.astype("<f4").tobytes()).decode("ascii"),
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

    tokens = np.asarray(content["tokens"], dtype=np.int32)
    if content["type"] == "embedded":
        vector = np.frombuffer(base64.b64decode(content["vector"], validate=True), dtype="<f4")
        return Embedded(vector.astype(np.float32), tokens, truncated=content["truncated"])
    log_probs = np.asarray(content["logprobs"], dtype=np.float32)
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


def encode_requests(
    requests: Sequence[Request], beginning: str = "", scorer: Collection[int] = ()
) -> list[dict[str, Any]]:
    """The texts of what was asked, one JSON object a request.

    A Score has "context" and "continuation", a Generate "prompt" and how it is to be continued, a
    Rolling and an Embed nothing: the tokens of the response say the text, which may be a book. What
    context or prompt begins with as the one before it did is not repeated: "same" counts its
    characters.

    beginning  what stands before the first: the text that all samples of the run begin with
    scorer     positions of the requests that a protocol's `followup` makes; they say so
    """
    encoded: list[dict[str, Any]] = []
    before = beginning
    for position, request in enumerate(requests):
        content: dict[str, Any] = {"scorer": True} if position in scorer else {}
        if isinstance(request, (Score, Generate)):
            text = request.context if isinstance(request, Score) else request.prompt
            same = len(common_beginning([text, before]))
            if same >= _WORTH:
                content["same"] = same
            key = "context" if isinstance(request, Score) else "prompt"
            content[key] = text[content.get("same", 0) :]
            before = text
        if isinstance(request, Score):
            content["continuation"] = request.continuation
        if isinstance(request, Generate):
            content |= {"max_new_tokens": request.max_new_tokens, "stop": list(request.stop)}
            if request.temperature:
                content |= {key: getattr(request, key) for key in _SAMPLING}
        encoded.append(content)
    return encoded


def decode_requests(
    asked: Sequence[Mapping[str, Any]], beginning: str = ""
) -> list[dict[str, Any]]:
    """The inverse of `encode_requests`, with every text whole and without "same"."""
    decoded: list[dict[str, Any]] = []
    before = beginning
    for content in asked:
        whole = {key: value for key, value in content.items() if key != "same"}
        for key in ("context", "prompt"):
            if key in whole:
                before = whole[key] = before[: content.get("same", 0)] + whole[key]
        decoded.append(whole)
    return decoded


def own_responses(record: Record) -> list[Mapping[str, Any]]:
    """The responses of the checkpoint itself, without those of the scorer about them."""
    if not any("scorer" in about for about in record.asked):
        return list(record.responses)
    asked = [*record.asked, *({} for _ in record.responses[len(record.asked) :])]
    pairs = zip(record.responses, asked, strict=True)
    return [response for response, about in pairs if "scorer" not in about]


def common_beginning(texts: Sequence[str]) -> str:
    """The characters that all the texts begin with."""
    if not texts:
        return ""
    first, last = min(texts), max(texts)  # the two that differ earliest
    pairs = zip(first, last, strict=False)
    return first[: next((i for i, (one, other) in enumerate(pairs) if one != other), len(first))]


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


# ---- the texts of tokens -------------------------------------------------------------------------


def write_vocabulary(directory: Path, texts: Mapping[str, Mapping[int, str]]) -> None:
    """Write `vocabulary.json`: the text of each token that the records of the run hold.

    texts  "model", and "scorer" where a protocol's followup was asked -> token id -> its text as
           the tokenizer has it, for GPT-2 in its alphabet of bytes ("Ġthe")
    """
    content = {who: {str(i): text for i, text in sorted(of.items())} for who, of in texts.items()}
    write_atomically(directory / VOCABULARY, json.dumps(content, ensure_ascii=False) + "\n")


def read_vocabulary(directory: Path) -> dict[str, dict[int, str]]:
    """What `write_vocabulary` wrote; empty for runs of versions that wrote none."""
    path = directory / VOCABULARY
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {
            who: {int(token): str(text) for token, text in texts.items()}
            for who, texts in content.items()
        }
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise StoreError(f"{path} cannot be read ({error!r}); {_anew(path)}") from error


# ---- results ------------------------------------------------------------------------------------


def write_result(result: Result, directory: Path) -> None:
    """Write `result.json`, atomically: it is there whole, or not at all.

    `digests` has the sha256 of the records and of each section, for `gpt2eval verify`.
    """
    content = finite({"format": FORMAT, **asdict(result)})
    del content["path"]
    content["digests"] = digests_of(content, directory)
    text = json.dumps(content, ensure_ascii=False, indent=2, allow_nan=False)
    write_atomically(directory / RESULT, text + "\n")


def digests_of(content: Mapping[str, Any], directory: Path) -> dict[str, str]:
    """sha256 of the records of a run, where it has some, and of each section of its result."""
    path = directory / RECORDS
    found = {RECORDS: digest_files([path])} if path.exists() else {}
    for section, value in content.items():
        if section != DIGESTS:
            text = json.dumps(value, sort_keys=True, allow_nan=False)
            found[section] = hashlib.sha256(text.encode()).hexdigest()
    return found


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


def read_content(directory: Path) -> Any:
    """What `result.json` holds, as it stands; StoreError where that is not JSON."""
    path = directory / RESULT
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise StoreError(f"{path} cannot be read ({error}); {_anew(path)}") from error


def read_result(directory: Path) -> Result:
    """The result of a finished run; StoreError where there is none or it is not ours."""
    path, content = directory / RESULT, read_content(directory)
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT:
        raise StoreError(
            f"{path} has format {found!r}; this version of gpt2eval reads {FORMAT}. Use the version"
            f" that wrote it, or {_anew(path)}"
        )
    if wrong := misshapen(content):
        raise StoreError(f"{path} is not a result of gpt2eval: {wrong}; {_anew(path)}")
    sections = {
        key: content[key] for key in ("checkpoint", "task", "data", "run", "ledger", "signature")
    }
    baselines = {
        system: {name: _estimate(entry) for name, entry in metrics.items()}
        for system, metrics in content["baselines"].items()
    }
    metrics = {name: _estimate(entry) for name, entry in content["metrics"].items()}
    return Result(**sections, metrics=metrics, baselines=baselines, path=directory)


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
            raise StoreError(without_result(path))
        directories |= found
    return [read_result(directory) for directory in sorted(directories)]


@dataclass(frozen=True, slots=True)
class Found:
    """Results by name, and the directories of runs that were left out because they never ended."""

    results: list[Result]
    unfinished: list[Path]


def find_results(names: Sequence[str | Path], output: str | Path = "results") -> Found:
    """All runs that are named, each once, in the order of the names.

    names   directories or result.json files; names of checkpoints, or of anything else below
            `output`; globs over either
    output  where runs are kept

    Raises UsageError for a name that leads to no finished run; StoreError for a run that is not
    ours, and for copies of one run that differ.
    """
    if not names:
        raise UsageError("no results were named; give the --output of a run, or runs below it")
    finished: dict[Path, Path] = {}
    unfinished: dict[Path, Path] = {}
    for name in map(str, names):
        places = _places(name, Path(output))
        ended, torn = (
            sorted({run for place in places for run in _holding(place, file)}, key=_in_order)
            for file in (RESULT, RECORDS)
        )
        known = set(ended)
        torn = [run for run in torn if run not in known]
        if not ended:
            raise UsageError(_nothing(name, Path(output), places, torn))
        for kept, runs in ((finished, ended), (unfinished, torn)):
            for run in runs:
                kept.setdefault(run.resolve(), run)
    results = [read_result(directory) for directory in finished.values()]
    return Found(_each_once(results), list(unfinished.values()))


def _in_order(run: Path) -> list[tuple[int, int, str]]:
    """checkpoint-500 before checkpoint-1000."""
    return natural_key(str(run))


def _places(name: str, output: Path) -> list[Path]:
    """What a name leads to: as it stands, or below the output directory if that has no results.

    A directory of the same name may be the checkpoint itself.
    """
    known: list[Path] = []
    for path in (Path(name).expanduser(), output / name):
        if path.exists() or not has_magic(str(path)):
            places = [path] if path.exists() else []
        else:
            places = sorted(map(Path, glob(str(path), recursive=True)), key=_in_order)
        if any(_holding(place, RESULT) for place in places):
            return places
        known += places
    return known


def _holding(place: Path, file: str) -> list[Path]:
    """The directories at a place or below that hold this file."""
    if place.is_dir():
        return [_run_of(found) for found in place.rglob(file)]
    return [place.parent] if place.name == file else []


def _run_of(file: Path) -> Path:
    """The directory of the run that a file belongs to, which may be that of a shard."""
    return file.parents[2] if file.parents[1].name == SHARDS else file.parent


def _nothing(name: str, output: Path, places: Sequence[Path], torn: Sequence[Path]) -> str:
    """Why a name leads to no result."""
    expected = (
        "Expected a directory that `gpt2eval run` wrote, the name of a checkpoint in it, or a glob"
    )
    if torn:
        more = f" and {len(torn) - 1} more" if len(torn) > 1 else ""
        return (
            f"{name!r} holds no finished run, only {torn[0]}{more}, {how_far(torn[0])}; give the"
            " command that made it again, and it goes on where it stopped"
        )
    if places and all(place.is_file() for place in places):
        return f"{name!r} is a file without results. {expected}"
    if places:
        return f"{name!r} holds no {RESULT}. {expected}"
    known = sorted({file.parents[2].name for file in output.glob(f"*/*/*/{RESULT}")})
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    there = f"; there are {', '.join(known[:10])}" if known else ""
    return f"no results are called {name!r}, here or in {str(output)!r}{hint}{there}. {expected}"


def without_result(path: Path) -> str:
    """Why there is nothing to read below a path."""
    begun = sorted({_run_of(file) for file in path.rglob(RECORDS)})
    more = f". There is {begun[0]}, {how_far(begun[0])}" if begun else ""
    return f"{str(path)!r} holds no {RESULT}; expected the --output of a run{more}"


def how_far(directory: Path) -> str:
    """What there is of a run without a result, in words."""
    shards = sorted(path.parent.name for path in directory.glob(f"{SHARDS}/*/{RECORDS}"))
    if not shards:
        return "interrupted"
    names = ", ".join(name.replace("-of-", "/") for name in shards)
    return f"of which shards are there ({names}), to be merged by `gpt2eval merge`"


def _each_once(results: Sequence[Result]) -> list[Result]:
    """A run that was copied counts once; StoreError where the copies differ."""
    kept: dict[tuple[str, str, str], Result] = {}
    for result in results:
        run = result.path.name if result.path else ""
        other = kept.setdefault((str(result.checkpoint.get("name")), result.name, run), result)
        if other is not result and (other.metrics, other.data) != (result.metrics, result.data):
            raise StoreError(
                f"{other.path} and {result.path} are one run ({run}) with different numbers; one of"
                " the two was changed. Leave out the one that was"
            )
    return list(kept.values())


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
