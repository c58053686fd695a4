"""TensorFlow's TensorBundle (`model.ckpt.index`, `.data-00000-of-00001`), read without TensorFlow.

The index is a LevelDB table: blocks of entries whose keys leave out what they share with the key
before, a block of where the blocks lie, and a footer. Its values are protocol buffers
(tensorflow/core/protobuf/tensor_bundle.proto). All checksums are checked; whatever is read from the
file is held against its end before it is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gpt2eval.errors import CheckpointError
from gpt2eval.formats.crc32c import masked_crc32c

INDEX_LIMIT = 10_000_000  # bytes; that of GPT-2 XL has 30,000
KEY_LIMIT = 1000  # bytes
ENTRY_LIMIT = 200_000
DIMENSIONS = 8  # of a tensor; GPT-2 has three at most
MAGIC = 0xDB4775248B80FB57
FOOTER = 48  # bytes: two handles of a block, padded to 40, and the magic number
TRAILER = 5  # bytes behind a block: how it is packed, and its checksum
DTYPES = {1: "F32", 2: "F64", 14: "BF16", 19: "F16"}  # of tensorflow/core/framework/types.proto
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True, slots=True)
class Entry:
    """A tensor of a bundle: dtype (None: another than DTYPES), shape, and where its bytes lie.

    partitioned  it lies in slices, each with an entry of its own, and nowhere whole
    """

    dtype: str | None
    shape: tuple[int, ...]
    shard: int
    begin: int
    size: int
    checksum: int
    partitioned: bool


def read_index(path: Path) -> tuple[int, dict[str, Entry]]:
    """How many files hold the numbers, and the tensors by name.

    CheckpointError for a file that is damaged, or is no such index.
    """
    size = path.stat().st_size
    if size > INDEX_LIMIT:
        raise CheckpointError(f"{path} has {size} bytes; expected at most {INDEX_LIMIT}")
    try:
        return _parse(path.read_bytes())
    except (ValueError, IndexError) as error:
        raise CheckpointError(
            f"{path} is not the index of a TensorFlow checkpoint, or is damaged ({error}); copy or"
            " download it again"
        ) from error


def _parse(content: bytes) -> tuple[int, dict[str, Entry]]:
    footer = content[-FOOTER:]
    if len(footer) < FOOTER or int.from_bytes(footer[-8:], "little") != MAGIC:
        raise ValueError("it does not end in the magic number of a table")
    place = _handle(footer, 0)[1]  # of the block of metadata, which is empty
    (begin, length), _ = _handle(footer, place)
    values: dict[bytes, bytes] = {}
    for _, handle in _entries(_block(content, begin, length)):
        (begin, length), _ = _handle(handle, 0)
        for key, value in _entries(_block(content, begin, length)):
            if key in values:
                raise ValueError(f"{key!r:.80} stands in it twice")
            if len(values) >= ENTRY_LIMIT:
                raise ValueError(f"it has more than {ENTRY_LIMIT} entries")
            values[key] = value
    shards = _shards(values.pop(b"", b""))
    # Keys that begin with a zero are of slices; the entry of their tensor says that it has some.
    whole = {key: value for key, value in values.items() if not key.startswith(b"\0")}
    return shards, {key.decode(): _entry(value) for key, value in whole.items()}


def _block(content: bytes, begin: int, length: int) -> bytes:
    """The bytes of a block, its checksum right."""
    end = begin + length
    if end + TRAILER > len(content) - FOOTER:
        raise ValueError(f"a block is said to lie at {begin} to {end}, beyond the end")
    if content[end]:
        raise ValueError(f"a block is packed (kind {content[end]}); TensorFlow packs none")
    if masked_crc32c(content[begin : end + 1]) != int.from_bytes(
        content[end + 1 : end + TRAILER], "little"
    ):
        raise ValueError(f"the checksum of the block at {begin} is wrong")
    return content[begin:end]


def _entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(key, value) of a block."""
    if len(block) < 4:
        raise ValueError("a block is too short")
    restarts = int.from_bytes(block[-4:], "little")
    end = len(block) - 4 - 4 * restarts
    if end < 0:
        raise ValueError(f"a block of {len(block)} bytes is said to have {restarts} restarts")
    place, key = 0, b""
    while place < end:
        shared, place = _varint(block, place, end)
        own, place = _varint(block, place, end)
        length, place = _varint(block, place, end)
        if shared > len(key) or shared + own > KEY_LIMIT or place + own + length > end:
            raise ValueError("an entry reaches beyond its block, or its key is too long")
        key = key[:shared] + block[place : place + own]
        place += own + length
        yield key, block[place - length : place]


def _handle(content: bytes, place: int) -> tuple[tuple[int, int], int]:
    begin, place = _varint(content, place, len(content))
    length, place = _varint(content, place, len(content))
    return (begin, length), place


def _varint(content: bytes, place: int, end: int) -> tuple[int, int]:
    """A whole number from 0 up, seven bits a byte, and the place behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if place >= end:
            raise ValueError("a number reaches beyond the end")
        byte = content[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise ValueError("a number of more than ten bytes")


# ---- protocol buffers ---------------------------------------------------------------------------


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(number, value) of each field of a message."""
    place, end = 0, len(message)
    while place < end:
        tag, place = _varint(message, place, end)
        wire, size = tag & 7, {FIXED64: 8, FIXED32: 4}.get(tag & 7, 0)
        if wire == VARINT:
            value, place = _varint(message, place, end)
            yield tag >> 3, value
            continue
        if wire == BYTES:
            size, place = _varint(message, place, end)
        elif not size:
            raise ValueError(f"a message with a field of kind {wire}")
        if place + size > end:
            raise ValueError("a field reaches beyond its message")
        piece = message[place : place + size]
        place += size
        yield tag >> 3, piece if wire == BYTES else int.from_bytes(piece, "little")


def _number(value: int | bytes) -> int:
    if isinstance(value, bytes) or value >= 1 << 63:
        raise ValueError("a number is negative, or no number")
    return value


def _message(value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("a number in the place of a message")
    return value


def _shards(header: bytes) -> int:
    """How many files a BundleHeaderProto names; ValueError unless they are little-endian."""
    shards = endianness = 0
    for field, value in _fields(header):
        if field == 1:
            shards = _number(value)
        elif field == 2:
            endianness = _number(value)
    if endianness:
        raise ValueError("it was written on a machine that is big-endian")
    if not 1 <= shards <= 100_000:
        raise ValueError(f"it is said to have {shards} files")
    return shards


def _entry(value: bytes) -> Entry:
    """A BundleEntryProto."""
    numbers = dict.fromkeys((1, 3, 4, 5, 6), 0)
    shape: tuple[int, ...] = ()
    partitioned = False
    for field, content in _fields(value):
        if field == 2:
            shape = _shape(_message(content))
        elif field == 7:
            partitioned = True
        elif field in numbers:
            numbers[field] = _number(content)
    return Entry(
        dtype=DTYPES.get(numbers[1]),
        shape=shape,
        shard=numbers[3],
        begin=numbers[4],
        size=numbers[5],
        checksum=numbers[6],
        partitioned=partitioned,
    )


def _shape(message: bytes) -> tuple[int, ...]:
    """The sizes in a TensorShapeProto."""
    sizes = []
    for field, dimension in _fields(message):
        if field == 2:
            size = [_number(value) for field, value in _fields(_message(dimension)) if field == 1]
            sizes.append(size[-1] if size else 0)
        if len(sizes) > DIMENSIONS:
            raise ValueError(f"a tensor of more than {DIMENSIONS} dimensions")
    return tuple(sizes)
