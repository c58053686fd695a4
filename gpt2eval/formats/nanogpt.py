"""nanoGPT's ckpt.pt: a dictionary of the model, its sizes, the optimiser and the training options.

The layout is that of nanoGPT's train.py and model.py. Matrices are [out, in]; with bias=False
neither matrices nor layer norms have a bias. The activation is nanoGPT's `nn.GELU()`, the exact
one. A vocabulary that was padded for training (50257 to 50304) stays as it is: the model was
trained with the padded tokens in its softmax, and nanoGPT leaves them in when it computes a loss.
Nothing of the optimiser, two thirds of a file, is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gpt2eval.errors import CheckpointError
from gpt2eval.formats.config import (
    HEAD,
    check_sizes,
    check_tensors,
    expected_shapes,
    gpt2_config,
    is_linear,
    plain_name,
)
from gpt2eval.formats.files import name_list, tokenizer_beside
from gpt2eval.formats.opened import Opened, Stored
from gpt2eval.pickled import Described, describe_pickle

ACCEPTS = "nanoGPT's ckpt.pt, or a directory with one"
SIZES = {
    "vocab_size": "vocab_size",
    "block_size": "n_positions",
    "n_embd": "n_embd",
    "n_layer": "n_layer",
    "n_head": "n_head",
}
OTHERS = {"bias", "dropout"}
DTYPES = {"Double": "F64", "Float": "F32", "Half": "F16", "BFloat16": "BF16"}


def detect(path: Path) -> bool:
    """Whether a file may be one that torch.save wrote under nanoGPT's kind of name."""
    if not path.is_file() or path.suffix not in (".pt", ".pth"):
        return False
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def open(path: Path) -> Opened:
    """The model of a ckpt.pt, from its sizes and the shapes of its tensors."""
    content = describe_pickle(path)
    keys = set(map(str, content)) if isinstance(content, dict) else set()
    if not {"model", "model_args"} <= keys:
        raise CheckpointError(
            f"{path} holds {name_list(keys)}; expected the ckpt.pt of nanoGPT, a dictionary with"
            " model and model_args. A state_dict alone: save it in Hugging Face format"
        )
    arguments, model = content["model_args"], content["model"]
    if not isinstance(arguments, dict) or not isinstance(model, dict):
        raise CheckpointError(f"{path}: model and model_args are no dictionaries; no nanoGPT")
    config = gpt2_config(_sizes(path, arguments), activation_function="gelu")
    check_sizes(path, config)
    tensors = _tensors(path, model)
    shapes = {name: stored.engine_shape for name, stored in tensors.items()}
    absent: frozenset[str] = frozenset()
    if not arguments.get("bias", True):
        expected = dict(_biases(config, shapes))
        absent = frozenset(expected)
        shapes.update(expected)
    check_tensors(path, config, shapes, "model_args")
    known = {name for name, _ in expected_shapes(config)} | {HEAD}
    if surplus := shapes.keys() - known:
        raise CheckpointError(
            f"{path} holds tensors that nanoGPT's model has not: {name_list(surplus, 4)}; this is"
            " of a fork with another model. Convert it to Hugging Face format if it is a GPT-2"
        )
    return Opened(
        kind="nanogpt",
        config=config,
        weights=(path,),
        tensors=tensors,
        tokenizer=lambda: tokenizer_beside(path.parent, path),
        absent=absent,
        assumed=("activation: the exact GELU of nanoGPT's model.py",),
    )


def _sizes(path: Path, arguments: Mapping[Any, Any]) -> dict[str, Any]:
    missing = [name for name in SIZES if name not in arguments]
    unknown = [str(name) for name in arguments if name not in SIZES and name not in OTHERS]
    if missing or unknown:
        raise CheckpointError(
            f"{path}: model_args lack {name_list(missing, 5)}, and have besides"
            f" {name_list(unknown, 5):.200}; expected {', '.join((*SIZES, *sorted(OTHERS)))}, as"
            " nanoGPT has them. A fork with another model must be converted to Hugging Face format"
        )
    return {ours: arguments[theirs] for theirs, ours in SIZES.items()}


def _tensors(path: Path, model: Mapping[Any, Any]) -> dict[str, Stored]:
    """Places by the engine's names; masks, which old versions kept, left out."""
    tensors = {}
    for key, tensor in model.items():
        name = plain_name(str(key))
        if name.endswith(".attn.bias") and name.count(".") == 3:
            continue
        if not isinstance(tensor, Described) or tensor.dtype not in DTYPES:
            raise CheckpointError(
                f"{path}: {name!r:.80} of the model is no tensor of floating point"
                f" ({tensor!r:.80}); expected the state_dict of nanoGPT's model"
            )
        if tensor.begin is None:
            raise CheckpointError(
                f"{path}: {name!r:.80} is not stored in one piece, row by row; expected a"
                " state_dict as nanoGPT saves it. Load it, make its tensors .contiguous(), and"
                " save it again"
            )
        dtype = DTYPES[tensor.dtype]
        tensors[name] = Stored(path, tensor.begin, dtype, tensor.shape, is_linear(name))
    if tensors.get(HEAD) == tensors.get("wte.weight"):
        tensors.pop(HEAD, None)  # one place under two names, and a sixth of GPT-2's memory
    return tensors


def _biases(config: Mapping[str, Any], shapes: Mapping[str, Any]) -> Any:
    """(name, shape) of every bias of the model that the file has not.

    Only as many layers as the file holds: model_args may ask for ten thousand.
    """
    for name, shape in expected_shapes(config):
        if name.endswith(".bias"):
            if name.removesuffix("bias") + "weight" not in shapes:
                return
            if name not in shapes:
                yield name, shape
