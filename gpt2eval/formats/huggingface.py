"""A directory in Hugging Face format, as `save_pretrained` writes it, in one file or in shards."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gpt2eval.errors import CheckpointError
from gpt2eval.formats.config import (
    ANOTHER,
    CONFIG_DEFAULTS,
    check_tensors,
    plain_name,
    read_config,
    read_json,
)
from gpt2eval.formats.files import (
    OTHER_TOKENIZER_FILES,
    TOKENIZER_FILES,
    check_file,
    find_tokenizer,
    found,
    need_file,
)
from gpt2eval.formats.opened import Opened, TokenizerFiles
from gpt2eval.formats.safetensors import read_safetensors_header
from gpt2eval.pickled import check_pickle

ACCEPTS = "a directory in Hugging Face format: config.json, weights (or shards), tokenizer"
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")


def detect(path: Path) -> bool:
    """Whether a directory has a config.json of its own."""
    return path.is_dir() and os.path.lexists(path / "config.json")


def open(path: Path) -> Opened:
    """The whole directory."""
    for each in path.iterdir():
        if each.name in (*TOKENIZER_FILES, *OTHER_TOKENIZER_FILES) or each.suffix in (
            *(".json", ".safetensors", ".bin"),
        ):
            check_file(each)
    config = read_config(need_file(path, "config.json", "which says what the weights are"))
    weights, kind = _find_weights(path)
    if kind == "safetensors":
        shapes: dict[str, Sequence[int]] = {}
        for each in weights:
            header = read_safetensors_header(each)
            shapes.update({plain_name(name): shape for name, shape in header.items()})
        check_tensors(path, config, shapes, "config.json", ANOTHER)
    else:
        _check_bytes(path, config, weights)
        for each in weights:
            check_pickle(each)
    return Opened(kind, config, weights, tokenizer=lambda: _tokenizer(path))


def _find_weights(directory: Path) -> tuple[tuple[Path, ...], str]:
    for name in WEIGHT_FILES:
        kind = "safetensors" if name.endswith(".safetensors") else "pytorch"
        index = directory / f"{name}.index.json"
        if (directory / name).is_file():
            return (directory / name,), kind
        if index.is_file():
            return _shards(directory, index), kind
    raise CheckpointError(
        f"{directory} has no weights (found: {found(directory)}); expected model.safetensors or"
        " pytorch_model.bin, or one of them in shards with its .index.json, as save_pretrained"
        " writes them"
    )


def _shards(directory: Path, index: Path) -> tuple[Path, ...]:
    content = read_json(index)
    table = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(table, dict) or not table:
        raise CheckpointError(f"{index} has no weight_map; expected tensor name -> shard file")
    shards = []
    for name in sorted({str(value) for value in table.values()}):
        if Path(name).name != name:
            raise CheckpointError(f"{index} names the shard {name!r}; expected a plain file name")
        if not (directory / name).is_file():
            raise CheckpointError(
                f"{index} names the shard {name!r}, which is missing; copy or download it too"
            )
        shards.append(directory / name)
    return tuple(shards)


def _tokenizer(directory: Path) -> TokenizerFiles:
    files = find_tokenizer(directory)
    if files is None:
        raise CheckpointError(
            f"{directory} has no tokenizer; expected tokenizer.json, or vocab.json with merges.txt"
            " (for OpenAI's vocabulary: save_pretrained of the tokenizer of 'gpt2'). Or name one:"
            " --tokenizer DIR or a hub id such as --tokenizer gpt2"
        )
    return files


def _check_bytes(directory: Path, config: Mapping[str, Any], weights: Iterable[Path]) -> None:
    """Refuse a config that asks for far more than a pickle holds, before memory is set aside."""
    vocab, positions, width, layers, _ = (config.get(k, v) for k, v in CONFIG_DEFAULTS.items())
    inner = config.get("n_inner") or 4 * width
    parameters = width * (vocab + positions + layers * (4 * width + 2 * inner))
    size = sum(path.stat().st_size for path in weights)
    if size < parameters:
        raise CheckpointError(
            f"{directory}: the weights have {size} bytes; config.json promises {parameters}"
            " parameters. The file is truncated, or the config belongs to another checkpoint"
        )
