"""What every reader of a format gives: a configuration, places of tensors, files of a tokenizer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

# Name that transformers knows -> the file, or its content where it stands in another one.
TokenizerFiles = Mapping[str, Path | bytes]

ITEM_SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}


@dataclass(frozen=True, slots=True)
class Stored:
    """Where a tensor lies in a file, and how.

    begin       its first byte
    dtype       "F64", "F32", "F16", "BF16", or the name of a quantised type of GGUF
    shape       as it is stored
    transposed  stored [out, in], as `torch.nn.Linear` has it; GPT-2's own layers are [in, out]
    size        bytes
    checksum    masked CRC-32C of the bytes, where the file has one
    """

    path: Path
    begin: int
    dtype: str
    shape: tuple[int, ...]
    transposed: bool = False
    size: int = -1
    checksum: int | None = None

    def __post_init__(self) -> None:
        if self.size < 0:
            object.__setattr__(self, "size", prod(self.shape) * ITEM_SIZES[self.dtype])

    @property
    def engine_shape(self) -> tuple[int, ...]:
        """The shape in which the engine takes it."""
        return self.shape[::-1] if self.transposed else self.shape


@dataclass(frozen=True, slots=True)
class Pair:
    """The two matrices of a LoRA layer, by their names in the adapter's file, and their weight."""

    a: str  # [rank, in]
    b: str  # [out, rank]
    scaling: float
    magnitude: str = ""  # of DoRA: [out], the length that each column gets


@dataclass(frozen=True, slots=True)
class Adapter:
    """What an adapter does to the tensors of its base.

    pairs     name of a weight -> what is added to it
    replaced  name of a tensor -> name, in the adapter's file, of what stands in its place
    own_head  whether the head is no longer the embedding, as it is in the base
    """

    weights: Path
    pairs: Mapping[str, Pair]
    replaced: Mapping[str, str]
    own_head: bool


@dataclass(frozen=True, slots=True)
class Opened:
    """A checkpoint whose headers were read and checked; none of its numbers were.

    kind       the format, as results record it
    config     what config.json says, or would say
    weights    the files that the digest is of
    tokenizer  finds the tokenizer's files; CheckpointError where there are none
    tensors    name without `transformer.` -> place; None where safetensors or torch reads the file
    absent     biases that the model does without; the engine takes zeros for them
    assumed    what the files do not say, in sentences
    base       the checkpoint below an adapter, as its config names it, and its revision on the hub
    adapter    what is done to the tensors of the base
    """

    kind: str
    config: Mapping[str, Any]
    weights: tuple[Path, ...]
    tokenizer: Callable[[], TokenizerFiles]
    tensors: Mapping[str, Stored] | None = None
    absent: frozenset[str] = field(default=frozenset())
    assumed: tuple[str, ...] = ()
    base: str = ""
    base_revision: str = ""
    adapter: Adapter | None = None
