"""Checkpoints and archives made to do harm: refused at once, in little memory, without torch.

Each is opened in a process of its own that may not have more than LIMIT of address space.
"""

from __future__ import annotations

import bz2
import gzip
import json
import os
import pickle
import shutil
import struct
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gpt2eval import archive, data
from gpt2eval.checkpoint import open_checkpoint
from gpt2eval.errors import CheckpointError, DataError
from gpt2eval.model import load_model
from gpt2eval.pickled import check_pickle
from tests.checkpoints import make_checkpoint
from tests.test_checkpoint import set_config

LIMIT = 700_000_000  # bytes; an empty process of Python with our imports has 40,000,000
RESIDENT = 300_000_000  # bytes
SECONDS = 10  # of a processor, with the start of Python; wall time would depend on its neighbours

OPEN = """
import resource, sys, time
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[2]), int(sys.argv[2])))
from pathlib import Path
from gpt2eval.checkpoint import open_checkpoint
from gpt2eval.data import read_text
from gpt2eval.errors import Gpt2EvalError
path = Path(sys.argv[1])
try:
    print("OPENED", open_checkpoint(path).name if path.is_dir() else len(read_text(path)))
except Gpt2EvalError as error:
    print("REFUSED", error)
assert not {"torch", "transformers"} & set(sys.modules)
# Not ru_maxrss, which a process has from the one that started it.
(peak,) = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
print("RESIDENT", int(peak.split()[1]) * 1024, time.process_time())
"""


def opened(path: Path) -> tuple[str, int, float]:
    """What was said of it, the bytes of memory and the seconds of a processor that it took."""
    done = subprocess.run(
        [sys.executable, "-c", OPEN, str(path), str(LIMIT)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said, _, took = done.stdout.strip().rpartition("\nRESIDENT ")
    resident, seconds = took.split()
    return said, int(resident), float(seconds)


# ---- what is in a checkpoint's directory --------------------------------------------------------


def safetensors(header: str | bytes, data: bytes = b"") -> Callable[[Path], None]:
    """The weights, of this header."""
    content = header.encode() if isinstance(header, str) else header

    def damage(directory: Path) -> None:
        (directory / "model.safetensors").write_bytes(
            struct.pack("<Q", len(content)) + content + data
        )

    return damage


def entry(shape: Any, begin: int, end: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def tensors(data: int, **entries: Any) -> Callable[[Path], None]:
    return safetensors(json.dumps(entries), bytes(data))


def sparse(name: str, size: int, content: bytes = b"") -> Callable[[Path], None]:
    """A file that has this many bytes and takes none on the disk."""

    def damage(directory: Path) -> None:
        with (directory / name).open("wb") as file:
            file.write(content)
            file.truncate(size)

    return damage


def written(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda directory: (directory / name).write_bytes(content) and None


def config(**changes: Any) -> Callable[[Path], None]:
    return lambda directory: set_config(directory, **changes)


def instead(name: str, make: Callable[[Path], Any]) -> Callable[[Path], None]:
    """Something else under the name of a file."""

    def damage(directory: Path) -> None:
        (directory / name).unlink(missing_ok=True)
        make(directory / name)

    return damage


def link(name: str, target: str) -> Callable[[Path], None]:
    return instead(name, lambda path: path.symlink_to(target))


def index(**shards: str) -> Callable[[Path], None]:
    def damage(directory: Path) -> None:
        (directory / "model.safetensors").unlink()
        text = json.dumps({"weight_map": shards})
        (directory / "model.safetensors.index.json").write_text(text, "utf-8")

    return damage


def nested_index(directory: Path) -> None:
    index()(directory)
    (directory / "model.safetensors.index.json").write_bytes(DEEP)


def thin_layers(directory: Path) -> None:
    """Room for ten million layers of one number each: a file of no size, names of gigabytes."""
    (directory / "model.safetensors").unlink()
    sparse("pytorch_model.bin", 1 << 30)(directory)
    set_config(directory, n_layer=9_999_999, n_embd=1, n_head=1, n_positions=1, vocab_size=1)


DEEP = b"[" * 9_000_000
MANY = json.dumps({"a": entry([1], 0, 4)})[:-1] + "," + ",".join(["[]"] * 4_000_000)

HOSTILE: dict[str, tuple[Callable[[Path], None], str]] = {
    "header of 2^60": (
        written("model.safetensors", struct.pack("<Q", 2**60) + b"{}"),
        "a header of 1152921504606846976 announced",
    ),
    "header of 1 GB": (
        sparse("model.safetensors", 2 << 30, struct.pack("<Q", 1 << 30)),
        "a header of 1073741824 announced",
    ),
    "header nested": (safetensors(DEEP), "damaged safetensors header: maximum recursion depth"),
    "header of millions of lists": (safetensors(MANY), "a header of 12000"),
    "overlap": (
        tensors(12, a=entry([2], 0, 8), b=entry([2], 4, 12)),
        "tensor 'b' of shape (2,) in F32 lies at 4 to 12; expected 8 bytes from 8 on",
    ),
    "the same bytes twice": (
        tensors(8, a=entry([2], 0, 8), b=entry([2], 0, 8)),
        "tensor 'b' of shape (2,) in F32 lies at 0 to 8; expected 8 bytes from 8 on",
    ),
    "hole": (tensors(12, a=entry([1], 0, 4), b=entry([1], 8, 12)), "expected 4 bytes from 4 on"),
    "beyond the end": (tensors(8, a=entry([4], 0, 16)), "The file is truncated or damaged"),
    "backwards": (
        tensors(8, a=entry([2], 8, 0), b=entry([2], 0, 8)),
        "tensor 'a' of shape (2,) in F32 lies at 8 to 0",
    ),
    "larger than its bytes": (
        tensors(8, a=entry([10**9, 10**9], 0, 8)),
        "lies at 0 to 8; expected 4000000000000000000 bytes",
    ),
    "many dimensions": (tensors(4, a=entry([1] * 100_000, 0, 4)), "in F32 lies at 0 to 4"),
    "negative shape": (tensors(8, a=entry([-2], 0, 8)), "-2; expected a whole number from 0 up"),
    "negative shapes": (tensors(8, a=entry([-1, -2], 0, 8)), "-1; expected a whole number"),
    "negative offset": (tensors(8, a=entry([2], -8, 8)), "-8; expected a whole number from 0 up"),
    "shape of 2^63": (tensors(8, a=entry([2**63, 0], 0, 8)), "9223372036854775808; expected"),
    "shape of fractions": (tensors(8, a=entry([2.0], 0, 8)), "2.0; expected a whole number"),
    "a name twice": (
        safetensors('{"a": %s, "a": %s}' % ((json.dumps(entry([1], 0, 4)),) * 2), bytes(4)),
        "a name stands in it twice",
    ),
    "a million layers": (config(n_layer=10**6), "n_layer = 1000000; expected at most 10000"),
    "ten thousand layers": (config(n_layer=10**4), "lack 'h.2.ln_1.weight'"),
    "thin layers": (thin_layers, "n_layer = 9999999; expected at most 10000"),
    "huge vocabulary": (config(vocab_size=10**7), "promises (10000000, 32)"),
    "vocabulary of 10^12": (config(vocab_size=10**12), "vocab_size = 1000000000000; expected"),
    "wide": (config(n_inner=10**9), "n_inner = 1000000000; expected at most"),
    "tokenizer of 1 GB": (sparse("tokenizer.json", 1 << 30), "1073741824 bytes; expected at most"),
    "merges of 1 GB": (sparse("merges.txt", 1 << 30), "1073741824 bytes; expected at most"),
    "vocab.txt of 1 GB": (sparse("vocab.txt", 1 << 30), "1073741824 bytes; expected at most"),
    "config of 1 GB": (sparse("config.json", 1 << 30), "1073741824 bytes; expected less than"),
    "config nested": (
        written("config.json", DEEP),
        "config.json is not valid JSON: maximum recurs",
    ),
    "link to a file of the system": (
        link("tokenizer.json", "/etc/passwd"),
        "tokenizer.json is a link to /etc/passwd, outside of the checkpoint; copy the file",
    ),
    "link upwards": (link("config.json", "../other/config.json"), "outside of the checkpoint"),
    "link to a device": (link("model.safetensors", "/dev/zero"), "outside of the checkpoint"),
    "link to itself": (link("model.safetensors", "model.safetensors"), "has no weights"),
    "link to nothing": (link("model.safetensors", "gone.safetensors"), "has no weights"),
    "pipe as weights": (instead("model.safetensors", os.mkfifo), "is neither a file nor a direct"),
    "pipe as tokenizer": (
        instead("tokenizer.json", os.mkfifo),
        "is neither a file nor a directory",
    ),
    "pipe as config": (instead("config.json", os.mkfifo), "is neither a file nor a directory"),
    "directory as weights": (instead("model.safetensors", Path.mkdir), "has no weights"),
    "shard of the system": (index(a="../../etc/passwd"), "'../../etc/passwd'; expected a plain"),
    "shard by its root": (index(a="/etc/passwd"), "'/etc/passwd'; expected a plain file name"),
    "shard in the parent": (index(a=".."), "names the shard '..', which is missing"),
    "shard of no name": (index(a="x\0y"), "names the shard 'x\\x00y', which is missing"),
    "shard of 300 characters": (index(a="x" * 300), "File name too long"),
    "shard that is the config": (index(a="config.json"), "is not a safetensors file"),
    "index nested": (nested_index, "not valid JSON"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_checkpoint_that_would_do_harm(name: str, tiny_checkpoint: Path, tmp_path: Path) -> None:
    directory = Path(shutil.copytree(tiny_checkpoint, tmp_path / "copy"))
    damage, message = HOSTILE[name]
    damage(directory)
    said, resident, seconds = opened(directory)
    assert said.startswith("REFUSED")
    assert message in said
    assert len(said) < 1000
    assert resident < RESIDENT
    assert seconds < SECONDS


def test_an_honest_one_is_opened(tiny_checkpoint: Path) -> None:
    assert opened(tiny_checkpoint)[0] == "OPENED tiny"


def test_the_cache_of_the_hub_is_made_of_links(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """snapshots/REVISION/config.json -> ../../blobs/DIGEST, as huggingface_hub lays it out."""
    blobs = tmp_path / "models--o--n/blobs"
    snapshot = tmp_path / "models--o--n/snapshots/c0ffee"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for number, path in enumerate(sorted(tiny_checkpoint.iterdir())):
        shutil.copyfile(path, blobs / f"{number:040x}")
        (snapshot / path.name).symlink_to(f"../../blobs/{number:040x}")
    assert open_checkpoint(snapshot).sha256 == open_checkpoint(tiny_checkpoint).sha256
    (snapshot / "config.json").unlink()
    (snapshot / "config.json").symlink_to(tiny_checkpoint / "config.json")
    with pytest.raises(CheckpointError, match="outside of the checkpoint"):
        open_checkpoint(snapshot)


def test_links_of_the_user_own(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """A link to the whole directory, and links inside it, are fine."""
    copy = Path(shutil.copytree(tiny_checkpoint, tmp_path / "copy"))
    (copy / "model.safetensors").rename(copy / "step-500.safetensors")
    (copy / "model.safetensors").symlink_to("step-500.safetensors")
    (tmp_path / "latest").symlink_to("copy")
    assert open_checkpoint(tmp_path / "latest").sha256 == open_checkpoint(tiny_checkpoint).sha256


# ---- pickles ------------------------------------------------------------------------------------

OPCODES = {
    "bytearray": b"\x80\x02cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R.",
    "system": b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.",
    "system by stack": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.",
    "instance": b"(S'true'\nios\nsystem\n.",
    "extension": b"\x80\x02\x82\x01.",
    "eval": b"\x80\x02c__builtin__\neval\nX\x01\x00\x00\x001\x85R.",
    "encode": b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x06\x00\x00\x00utf-32\x86R.",
    "repeated tuples": b"\x80\x02}N\x85q\x00h\x00h\x00\x86q\x01h\x01h\x01\x86q\x02NS.",
    "copied": b"\x80\x02}2.",
    "deep tuples": b"\x80\x02}N" + b"\x85" * 50_000 + b"Ns.",
    "text of 4 GB": b"\x80\x02X\xff\xff\xff\xff.",
    "number of 2 GB": b"\x80\x02\x8b\xff\xff\xff\x7f.",
    "without an end": b"\x80\x02}" + b"N" * 3_000_000,
    "nothing": b"",
}


def as_archive(content: bytes, **options: Any) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w", **options) as file:
            file.writestr("archive/data.pkl", content)
            file.writestr("archive/version", b"3\n")

    return write


@pytest.mark.parametrize("name", OPCODES)
@pytest.mark.parametrize("packed", [True, False])
def test_opcodes_that_no_tensor_needs(name: str, packed: bool, tmp_path: Path) -> None:
    path = tmp_path / "pytorch_model.bin"
    (as_archive(OPCODES[name]) if packed else Path.write_bytes)(
        path, *([] if packed else [OPCODES[name]])
    )
    begin = time.process_time()
    with pytest.raises(CheckpointError, match="expected a pickle of nothing but tensors"):
        check_pickle(path)
    assert time.process_time() - begin < SECONDS


def packed_pickle(path: Path) -> None:
    as_archive(b"\x80\x02}." + bytes(1 << 26), compression=zipfile.ZIP_DEFLATED)(path)


def packed_numbers(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", b"\x80\x02}.")
        file.writestr("archive/data/0", bytes(1 << 26), zipfile.ZIP_BZIP2)


def long_directory(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        for number in range(50_000):
            file.writestr(f"archive/data/{number}", b"")


def overlapping(path: Path) -> None:
    """Ten thousand files that are the same megabyte: a directory that points at one place."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data/0", bytes(1 << 20))
        (item,) = file.infolist()
        for number in range(1, 10_000):
            other = zipfile.ZipInfo(f"archive/data/{number}")
            for name in ("header_offset", "CRC", "compress_size", "file_size"):
                setattr(other, name, getattr(item, name))
            file.filelist.append(other)
        file._didModify = True  # type: ignore[attr-defined]


def lying(path: Path) -> None:
    """A file of twenty bytes that its directory gives four gigabytes."""
    as_archive(b"\x80\x02}.")(path)
    content = bytearray(path.read_bytes())
    place = content.find(b"PK\x01\x02") + 20
    content[place : place + 8] = struct.pack("<LL", 2**32 - 2, 2**32 - 2)
    path.write_bytes(content)


def twice(path: Path) -> None:
    as_archive(b"\x80\x02}.")(path)
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(path, "a") as file:
        file.writestr("archive/data.pkl", OPCODES["system"])


ARCHIVES = {
    "packed pickle": (packed_pickle, "'archive/data.pkl' is packed"),
    "packed numbers": (packed_numbers, "'archive/data/0' is packed"),
    "long directory": (long_directory, "its directory has"),
    "overlapping": (overlapping, "it unpacks to 10485760000 bytes, more than it has"),
    "lying": (lying, "it unpacks to 429496"),
    "twice": (twice, "two files of one name"),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_an_archive_that_would_do_harm(name: str, tmp_path: Path) -> None:
    directory = make_checkpoint(tmp_path / "bomb", form="bin")
    make, message = ARCHIVES[name]
    make(directory / "pytorch_model.bin")
    with (directory / "pytorch_model.bin").open("r+b") as file:
        assert file.read(4) == b"PK\x03\x04"
    set_config(directory, n_layer=1, n_embd=2, n_head=1, n_positions=1, vocab_size=1, n_inner=1)
    said, resident, seconds = opened(directory)
    assert said.startswith("REFUSED")
    assert message in said
    assert resident < RESIDENT
    assert seconds < SECONDS


@pytest.mark.parametrize("protocol", [2])
@pytest.mark.parametrize("legacy", [True, False])
def test_what_people_save_is_let_through(protocol: int, legacy: bool, tmp_path: Path) -> None:
    """A state_dict with the metadata of a module, parameters, tied tensors, every dtype."""
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4))
    content: Any = module.state_dict()
    content["tied"] = content["0.weight"]
    content["parameter"] = torch.nn.Parameter(torch.ones(2))
    for kind in (
        torch.float16,
        torch.bfloat16,
        torch.float64,
        torch.int64,
        torch.bool,
        torch.uint8,
    ):
        content[str(kind)] = torch.ones(2).to(kind)
    path = tmp_path / "pytorch_model.bin"
    torch.save(content, path, _use_new_zipfile_serialization=not legacy, pickle_protocol=protocol)
    check_pickle(path)
    assert torch.load(path, weights_only=True).keys() == content.keys()


@pytest.mark.parametrize("where", ["storage", "stride"])
def test_a_small_file_that_claims_large_tensors(where: str, tmp_path: Path) -> None:
    """One number, seen as a matrix of them: refused before a copy is made of it."""
    directory = make_checkpoint(tmp_path / "large", form="bin")
    path = directory / "pytorch_model.bin"
    weights = torch.load(path, weights_only=True)
    weights["transformer.wte.weight"] = torch.ones(1).expand(10**6, 10**6)
    torch.save(weights, path, _use_new_zipfile_serialization=where == "stride")
    with pytest.raises(CheckpointError, match=r"has shape \(1000000, 1000000\), expected"):
        load_model(open_checkpoint(directory), "cpu")


# ---- data ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["gz", "bz2", "zip"])
def test_data_that_unpack_to_gigabytes(ending: str, tmp_path: Path) -> None:
    """A gigabyte of zeros; memory holds at most what is allowed, and then lets go."""
    path, zeros = tmp_path / f"bomb.{ending}", bytes(1 << 28)
    if ending == "zip":
        with (
            zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file,
            file.open("a.txt", "w") as member,
        ):
            for _ in range(4):
                member.write(zeros)
    else:  # streams may follow each other
        path.write_bytes(4 * (gzip.compress(zeros, 1) if ending == "gz" else bz2.compress(zeros)))
    said, resident, seconds = opened(path)
    assert "unpacks to more than 500000000 bytes" in said
    assert resident < data.files.MAX_UNPACKED + RESIDENT
    assert seconds < 60


def test_a_zip_with_a_long_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as file:
        for number in range(100):
            file.writestr(f"{number}.jsonl", b"{}")
        file.comment = b"a comment behind the directory"
    assert len(list(data.read_zip(path, ".jsonl"))) == 100
    monkeypatch.setattr(archive, "DIRECTORY_LIMIT", 1000)
    with pytest.raises(DataError, match=r"its directory has \d+ bytes; expected at most 1000"):
        list(data.read_zip(path, ".jsonl"))


def test_a_pickle_of_python_is_no_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "pytorch_model.bin"
    path.write_bytes(pickle.dumps({"a": [1.0] * 10}, protocol=2))
    with pytest.raises(CheckpointError, match="expected a pickle of nothing but tensors"):
        check_pickle(path)
