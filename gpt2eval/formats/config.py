"""The configuration of a GPT-2: its sizes, and the tensors that they promise."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gpt2eval.errors import CheckpointError

# Values that transformers' GPT2Config assumes where config.json says nothing.
CONFIG_DEFAULTS = {
    "vocab_size": 50257,
    "n_positions": 1024,
    "n_embd": 768,
    "n_layer": 12,
    "n_head": 12,
}
# Other names for them: those of transformers, and n_ctx of the first releases.
CONFIG_ALIASES = {
    "n_positions": ("max_position_embeddings", "n_ctx"),
    "n_embd": ("hidden_size",),
    "n_layer": ("num_hidden_layers",),
    "n_head": ("num_attention_heads",),
}
# A JSON value takes twenty times its text in memory, so this bounds that too.
CONFIG_LIMIT = 10_000_000  # bytes
SIZE_LIMIT = 10_000_000  # of a size in config.json
LAYER_LIMIT = 10_000
HEAD = "lm_head.weight"
WRAPPERS = re.compile(r"^(?:(?:module|_orig_mod)\.)*(?:transformer\.)?")
HEAD_WIDTH = 64  # of all four sizes that OpenAI released


def read_json(path: Path) -> Any:
    """The value in a JSON file of bounded size."""
    if path.stat().st_size > CONFIG_LIMIT:
        raise CheckpointError(
            f"{path} has {path.stat().st_size} bytes; expected less than {CONFIG_LIMIT}"
        )
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path} is not valid JSON: {error}; copy or download the file again"
        ) from error


def read_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file."""
    content = read_json(path)
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__}; expected a JSON object")
    return content


def read_config(path: Path) -> dict[str, Any]:
    """config.json of a GPT-2, its sizes checked and under one name each."""
    config = read_object(path)
    kind = config.get("model_type")
    if kind is None:
        raise CheckpointError(
            f'{path} has no model_type; expected "model_type": "gpt2". Add it if this is a GPT-2'
        )
    if kind != "gpt2":
        raise CheckpointError(
            f"{path.parent} is a checkpoint of model_type {kind!r}; gpt2eval scores 'gpt2' only,"
            " choose a GPT-2 checkpoint"
        )
    for key, others in CONFIG_ALIASES.items():
        given = [config[name] for name in (key, *others) if config.get(name) is not None]
        config.update({key: given[0]} if given else {})
    check_sizes(path, config)
    return config


def check_sizes(path: Path, config: Mapping[str, Any]) -> None:
    """CheckpointError for sizes that no model has; `path` is what they were read from."""
    for key in CONFIG_DEFAULTS:
        limit = LAYER_LIMIT if key == "n_layer" else SIZE_LIMIT
        _check_size(path, key, config.get(key, 1), limit)
    if config.get("n_inner") is not None:
        _check_size(path, "n_inner", config["n_inner"], SIZE_LIMIT)
    heads, width = config.get("n_head", 12), config.get("n_embd", 768)
    if width % heads:
        raise CheckpointError(
            f"{path} says n_embd = {width}, which n_head = {heads} does not divide"
        )


def _check_size(path: Path, key: str, value: object, limit: int) -> None:
    if type(value) is not int or value <= 0:
        raise CheckpointError(f"{path} says {key} = {value!r:.80}; expected a positive integer")
    if value > limit:
        raise CheckpointError(f"{path} says {key} = {value}; expected at most {limit}")


def expected_shapes(config: Mapping[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """(tensor name without `transformer.`, shape) of a GPT-2 with this config, one by one.

    A generator, so that a config asking for a million layers fails at the first that is missing.
    """
    vocab, positions, width, layers, _ = (config.get(k, v) for k, v in CONFIG_DEFAULTS.items())
    inner = config.get("n_inner") or 4 * width
    block = {
        "ln_1.weight": (width,),
        "ln_1.bias": (width,),
        "attn.c_attn.weight": (width, 3 * width),
        "attn.c_attn.bias": (3 * width,),
        "attn.c_proj.weight": (width, width),
        "attn.c_proj.bias": (width,),
        "ln_2.weight": (width,),
        "ln_2.bias": (width,),
        "mlp.c_fc.weight": (width, inner),
        "mlp.c_fc.bias": (inner,),
        "mlp.c_proj.weight": (inner, width),
        "mlp.c_proj.bias": (width,),
    }
    yield "wte.weight", (vocab, width)
    yield "wpe.weight", (positions, width)
    for layer in range(layers):
        for name, shape in block.items():
            yield f"h.{layer}.{name}", shape
    yield "ln_f.weight", (width,)
    yield "ln_f.bias", (width,)


def plain_name(name: str) -> str:
    """The name of a tensor without `transformer.` and what torch wraps a model in.

    DistributedDataParallel puts `module.` before every name, torch.compile `_orig_mod.`.
    """
    return WRAPPERS.sub("", name)


def is_linear(name: str) -> bool:
    """Whether a tensor is the matrix of a layer that other tools store transposed."""
    return name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight"))


def infer_sizes(path: Path, shapes: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """The sizes that tensors in the layout of transformers show; what is not there stays away.

    CheckpointError where they are not those of a GPT-2.
    """
    try:
        vocab, width = shapes["wte.weight"]
        positions, _ = shapes["wpe.weight"]
        _, inner = shapes["h.0.mlp.c_fc.weight"]
    except (KeyError, ValueError) as error:
        found = ", ".join(sorted(shapes)[:4])
        raise CheckpointError(
            f"{path} does not hold the tensors of a GPT-2 (wte.weight, wpe.weight,"
            f" h.0.mlp.c_fc.weight ...; found: {found:.200} ...); give the directory of a whole"
            " checkpoint, with its config.json"
        ) from error
    layers = [int(layer[1]) for name in shapes if (layer := re.match(r"h\.(\d{1,6})\.", name))]
    sizes = {
        "vocab_size": vocab,
        "n_positions": positions,
        "n_embd": width,
        "n_layer": max(layers) + 1,
        "n_inner": None if inner == 4 * width else inner,
    }
    return sizes


def assume_heads(path: Path, width: int) -> tuple[int, str]:
    """Number of heads of a model that does not say it, and the sentence about it."""
    heads = width // HEAD_WIDTH
    if heads < 1 or width % HEAD_WIDTH:
        raise CheckpointError(
            f"{path} does not say how many attention heads the model has, and its width {width} is"
            f" no multiple of {HEAD_WIDTH}, the width of a head in all of OpenAI's sizes; put a"
            ' config.json beside it, with "model_type": "gpt2" and "n_head"'
        )
    return heads, f"{heads} attention heads, each {HEAD_WIDTH} wide as in OpenAI's four sizes"


def gpt2_config(sizes: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """The config of a model of these sizes that is otherwise as GPT-2."""
    vocab = sizes.get("vocab_size")
    # GPT-2's <|endoftext|> is its last token; a smaller vocabulary leaves that to the tokenizer.
    none = {"bos_token_id": None, "eos_token_id": None}
    return {
        **(none if isinstance(vocab, int) and vocab < CONFIG_DEFAULTS["vocab_size"] else {}),
        "model_type": "gpt2",
        "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5,
        "tie_word_embeddings": True,
        **sizes,
        **more,
    }


ANOTHER = "One of the two belongs to another checkpoint: copy both from the same place"
DAMAGED = "The file is damaged, or holds another kind of model"


def check_tensors(
    path: Path,
    config: Mapping[str, Any],
    shapes: Mapping[str, Sequence[int]],
    source: str = "its header",
    remedy: str = DAMAGED,
) -> None:
    """CheckpointError unless the tensors, by their shapes in the engine, are those of the config.

    path    what holds the tensors
    source  where the config was read
    """
    for name, expected in expected_shapes(config):
        if name not in shapes:
            raise CheckpointError(
                f"{path}: the weights lack {name!r}, which {source} promises; found"
                f" {len(shapes)} tensors. {remedy}"
            )
        if tuple(shapes[name]) != expected:
            raise CheckpointError(
                f"{path}: tensor {name!r} has shape {tuple(shapes[name])!s:.80}; {source}"
                f" promises {expected}. {remedy}"
            )
    layers = config.get("n_layer", CONFIG_DEFAULTS["n_layer"])
    for name in shapes:
        if (layer := re.match(r"h\.(\d+)\.", name)) and int(layer[1]) >= layers:
            raise CheckpointError(
                f"{path}: the weights hold {name!r:.80}; {source} promises n_layer = {layers},"
                f" numbered from 0. {remedy}"
            )
