"""Files of other formats that are damaged or made to do harm: refused, fast, in little memory."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gpt2eval.checkpoint import open_checkpoint
from gpt2eval.errors import CheckpointError, Gpt2EvalError
from gpt2eval.formats import bundle, gguf
from gpt2eval.model import load_model
from gpt2eval.pickled import describe_pickle
from tests.formats import writers
from tests.formats.test_formats import WRITERS
from tests.test_checkpoint import Bomb
from tests.test_fuzz import altered_lines, damaged, examples
from tests.test_hostile import RESIDENT, SECONDS, opened


def header(*counts: int, version: int = 3, rest: bytes = b"") -> bytes:
    return b"GGUF" + struct.pack("<I", version) + struct.pack("<QQ", *counts) + rest


def text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def array(key: bytes, kind: int, count: int, rest: bytes = b"") -> bytes:
    return header(0, 1, rest=text(key) + struct.pack("<IIQ", 9, kind, count) + rest)


TOKENS = b"tokenizer.ggml.tokens"
PLACE = text(b"token_embd.weight")

# Content of a file, whether it is padded with zeros to 4 GB, and what is said of it.
HOSTILE_GGUF: dict[str, tuple[bytes, bool, str]] = {
    "nothing": (b"", False, "0 are left"),
    "magic alone": (b"GGUF", False, "4 bytes are announced where 0 are left"),
    "version 1": (header(0, 0, version=1), False, "it is of version 1); expected version 2 or 3"),
    "big-endian": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), False, "version 3, big-endian"),
    "2^60 tensors": (header(2**60, 0), False, "1152921504606846976 tensors; expected at most"),
    "2^60 keys": (header(0, 2**60), False, "1152921504606846976 keys; expected at most"),
    "many keys": (header(0, 200_000), True, "architecture None"),
    "many tensors": (header(200_000, 0), True, "a tensor of 0 dimensions"),
    "name of 2^60": (header(0, 1, rest=struct.pack("<Q", 2**60)), False, "bytes of a key"),
    "text of 2^60": (
        header(0, 1, rest=text(b"k") + struct.pack("<IQ", 8, 2**60)),
        False,
        "bytes of a text",
    ),
    "text of 9 MB": (
        header(0, 1, rest=text(b"k") + struct.pack("<IQ", 8, 9_000_000)),
        False,
        "9000000 bytes are announced where 0 are left",
    ),
    "2^60 tokens": (array(TOKENS, 8, 2**60), False, "entries of 'tokenizer.ggml.tokens'"),
    "a million tokens": (array(TOKENS, 8, 1_000_000), True, "architecture None"),
    "fifty million texts": (array(b"k", 8, 50_000_000), False, "50000000 entries of 'k'"),
    "four lists of a million": (
        header(0, 5, rest=(text(b"k") + struct.pack("<IIQ", 9, 8, 10**6) + bytes(8 * 10**6)) * 4),
        True,
        "bytes are announced where",
    ),
    "list of lists": (array(b"k", 9, 5), False, "'k' is a list of lists"),
    "unknown kind": (header(0, 1, rest=text(b"k") + struct.pack("<I", 77)), False, "kind 77"),
    "a name twice": (
        header(2, 0, rest=(PLACE + struct.pack("<IQIQ", 1, 4, 0, 0)) * 2),
        False,
        "'token_embd.weight' stands in it twice",
    ),
    "many dimensions": (header(1, 0, rest=PLACE + struct.pack("<I", 10**9)), False, "1000000000 d"),
    "not UTF-8": (header(0, 1, rest=text(b"\xff")), False, "codec can't decode"),
}


@pytest.mark.parametrize("name", HOSTILE_GGUF)
def test_a_gguf_that_would_do_harm(name: str, tmp_path: Path) -> None:
    content, long, message = HOSTILE_GGUF[name]
    path = tmp_path / "there/a.gguf"
    path.parent.mkdir()
    with path.open("wb") as file:
        file.write(content)
        if long:
            file.truncate(4 << 30)
    refused(path.parent, message)


def refused(path: Path, message: str) -> None:
    said, resident, seconds = opened(path)
    assert said.startswith("REFUSED"), said
    assert message in said
    assert len(said) < 1500
    assert resident < RESIDENT
    assert seconds < SECONDS


def tensor_of(shape: tuple[int, ...], kind: int, begin: int) -> bytes:
    sizes = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
    return PLACE + sizes + struct.pack("<IQ", kind, begin)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (tensor_of((4, 4), 0, 2**63), "is said to be bytes"),
        (tensor_of((2**63, 2**63, 2**63), 0, 0), "is said to be bytes"),
        (tensor_of((31, 4), 8, 0), "cannot be Q8_0, which packs 32 numbers of a row"),
        (tensor_of((32, 4), 15, 0), "is of type 15 of llama.cpp; expected F32"),
        (tensor_of((4, 4), 0, 0).replace(b"token_embd", b"blk.9.what"), "no tensor of a GPT-2"),
    ],
)
def test_places_of_a_gguf(place: bytes, message: str, tmp_path: Path) -> None:
    architecture = text(b"general.architecture") + struct.pack("<I", 8) + text(b"gpt2")
    (tmp_path / "a.gguf").write_bytes(header(1, 1, rest=architecture + place))
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(tmp_path / "a.gguf")


def footer(begin: int, length: int) -> bytes:
    handles = writers.varint(0) + writers.varint(0) + writers.varint(begin) + writers.varint(length)
    return handles.ljust(40, b"\0") + struct.pack("<Q", bundle.MAGIC)


def block(body: bytes, restarts: int = 0) -> bytes:
    body += struct.pack("<I", restarts)
    return body + b"\0" + struct.pack("<I", writers.masked(body + b"\0"))


def whole(body: bytes) -> bytes:
    return block(body) + footer(0, len(body) + 4)


def endless_keys() -> bytes:
    """Each entry takes three bytes and shares all of a key of a megabyte."""
    entry = writers.varint(0) + writers.varint(1 << 20) + b"\0" + b"k" * (1 << 20)
    return whole(entry + (writers.varint(1 << 20) + b"\0\0") * 100_000)


HOSTILE_INDEX: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", "does not end in the magic number of a table"),
    "footer alone": (lambda: footer(0, 0), "a block is said to lie at 0 to 0, beyond the end"),
    "block of 2^60": (lambda: bytes(9) + footer(0, 2**60), "beyond the end"),
    "block at 2^60": (lambda: bytes(9) + footer(2**60, 1), "beyond the end"),
    "endless number": (
        lambda: b"\xff" * 40 + struct.pack("<Q", bundle.MAGIC),
        "a number of more than ten bytes",
    ),
    "restarts": (
        lambda: block(b"", 2**31) + footer(0, 4),
        "is said to have 2147483648 restarts",
    ),
    "shares what is not there": (lambda: whole(b"\x05\x01\x00k"), "reaches beyond its block"),
    "value of 2^60": (
        lambda: whole(b"\x00\x01" + writers.varint(2**60) + b"k"),
        "reaches beyond its block",
    ),
    "long keys": (endless_keys, "or its key is too long"),
    "packed": (
        lambda: b"body\1" + struct.pack("<I", 0) + footer(0, 4),
        "a block is packed (kind 1)",
    ),
    "checksum": (lambda: b"body\0" + bytes(4) + footer(0, 4), "checksum of the block at 0 is"),
    "the same block twice": (
        lambda: (
            block(b"\0\1\0k")
            + block(b"\0\1\2a\0\x08" + b"\0\1\2b\0\x08")
            + footer(len(block(b"\0\1\0k")), len(b"\0\1\2a\0\x08" * 2) + 4)
        ),
        "stands in it twice",
    ),
}


@pytest.mark.parametrize("name", HOSTILE_INDEX)
def test_an_index_that_would_do_harm(name: str, tmp_path: Path) -> None:
    make, message = HOSTILE_INDEX[name]
    path = tmp_path / "there/model.ckpt.index"
    path.parent.mkdir()
    path.write_bytes(make())
    refused(path.parent, message)


def test_an_index_of_a_gigabyte(tmp_path: Path) -> None:
    with (tmp_path / "model.ckpt.index").open("wb") as file:
        file.truncate(1 << 30)
    refused(tmp_path, "1073741824 bytes; expected at most 10000000")


def test_hparams_of_a_gigabyte(original: Path, tmp_path: Path) -> None:
    path = writers.write_openai(original, tmp_path / "124M")
    with (path / "hparams.json").open("wb") as file:
        file.truncate(1 << 30)
    refused(path, "1073741824 bytes; expected less than")


def test_a_large_header_of_llmc(original: Path, tmp_path: Path) -> None:
    """Ten thousand layers of the widest kind: nothing is set aside for them."""
    path = tmp_path / "there/model.bin"
    path.parent.mkdir()
    sizes = (20240326, 3, 10**6, 10**6, 10_000, 1, 10**6, 10**6)
    with path.open("wb") as file:
        file.write(struct.pack("<8i", *sizes))
        file.truncate(4 << 30)
    refused(path.parent, "its header announces")


def test_code_in_a_ckpt(original: Path, tmp_path: Path) -> None:
    path = writers.write_nanogpt(original, tmp_path / "there/ckpt.pt")
    writers.copy_tokenizer(original, path.parent)
    content = torch.load(path, weights_only=True)
    fuse = tmp_path / "fuse"
    torch.save({**content, "config": Bomb(fuse)}, path)
    refused(path.parent, "it holds more than tensors: ")
    assert not fuse.exists()


@pytest.mark.parametrize("name", ["encoder.json", "model.ckpt.index", "hparams.json"])
def test_links_out_of_a_directory(name: str, original: Path, tmp_path: Path) -> None:
    path = writers.write_openai(original, tmp_path / "124M")
    (path / name).unlink()
    (path / name).symlink_to("/etc/passwd")
    refused(path, "is a link to /etc/passwd, outside of the checkpoint")


@pytest.mark.parametrize("name", ["encoder.json", "checkpoint", "model.ckpt.data-00000-of-00001"])
def test_pipes_in_a_directory(name: str, original: Path, tmp_path: Path) -> None:
    path = writers.write_openai(original, tmp_path / "124M")
    (path / name).unlink()
    os.mkfifo(path / name)
    refused(path, "is neither a file nor a directory")


def test_a_pipe_as_a_checkpoint(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.gguf")
    with pytest.raises(
        CheckpointError, match="is neither a file nor a directory; expected a check"
    ):
        open_checkpoint(tmp_path / "a.gguf")


# ---- fuzzing ------------------------------------------------------------------------------------

READ: dict[str, Callable[[Path], object]] = {
    "index": bundle.read_index,
    "gguf": gguf.read_header,
    "pickle": describe_pickle,
}


@pytest.mark.parametrize("name", READ)
def test_parsers(name: str, original: Path, tmp_path: Path) -> None:
    """The headers alone, as often as there is time for."""
    path = tmp_path / name
    if name == "index":
        entries, _, _ = writers.openai_entries(original)
        good = writers.table(entries)
    elif name == "gguf":
        content = writers.write_gguf(original, path).read_bytes()
        good = content[: gguf.read_header(path)[2]]
    else:
        torch.save({"model": {"a": torch.ones(2)}, "model_args": {"n": 1, "b": True}}, path)
        good = path.read_bytes()
    path.write_bytes(good)
    assert READ[name](path)

    @examples(200)
    @given(damaged(good) | st.binary(max_size=80))
    def check(content: bytes) -> None:
        path.write_bytes(content)
        with suppress(Gpt2EvalError):
            READ[name](path)

    check()


@given(st.binary(max_size=60))
def test_entries_behind_a_right_checksum(
    tmp_path_factory: pytest.TempPathFactory, body: bytes
) -> None:
    """What a checksum keeps from the parser elsewhere."""
    path = tmp_path_factory.getbasetemp() / "any.index"
    path.write_bytes(whole(body))
    with suppress(Gpt2EvalError):
        bundle.read_index(path)
    with suppress(ValueError):
        bundle._entry(body)
    with suppress(ValueError):
        bundle._shards(body)


FILES = {
    "safetensors": ("step-9.safetensors", "tokenizer.json"),
    "nanogpt": ("ckpt.pt", "tokenizer_config.json"),
    "llm.c": ("model_00019560.bin", "vocab.json", "merges.txt"),
    "tensorflow": ("model.ckpt.index", "checkpoint", "hparams.json", "encoder.json", "vocab.bpe"),
    "gguf": ("tiny-f32.gguf",),
    "adapter": ("adapter_config.json", "adapter_model.safetensors"),
}
HEADERS = {".pt": 0, ".bin": 1024, ".gguf": 12_000, ".safetensors": 3_000}


@pytest.mark.parametrize(("kind", "name"), [(k, n) for k, names in FILES.items() for n in names])
def test_files_of_every_format(kind: str, name: str, original: Path, tmp_path: Path) -> None:
    """As far as the loaded model and its first tokens; damage is done where the header is."""
    place = tmp_path / "there"
    path = (
        writers.write_adapter(original, place)
        if kind == "adapter"
        else WRITERS[kind](original, place)
    )
    file = place / name
    good = file.read_bytes()
    length = HEADERS.get(file.suffix, len(good)) or len(good)
    kinds = damaged(good[:length]).map(lambda begin: begin + good[length:])
    if name.endswith(".json") or name == "tokenizer_config.json":
        kinds |= altered_lines(good)
    load_model(open_checkpoint(path), "cpu")

    @examples(12)
    @given(kinds)
    def check(content: bytes) -> None:
        file.write_bytes(content)
        with suppress(Gpt2EvalError):
            model = load_model(open_checkpoint(path), "cpu")
            assert all(isinstance(one, int) for one in model.encode(["A ship, and l'été"])[0])

    check()
