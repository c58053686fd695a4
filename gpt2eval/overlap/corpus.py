"""A training corpus as a stream: text or JSON lines, packed or not, in memory that stays the same.

Nothing is kept of the corpus: what is looked for is held instead.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from gpt2eval.errors import DataError
from gpt2eval.naming import natural_key
from gpt2eval.overlap.ngrams import Wanted, hash_runs, hash_words

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK = 1 << 18  # bytes read and characters hashed at a time: they stay in the processor's cache
UNBROKEN = 1 << 24  # bytes without a space, after which a text is cut anyhow
LINE = 1 << 28  # bytes of a line of JSON
LINES = (".jsonl", ".ndjson")
REFUSED = (".json", ".parquet", ".arrow", ".zip", ".tar", ".bin", ".npy", ".pdf")
PACKED = (".gz", ".bz2", ".xz", ".zst")
UNREADABLE = (OSError, EOFError, zlib.error, lzma.LZMAError)

Piece = tuple[str, bool]
"""Some text, and whether a document begins with it; otherwise it goes on with the one before."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file of the corpus, by what was read of it."""

    path: str
    bytes: int
    sha256: str
    documents: int
    words: int


def scan(
    files: Sequence[str | Path],
    wanted: Mapping[int, Wanted],
    on_bytes: Callable[[int], None] = lambda count: None,
) -> list[Source]:
    """Look for runs of words in files: `Wanted.seen` says afterwards which are there.

    Runs never cross from one document to another. A document is a whole text file, or all texts of
    a line of JSON, one after the other.

    wanted    size of the runs -> their hashes
    on_bytes  told how many bytes more of the files have been read

    Raises DataError for a file that cannot be read as text, naming the line where it can.
    """
    for path in map(Path, files):
        _check(path)
    return [_scan_file(Path(path), wanted, on_bytes) for path in files]


def _scan_file(path: Path, wanted: Mapping[int, Wanted], on_bytes: Callable[[int], None]) -> Source:
    sizes = sorted(wanted)
    most = max(sizes) - 1
    tail = np.empty(0, np.uint64)
    documents = words = 0
    try:
        with path.open("rb") as raw:
            watched = _Watched(raw, on_bytes)
            pieces = _lines(path, watched) if _kind(path) in LINES else _texts(path, watched)
            for batch in _batches(pieces):
                texts = [text if text.isascii() else text.lower() for text, _ in batch]
                begins = [begin for _, begin in batch]
                hashes, starts = hash_words(" ".join(texts))
                documents += sum(begins)
                words += len(hashes)
                tail = tail[:0] if begins[0] else tail
                hashes = np.concatenate([tail, hashes])
                document = _documents(texts, begins, starts, len(tail)) if any(begins[1:]) else None
                for size, runs in zip(sizes, hash_runs(hashes, sizes), strict=True):
                    if document is not None and len(runs):
                        runs = runs[document[size - 1 :] == document[: 1 - size]]
                    wanted[size].see(runs)
                if document is not None:
                    hashes = hashes[document == sum(begins)]
                tail = hashes[-most:]
            while watched.read(BLOCK):  # what an unpacker leaves unread belongs to the digest
                pass
    except UNREADABLE as error:
        raise DataError(f"{path} cannot be read: {error}; copy or unpack it again") from error
    return Source(str(path), watched.count, watched.digest.hexdigest(), documents, words)


def _documents(
    texts: Sequence[str], begins: Sequence[bool], starts: NDArray[np.intp], before: int
) -> NDArray[np.intp]:
    """The document of each word: of some words before, which go on, and of those that start here.

    texts   that were joined by one character
    begins  whether a document begins with each of them
    """
    ends = np.cumsum([len(text) + 1 for text in texts])
    of_words = np.cumsum(begins)[np.searchsorted(ends, starts, side="right")]
    return np.concatenate([np.zeros(before, np.intp), of_words])


def _batches(pieces: Iterable[Piece]) -> Iterator[list[Piece]]:
    """Pieces together, until they are long enough to be worth a call."""
    batch: list[Piece] = []
    length = 0
    for piece in pieces:
        batch.append(piece)
        length += len(piece[0])
        if 2 * length >= BLOCK:
            yield batch
            batch, length = [], 0
    if batch:
        yield batch


def _check(path: Path) -> None:
    """DataError for what is no file, or in a form that is not read."""
    if not path.is_file():
        what = "is a directory" if path.is_dir() else "does not exist"
        raise DataError(f"--train {str(path)!r} {what}; expected text or JSON lines, or a glob")
    kind = _kind(path)
    if kind in REFUSED:
        raise DataError(
            f"--train {str(path)!r} is not read as {kind}; expected text, or JSON lines in a file"
            f" that ends in {' or '.join(LINES)}, packed as {', '.join(PACKED)} or not"
        )


def _kind(path: Path) -> str:
    """The ending that says what a file holds, without that of the packing."""
    plain = path.with_suffix("") if path.suffix.lower() in PACKED else path
    return plain.suffix.lower()


class _Watched(io.RawIOBase):
    """A file whose bytes are counted and hashed as they are read."""

    def __init__(self, file: IO[bytes], on_bytes: Callable[[int], None]) -> None:
        self.file = file
        self.on_bytes = on_bytes
        self.digest = hashlib.sha256()
        self.count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        block = self.file.read(len(buffer))
        buffer[: len(block)] = block
        self.digest.update(block)
        self.count += len(block)
        self.on_bytes(len(block))
        return len(block)


def _unpacked(path: Path, watched: _Watched) -> IO[bytes]:
    """The content of a file, unpacked as it is read."""
    raw = io.BufferedReader(watched, BLOCK)
    if path.suffix.lower() == ".zst":
        try:
            import zstandard
        except ImportError as error:
            raise DataError(
                f"{path}: .zst needs a package that is not here; pip install 'gpt2eval[zst]', or"
                " unpack the file"
            ) from error
        reader: Any = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True)
        return io.BufferedReader(reader, BLOCK)
    opener: Any = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}.get(path.suffix.lower())
    return io.BufferedReader(opener(raw, "rb"), BLOCK) if opener else raw


def _texts(path: Path, watched: _Watched) -> Iterator[Piece]:
    """A text file in pieces that end where a word does."""
    rest, begins = b"", True
    file = _unpacked(path, watched)
    while block := file.read(BLOCK):
        if b"\0" in block:
            raise DataError(f"{path} holds bytes of 0, so it is no text; expected UTF-8")
        rest += block
        cut = max(rest.rfind(b"\n"), rest.rfind(b" ")) + 1
        if not cut and len(rest) < UNBROKEN:
            continue
        cut = cut or len(rest)
        yield _decoded(rest[:cut], path), begins
        rest, begins = rest[cut:], False
    if rest:
        yield _decoded(rest, path), begins


def _decoded(content: bytes, path: Path) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: byte {content[error.start]:#04x} is not UTF-8; convert the file, for example"
            " with: iconv -t utf-8"
        ) from error


def _lines(path: Path, watched: _Watched) -> Iterator[Piece]:
    """All texts in each line of JSON, whatever they are called: a line is a document."""
    file = _unpacked(path, watched)
    number = 0
    while line := file.readline(LINE):
        number += 1
        if len(line) == LINE:
            raise DataError(f"{path}, line {number}: longer than {LINE} bytes; cut it into several")
        if not line.strip():
            continue
        try:
            content = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}, line {number}: not JSON ({error})") from error
        text = "\n".join(_strings(content))
        for start in range(0, len(text), BLOCK) if len(text) > 4 * BLOCK else (None,):
            yield (text, True) if start is None else _part(text, start)


def _part(text: str, start: int) -> Piece:
    """A piece of a long text, moved to where words end."""

    def edge(place: int) -> int:
        while 0 < place < len(text) and not text[place - 1].isspace():
            place += 1
        return min(place, len(text))

    return text[edge(start) : edge(start + BLOCK)], start == 0


def _strings(content: Any) -> Iterator[str]:
    """The texts in a value of JSON, in their order."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, dict):
        for value in content.values():
            yield from _strings(value)
    elif isinstance(content, list):
        for value in content:
            yield from _strings(value)


def find_files(patterns: Iterable[str]) -> list[str]:
    """Files and what globs match, each once; DataError for a glob that matches nothing."""
    found: dict[str, None] = {}
    for pattern in patterns:
        path = Path(pattern).expanduser()
        if not has_magic(pattern) or path.exists():
            found[str(path)] = None
            continue
        matching = [name for name in glob(str(path), recursive=True) if Path(name).is_file()]
        if not matching:
            raise DataError(f"--train {pattern!r} matches no file here ({Path.cwd()})")
        found |= dict.fromkeys(sorted(matching, key=natural_key))
    return list(found)


def count_bytes(files: Iterable[str | Path]) -> int:
    """Bytes of all files together, as far as they are there."""
    return sum(path.stat().st_size for path in map(Path, files) if path.is_file())
