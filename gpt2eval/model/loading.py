"""From a checkpoint on disk to a model that answers: weights, tokenizer, device, dtype."""

from __future__ import annotations

import ctypes
import logging
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gpt2eval.checkpoint import Checkpoint
from gpt2eval.errors import CheckpointError, UsageError, out_of_memory
from gpt2eval.formats.config import HEAD
from gpt2eval.formats.opened import TokenizerFiles
from gpt2eval.model import head
from gpt2eval.model.gpt2 import Attention, Transformer
from gpt2eval.model.linear import Linear, linear
from gpt2eval.model.weights import read_weights
from gpt2eval.room import LOADING, RESERVE, activations, make_sure_of, weights


@dataclass(frozen=True, slots=True)
class Model:
    """A checkpoint in memory: token ids in, hidden states and log-probabilities out."""

    checkpoint: Checkpoint
    transformer: Transformer
    head: Tensor  # [vocabulary, width]; the embedding itself where the two are tied
    tokenizer: Any
    device: torch.device
    dtype: torch.dtype
    n_ctx: int
    prefix_id: int  # what stands before the first token of a text
    eos_id: int
    parameters: int

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, without special tokens."""
        if not texts:
            return []
        return list(self.tokenizer(list(texts), add_special_tokens=False)["input_ids"])

    def encode_with_starts(self, text: str) -> tuple[list[int], list[int]]:
        """Token ids of a text, and the character at which each token starts."""
        encoded = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        return encoded["input_ids"], [start for start, _ in encoded["offset_mapping"]]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids, byte for byte."""
        text = self.tokenizer.decode(
            list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        return str(text)

    def token_texts(self, ids: Iterable[int]) -> dict[int, str]:
        """The text of each token as the vocabulary has it; ids that no token has are left out."""
        return _token_texts(self.tokenizer, ids)

    def hidden(
        self,
        rows: Sequence[Sequence[int]],
        attention: Attention | None = None,
        *,
        positions: Sequence[Sequence[int]] | None = None,
        begin: int = 0,
        keep: Tensor | None = None,
    ) -> Tensor:
        """Hidden states of token rows, padded on the right: [rows * longest, width].

        attention  default: each row alone, causally
        positions  of the tokens of each row; default: from `begin` on
        keep       indices into rows * longest: only the states of these, [len(keep), width]
        States of padding are meaningless; real tokens never see them. MemoryError where a processor
        has no room for so many tokens.
        """
        longest = max(len(row) for row in rows)
        if self.device.type == "cpu":
            size = activations(len(rows) * longest, self.transformer.width, self.dtype.itemsize)
            make_sure_of(size + RESERVE, f"a batch of {len(rows)} x {longest} tokens")
        if positions is None:
            places = torch.arange(begin, begin + longest)[None]
        else:
            places = _padded(positions, longest)
        return self.transformer.forward(
            self._move(_padded(rows, longest)),
            self._move(places),
            attention or self.transformer.causal(),
            keep,
        )

    def _move(self, tensor: Tensor) -> Tensor:
        """A tensor on the model's device, without waiting for it where that can be."""
        if self.device.type == "cuda":
            return tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor.to(self.device)

    @torch.inference_mode()
    def first_not_finite(self, tokens: Sequence[int]) -> str:
        """The first part of the model whose output for these tokens is NaN or infinite.

        Parts are called as in the checkpoint: h.3.mlp. Empty where all are finite.
        """
        found: list[str] = []

        def watch(part: str, x: Tensor) -> None:
            if not found and not x.isfinite().all():
                found.append(part)

        ids = torch.tensor([list(tokens)], device=self.device)
        places = torch.arange(len(tokens), device=self.device)[None]
        causal = self.transformer.causal()
        hidden = self.transformer.forward(ids, places, causal, watch=watch)
        watch("the head", self.log_probs(hidden, ids[0])[0])
        return "".join(found)

    def not_finite(self, tokens: Sequence[int]) -> str:
        """Why a log-probability is NaN or infinite, in words."""
        part = self.first_not_finite(tokens)
        where = f"first in the output of {part}" if part else "but not for this text alone"
        wider = "" if self.dtype == torch.float32 else "try --dtype float32, and "
        return (
            f"{self.checkpoint.name} gave log-probabilities that are not finite ({self.dtype}),"
            f" {where}; {wider}check the training run that wrote the checkpoint"
        )

    def log_probs(
        self, hidden: Tensor, targets: Tensor, excluded: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The language-model head on chosen positions only, see `head.log_probs`."""
        return head.log_probs(hidden, self.head, targets, excluded)

    def logits(self, hidden: Tensor) -> Tensor:
        """float32 [n, vocabulary] of hidden states [n, width]; for a few positions."""
        return head.logits(hidden, self.head)


def token_texts(checkpoint: Checkpoint, ids: Iterable[int]) -> dict[int, str]:
    """`Model.token_texts` of a checkpoint whose weights are not needed."""
    return _token_texts(load_tokenizer(checkpoint), ids)


def _token_texts(tokenizer: Any, ids: Iterable[int]) -> dict[int, str]:
    known = sorted(ids)
    texts = tokenizer.convert_ids_to_tokens(known)
    return {i: str(text) for i, text in zip(known, texts, strict=True) if text}


def _padded(rows: Sequence[Sequence[int]], longest: int) -> Tensor:
    """Rows of numbers as one tensor [rows, longest], filled up with zeros."""
    table = np.zeros((len(rows), longest), dtype=np.int64)
    for number, row in enumerate(rows):
        table[number, : len(row)] = row
    return torch.from_numpy(table)


def load_model(checkpoint: Checkpoint, device: str = "auto", dtype: str = "float32") -> Model:
    """Load a checkpoint for evaluation.

    Raises CheckpointError where the weights are damaged, incomplete or not finite, or where the
    tokenizer does not fit them; UsageError for a device that is not there; MemoryError where there
    is no room for them.
    """
    place, kind = choose_device(device), getattr(torch, dtype)
    make_sure_of(weights(checkpoint, kind.itemsize) + LOADING, f"the weights of {checkpoint.name}")
    # transformers takes as long to import as the weights to read.
    with ThreadPoolExecutor(1) as beside:
        described = beside.submit(_describe, checkpoint)
        tensors, linears, parameters = _load_weights(checkpoint, place, kind)
        config, activation, tokenizer = described.result()
    _return_memory()
    wte = tensors["wte.weight"]
    eos_id = _special_id(checkpoint, tokenizer, "eos_token_id")
    return Model(
        checkpoint=checkpoint,
        transformer=Transformer(config, tensors, linears, activation),
        head=tensors.pop(HEAD, wte),
        tokenizer=tokenizer,
        device=place,
        dtype=kind,
        n_ctx=config.n_positions,
        prefix_id=tokenizer.bos_token_id if tokenizer.bos_token_id is not None else eos_id,
        eos_id=eos_id,
        parameters=parameters,
    )


def choose_device(device: str) -> torch.device:
    """`auto` is CUDA, else MPS, else CPU; anything else must exist."""
    if device == "auto":
        mps = torch.backends.mps.is_available()
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if mps else "cpu")
    try:
        place = torch.device(device)
        torch.empty(1, device=place)
    except Exception as error:  # each backend raises its own class
        reason = str(error).splitlines()[0]
        raise UsageError(
            f"device {device!r} cannot be used ({reason}); expected auto, cpu, cuda, cuda:N or mps"
        ) from error
    return place


def _return_memory() -> None:
    """Give what reading and repacking left free back to the system: a quarter of the weights.

    The allocator of glibc would keep it, and others have no such function.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim:
        trim(0)


def _describe(checkpoint: Checkpoint) -> tuple[Any, Callable[[Tensor], Tensor] | None, Any]:
    """All but the weights: configuration, activation, tokenizer."""
    config = _config(checkpoint)
    activation = _activation(config.activation_function)
    tokenizer = load_tokenizer(checkpoint)
    _check_tokenizer(checkpoint, tokenizer)
    return config, activation, tokenizer


def _config(checkpoint: Checkpoint) -> Any:
    """config.json with transformers' defaults for what it leaves out."""
    from transformers import GPT2Config

    try:
        return GPT2Config.from_dict(dict(checkpoint.config))
    except Exception as error:  # transformers and huggingface_hub have classes of their own
        raise CheckpointError(
            f"the config of {checkpoint.path} is not that of a GPT-2:"
            f" {' '.join(str(error).split())}"
        ) from error


def _load_weights(
    checkpoint: Checkpoint, place: torch.device, kind: torch.dtype
) -> tuple[dict[str, Tensor], dict[str, Linear], int]:
    """Plain tensors and linear layers by name, on their device; how many parameters there are."""
    tensors: dict[str, Tensor] = {}
    linears: dict[str, Linear] = {}
    parts: dict[str, dict[str, Tensor]] = defaultdict(dict)
    parameters = 0
    for name, stored in read_weights(checkpoint):
        parameters += 0 if name in checkpoint.absent else stored.numel()
        tensor = stored.to(place, kind, copy=True).contiguous()
        layer, _, part = name.rpartition(".")
        if not layer.endswith(("c_attn", "c_proj", "c_fc")):
            tensors[name] = tensor
            continue
        parts[layer][part] = tensor
        if len(parts[layer]) == 2:
            both = parts.pop(layer)
            linears[layer] = linear(both["weight"], both["bias"])
    if checkpoint.config.get("tie_word_embeddings", True) and HEAD in tensors:
        parameters -= tensors[HEAD].numel()
        if not torch.equal(tensors.pop(HEAD), tensors["wte.weight"]):
            raise CheckpointError(
                f"{checkpoint.path} holds a {HEAD} of its own, but config.json ties it to the"
                ' embedding; write "tie_word_embeddings": false into config.json to use it, or'
                " remove the tensor"
            )
    return tensors, linears, parameters


def load_tokenizer(checkpoint: Checkpoint) -> Any:
    """The tokenizer of a checkpoint; CheckpointError where it cannot be loaded."""
    from transformers import AutoTokenizer

    try:
        with silence("transformers"), _one_directory(checkpoint.tokenizer) as directory:
            tokenizer = AutoTokenizer.from_pretrained(
                directory, local_files_only=True, trust_remote_code=False, use_fast=True
            )
    except Exception as error:  # tokenizers and transformers raise bare Exceptions
        if out_of_memory(error):
            raise
        reason = str(error).strip().splitlines()
        raise CheckpointError(
            f"the tokenizer of {checkpoint.path} cannot be loaded ({type(error).__name__}:"
            f" {reason[0] if reason else 'no reason given'})"
        ) from error
    # Long texts are cut into windows by the runner; the tokenizer must not warn about them.
    tokenizer.model_max_length = int(1e30)
    return tokenizer


@contextmanager
def _one_directory(files: TokenizerFiles) -> Iterator[Path]:
    """The directory of these files, under their names: their own, or one for the moment."""
    own = {path.parent for name, path in files.items() if isinstance(path, Path)}
    named = all(isinstance(path, Path) and path.name == name for name, path in files.items())
    if named and len(own) == 1:
        yield own.pop()
        return
    with TemporaryDirectory() as name:
        for each, content in files.items():
            data = content if isinstance(content, bytes) else content.read_bytes()
            (Path(name) / each).write_bytes(data)
        yield Path(name)


def _check_tokenizer(checkpoint: Checkpoint, tokenizer: Any) -> None:
    rows = checkpoint.size("vocab_size")
    largest = max(tokenizer.get_vocab().values(), default=-1)
    if largest < 0:
        raise CheckpointError(f"the tokenizer of {checkpoint.path} has an empty vocabulary")
    if largest >= rows:
        raise CheckpointError(
            f"the tokenizer of {checkpoint.path} has token ids up to {largest}, but the embedding"
            f" has {rows} rows; the tokenizer belongs to another checkpoint, or"
            " resize_token_embeddings was forgotten"
        )


def _special_id(checkpoint: Checkpoint, tokenizer: Any, name: str) -> int:
    value = getattr(tokenizer, name)
    if value is None:
        value = checkpoint.config.get(name)
    if not isinstance(value, int):
        raise CheckpointError(
            f"neither the tokenizer nor config.json of {checkpoint.path} names an {name};"
            " GPT-2's is the id of <|endoftext|>"
        )
    if not 0 <= value < checkpoint.size("vocab_size"):
        raise CheckpointError(
            f"{checkpoint.path} names {value} as {name}; the embedding has"
            f" {checkpoint.size('vocab_size')} rows"
        )
    return value


def _activation(name: str) -> Callable[[Tensor], Tensor] | None:
    """The function of that name; None for the tanh form of GELU (transformers' gelu_new)."""
    if name in ("gelu_new", "gelu_pytorch_tanh"):
        return None
    from transformers.activations import ACT2FN  # seconds to import

    if name not in ACT2FN:
        raise CheckpointError(f"config.json names the activation {name!r}, which is unknown")
    function: Callable[[Tensor], Tensor] = ACT2FN[name]
    return function


@contextmanager
def silence(logger: str) -> Iterator[None]:
    """Hold back a library's warnings and bars: what matters in them is raised as an error here."""
    reporting: Any = import_module("transformers.utils.logging")
    log, bars = logging.getLogger(logger), reporting.is_progress_bar_enabled()
    level = log.level
    log.setLevel(logging.ERROR)
    reporting.disable_progress_bar()
    try:
        yield
    finally:
        log.setLevel(level)
        if bars:
            reporting.enable_progress_bar()
