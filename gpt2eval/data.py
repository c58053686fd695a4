"""Where rows come from: bundled samples, a directory, or the Hugging Face hub.

A Dataset lists every place one table of rows can be read from; `load` reads it from the place the
user chose and says exactly what was read. The readers below turn the public file formats into rows
with the columns the hub uses, so that a task is written once.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import IO, Any

from gpt2eval.digests import digest_files
from gpt2eval.errors import DataError

Row = Mapping[str, Any]

MAX_UNPACKED = 2_000_000_000  # bytes of one packed file; more is a bomb, not a benchmark


@dataclass(frozen=True, slots=True)
class Hub:
    """A data set on the Hugging Face hub in script-free form.

    convert  a row of the hub -> a row with the columns that the readers of local files give
    branch   of the repository; `refs/convert/parquet` is script-free where the main one is not
    """

    id: str
    config: str | None = None
    split: str = "test"
    convert: Callable[[Row], Row] = dict
    branch: str | None = None


@dataclass(frozen=True, slots=True)
class Dataset:
    """One table of rows and every place it can be read from.

    files   alternatives, best first; each is the tuple of files, relative to the data directory,
            that are read together
    read    paths of one alternative -> rows in the schema of the hub
    hub     the same rows on the hub
    known   sha256 of a file -> what that file is, in words ("official test set, 5,153 passages")
    """

    files: tuple[tuple[str, ...], ...]
    read: Callable[[Sequence[Path]], Iterable[Row]]
    hub: Hub | None = None
    known: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Loaded:
    """Rows, and the `data` section of a result that says where they come from."""

    rows: tuple[Row, ...]
    provenance: Mapping[str, Any]


def bundled_directory() -> Path:
    """The sample texts that ship with gpt2eval."""
    return Path(str(files("gpt2eval") / "samples"))


def load(dataset: Dataset, place: str | Path, *, offline: bool = False) -> Loaded:
    """Read a data set from `place`: "bundled", "hub", or a data directory.

    Raises DataError naming what is missing or malformed.
    """
    if place == "hub":
        return _load_hub(dataset, offline)
    directory = bundled_directory() if place == "bundled" else Path(place).expanduser()
    paths = _find(dataset, directory)
    rows = tuple(dataset.read(paths))
    if not rows:
        raise DataError(f"{paths[0]} holds no rows; expected at least one")
    digests = {path.relative_to(directory).as_posix(): digest_files([path]) for path in paths}
    return Loaded(
        rows,
        {
            "source": "bundled" if place == "bundled" else "directory",
            "files": digests,
            "sha256": digest_files(paths),
            "verdict": _verdict(dataset, digests, bundled=place == "bundled"),
        },
    )


def _find(dataset: Dataset, directory: Path) -> list[Path]:
    if not directory.is_dir():
        raise DataError(
            f"data directory {str(directory)!r} does not exist; expected a directory with"
            f" {' or '.join(' + '.join(names) for names in dataset.files)}"
        )
    for names in dataset.files:
        paths = [directory / name for name in names]
        if all(path.is_file() for path in paths):
            return paths
    names = dataset.files[0]
    missing = [name for name in names if not (directory / name).is_file()]
    others = [" + ".join(names) for names in dataset.files[1:]]
    raise DataError(
        f"{directory} lacks {', '.join(missing)}"
        + (f" (or {'; or '.join(others)})" if others else "")
        + "; put the file there, or leave --data out to use the bundled samples or the hub"
    )


def _verdict(dataset: Dataset, digests: Mapping[str, str], *, bundled: bool) -> str:
    if bundled:
        return "sample texts of gpt2eval"
    known = [dataset.known.get(digest) for digest in digests.values()]
    if all(known):
        return "; ".join(dict.fromkeys(str(text) for text in known))
    if not dataset.known:
        return "no digest on record"
    return "unknown file: its sha256 is not on record"


def _load_hub(dataset: Dataset, offline: bool) -> Loaded:
    hub = dataset.hub
    if hub is None:
        raise DataError(
            f"{' + '.join(dataset.files[0])} is not on the hub in a form that can be read; give a"
            " directory that holds it with --data"
        )
    where = f"{hub.id}{f' ({hub.config})' if hub.config else ''}, split {hub.split}"
    try:
        import datasets
        from huggingface_hub import HfApi, constants

        offline = offline or constants.HF_HUB_OFFLINE
        revision = (
            hub.branch
            if offline
            else HfApi().dataset_info(hub.id, revision=hub.branch, timeout=10).sha
        )
        config = datasets.DownloadConfig(local_files_only=offline)
        table = datasets.load_dataset(
            hub.id, hub.config, split=hub.split, revision=revision, download_config=config
        )
    except Exception as error:  # the hub client and datasets raise many unrelated classes
        text = str(error).strip().splitlines()
        command = f"hf download --repo-type dataset {hub.id}"
        raise DataError(
            f"data set {where} could not be had from the Hugging Face hub ({type(error).__name__}:"
            f" {text[0][:200] if text else 'no reason given'}).\n"
            f"With a network, fetch it once:  {command}\n"
            f"Or give a directory that holds {' + '.join(dataset.files[0])}:  --data DIR"
        ) from error
    rows = tuple(hub.convert(row) for row in table)
    if not rows:
        raise DataError(f"data set {where} holds no rows; expected at least one")
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(dict(row), sort_keys=True, ensure_ascii=False).encode())
    return Loaded(
        rows,
        {
            "source": "hub",
            "id": hub.id,
            "config": hub.config,
            "split": hub.split,
            "revision": revision
            or (getattr(table.info, "version", None) and str(table.info.version)),
            "files": {},
            "sha256": digest.hexdigest(),
            "verdict": "read from the hub at the recorded revision",
        },
    )


# ---- readers: files -> rows ---------------------------------------------------------------------


def read_text(path: Path) -> str:
    """The whole file as text, line ends as they are; `.gz` is unpacked. UTF-8 or a DataError."""
    try:
        if path.suffix == ".gz":
            with gzip.open(path, "rb") as file:
                content = file.read(MAX_UNPACKED + 1)
            if len(content) > MAX_UNPACKED:
                raise DataError(f"{path} unpacks to more than {MAX_UNPACKED} bytes")
        else:
            content = path.read_bytes()
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise DataError(
            f"{path}, line {line}: byte {error.object[error.start]:#04x} is not UTF-8; convert the"
            " file, for example with: iconv -t utf-8"
        ) from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def read_tail(path: Path, size: int) -> str:
    """The last `size` bytes of a file as text; `.gz` and `.zip` (of one file) are unpacked.

    The file is never in memory as a whole. A character that the cut would halve is left out. UTF-8
    or a DataError.
    """
    tail = bytearray()
    try:
        with _opened(path) as file:
            unpacked = 0
            if file.seekable() and path.suffix not in (".gz", ".zip"):
                file.seek(max(0, path.stat().st_size - size))
            while block := file.read(1 << 20):
                unpacked += len(block)
                if unpacked > MAX_UNPACKED:
                    raise DataError(f"{path} unpacks to more than {MAX_UNPACKED} bytes")
                tail += block
                del tail[: max(0, len(tail) - size)]
        while len(tail) == size and tail[:1] and tail[0] & 0xC0 == 0x80:  # inside a character
            del tail[0]
            size -= 1
        return tail.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: byte {error.object[error.start]:#04x} among the last {len(tail)} is not UTF-8"
        ) from error
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def _opened(path: Path) -> IO[bytes] | gzip.GzipFile:
    if path.suffix == ".gz":
        return gzip.open(path, "rb")
    if path.suffix != ".zip":
        return path.open("rb")
    archive = zipfile.ZipFile(path)
    names = archive.namelist()
    if len(names) != 1:
        raise DataError(f"{path} holds {len(names)} files; expected one")
    return archive.open(names[0])


def read_lines(paths: Sequence[Path]) -> Iterator[Row]:
    """One row a line, column `text`, without the line end."""
    for path in paths:
        text = read_text(path)
        for line in (text[:-1] if text.endswith("\n") else text).split("\n") if text else ():
            yield {"text": line.removesuffix("\r")}


def read_jsonl(paths: Sequence[Path], *columns: str, lists: Sequence[str] = ()) -> Iterator[Row]:
    """One row a JSON line; each must be an object with these columns, all of them strings.

    lists  columns that hold lists of strings, of one or more each
    """
    for path in paths:
        for number, line in enumerate(read_text(path).split("\n"), 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise DataError(f"{path}, line {number}: not valid JSON ({error})") from error
            if not isinstance(row, dict):
                raise DataError(
                    f"{path}, line {number}: a JSON {type(row).__name__}; expected an object"
                )
            place = f"{path}, line {number}"
            for column in lists:
                strings(row.get(column), f"{place}: column {column!r}")
            yield _checked(row, columns, place)


def read_json(path: Path, *, kind: type[list[Any]] | type[dict[str, Any]]) -> Any:
    """A file that is one JSON value: a list or an object, as `kind` says."""
    try:
        content = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not valid JSON ({error})") from error
    if not isinstance(content, kind):
        raise DataError(
            f"{path}: holds a JSON {type(content).__name__}; expected a {kind.__name__}"
        )
    return content


def strings(value: Any, place: str) -> list[str]:
    """`value`, which must be a list of one string or more; `place` names it in the error."""
    if not (isinstance(value, list) and value and all(isinstance(text, str) for text in value)):
        raise DataError(f"{place} is {value!r:.80}; expected a list of one string or more")
    return value


def read_csv(paths: Sequence[Path], *columns: str) -> Iterator[Row]:
    """One row a CSV record; the header must name these columns."""
    for path in paths:
        reader = csv.DictReader(io.StringIO(read_text(path), newline=""), strict=True)
        csv.field_size_limit(10_000_000)
        try:
            for row in reader:
                yield _checked(row, columns, f"{path}, line {reader.line_num}")
        except csv.Error as error:
            # The outer reader counts a line only once it is a row.
            line = reader.reader.line_num
            raise DataError(f"{path}, line {line}: not valid CSV ({error})") from error


def _checked(row: Mapping[str, Any], columns: Sequence[str], place: str) -> Row:
    for column in columns:
        if not isinstance(row.get(column), str):
            found = ", ".join(map(str, list(row)[:8])) or "none"
            raise DataError(
                f"{place}: column {column!r} is missing or not a string; found columns: {found}"
            )
        try:
            row[column].encode()
        except UnicodeEncodeError as error:
            raise DataError(
                f"{place}: column {column!r} holds half a surrogate pair, which is no character"
                f" ({error.reason})"
            ) from error
    return row


def read_parallel(paths: Sequence[Path], languages: tuple[str, str]) -> Iterator[Row]:
    """Two aligned files, a sentence a line -> {"id", languages[0], languages[1], "document"}."""
    first, second = ([row["text"] for row in read_lines([path])] for path in paths)
    _check_lengths(paths, len(first), len(second), "lines")
    for number, pair in enumerate(zip(first, second, strict=True), 1):
        yield {"id": str(number), "document": "", **dict(zip(languages, pair, strict=True))}


_SGML_DOC = re.compile(r"<doc\b[^>]*\bdocid=\"([^\"]*)\"", re.IGNORECASE)
_SGML_SEG = re.compile(r"<seg\b[^>]*\bid=\"?([^\">]*)\"?[^>]*>(.*?)</seg>", re.IGNORECASE)
_SGML_OPEN = re.compile(r"<seg\b", re.IGNORECASE)
_ENTITIES = {"&lt;": "<", "&gt;": ">", "&quot;": '"', "&apos;": "'"}


def read_sgml(paths: Sequence[Path], languages: tuple[str, str]) -> Iterator[Row]:
    """A source and a reference file of WMT -> the rows of `read_parallel`, aligned by id."""
    first, second = (_segments(path) for path in paths)
    _check_lengths(paths, len(first), len(second), "segments")
    for (place, one), (other, two) in zip(first.items(), second.items(), strict=True):
        if place != other:
            raise DataError(
                f"{paths[0]} and {paths[1]} are not aligned: document and segment {place} against"
                f" {other}"
            )
        yield {
            "id": "/".join(place),
            "document": place[0],
            languages[0]: one,
            languages[1]: two,
        }


def _segments(path: Path) -> dict[tuple[str, str], str]:
    """(document, segment) -> text, in file order, white space folded as sacrebleu does."""
    segments: dict[tuple[str, str], str] = {}
    document = ""
    for place, line in enumerate(read_text(path).split("\n"), 1):
        if match := _SGML_DOC.search(line):
            document = match[1]
        found = _SGML_SEG.findall(line)
        if len(found) != len(_SGML_OPEN.findall(line)):
            raise DataError(
                f"{path}, line {place}: a segment without an id or without an end on its line;"
                ' expected <seg id="1">text</seg>'
            )
        for number, text in found:
            if (document, number) in segments:
                raise DataError(f"{path}: document {document!r} has two segments {number!r}")
            segments[document, number] = _unescape(re.sub(r"\s+", " ", text.strip()))
    return segments


def _unescape(text: str) -> str:
    """The five XML entities; a bare `&`, as in newstest2014, stays what it is."""
    for entity, character in _ENTITIES.items():
        text = text.replace(entity, character)
    return text.replace("&amp;", "&")


def _check_lengths(paths: Sequence[Path], first: int, second: int, what: str) -> None:
    if first != second:
        raise DataError(
            f"{paths[0]} has {first} {what}, {paths[1]} has {second}; expected as many, line for"
            " line translations of each other"
        )
