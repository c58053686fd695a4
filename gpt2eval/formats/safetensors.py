"""Headers of safetensors files, and a single such file as a checkpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

from gpt2eval.errors import CheckpointError
from gpt2eval.formats.config import (
    ANOTHER,
    HEAD,
    assume_heads,
    check_sizes,
    check_tensors,
    gpt2_config,
    infer_sizes,
    plain_name,
    read_config,
)
from gpt2eval.formats.files import own_file, tokenizer_beside
from gpt2eval.formats.opened import Opened

ACCEPTS = "a .safetensors file (config.json beside it, or sizes read from its tensors)"
WEIGHT_DTYPES = ("F64", "F32", "F16", "BF16")
ITEM_SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
ITEM_SIZES |= {"I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
HEADER_LIMIT = 10_000_000  # bytes; that of GPT-2 XL has 60,000
DIMENSIONS = 8  # of a tensor; GPT-2 has four at most


def detect(path: Path) -> bool:
    """Whether a path is a single safetensors file."""
    return path.is_file() and path.suffix == ".safetensors"


def open(path: Path) -> Opened:
    """One file: sizes from config.json beside it, else from the shapes, the rest as in GPT-2."""
    shapes = {plain_name(name): shape for name, shape in read_safetensors_header(path).items()}
    beside = own_file(path.parent, "config.json")
    assumed: tuple[str, ...] = ()
    if beside:
        config: Mapping[str, Any] = read_config(beside)
        check_tensors(path, config, shapes, str(beside), ANOTHER)
    else:
        sizes = infer_sizes(path, shapes)
        heads, sentence = assume_heads(path, sizes["n_embd"])
        tied = HEAD not in shapes
        config = gpt2_config({**sizes, "n_head": heads}, tie_word_embeddings=tied)
        check_sizes(path, config)
        check_tensors(path, config, shapes)
        assumed = (sentence, "activation, layer norm and scaling of attention as in GPT-2")
    return Opened(
        kind="safetensors",
        config=config,
        weights=(path,),
        tokenizer=lambda: tokenizer_beside(path.parent, path),
        assumed=assumed,
    )


def read_safetensors_header(path: Path) -> dict[str, list[int]]:
    """Tensor name -> shape, after checking that the file is as long as its header says."""
    size = path.stat().st_size
    with path.open("rb") as file:
        begin = file.read(8)
        length = int.from_bytes(begin, "little")
        if size < 8 or length > min(HEADER_LIMIT, size - 8):
            pointer = begin == b"version "
            raise CheckpointError(
                f"{path} is not a safetensors file: {size} bytes, a header of {length} announced;"
                + (" it is a Git LFS pointer, get the file itself: git lfs pull" if pointer else "")
                + ("" if pointer else " copy or download it again")
            )
        try:
            header = json.loads(file.read(length), object_pairs_hook=_without_repeats)
        except (ValueError, RecursionError) as error:
            raise CheckpointError(
                f"{path} has a damaged safetensors header: {error}; copy or download it again"
            ) from error
    try:
        tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
        shapes = {name: [_count(n) for n in entry["shape"]] for name, entry in tensors.items()}
        kinds = {name: str(entry["dtype"]) for name, entry in tensors.items()}
        places = {name: tuple(map(_count, e["data_offsets"])) for name, e in tensors.items()}
        end = 8 + length + max((end for _, end in places.values()), default=0)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path} has a damaged safetensors header: {error!r}; copy or download it again"
        ) from error
    if end != size:
        raise CheckpointError(
            f"{path} has {size} bytes; its header announces {end}. The file is truncated or"
            " damaged; copy or download it again"
        )
    _check_places(path, shapes, kinds, places)
    for name, kind in kinds.items():
        # The causal mask that old versions kept among the weights holds no numbers.
        if kind not in WEIGHT_DTYPES and not name.endswith((".attn.bias", ".attn.masked_bias")):
            raise CheckpointError(
                f"{path}: tensor {name!r} has dtype {kind}; expected {', '.join(WEIGHT_DTYPES)}. A"
                " quantised checkpoint must be saved in one of these first"
            )
    return shapes


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("a name stands in it twice")
    return content


def _count(value: object) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError(f"{value!r:.80}; expected a whole number from 0 up")
    return value


def _check_places(
    path: Path,
    shapes: Mapping[str, Sequence[int]],
    kinds: Mapping[str, str],
    places: Mapping[str, Sequence[int]],
) -> None:
    """Tensors lie end to end, each as long as its shape and dtype make it."""
    last = 0
    for name, (begin, end) in sorted(places.items(), key=lambda item: tuple(item[1])):
        size = prod(shapes[name][:DIMENSIONS]) * ITEM_SIZES.get(kinds[name], 0)
        known = kinds[name] in ITEM_SIZES
        fits = end - begin == size and len(shapes[name]) <= DIMENSIONS if known else end >= begin
        if begin != last or not fits:
            raise CheckpointError(
                f"{path} has a damaged safetensors header: tensor {name!r:.80} of shape"
                f" {tuple(shapes[name])!s:.80} in {kinds[name]:.20} lies at {begin} to {end};"
                f" expected {size} bytes from {last} on. Copy or download it again"
            )
        last = end
