"""LoRA adapters of PEFT on a base checkpoint, merged tensor by tensor while the base is read.

LoRA and DoRA on the layers, embeddings and head of GPT-2, with rslora, ranks and alphas by pattern,
biases, and whole modules that were trained beside it. What is more than that is refused by name:
merge it with the package that made it. The layout is that of `PeftModel.save_pretrained`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gpt2eval.errors import CheckpointError
from gpt2eval.formats.config import HEAD, expected_shapes, is_linear, read_object
from gpt2eval.formats.files import complete, find_tokenizer, name_list, need_file, own_file
from gpt2eval.formats.opened import Adapter, Opened, Pair, TokenizerFiles
from gpt2eval.formats.safetensors import read_safetensors_header
from gpt2eval.pickled import Described, describe_pickle

ACCEPTS = "a LoRA adapter of PEFT: a directory with adapter_config.json"
CONFIG = "adapter_config.json"
WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
# What may stand in the config of plain LoRA; anything else must be empty or false.
PLAIN = {
    *("alpha_pattern", "auto_mapping", "base_model_name_or_path", "bias", "exclude_modules"),
    *("fan_in_fan_out", "inference_mode", "init_lora_weights", "layers_pattern"),
    *("layers_to_transform", "lora_alpha", "lora_dropout", "megatron_core", "modules_to_save"),
    *("peft_type", "peft_version", "qalora_group_size", "r", "rank_pattern", "revision"),
    *("target_modules", "task_type", "use_dora", "use_rslora"),
}
# What PEFT calls the matrices of a layer, of an embedding, and the magnitudes of DoRA.
PART = re.compile(r"(.+)\.lora_(?:(?:embedding_)?([AB])(?:\.weight)?|(magnitude)_vector)")
REVISION = re.compile(r"(?!/)(?!.*\.\.)[\w./-]{0,200}")  # a part of a path in the hub's cache
# Ways to begin that leave the base as it is; others change it, and the file does not say how.
BEGINNINGS = (True, False, None, "gaussian", "eva", "orthogonal")
EMBEDDINGS = ("wte.weight", "wpe.weight")
MERGE = (
    "Merge it with peft (PeftModel.from_pretrained(...).merge_and_unload().save_pretrained(DIR))"
    " and give that directory"
)


def detect(path: Path) -> bool:
    """Whether a path is the directory of an adapter, or a file of it."""
    if path.is_file():
        return path.name in (CONFIG, *WEIGHTS)
    return path.is_dir() and (path / CONFIG).is_file()


def open(path: Path) -> Opened:
    """What an adapter is and does; whether it fits its base is asked by `check_fit`."""
    directory = path.parent if path.is_file() else path
    config_path = need_file(directory, CONFIG, "which every adapter has")
    config = read_object(config_path)
    _check_config(config_path, config)
    weights = _find_weights(directory)
    shapes = _shapes(weights)
    return Opened(
        kind="adapter",
        config={},
        weights=(config_path, weights),
        tokenizer=lambda: _tokenizer(directory),
        base=str(config["base_model_name_or_path"]),
        base_revision=config.get("revision") or "",
        adapter=_adapter(weights, config, shapes),
    )


def _check_config(path: Path, config: Mapping[str, Any]) -> None:
    kind = config.get("peft_type")
    if kind != "LORA":
        raise CheckpointError(f"{path} is of peft_type {kind!r:.80}; expected 'LORA'. {MERGE}")
    if not isinstance(config.get("base_model_name_or_path"), str) or not str(
        config["base_model_name_or_path"]
    ):
        raise CheckpointError(
            f"{path} names no base_model_name_or_path; write the directory or the hub id of the"
            " base checkpoint into it"
        )
    revision = config.get("revision") or ""
    if not isinstance(revision, str) or not REVISION.fullmatch(revision):
        raise CheckpointError(
            f"{path} says revision = {revision!r:.80}; expected a branch, tag or commit"
            " of the base on the hub, or null"
        )
    more = [key for key, value in config.items() if key not in PLAIN and value]
    if more:
        raise CheckpointError(
            f"{path} is more than plain LoRA: {name_list(more):.200} in it. {MERGE}"
        )
    begun = config.get("init_lora_weights", True)
    if begun not in BEGINNINGS:
        raise CheckpointError(
            f"{path} began with init_lora_weights {begun!r:.80}, which changes the base. {MERGE}"
        )
    for key in ("r", "lora_alpha"):
        if type(config.get(key)) not in (int, float) or not 0 < config[key] < 1e9:
            raise CheckpointError(
                f"{path} says {key} = {config.get(key)!r:.80}; expected a number above 0"
            )
    for key in ("alpha_pattern", "rank_pattern"):
        if not _is_pattern(config.get(key) or {}):
            raise CheckpointError(
                f"{path} says {key} = {config[key]!r:.80}; expected names with numbers"
            )


def _is_pattern(value: Any) -> bool:
    """Whether it is names, or regular expressions that are nothing more, with numbers."""
    return isinstance(value, dict) and all(
        re.fullmatch(r"[\w.^$\\]+", name) and type(number) in (int, float) and 0 < number < 1e9
        for name, number in value.items()
    )


def _find_weights(directory: Path) -> Path:
    for name in WEIGHTS:
        if path := own_file(directory, name):
            return path
    raise CheckpointError(
        f"{directory} is an adapter without weights; expected {' or '.join(WEIGHTS)}"
    )


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    if path.suffix == ".safetensors":
        return {name: tuple(shape) for name, shape in read_safetensors_header(path).items()}
    content = describe_pickle(path)
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__}; expected tensors by name")
    return {
        str(name): tensor.shape for name, tensor in content.items() if isinstance(tensor, Described)
    }


def _adapter(
    path: Path, config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]
) -> Adapter:
    pairs: dict[str, dict[str, str]] = {}
    replaced: dict[str, str] = {}
    for name in shapes:
        ours = _engine_name(name)
        part = PART.fullmatch(ours)
        if part and (part[2] or config.get("use_dora")):
            pairs.setdefault(part[1], {})[part[2] or part[3]] = name
        else:
            replaced[ours] = name
    whole: dict[str, Pair] = {}
    needed = {"A", "B", "magnitude"} if config.get("use_dora") else {"A", "B"}
    for layer, parts in pairs.items():
        if parts.keys() != needed:
            raise CheckpointError(
                f"{path} holds {name_list(parts)} of {layer!r:.80}; expected {name_list(needed)}."
                " The file is damaged; copy or download it again"
            )
        rank = shapes[parts["A"]][0] if len(shapes[parts["A"]]) == 2 else 0
        scaling = _scaling(config, layer, rank)
        whole[f"{layer}.weight"] = Pair(parts["A"], parts["B"], scaling, parts.get("magnitude", ""))
    saved = set(map(str, _listed(config.get("modules_to_save"))))
    own = {HEAD, "wte.weight"} if "wte" in saved else {HEAD}
    own_head = bool(own & replaced.keys() or {HEAD, "wte.weight"} & whole.keys())
    if not whole and not replaced:
        raise CheckpointError(f"{path} holds no tensors; the adapter changes nothing")
    return Adapter(path, whole, replaced, own_head)


def _listed(value: Any) -> Iterable[Any]:
    return value if isinstance(value, list) else ()


def _engine_name(name: str) -> str:
    """The engine's name of a tensor that PEFT saved, `.lora_A.weight` and the like kept."""
    ours = name.removeprefix("base_model.model.").removeprefix("transformer.")
    for middle in (".modules_to_save.default", ".modules_to_save", ".base_layer"):
        ours = ours.replace(middle, "")
    return ours


def _scaling(config: Mapping[str, Any], layer: str, rank: int) -> float:
    """What the product of the two matrices is multiplied by."""
    alpha = config["lora_alpha"]
    for pattern, value in (config.get("alpha_pattern") or {}).items():
        if re.match(
            rf"(.*\.)?({pattern})$", layer if layer == "lm_head" else f"transformer.{layer}"
        ):
            alpha = value
            break
    return float(alpha / (rank**0.5 if config.get("use_rslora") else rank)) if rank else 0.0


def check_fit(opened: Opened, config: Mapping[str, Any]) -> None:
    """CheckpointError where an adapter does not fit the base of this config."""
    adapter = opened.adapter
    assert adapter is not None
    path, shapes = adapter.weights, _shapes(adapter.weights)
    expected = dict(expected_shapes(config))
    expected[HEAD] = expected["wte.weight"]
    for name, pair in adapter.pairs.items():
        if name not in expected or not (is_linear(name) or name in (*EMBEDDINGS, HEAD)):
            raise CheckpointError(
                f"{path} has LoRA on {name!r:.80}; expected it on c_attn, c_proj and c_fc of the"
                f" base's {config.get('n_layer', 12)} layers, wte, wpe or lm_head. {MERGE}"
            )
        a, b = shapes[pair.a], shapes[pair.b]
        ends = expected[name][::-1] if name == HEAD else expected[name]  # in, out
        if len(a) != 2 or len(b) != 2 or a[0] != b[1] or (a[1], b[0]) != ends:
            raise CheckpointError(
                f"{path}: the matrices of {name!r} have shapes {a!s:.80} and {b!s:.80}, which do"
                f" not make {ends} of the base; the adapter is of another base"
            )
        if pair.magnitude and shapes[pair.magnitude] != ends[1:]:
            raise CheckpointError(
                f"{path}: the magnitudes of {name!r} have shape {shapes[pair.magnitude]!s:.80};"
                f" expected {ends[1:]} of the base. The adapter is of another base"
            )
    for name, theirs in adapter.replaced.items():
        if name not in expected:
            raise CheckpointError(
                f"{path} holds {theirs!r:.120}, which plain LoRA on a GPT-2 has not. {MERGE}"
            )
        if shapes[theirs] != expected[name]:
            raise CheckpointError(
                f"{path}: {theirs!r:.120} has shape {shapes[theirs]!s:.80}, the base's {name!r}"
                f" {expected[name]}; the adapter is of another base, or the vocabulary grew. "
                f"{MERGE}"
            )


def _tokenizer(directory: Path) -> TokenizerFiles:
    """The adapter's own tokenizer; nothing where it has that of its base."""
    files = find_tokenizer(directory)
    return complete(files) if files else {}
