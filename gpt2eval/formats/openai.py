"""OpenAI's own release: a TensorFlow checkpoint with hparams.json, encoder.json and vocab.bpe.

Names are those of OpenAI's model.py (model/h0/attn/c_attn/w ...). Matrices are [1, in, out], so
that nothing has to be transposed. Directories that fine-tuned with the same code (model-1000.index
and the like) are read as well, without the optimiser's tensors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

from gpt2eval.errors import CheckpointError
from gpt2eval.formats.bundle import Entry, read_index
from gpt2eval.formats.config import (
    assume_heads,
    check_sizes,
    check_tensors,
    gpt2_config,
    infer_sizes,
    is_linear,
    read_object,
)
from gpt2eval.formats.files import check_file, name_list, need_file, own_file, tokenizer_beside
from gpt2eval.formats.opened import ITEM_SIZES, Opened, Stored

ACCEPTS = "OpenAI's release for TensorFlow: a directory with model.ckpt.index, or that file"
PARTS = {"w": "weight", "g": "weight", "b": "bias"}
NAMES = re.compile(r"model/(?:h(\d{1,6})/)?(ln_1|ln_2|ln_f|attn/\w+|mlp/\w+)/([wgb])")
HPARAMS = {
    "n_vocab": "vocab_size",
    "n_ctx": "n_positions",
    "n_embd": "n_embd",
    "n_layer": "n_layer",
    "n_head": "n_head",
}


def detect(path: Path) -> bool:
    """Whether a path is the index of a TensorFlow checkpoint, or the beginning of its name."""
    return _index(path) is not None


def _index(path: Path) -> Path | None:
    """`model.ckpt.index` of it or of `model.ckpt`; None for other paths."""
    named = path.with_name(path.name + ".index")
    index = path if path.suffix == ".index" else named
    return index if index.is_file() else None


def choose(directory: Path) -> Path | None:
    """The index that `checkpoint` names, or the only one; None where there is none."""
    record = own_file(directory, "checkpoint")
    if record and record.stat().st_size < 100_000:
        text = record.read_text("utf-8", "replace")
        last = re.search(r'^model_checkpoint_path: "([^"]*)"', text, re.MULTILINE)
        name = f"{Path(last[1]).name}.index" if last else ""
        if last and (index := own_file(directory, name)):
            return index
    indexes = sorted(directory.glob("*.index"))
    if len(indexes) > 1:
        raise CheckpointError(
            f"{directory} holds several TensorFlow checkpoints"
            f" ({name_list(path.name for path in indexes)}) and no file `checkpoint` that names the"
            f" last; give one of them: --model {indexes[-1]}"
        )
    return indexes[0] if indexes else None


def open(path: Path) -> Opened:
    """The checkpoint of an index: sizes from hparams.json, else from the shapes."""
    index = _index(path) or path
    check_file(index)
    shards, entries = read_index(index)
    stem = index.name.removesuffix(".index")
    files = [
        need_file(index.parent, f"{stem}.data-{shard:05}-of-{shards:05}", f"which {index} needs")
        for shard in range(shards)
    ]
    tensors = _tensors(index, entries, files)
    shapes = {name: stored.shape for name, stored in tensors.items()}
    config, assumed = _config(index, shapes)
    check_sizes(index, config)
    check_tensors(index, config, shapes, "hparams.json" if not assumed else "its header")
    return Opened(
        kind="tensorflow",
        config=config,
        weights=(index, *files),
        tensors=tensors,
        tokenizer=lambda: tokenizer_beside(index.parent, index),
        assumed=assumed,
    )


def engine_name(name: str) -> str | None:
    """The engine's name of a tensor of OpenAI's; None for what is no part of the model."""
    if name in ("model/wte", "model/wpe"):
        return f"{name.removeprefix('model/')}.weight"
    parts = NAMES.fullmatch(name)
    if not parts:
        return None
    layer = f"h.{int(parts[1])}." if parts[1] else ""
    return f"{layer}{parts[2].replace('/', '.')}.{PARTS[parts[3]]}"


def _tensors(index: Path, entries: Mapping[str, Entry], files: list[Path]) -> dict[str, Stored]:
    """The places of the model's tensors, each inside its file and as long as its shape."""
    lengths = [path.stat().st_size for path in files]
    tensors = {}
    for name, entry in entries.items():
        ours = engine_name(name)
        if ours is None:
            continue
        if entry.partitioned:
            raise CheckpointError(
                f"{index}: {name!r:.80} is partitioned; expected whole tensors. Build the model"
                " without a partitioner, restore this checkpoint and save it again"
            )
        shape = entry.shape
        if is_linear(ours) and len(shape) == 3 and shape[0] == 1:
            shape = shape[1:]
        if entry.dtype is None:
            raise CheckpointError(
                f"{index}: {name!r:.80} is of a type that is no floating point; expected float32"
            )
        right = entry.size == prod(shape) * ITEM_SIZES[entry.dtype]
        if (
            not right
            or entry.shard >= len(files)
            or entry.begin + entry.size > lengths[entry.shard]
        ):
            raise CheckpointError(
                f"{index}: {name!r:.80} of shape {shape!s:.80} is said to be bytes {entry.begin} to"
                f" {entry.begin + entry.size} of file {entry.shard}, which do not fit or are not"
                " there. A file is truncated or damaged; copy or download both again"
            )
        tensors[ours] = Stored(
            files[entry.shard], entry.begin, entry.dtype, shape, checksum=entry.checksum
        )
    return tensors


def _config(
    index: Path, shapes: Mapping[str, tuple[int, ...]]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The config, and what had to be assumed for it."""
    path = own_file(index.parent, "hparams.json")
    if path is None:
        sizes = infer_sizes(index, shapes)
        heads, sentence = assume_heads(index, sizes["n_embd"])
        return gpt2_config({**sizes, "n_head": heads}), (sentence,)
    found = read_object(path)
    if missing := [name for name in HPARAMS if name not in found]:
        raise CheckpointError(
            f"{path} has no {', '.join(missing)}; expected {', '.join(HPARAMS)}, as in OpenAI's"
            " release"
        )
    return gpt2_config({ours: found[theirs] for theirs, ours in HPARAMS.items()}), ()
