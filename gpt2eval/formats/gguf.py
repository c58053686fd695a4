"""GGUF files of llama.cpp that hold a GPT-2, their tokenizer included.

The header is read here: keys with values, then names, shapes and places of tensors. Only the values
that are needed are kept. Numbers in float32, float16 and bfloat16 are read as they are; quantised
ones through the package `gguf`, an extra. llama.cpp stores matrices [out, in], and computes its
architecture "gpt2" with the activation and the attention of GPT-2, whatever the original had.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

from gpt2eval.errors import CheckpointError
from gpt2eval.formats.config import HEAD, check_sizes, check_tensors, gpt2_config, is_linear
from gpt2eval.formats.opened import ITEM_SIZES, Opened, Stored, TokenizerFiles

ACCEPTS = "a .gguf file of llama.cpp with a GPT-2, or a directory with one"
MAGIC = b"GGUF"
VERSIONS = (2, 3)
HEADER_LIMIT = 32_000_000  # bytes; with GPT-2's vocabulary it has 1,700,000
TEXTS_LIMIT = 1_000_000  # entries of a list; GPT-2 has 50,257 tokens
LIST_LIMIT = 32_000_000
COUNT_LIMIT = 200_000  # of keys, and of tensors
NAME_LIMIT = 1000  # bytes
STRING_LIMIT = 10_000_000
DIMENSIONS = 4
STRING, ARRAY = 8, 9
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q"}
SCALARS |= {12: "d"}
PLAIN = {0: "F32", 1: "F16", 28: "F64", 30: "BF16"}
# Types of llama.cpp that are packed in blocks: name, numbers a block, bytes a block.
QUANTISED = {
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    29: ("IQ1_M", 256, 56),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
    40: ("NVFP4", 64, 36),
    41: ("Q1_0", 128, 18),
    42: ("Q2_0", 64, 18),
}
BLOCKS = {name: (numbers, size) for name, numbers, size in QUANTISED.values()}
# Names of llama.cpp, of the whole model and of a block.
WHOLE = {
    "token_embd": "wte",
    "position_embd": "wpe",
    "output_norm": "ln_f",
    "output": "lm_head",
}
BLOCK = {
    "attn_norm": "ln_1",
    "attn_qkv": "attn.c_attn",
    "attn_output": "attn.c_proj",
    "ffn_norm": "ln_2",
    "ffn_up": "mlp.c_fc",
    "ffn_down": "mlp.c_proj",
}
SIZES = {
    "gpt2.context_length": "n_positions",
    "gpt2.embedding_length": "n_embd",
    "gpt2.block_count": "n_layer",
    "gpt2.attention.head_count": "n_head",
}
EPSILON = "gpt2.attention.layer_norm_epsilon"
WANTED = {
    *("general.architecture", "general.alignment", EPSILON, "gpt2.feed_forward_length"),
    *SIZES,
    *("tokenizer.ggml.model", "tokenizer.ggml.pre", "tokenizer.ggml.tokens"),
    *("tokenizer.ggml.token_type", "tokenizer.ggml.merges"),
    *("tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id"),
}
NORMAL, CONTROL, USER = 1, 3, 4  # kinds of tokens that are in the vocabulary


@dataclass(frozen=True, slots=True)
class Place:
    """A tensor of the header: shape as in numpy, number of its type, first byte in the data."""

    shape: tuple[int, ...]
    kind: int
    begin: int


def detect(path: Path) -> bool:
    """Whether a file is one of llama.cpp's, by its ending or its first bytes."""
    if not path.is_file():
        return False
    if path.suffix == ".gguf":
        return True
    with path.open("rb") as file:
        return file.read(4) == MAGIC


def open(path: Path) -> Opened:
    """The GPT-2 in a file."""
    values, places, data = read_header(path)
    kind = values.get("general.architecture")
    if kind != "gpt2":
        raise CheckpointError(
            f"{path} holds a model of architecture {kind!r:.80}; gpt2eval scores 'gpt2' only,"
            " choose a GPT-2 checkpoint"
        )
    tensors = _tensors(path, places, data)
    config = _config(path, values, tensors)
    check_sizes(path, config)
    check_tensors(path, config, {name: one.engine_shape for name, one in tensors.items()})
    return Opened(
        kind="gguf",
        config=config,
        weights=(path,),
        tensors=tensors,
        tokenizer=lambda: tokenizer(path, values),
    )


# ---- the header ---------------------------------------------------------------------------------


class _Reader:
    """A file that is read forward, and never beyond its end."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file = file
        self.left = min(size, HEADER_LIMIT)

    def take(self, size: int) -> bytes:
        self._need(size)
        return self.file.read(size)

    def skip(self, size: int) -> None:
        self._need(size)
        self.file.seek(size, 1)

    def _need(self, size: int) -> None:
        if size > self.left:
            raise ValueError(f"{size} bytes are announced where {self.left} are left")
        self.left -= size

    def number(self, form: str) -> Any:
        (value,) = struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))
        return value

    def count(self, limit: int, what: str) -> int:
        value: int = self.number("Q")
        if value > limit:
            raise ValueError(f"{value} {what}; expected at most {limit}")
        return value

    def text(self, limit: int, what: str) -> str:
        return self.take(self.count(limit, f"bytes of {what}")).decode("utf-8")


def read_header(path: Path) -> tuple[dict[str, Any], dict[str, Place], int]:
    """The values of WANTED that are there, the tensors, and the first byte of their data.

    CheckpointError for a file that is no GGUF, or damaged.
    """
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            reader = _Reader(file, size)
            _check_magic(reader)
            tensors = reader.count(COUNT_LIMIT, "tensors")
            keys = reader.count(COUNT_LIMIT, "keys")
            values = dict(filter(None, (_pair(reader) for _ in range(keys))))
            places: dict[str, Place] = {}
            for _ in range(tensors):
                name = reader.text(NAME_LIMIT, "a name")
                if name in places:
                    raise ValueError(f"the tensor {name!r:.80} stands in it twice")
                places[name] = _place(reader)
            alignment = values.get("general.alignment", 32)
            if type(alignment) is not int or not 1 <= alignment <= 1 << 20:
                raise ValueError(f"general.alignment is {alignment!r:.80}")
            begin = -(-file.tell() // alignment) * alignment
    except (ValueError, struct.error) as error:
        raise CheckpointError(
            f"{path} is not a GGUF file, or is damaged ({error}); expected version 2 or 3,"
            " little-endian. Copy or download it again"
        ) from error
    return values, places, begin


def _check_magic(reader: _Reader) -> None:
    magic, version = reader.take(4), reader.number("I")
    if magic != MAGIC:
        raise ValueError(f"it begins with {magic!r}")
    if version not in VERSIONS:
        swapped = int.from_bytes(version.to_bytes(4, "little"), "big")
        more = ", big-endian" if swapped in VERSIONS else ""
        raise ValueError(f"it is of version {swapped if more else version}{more}")


def _pair(reader: _Reader) -> tuple[str, Any] | None:
    """A key with its value; None for one that nobody needs."""
    key = reader.text(NAME_LIMIT, "a key")
    kind, wanted = reader.number("I"), key in WANTED
    if kind != ARRAY:
        value = _value(reader, kind)
        return (key, value) if wanted else None
    inner = reader.number("I")
    few = wanted or inner not in SCALARS
    count = reader.count(TEXTS_LIMIT if few else LIST_LIMIT, f"entries of {key!r:.80}")
    if inner in SCALARS and not wanted:
        reader.skip(count * struct.calcsize("<" + SCALARS[inner]))
        return None
    if inner == ARRAY:
        raise ValueError(f"{key!r:.80} is a list of lists")
    if not wanted:
        for _ in range(count):
            reader.skip(int.from_bytes(reader.take(8), "little"))
        return None
    return key, [_value(reader, inner) for _ in range(count)]


def _value(reader: _Reader, kind: int) -> Any:
    if kind == STRING:
        return reader.text(STRING_LIMIT, "a text")
    if kind not in SCALARS:
        raise ValueError(f"a value of the unknown kind {kind}")
    return reader.number(SCALARS[kind])


def _place(reader: _Reader) -> Place:
    dimensions = reader.number("I")
    if not 1 <= dimensions <= DIMENSIONS:
        raise ValueError(f"a tensor of {dimensions} dimensions")
    sizes = [reader.number("Q") for _ in range(dimensions)]
    kind, begin = reader.number("I"), reader.number("Q")
    return Place(tuple(reversed(sizes)), kind, begin)


# ---- tensors ------------------------------------------------------------------------------------


def engine_name(name: str) -> str | None:
    """The engine's name of a tensor of llama.cpp's; None for one that GPT-2 has not."""
    stem, _, part = name.rpartition(".")
    if part not in ("weight", "bias"):
        return None
    if stem in WHOLE:
        return f"{WHOLE[stem]}.{part}"
    block, _, inner = stem.partition(".")
    number, _, rest = inner.partition(".")
    if block != "blk" or not (number.isascii() and number.isdigit()) or rest not in BLOCK:
        return None
    return f"h.{int(number[:8])}.{BLOCK[rest]}.{part}"


def _tensors(path: Path, places: Mapping[str, Place], data: int) -> dict[str, Stored]:
    length = path.stat().st_size
    tensors = {}
    for name, place in places.items():
        ours = engine_name(name)
        if ours is None:
            raise CheckpointError(f"{path}: {name!r:.80} is no tensor of a GPT-2; {_ANOTHER}")
        dtype, size = _measure(path, name, place)
        begin = data + place.begin
        if begin + size > length:
            raise CheckpointError(
                f"{path}: tensor {name!r:.80} is said to be bytes {begin} to {begin + size} of"
                f" {length}. The file is truncated or damaged; copy or download it again"
            )
        tensors[ours] = Stored(path, begin, dtype, place.shape, is_linear(ours), size)
    return tensors


_ANOTHER = "expected what llama.cpp's convert_hf_to_gguf.py writes of one"


def _measure(path: Path, name: str, place: Place) -> tuple[str, int]:
    """The dtype of a tensor, and its bytes."""
    if place.kind in PLAIN:
        dtype = PLAIN[place.kind]
        return dtype, prod(place.shape) * ITEM_SIZES[dtype]
    if place.kind not in QUANTISED:
        raise CheckpointError(
            f"{path}: tensor {name!r:.80} is of type {place.kind} of llama.cpp; expected F32, F16,"
            f" BF16, F64 or one of {', '.join(BLOCKS)}. Convert it again, or from the original"
        )
    dtype, numbers, size = QUANTISED[place.kind]
    if place.shape[-1] % numbers:
        raise CheckpointError(
            f"{path}: tensor {name!r:.80} of shape {place.shape!s:.80} cannot be {dtype}, which"
            f" packs {numbers} numbers of a row. The file is damaged; copy or download it again"
        )
    return dtype, prod(place.shape) // numbers * size


def dequantised(content: Any, stored: Stored) -> Any:
    """The numbers of a quantised tensor as float32, by the package `gguf`.

    content  its bytes, a numpy array
    """
    try:
        from gguf import GGMLQuantizationType, dequantize
    except ImportError as error:
        raise CheckpointError(
            f"{stored.path} is quantised ({stored.dtype}), and reading that takes the package"
            " gguf: pip install 'gpt2eval[gguf]', or convert the model with --outtype f16"
        ) from error
    numbers, size = BLOCKS[stored.dtype]
    rows = content.reshape(*stored.shape[:-1], stored.shape[-1] // numbers * size)
    try:
        return dequantize(rows, GGMLQuantizationType[stored.dtype])
    except (KeyError, NotImplementedError) as error:
        raise CheckpointError(
            f"{stored.path} is quantised as {stored.dtype}, which the installed gguf cannot read;"
            " update it, or convert the model with --outtype f16"
        ) from error


def _config(path: Path, values: Mapping[str, Any], tensors: Mapping[str, Stored]) -> dict[str, Any]:
    if missing := [key for key in SIZES if key not in values]:
        raise CheckpointError(
            f"{path} does not say {', '.join(missing)}; {_ANOTHER}. Convert the model again"
        )
    sizes = {ours: values[key] for key, ours in SIZES.items()}
    width, inner = sizes["n_embd"], values.get("gpt2.feed_forward_length")
    if inner is not None and inner != 4 * width:
        sizes["n_inner"] = inner
    if "wte.weight" in tensors:
        sizes["vocab_size"] = tensors["wte.weight"].shape[0]
    epsilon = values.get(EPSILON, 1e-5)
    if not isinstance(epsilon, float) or not 0 < epsilon < 1:
        raise CheckpointError(f"{path} says {EPSILON} = {epsilon!r:.80}; expected about 1e-05")
    return gpt2_config(
        sizes,
        # A float32 in the file; 1e-5 as everybody writes it.
        layer_norm_epsilon=float(f"{epsilon:.7g}"),
        tie_word_embeddings=HEAD not in tensors,
        **_ids(values),
    )


def _ids(values: Mapping[str, Any]) -> dict[str, Any]:
    names = {"bos_token_id", "eos_token_id"}
    given = {name: values.get(f"tokenizer.ggml.{name}") for name in sorted(names)}
    return {name: value for name, value in given.items() if type(value) is int}


# ---- the tokenizer ------------------------------------------------------------------------------


def tokenizer(path: Path, values: Mapping[str, Any]) -> TokenizerFiles:
    """vocab.json, merges.txt and their configuration, from the values of the header."""
    model, pre = values.get("tokenizer.ggml.model"), values.get("tokenizer.ggml.pre", "gpt-2")
    tokens, merges = (
        value if isinstance(value := values.get(f"tokenizer.ggml.{name}"), list) else []
        for name in ("tokens", "merges")
    )
    if model != "gpt2" or pre not in ("gpt-2", "gpt2", "default") or not tokens or not merges:
        raise CheckpointError(
            f"{path} holds no tokenizer of GPT-2's kind (model {model!r:.80}, pre {pre!r:.80},"
            f" {len(tokens)} tokens, {len(merges)} merges); name one: --tokenizer DIR"
            " or a hub id such as --tokenizer gpt2"
        )
    kinds = values.get("tokenizer.ggml.token_type") or [NORMAL] * len(tokens)
    kinds = kinds if isinstance(kinds, list) else []
    texts = all(isinstance(one, str) for one in (*tokens, *merges))
    if not texts or len(kinds) != len(tokens):
        raise CheckpointError(
            f"{path} has a tokenizer of {len(tokens)} tokens and {len(kinds)} kinds of them, or"
            " tokens that are no texts. Convert the model again, or name one: --tokenizer DIR"
        )
    numbered = [
        (number, token, kind)
        for number, (token, kind) in enumerate(zip(tokens, kinds, strict=True))
        if kind in (NORMAL, CONTROL, USER)
    ]
    added = {
        str(number): {"content": token, "special": kind == CONTROL, **_WHOLE_TOKEN}
        for number, token, kind in numbered
        if kind != NORMAL
    }
    vocab = {token: number for number, token, _ in numbered}
    if len(vocab) < len(numbered):
        raise CheckpointError(
            f"{path} has a tokenizer with a token twice; name another: --tokenizer DIR"
        )
    return {
        "vocab.json": json.dumps(vocab, ensure_ascii=False).encode("utf-8"),
        "merges.txt": "\n".join(["#version: 0.2", *merges, ""]).encode("utf-8"),
        "tokenizer_config.json": json.dumps(_tokenizer_config(values, tokens, added)).encode(),
    }


_WHOLE_TOKEN = dict.fromkeys(("lstrip", "rstrip", "single_word", "normalized"), False)


def _tokenizer_config(
    values: Mapping[str, Any], tokens: list[str], added: Mapping[str, Any]
) -> dict[str, Any]:
    ids = _ids(values)
    special = {
        role: tokens[ids[f"{role}_id"]]
        for role in ("bos_token", "eos_token")
        if 0 <= ids.get(f"{role}_id", -1) < len(tokens)
    }
    last = special.get("eos_token")
    return {
        "tokenizer_class": "GPT2Tokenizer",
        "added_tokens_decoder": added,
        **special,
        **({"unk_token": last} if last else {}),
    }
