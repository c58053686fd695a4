"""Checkpoints of llm.c: 256 whole numbers, then all parameters end to end.

The layout is that of `write_model` in llm.c's train_gpt2.py, which its C and CUDA programs write
as well. Matrices are [out, in]. The embedding is padded to a multiple of 128 rows; llm.c leaves
the padding out of its softmax, and so do we: the rows behind the vocabulary are not read.
"""

from __future__ import annotations

import struct
from math import prod
from pathlib import Path
from typing import Any

from gpt2eval.errors import CheckpointError
from gpt2eval.formats.config import (
    check_sizes,
    check_tensors,
    expected_shapes,
    gpt2_config,
    is_linear,
)
from gpt2eval.formats.files import tokenizer_beside
from gpt2eval.formats.opened import ITEM_SIZES, Opened, Stored

ACCEPTS = "a model .bin of llm.c (versions 3 and 5), or a directory with one"
MAGIC = 20240326
STATE_MAGICS = {20240327: "a training state", 20240328: "a tokenizer"}
HEADER = 256 * 4  # bytes
DTYPES = {3: "F32", 5: "BF16"}
OLD = {
    1: "float32 without a padded vocabulary",
    2: "float32 without a padded vocabulary",
    4: "bfloat16 with layer norms in float32",
}
# All layers of one kind of tensor, then all of the next.
ORDER = (
    *("ln_1.weight", "ln_1.bias", "attn.c_attn.weight", "attn.c_attn.bias"),
    *("attn.c_proj.weight", "attn.c_proj.bias", "ln_2.weight", "ln_2.bias"),
    *("mlp.c_fc.weight", "mlp.c_fc.bias", "mlp.c_proj.weight", "mlp.c_proj.bias"),
)


def detect(path: Path) -> bool:
    """Whether a file begins as those of llm.c do, whatever it is for."""
    if not path.is_file() or path.suffix != ".bin":
        return False
    with path.open("rb") as file:
        magic = int.from_bytes(file.read(4), "little")
    return magic == MAGIC or magic in STATE_MAGICS


def open(path: Path) -> Opened:
    """A model of llm.c: sizes from its header, the rest as in GPT-2."""
    with path.open("rb") as file:
        content = file.read(HEADER)
    if len(content) < HEADER:
        raise CheckpointError(
            f"{path} has {len(content)} bytes; expected a header of {HEADER}. The file is"
            " truncated; copy or download it again"
        )
    magic, version, positions, vocab, layers, heads, width, padded = struct.unpack_from(
        "<8i", content
    )
    if magic != MAGIC:
        raise CheckpointError(
            f"{path} is {STATE_MAGICS.get(magic, 'no file')} of llm.c (magic {magic}); expected a"
            f" model (magic {MAGIC}), such as model_00019560.bin"
        )
    _check_version(path, version, padded)
    config = gpt2_config(
        {
            "vocab_size": vocab,
            "n_positions": positions,
            "n_embd": width,
            "n_layer": layers,
            "n_head": heads,
        }
    )
    check_sizes(path, config)
    if not vocab <= padded < vocab + 10_000:
        raise CheckpointError(
            f"{path} says that {vocab} tokens are padded to {padded}; the header is damaged, copy"
            " or download it again"
        )
    tensors, end = _places(path, config, padded, DTYPES[version])
    if end != (size := path.stat().st_size):
        raise CheckpointError(
            f"{path} has {size} bytes; its header announces {end}. The file is truncated or"
            " damaged; copy or download it again"
        )
    check_tensors(path, config, {name: stored.engine_shape for name, stored in tensors.items()})
    return Opened(
        kind="llm.c",
        config=config,
        weights=(path,),
        tensors=tensors,
        tokenizer=lambda: tokenizer_beside(path.parent, path),
        assumed=(f"{padded - vocab} rows of padding behind {vocab} tokens are no tokens",)
        if padded > vocab
        else (),
    )


def _check_version(path: Path, version: int, padded: int) -> None:
    if version in DTYPES and padded > 0:
        return
    what = OLD.get(version, "unknown")
    if version in DTYPES:
        what = "of an llm.c that did not pad the vocabulary yet"
    raise CheckpointError(
        f"{path} is of version {version} of llm.c's format ({what}); expected 3 (float32) or 5"
        " (bfloat16), with a padded vocabulary. Write it again with train_gpt2.py of a present"
        " llm.c, or convert it to Hugging Face format"
    )


def _places(
    path: Path, config: dict[str, Any], padded: int, dtype: str
) -> tuple[dict[str, Stored], int]:
    """Where each tensor lies, and where the last one ends."""
    shapes = dict(expected_shapes({**config, "n_layer": 1}))
    begin = HEADER
    tensors: dict[str, Stored] = {}

    def place(name: str, shape: tuple[int, ...], rows: int = 0) -> None:
        nonlocal begin
        matrix = is_linear(name)
        tensors[name] = Stored(path, begin, dtype, shape[::-1] if matrix else shape, matrix)
        begin += prod((rows, *shape[1:]) if rows else shape) * ITEM_SIZES[dtype]

    place("wte.weight", shapes["wte.weight"], padded)
    place("wpe.weight", shapes["wpe.weight"])
    for kind in ORDER:
        for layer in range(config["n_layer"]):
            place(f"h.{layer}.{kind}", shapes[f"h.0.{kind}"])
    place("ln_f.weight", shapes["ln_f.weight"])
    place("ln_f.bias", shapes["ln_f.bias"])
    return tensors, begin
