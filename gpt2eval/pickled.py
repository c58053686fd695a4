"""What a pickled checkpoint asks for, read without unpickling anything.

torch's `weights_only` runs no code of a stranger, but it calls `bytearray` with any size, follows
any nesting, and unpacks what is packed. A checkpoint needs none of that: tensors and the
dictionaries around them take a few opcodes and names.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import re
import struct
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from math import prod
from operator import mul
from pathlib import Path
from typing import Any

from gpt2eval.archive import open_zip
from gpt2eval.errors import CheckpointError

PICKLE_LIMIT = 2_000_000  # bytes without the numbers; those of GPT-2 XL take 120,000
TUPLE_LIMIT = 20_000  # four a tensor; hashing them nested this deep fits on the stack
LEGACY_PARTS = 5  # pickles at the beginning of a file of torch before 1.6
GLOBALS = re.compile(
    r"collections OrderedDict|torch\._utils _rebuild_(tensor_v2|tensor|parameter)"
    r"|torch (Double|Float|Half|BFloat16|Long|Int|Short|Char|Byte|Bool)Storage"
)
OPCODES = frozenset(
    "PROTO STOP MARK NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT BINUNICODE"
    " BINSTRING SHORT_BINSTRING EMPTY_DICT EMPTY_LIST EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3"
    " SETITEM SETITEMS APPEND APPENDS BINPUT LONG_BINPUT BINGET LONG_BINGET GLOBAL REDUCE BUILD"
    " BINPERSID".split()
)
TUPLES = frozenset({"TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"})
ITEM_SIZES = {"Double": 8, "Float": 4, "Half": 2, "BFloat16": 2}


@dataclass(frozen=True, slots=True)
class Described:
    """A tensor of a pickle, without its numbers.

    dtype  Float, Half, BFloat16, Long ...
    begin  the first byte of its numbers in the file; None where they are not in one piece, row by
           row, low byte first
    """

    shape: tuple[int, ...]
    dtype: str
    begin: int | None


def check_pickle(path: Path) -> None:
    """CheckpointError for a file that holds, or claims, more than a dictionary of tensors."""
    try:
        with path.open("rb") as file:
            packed = file.read(4) == b"PK\x03\x04"  # as torch tells the two forms apart
            file.seek(0)
            start = b"" if packed else file.read(PICKLE_LIMIT + 1)
        if packed:
            _check_zip(path)
        else:
            _check_parts(start, LEGACY_PARTS)
    except Exception as error:  # zipfile and pickletools raise many unrelated classes
        raise CheckpointError(
            f"the weights {path} cannot be loaded ({str(error)[:200]}); expected a pickle of"
            " nothing but tensors, as torch.save writes the state_dict of a GPT-2. From a source"
            " that you trust, load it yourself and save it as safetensors"
        ) from error


def _check_zip(path: Path) -> None:
    with open_zip(path) as archive:
        items = archive.infolist()
        if len({item.filename for item in items}) < len(items):
            raise ValueError("two files of one name in the archive")
        for item in items:
            if item.compress_type != zipfile.ZIP_STORED or item.flag_bits & 1:
                raise ValueError(f"{item.filename!r:.80} is packed; torch.save packs nothing")
        total = sum(item.file_size for item in items)
        if total > path.stat().st_size:
            raise ValueError(f"it unpacks to {total} bytes, more than it has")
        for item in items:
            if item.filename.rpartition("/")[2] == "data.pkl":
                if item.file_size > PICKLE_LIMIT:
                    raise ValueError(f"{item.filename!r:.80} has {item.file_size} bytes")
                _check_parts(archive.read(item), 1)


def _check_parts(content: bytes, parts: int) -> None:
    """ValueError for the first opcode that no dictionary of tensors needs."""
    stream = io.BytesIO(content)
    tuples = 0
    for _ in range(parts):
        memo: set[int] = set()  # where tuples are kept; to repeat one is to nest it without end
        before = ""
        for name, argument in _opcodes(stream):
            if name not in OPCODES:
                raise ValueError(f"it holds more than tensors: the opcode {name}")
            if name == "GLOBAL" and not GLOBALS.fullmatch(argument):
                raise ValueError(f"it holds more than tensors: {argument.replace(' ', '.')!r}")
            if name.endswith("BINPUT"):
                (memo.add if before in TUPLES else memo.discard)(int(argument))
                continue
            if name.endswith("BINGET") and int(argument) in memo:
                raise ValueError("it holds more than tensors: a tuple in several places")
            tuples += name in TUPLES
            before = name
        if tuples > TUPLE_LIMIT:
            raise ValueError(f"it holds {tuples} tuples; expected at most {TUPLE_LIMIT}")


def _opcodes(stream: io.BytesIO) -> Iterator[tuple[str, str]]:
    """Name and argument of each opcode of a pickle, up to its end."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what stands in its texts
        for opcode, argument, _ in pickletools.genops(stream):
            yield opcode.name, str(argument)


def describe_pickle(path: Path) -> Any:
    """What torch.save wrote into an archive, with a `Described` in the place of each tensor.

    The file is checked as `check_pickle` does, and nothing that it names is called.
    """
    check_pickle(path)
    try:
        with open_zip(path) as archive:
            (item,) = [
                one for one in archive.infolist() if one.filename.rpartition("/")[2] == "data.pkl"
            ]
            places = _places(path, archive, item.filename.removesuffix("data.pkl"))
            return _Describer(io.BytesIO(archive.read(item)), places).load()
    except Exception as error:  # unpickling raises whatever it comes upon
        raise CheckpointError(
            f"{path} cannot be read ({str(error)[:200]}); expected an archive as torch.save writes"
            " it, with one pickle of dictionaries, numbers and tensors"
        ) from error


def _places(path: Path, archive: zipfile.ZipFile, top: str) -> dict[str, tuple[int, int]]:
    """(first byte, bytes) of each storage by its key: nothing in the archive is packed."""
    order = f"{top}byteorder"
    if order in archive.namelist() and archive.read(order) != b"little":
        return {}
    places = {}
    with path.open("rb") as file:
        for item in archive.infolist():
            if item.filename.startswith(f"{top}data/"):
                file.seek(item.header_offset)
                magic, name, extra = struct.unpack("<4s22x2H", file.read(30))
                if magic != b"PK\x03\x04":
                    raise ValueError(f"{item.filename!r:.80} does not begin where it should")
                begin = item.header_offset + 30 + name + extra
                places[item.filename.removeprefix(f"{top}data/")] = begin, item.file_size
    return places


class _Describer(pickle.Unpickler):
    """Builds plain values; the names that GLOBALS allows stand for descriptions."""

    def __init__(self, stream: io.BytesIO, places: Mapping[str, tuple[int, int]]) -> None:
        super().__init__(stream)
        self.places = places

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch._utils" and name == "_rebuild_parameter":
            return lambda tensor, *_: tensor
        if module == "torch._utils" and name in ("_rebuild_tensor", "_rebuild_tensor_v2"):
            return self.describe
        if module == "torch" and name.endswith("Storage"):
            return name
        raise pickle.UnpicklingError(f"it names {module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        return pid

    def describe(self, storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Described:
        """A tensor from the arguments of `torch._utils._rebuild_tensor_v2`."""
        _, kind, key, *_ = storage
        if not isinstance(shape, tuple) or not all(_is_size(size) for size in shape):
            raise ValueError(f"a tensor of shape {shape!r:.80}")
        if not _is_size(offset):
            raise ValueError(f"a tensor that begins at {offset!r:.80}")
        dtype = str(kind).removesuffix("Storage")
        begin, held = self.places.get(key, (None, 0))
        rows = tuple(accumulate(shape[:0:-1], mul, initial=1))[::-1] if shape else ()
        in_rows = isinstance(strides, tuple) and all(
            size == 1 or stride == step
            for size, stride, step in zip(shape, strides, rows, strict=True)
        )
        if begin is None or dtype not in ITEM_SIZES or not in_rows:
            return Described(shape, dtype, None)
        end = (offset + prod(shape)) * ITEM_SIZES[dtype]
        if end > held:
            raise ValueError(f"a tensor that ends at byte {end} of {held}")
        return Described(shape, dtype, begin + offset * ITEM_SIZES[dtype])


def _is_size(value: Any) -> bool:
    return type(value) is int and value >= 0
