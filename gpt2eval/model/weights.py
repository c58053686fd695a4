"""The tensors of a checkpoint, read one at a time, so that memory holds the weights once.

transformers would build a model, fill it and keep both; that costs seconds of imports, and twice
the memory where the dtype on disk is not the one that is wanted. Safetensors are mapped; pickles
are read with `weights_only`.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor

from gpt2eval.checkpoint import Checkpoint
from gpt2eval.errors import CheckpointError, out_of_memory
from gpt2eval.formats.config import HEAD, expected_shapes, plain_name
from gpt2eval.model.merging import merged
from gpt2eval.model.stored import read_stored


def read_weights(checkpoint: Checkpoint) -> Iterator[tuple[str, Tensor]]:
    """(name without `transformer.`, tensor as it is on disk) of every tensor of the model.

    Raises CheckpointError where one is missing, of another shape, not of floating point, or not
    finite, and where the file cannot be read.
    """
    wanted = dict(expected_shapes(checkpoint.config))
    wanted[HEAD] = wanted["wte.weight"]
    missing = set(wanted)
    if checkpoint.config.get("tie_word_embeddings", True):
        missing.remove(HEAD)  # may be there all the same
    seen = set()
    for name, tensor in _stored(checkpoint):
        if name in seen:  # under two prefixes, or in two shards
            raise CheckpointError(
                f"the weights of {checkpoint.path} hold {name!r} twice; expected every tensor once."
                " Save the checkpoint again"
            )
        if name in wanted:
            seen.add(name)
            _check(checkpoint, name, tensor, wanted[name])
            missing.discard(name)
            yield name, tensor
        elif name.startswith("h.") and not name.endswith((".attn.bias", ".attn.masked_bias")):
            # A layer more than promised. (The two exceptions are masks in old files.)
            raise CheckpointError(
                f"the weights of {checkpoint.path} do not fit config.json: tensor {name!r} is"
                f" not in a model of {checkpoint.size('n_layer')} layers"
            )
    for name in checkpoint.absent & missing:
        missing.remove(name)
        yield name, torch.zeros(wanted[name])
    if missing:
        raise CheckpointError(
            f"the weights of {checkpoint.path} do not fit config.json: missing:"
            f" {', '.join(sorted(missing)[:4])} ({len(missing)} in all)"
        )


def _stored(checkpoint: Checkpoint) -> Iterator[tuple[str, Tensor]]:
    """The tensors as they are on disk, with the reader of the format."""
    try:
        yield from _read(checkpoint)
    except CheckpointError:
        raise
    except Exception as error:  # pickle, zip and safetensors errors have no common class
        if out_of_memory(error):
            raise MemoryError(f"no room for the weights of {checkpoint.name}") from error
        reason = str(error).strip().splitlines()
        if isinstance(error, UnpicklingError):
            # torch would have the reader switch its protection off.
            reason = ["it holds more than tensors, or is damaged"]
        raise CheckpointError(
            f"the weights of {checkpoint.path} cannot be loaded ({type(error).__name__}:"
            f" {reason[0] if reason else 'no reason given'}); expected a complete GPT-2"
            " checkpoint, as safetensors or as a pickle of nothing but tensors"
        ) from error


def _read(checkpoint: Checkpoint) -> Iterator[tuple[str, Tensor]]:
    if checkpoint.tensors is not None:
        # The largest first: while it is copied, memory holds it twice.
        for name in sorted(checkpoint.tensors, key=lambda name: name != "wte.weight"):
            yield name, read_stored(checkpoint.tensors[name])
    elif checkpoint.adapter and checkpoint.base:
        yield from merged(checkpoint.adapter, _stored(checkpoint.base))
    else:
        read = _read_safetensors if checkpoint.kind == "safetensors" else _read_pickle
        for path in checkpoint.weights:
            for name, tensor in read(path):
                yield plain_name(name), tensor


def _read_safetensors(path: Path) -> Iterator[tuple[str, Tensor]]:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        names = list(file.keys())
    # The largest first: while it is copied, memory holds it twice.
    for name in sorted(names, key=lambda name: not name.endswith("wte.weight")):
        # Opened anew for each tensor: what was read of a mapped file stays resident until it is
        # closed, and would count beside the copies that are made of it.
        with safe_open(path, framework="pt") as file:
            yield name, file.get_tensor(name)


def _read_pickle(path: Path) -> Iterator[tuple[str, Tensor]]:
    # Files from before torch 1.6 are no zip archives and cannot be mapped.
    content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    if not isinstance(content, dict):
        raise CheckpointError(
            f"{path} holds a {type(content).__name__}; expected a dictionary of tensors"
        )
    while content:
        name, tensor = content.popitem()
        if isinstance(tensor, Tensor):
            yield str(name), tensor


def _check(checkpoint: Checkpoint, name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != shape:
        raise CheckpointError(
            f"the weights of {checkpoint.path} do not fit config.json: tensor {name!r} has shape"
            f" {tuple(tensor.shape)}, expected {shape}"
        )
    if not tensor.is_floating_point():
        raise CheckpointError(
            f"{checkpoint.path}: tensor {name!r} is of {tensor.dtype}; expected floating point"
            " (quantised checkpoints cannot be scored)"
        )
    # A sum is finite only if every term is, and takes one pass without a copy.
    bad = 0 if torch.isfinite(tensor.sum()) else int((~torch.isfinite(tensor)).sum())
    if bad:
        raise CheckpointError(
            f"{checkpoint.path}: tensor {name!r} holds {bad} values that are NaN or infinite;"
            " the training run that wrote it diverged, or the file is damaged"
        )
