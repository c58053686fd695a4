"""Where rows come from: bundled samples, a directory, or the Hugging Face hub.

A Dataset lists every place one table of rows can be read from; `load` reads it from the place the
user chose and says exactly what was read. The readers below turn the public file formats into rows
with the columns the hub uses, so that a task is written once.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import hashlib
import io
import json
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import IO, Any
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from gpt2eval.archive import open_zip
from gpt2eval.digests import digest_files
from gpt2eval.errors import DataError, out_of_memory
from gpt2eval.manifest import Entry, check_files, read_manifest

Row = Mapping[str, Any]

PACKED = (".gz", ".bz2", ".zip")
MAX_UNPACKED = 500_000_000  # bytes of one packed file; more is a bomb, enwik8 has 100,000,000
UNREADABLE = (
    *(OSError, EOFError, RuntimeError, ValueError),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError),
)
UNKNOWN_FILE = "unknown file: its sha256 is not on record"
JSON_KINDS: Mapping[type[Any], str] = {dict: "an object", list: "a list"}


@dataclass(frozen=True, slots=True)
class Hub:
    """A data set on the Hugging Face hub in script-free form.

    config   the configuration, or several whose rows follow each other
    convert  a row of the hub -> a row with the columns that the readers of local files give; what
             it raises becomes a DataError that names the row
    branch   of the repository; `refs/convert/parquet` is script-free where the main one is not
    """

    id: str
    config: str | tuple[str, ...] | None = None
    split: str = "test"
    convert: Callable[[Row], Row] = dict
    branch: str | None = None

    @property
    def configs(self) -> tuple[str | None, ...]:
        """The configurations to load, one after the other."""
        return self.config if isinstance(self.config, tuple) else (self.config,)

    @property
    def files(self) -> tuple[str, ...]:
        """Where a bundle keeps the rows, a file for each configuration (see `gpt2eval.bundles`)."""
        places = [self.id.replace("/", "--"), *([self.branch] if self.branch else [])]
        return tuple(
            "/".join(
                ["hub", *(_plain_name(part) for part in (*places, name or "default", self.split))]
            )
            + ".jsonl"
            for name in self.configs
        )

    def __str__(self) -> str:
        """Id and configuration, for people; of many configurations the first and how many."""
        names = [name for name in self.configs if name]
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        return f"{self.id} ({names[0]}{more})" if names else self.id


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

    Raises DataError naming what is missing or malformed, and for a file that is not the one which
    the directory's manifest lists.
    """
    if place == "hub":
        return _load_hub(dataset, offline)
    directory = _directory(dataset, place)
    names = _find(dataset, directory)
    paths = [directory / name for name in names]
    try:
        digests = {name: digest_files([directory / name]) for name in names}
    except OSError as error:
        raise DataError(f"{error.filename} cannot be read: {error.strerror}") from error
    manifest = read_manifest(directory)
    if manifest is not None:
        check_files(directory, manifest, digests)
    if dataset.hub and names == dataset.hub.files:
        return _load_bundle(dataset.hub, paths, digests, manifest)
    rows = tuple(dataset.read(paths))
    if not rows:
        raise DataError(f"{paths[0]} holds no rows; expected at least one")
    return Loaded(
        rows,
        {
            "source": "bundled" if place == "bundled" else "directory",
            "files": digests,
            "sha256": digest_files(paths),
            "verdict": _verdict(dataset, digests, bundled=place == "bundled"),
        },
    )


def lacking(dataset: Dataset, place: str | Path) -> str:
    """The files that `place` would need for the data set and lacks; empty where it can be read."""
    if place == "hub":
        found = dataset.hub is not None
    else:
        found = _present(dataset, _directory(dataset, place)) is not None
    return "" if found else " or ".join(map(listed, dataset.files))


def _directory(dataset: Dataset, place: str | Path) -> Path:
    directory = bundled_directory() if place == "bundled" else Path(place).expanduser()
    if not directory.is_dir():
        state = "is a file" if directory.exists() else "does not exist"
        raise DataError(
            f"data directory {str(directory)!r} {state}; expected a directory with"
            f" {' or '.join(map(listed, dataset.files))}"
        )
    return directory


def _present(dataset: Dataset, directory: Path) -> tuple[str, ...] | None:
    """The first alternative of which all files are there; the rows of a bundle are the last."""
    for names in (*dataset.files, *([dataset.hub.files] if dataset.hub else [])):
        if all((directory / name).is_file() for name in names):
            return names
    return None


def _find(dataset: Dataset, directory: Path) -> tuple[str, ...]:
    found = _present(dataset, directory)
    if found is not None:
        return found
    names = dataset.files[0]
    missing = [name for name in names if not (directory / name).is_file()]
    others = [listed(names) for names in dataset.files[1:]]
    raise DataError(
        f"{directory} lacks {', '.join(missing)}"
        + (f" (or {'; or '.join(others)})" if others else "")
        + "; put the file there, or leave --data out to use the bundled samples or the hub"
    )


def listed(files: Sequence[str]) -> str:
    """Files that are read together, for people: all of them, or the first and how many."""
    return " + ".join(files) if len(files) <= 4 else f"{files[0]} and {len(files) - 1} more"


def _verdict(dataset: Dataset, digests: Mapping[str, str], *, bundled: bool) -> str:
    if bundled:
        return "sample texts of gpt2eval"
    known = [dataset.known.get(digest) for digest in digests.values()]
    if all(known):
        return "; ".join(dict.fromkeys(str(text) for text in known))
    if not dataset.known:
        return "no digest on record"
    return UNKNOWN_FILE


def _plain_name(text: str) -> str:
    """A part of a path, whatever a hub's names hold."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-") or "x"


def hub_of(dataset: Dataset) -> Hub:
    """Where the data set is on the hub; DataError where it is not."""
    if dataset.hub is None:
        raise DataError(
            f"{listed(dataset.files[0])} is not on the hub in a form that can be read; give a"
            " directory that holds it with --data"
        )
    return dataset.hub


def _load_hub(dataset: Dataset, offline: bool) -> Loaded:
    hub = hub_of(dataset)
    tables, revision = hub_tables(hub, listed(dataset.files[0]), offline)
    raw = (row for table in tables for row in table)
    return _from_hub(hub, raw, revision, {}, "read from the hub at the recorded revision")


def hub_tables(hub: Hub, instead: str, offline: bool) -> tuple[list[Any], str | None]:
    """The rows of each configuration as the hub has them, and the revision they are of.

    instead  the file that would do as well, for the error
    """
    where = f"{hub}, split {hub.split}"
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
        tables = [
            datasets.load_dataset(
                hub.id, name, split=hub.split, revision=revision, download_config=config
            )
            for name in hub.configs
        ]
    except Exception as error:  # the hub client and datasets raise many unrelated classes
        if out_of_memory(error):
            raise
        text = str(error).strip().splitlines()
        command = f"hf download --repo-type dataset {hub.id}"
        raise DataError(
            f"data set {where} could not be had from the Hugging Face hub ({type(error).__name__}:"
            f" {text[0][:200] if text else 'no reason given'}).\n"
            f"With a network, fetch it once:  {command}\n"
            f"Or give a directory that holds {instead}:  --data DIR"
        ) from error
    if revision is None and getattr(tables[0].info, "version", None):
        revision = str(tables[0].info.version)
    return tables, revision


def _load_bundle(
    hub: Hub,
    paths: Sequence[Path],
    digests: Mapping[str, str],
    manifest: Mapping[str, Entry] | None,
) -> Loaded:
    """The rows that `gpt2eval fetch` kept of the hub; the result is that of the hub itself."""
    if manifest is None:
        raise DataError(
            f"{paths[0]} holds rows of the hub, but the directory has no manifest that says of"
            " which revision; copy the whole bundle, or fetch it again"
        )
    raw = (row for path in paths for row in parse_jsonl(read_text(path), path))
    revision = manifest[next(iter(digests))].get("revision")
    return _from_hub(hub, raw, revision, digests, "rows of the hub at the recorded revision")


def _from_hub(
    hub: Hub, raw: Iterable[Row], revision: str | None, files: Mapping[str, str], verdict: str
) -> Loaded:
    where = f"data set {hub}, split {hub.split}"
    rows = tuple(convert_rows(raw, hub.convert, where))
    if not rows:
        raise DataError(f"{where} holds no rows; expected at least one")
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
            "revision": revision,
            "files": dict(files),
            "sha256": digest.hexdigest(),
            "verdict": verdict,
        },
    )


# ---- readers: files -> rows ---------------------------------------------------------------------


def read_text(path: Path) -> str:
    """The whole file as text, line ends as they are. UTF-8 or a DataError.

    A byte order mark at the beginning is not part of the text. Packed files: see `read_content`.
    """
    return _decoded(read_content(path), str(path))


def read_tail(path: Path, size: int) -> str:
    """The last `size` bytes of a file as text, as `read_text` gives it.

    The file is never in memory as a whole. A character that the cut would halve is left out.
    """
    tail = bytearray()
    cut = False
    with _opened(path) as file:
        if path.suffix not in PACKED:
            cut = file.seek(max(0, path.stat().st_size - size)) > 0
        for block in _blocks(file, path):
            tail += block
            cut |= len(tail) > size
            del tail[: max(0, len(tail) - size)]
    start = 0
    while cut and start < min(3, len(tail)) and tail[start] & 0xC0 == 0x80:  # inside a character
        start += 1
    return _decoded(bytes(tail[start:]), f"{path}, the last {len(tail)} bytes")


def read_content(path: Path) -> bytes:
    """The bytes of a file; `.gz`, `.bz2` and `.zip` of one file are unpacked, up to a bound."""
    with _opened(path) as file:
        return b"".join(_blocks(file, path)) if path.suffix in PACKED else file.read()


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """The content of a file, unpacked as it is read; a DataError for what cannot be read."""
    try:
        if path.suffix == ".zip":
            with open_zip(path) as archive:
                items = _members(archive)
                if len(items) != 1:
                    raise DataError(f"{path} holds {len(items)} files; expected one")
                with archive.open(items[0]) as file:
                    yield file
        else:
            opener: Any = {".gz": gzip.open, ".bz2": bz2.open}.get(path.suffix, open)
            with opener(path, "rb") as file:
                yield file
    except UNREADABLE as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def _members(archive: zipfile.ZipFile, suffix: str = "") -> list[zipfile.ZipInfo]:
    """The files of an archive whose name ends so, without what macOS adds (`__MACOSX/`)."""
    return [
        item
        for item in archive.infolist()
        if not item.is_dir()
        and item.filename.endswith(suffix)
        and not item.filename.startswith("__MACOSX/")
    ]


def _blocks(file: IO[bytes], path: Path, used: int = 0) -> Iterator[bytes]:
    """What is left of a file that unpacks as it is read, as long as it fits the bound."""
    while block := file.read(1 << 20):
        used += len(block)
        if used > MAX_UNPACKED:
            raise DataError(f"{path} unpacks to more than {MAX_UNPACKED} bytes")
        yield block


def _decoded(content: bytes, place: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise DataError(
            f"{place}, line {line}: byte {error.object[error.start]:#04x} is not UTF-8; convert the"
            " file, for example with: iconv -t utf-8"
        ) from error


def read_zip(path: Path, suffix: str) -> Iterator[tuple[str, str]]:
    """Name and text of each file of an archive whose name ends so, in the archive's order.

    The bound on unpacked bytes is for all of them.
    """
    used = 0
    try:
        with open_zip(path) as archive:
            for item in _members(archive, suffix):
                with archive.open(item) as file:
                    content = b"".join(_blocks(file, path, used))
                used += len(content)
                yield item.filename, _decoded(content, f"{path}, {item.filename}")
    except UNREADABLE as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def read_xml(path: Path) -> Element:
    """The root of an XML file, in whatever encoding it declares.

    Benchmark files need no entities of their own, and those can make a small file huge or read
    another one: a file that declares or uses one is refused. A document type that only names a DTD
    is passed over; the DTD is not read.
    """
    builder = TreeBuilder()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data

    def refuse(name: str, *_more: object) -> None:
        line = parser.CurrentLineNumber
        raise DataError(f"{path}, line {line}: entity {name!r}; expected XML without own entities")

    parser.EntityDeclHandler = refuse
    parser.SkippedEntityHandler = refuse
    try:
        parser.Parse(read_content(path), True)
    except (expat.ExpatError, LookupError, TypeError, ValueError) as error:  # unknown encodings too
        raise DataError(f"{path}: not well-formed XML ({error})") from error
    return builder.close()


def convert_rows(
    rows: Iterable[Row], convert: Callable[[Row], Row], place: object
) -> Iterator[Row]:
    """Rows in another form; where `convert` cannot, a DataError says in which row of `place`."""
    for number, row in enumerate(rows, 1):
        try:
            yield convert(row)
        except DataError as error:
            raise DataError(f"{place}, row {number}: {error}") from error
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            found = ", ".join(map(str, list(row)[:8])) or "none"
            raise DataError(
                f"{place}, row {number}: not in the form that was expected ({error!r}); found"
                f" columns: {found}"
            ) from error


def gold(value: object, choices: int, first: int = 0) -> int:
    """A gold label as the index of the right choice, from 0; DataError where it is none.

    value  a whole number, or the text of one
    first  the label of the first choice, for files that count from 1
    """
    text = str(value).strip()
    if isinstance(value, (int, str)) and text.isascii() and text.isdigit():
        index = int(text) - first
        if 0 <= index < choices:
            return index
    raise DataError(
        f"gold label {value!r}; expected a whole number from {first} to {first + choices - 1}"
    )


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
        yield from parse_jsonl(read_text(path), path, *columns, lists=lists)


def parse_jsonl(
    text: str, place: object, *columns: str, lists: Sequence[str] = ()
) -> Iterator[Row]:
    """`read_jsonl` of a text; `place` says where it is from."""
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            where = f"{place}, line {number}"
            row = _checked(_parsed(line, where, dict), columns, where)
            for column in lists:
                strings(row.get(column), f"{where}: column {column!r}")
            yield row


def read_json(path: Path, *, kind: type[list[Any]] | type[dict[str, Any]]) -> Any:
    """A file that is one JSON value: a list or an object, as `kind` says."""
    text = read_text(path)
    content = _parsed(text, str(path), kind)
    if "\\u" in text:
        _check_characters(json.dumps(content, ensure_ascii=False), str(path))
    return content


def _parsed(text: str, place: str, kind: type[Any]) -> Any:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place}: not valid JSON ({error})") from error
    if not isinstance(content, kind):
        found, expected = type(content).__name__, JSON_KINDS[kind]
        raise DataError(f"{place}: holds a JSON {found}; expected {expected}")
    return content


def strings(value: Any, place: str) -> list[str]:
    """`value`, which must be a list of one string or more; `place` names it in the error."""
    if not (isinstance(value, list) and value and all(isinstance(text, str) for text in value)):
        raise DataError(f"{place} is {value!r:.80}; expected a list of one string or more")
    for text in value:
        _check_characters(text, place)
    return value


def filled(value: Any, place: str) -> list[str]:
    """The same, where none of the strings may be blank."""
    for number, text in enumerate(strings(value, place), 1):
        if not text.strip():
            raise DataError(f"{place}: string {number} is {text!r:.80}; expected some text")
    return list(value)


def read_csv(paths: Sequence[Path], *columns: str, header: bool = True) -> Iterator[Row]:
    """One row a CSV record; the header must name these columns, or they are those of the file."""
    for path in paths:
        file = io.StringIO(read_text(path), newline="")
        reader = csv.DictReader(file, None if header else columns, strict=True)
        csv.field_size_limit(10_000_000)
        try:
            for row in reader:
                if None in row:  # what the header has no name for
                    raise DataError(
                        f"{path}, line {reader.line_num}: more fields than the header's"
                        f" {len(row) - 1}; a text with a comma in it stands in quotes"
                    )
                yield _checked(row, columns, f"{path}, line {reader.line_num}")
        except csv.Error as error:
            # The outer reader counts a line only once it is a row.
            line = reader.reader.line_num
            raise DataError(f"{path}, line {line}: not valid CSV ({error})") from error


def _checked(row: Mapping[str, Any], columns: Sequence[str], place: str) -> Row:
    for column in columns:
        if row.get(column) is None:
            found = ", ".join(map(str, list(row)[:8])) or "none"
            raise DataError(
                f"{place}: column {column!r} is missing; expected {' and '.join(columns)}, found"
                f" {found}"
            )
        if not isinstance(row[column], str):
            raise DataError(
                f"{place}: column {column!r} holds {json.dumps(row[column])[:60]}; expected a"
                " string"
            )
        _check_characters(row[column], f"{place}: column {column!r}")
    return row


def _check_characters(text: str, place: str) -> None:
    """JSON can spell what is no text: half of a pair of surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{place} holds half a surrogate pair, which is no character ({error.reason})"
        ) from error


def read_parallel(paths: Sequence[Path], languages: tuple[str, str]) -> Iterator[Row]:
    """Two aligned files, a sentence a line -> {"id", languages[0], languages[1], "document"}."""
    first, second = ([row["text"] for row in read_lines([path])] for path in paths)
    _check_lengths(paths, len(first), len(second), "lines")
    for number, pair in enumerate(zip(first, second, strict=True), 1):
        yield {"id": str(number), "document": "", **dict(zip(languages, pair, strict=True))}


_SGML_DOC = re.compile(r"<doc\b[^>]*\bdocid\s*=\s*(?:([\"'])(.*?)\1|([^\s>]*))", re.IGNORECASE)
_SGML_SEG = re.compile(r"<seg\b([^>]*)>(.*?)</seg\s*>", re.IGNORECASE)
_SGML_ID = re.compile(r"\bid\s*=\s*[\"']?([^\"'\s]*)", re.IGNORECASE)
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
    """(document, segment) -> text, in file order, white space folded as sacrebleu does.

    A segment without an id is known by its place in the document.
    """
    segments: dict[tuple[str, str], str] = {}
    document = ""
    before = 0
    for place, line in enumerate(read_text(path).split("\n"), 1):
        if match := _SGML_DOC.search(line):
            document, before = match[2] or match[3] or "", len(segments)
        found = _SGML_SEG.findall(line)
        if len(found) != len(_SGML_OPEN.findall(line)):
            raise DataError(
                f"{path}, line {place}: a segment without an end on its line; expected"
                ' <seg id="1">text</seg>'
            )
        for attributes, text in found:
            named = _SGML_ID.search(attributes)
            number = named[1] if named else str(len(segments) - before + 1)
            if (document, number) in segments:
                raise DataError(
                    f"{path}, line {place}: document {document!r} has two segments {number!r};"
                    " expected each once"
                )
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
