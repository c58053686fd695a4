"""What a checkpoint is on disk: found, checked and hashed before any weight is loaded.

Checkpoints are untrusted. Everything here reads JSON and the safetensors header by itself, with
bounded memory, and imports neither torch nor transformers.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from glob import glob, has_magic
from importlib.resources import files
from math import prod
from pathlib import Path
from typing import Any

from gpt2eval.digests import digest_files
from gpt2eval.errors import CheckpointError
from gpt2eval.lineage import read_lineage
from gpt2eval.naming import checkpoint_name, natural_key
from gpt2eval.naming import safe_name as safe_name
from gpt2eval.pickled import check_pickle

BUNDLED = ("demo-base", "demo-tuned")

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
TOKENIZER_FILES = (
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
WEIGHT_DTYPES = ("F64", "F32", "F16", "BF16")
# Files that transformers looks for beside those, when tokenizer_config.json names another class.
OTHER_TOKENIZER_FILES = (
    *("vocab.txt", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model"),
    *("chat_template.jinja", "chat_template.json", "processor_config.json"),
)
ITEM_SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
ITEM_SIZES |= {"I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
# A JSON value takes twenty times its text in memory, so these bound that too.
HEADER_LIMIT = 10_000_000  # bytes; that of GPT-2 XL has 60,000
CONFIG_LIMIT = 10_000_000  # bytes
TOKENIZER_LIMIT = 50_000_000  # bytes of one file; that of 256,000 tokens has 35,000,000
SIZE_LIMIT = 10_000_000  # of a size in config.json
LAYER_LIMIT = 10_000
DIMENSIONS = 8  # of a tensor; GPT-2 has four at most


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A GPT-2 checkpoint in Hugging Face format.

    name              short, unique in a run, safe as a directory name
    path              the directory
    config            config.json
    weights           the weight files, one or many shards
    sha256            of the weights: of the file, or of the "digest  name" lines of the shards
    tokenizer_sha256  of the tokenizer's files, likewise
    kind              "safetensors" or "pytorch"
    source            what the user typed: a path, a hub id, or the name of a bundled checkpoint
    revision          commit on the hub; empty for local directories
    lineage           what `gpt2eval finetune` recorded of how it was made, where it did
    """

    name: str
    path: Path
    config: Mapping[str, Any]
    weights: tuple[Path, ...]
    sha256: str
    tokenizer_sha256: str
    kind: str
    source: str
    revision: str = ""
    lineage: Mapping[str, Any] | None = None

    def size(self, key: str) -> int:
        """A size from config.json (`n_embd`, `n_layer`, ...) or GPT-2's default for it."""
        return int(self.config.get(key, CONFIG_DEFAULTS[key]))


def open_checkpoint(source: str | Path, *, offline: bool = False) -> Checkpoint:
    """Find and check one checkpoint: a directory, a bundled name, or a hub id.

    Raises CheckpointError for anything that is not a complete GPT-2 checkpoint.
    """
    try:
        return _open(source, offline)
    except OSError as error:
        raise CheckpointError(
            f"checkpoint {str(source)!r}: {error.filename or ''} cannot be read ({error.strerror});"
            " check that it is there and its permissions"
        ) from error


def _open(source: str | Path, offline: bool) -> Checkpoint:
    directory, revision = _locate(str(source), offline)
    _check_files(directory)
    config = _read_config(directory)
    weights, kind = _find_weights(directory)
    tokenizer = _find_tokenizer(directory)
    if kind == "safetensors":
        _check_shapes(directory, config, weights)
    else:
        _check_bytes(directory, config, weights)
        for path in weights:
            check_pickle(path)
    return Checkpoint(
        name=safe_name(str(source)) if revision else checkpoint_name(directory.resolve()),
        path=directory,
        config=config,
        weights=weights,
        sha256=digest_files(weights),
        tokenizer_sha256=digest_files(tokenizer),
        kind=kind,
        source=str(source),
        revision=revision,
        lineage=read_lineage(directory),
    )


def open_checkpoints(sources: Sequence[str | Path], *, offline: bool = False) -> list[Checkpoint]:
    """Open several checkpoints and give them names that differ; sources may be globs."""
    return [checkpoint for group in open_groups(sources, offline=offline) for checkpoint in group]


def open_groups(
    sources: Sequence[str | Path], *, names: Sequence[str] = (), offline: bool = False
) -> list[list[Checkpoint]]:
    """The checkpoints of each source, with names that differ from all others.

    sources  directories, hub ids, bundled names, and globs over directories
    names    one for each source, or ""; a source with a name is one checkpoint
    """
    opened = [_open_all(str(source), offline) for source in sources]
    given = names or [""] * len(sources)
    for source, found, name in zip(sources, opened, given, strict=True):
        if name and len(found) > 1:
            raise CheckpointError(
                f"{str(source)!r} is {len(found)} checkpoints, which cannot all be called {name!r};"
                " leave the name out, or give the path of one of them"
            )
    every = [
        (checkpoint, name)
        for found, name in zip(opened, given, strict=True)
        for checkpoint in found
    ]
    told_apart = iter(_told_apart([one for one, _ in every], [name for _, name in every]))
    return [[replace(one, name=next(told_apart)) for one in found] for found in opened]


def _open_all(source: str, offline: bool) -> list[Checkpoint]:
    """The checkpoint of a source, or all that a glob matches."""
    places = expand(source)
    if places == [source]:
        return [open_checkpoint(source, offline=offline)]
    opened, problems = [], []
    for place in places:
        try:
            opened.append(open_checkpoint(place, offline=offline))
        except CheckpointError as error:
            problems.append(str(error))
    if problems:
        more = f"\n  and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise CheckpointError(
            f"{source!r} matches {len(places)} paths, of which {len(problems)} cannot be scored;"
            " narrow it, or name the checkpoints one by one:\n  " + "\n  ".join(problems[:5]) + more
        )
    return opened


def expand(source: str) -> list[str]:
    """What a glob matches, in the order of training steps; anything else is itself.

    Raises CheckpointError for a glob that matches nothing.
    """
    path = Path(source).expanduser()
    if not has_magic(source) or path.exists():
        return [source]
    found = sorted(glob(str(path), recursive=True), key=natural_key)
    if not found:
        raise CheckpointError(
            f"{source!r} matches nothing here ({Path.cwd()}); expected a glob over checkpoints such"
            " as 'runs/*/checkpoint-*', in quotation marks"
        )
    return found


def _told_apart(opened: Sequence[Checkpoint], given: Sequence[str]) -> list[str]:
    """Names that differ: of those that are alike, as much more of the path as it takes.

    given  names that are not to be changed, or ""
    """
    places = [checkpoint.path.resolve() for checkpoint in opened]
    names = [name or checkpoint.name for name, checkpoint in zip(given, opened, strict=True)]
    for parts in range(2, max((len(place.parts) for place in places), default=0)):
        clashing = [
            number
            for number, name in enumerate(names)
            if len({places[n] for n, other in enumerate(names) if other == name}) > 1
        ]
        for number in clashing:
            if not given[number] and not opened[number].revision:
                names[number] = checkpoint_name(places[number], parts)
    unique: list[str] = []
    for number, name in enumerate(names):
        unique.append(f"{name}-{number + 1}" if name in unique else name)
    return unique


def _locate(source: str, offline: bool) -> tuple[Path, str]:
    """The directory of a checkpoint, and its hub revision if it came from there."""
    path = Path(source).expanduser()
    if path.is_dir():
        return path, ""
    if source in BUNDLED:
        return Path(str(files("gpt2eval") / "demo" / source)), ""
    if path.exists():
        raise CheckpointError(
            f"{source!r} is a file; expected the directory that holds config.json and the weights"
        )
    if (
        source.startswith((".", "/", "~"))
        or source.count("/") > 1
        or (os.sep == "\\" and "\\" in source)
    ):
        raise CheckpointError(
            f"checkpoint directory {source!r} does not exist; expected a directory with"
            " config.json, the weights and the tokenizer, or the id of a checkpoint on the hub such"
            " as 'gpt2'"
        )
    return _download(source, offline)


def _download(source: str, offline: bool) -> tuple[Path, str]:
    """Fetch a hub checkpoint into the local cache; only files that hold data, never code."""
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import HFValidationError

    patterns = ["config.json", "*.safetensors", "*.safetensors.index.json", *TOKENIZER_FILES]
    try:
        directory = snapshot_download(
            source,
            allow_patterns=[*patterns, "pytorch_model*.bin", "pytorch_model.bin.index.json"],
            # OpenAI's repositories hold the same weights in several formats.
            ignore_patterns=["onnx/*", "*/*"],
            local_files_only=offline or constants.HF_HUB_OFFLINE,
            etag_timeout=5,
        )
    except HFValidationError as error:
        raise CheckpointError(
            f"checkpoint {source!r} is neither a directory here nor a hub id ({error}); check the"
            " spelling, or give the directory of a checkpoint: --model ./my-checkpoint"
        ) from error
    except Exception as error:  # the hub client raises many unrelated classes
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else ""
        raise CheckpointError(
            f"checkpoint {source!r} is not a directory here, and it could not be had from the"
            f" Hugging Face hub ({type(error).__name__}: {reason}).\n"
            f"With a network, fetch it once:  hf download {source}\n"
            "Or give the directory of a local checkpoint:  --model ./my-checkpoint"
        ) from error
    path = Path(directory)
    return path, path.name


def _check_files(directory: Path) -> None:
    """Refuse what would be read from elsewhere, without end, or at any length.

    A link may lead to a file inside the directory, or, in the hub's cache, to a blob of the same
    repository. Elsewhere it could make a stranger's checkpoint read any file of its user.
    """
    home = directory.resolve()
    homes = [home]
    if home.parent.name == "snapshots":
        homes.append(home.parent.parent / "blobs")
    for path in directory.iterdir():
        tokenizer = path.name in (*TOKENIZER_FILES, *OTHER_TOKENIZER_FILES)
        if not tokenizer and path.suffix not in (".json", ".safetensors", ".bin"):
            continue
        target = Path(os.path.realpath(path))  # which lets a link to itself be
        if not any(target.is_relative_to(place) for place in homes):
            raise CheckpointError(
                f"{path} is a link to {target}, outside of the checkpoint; copy the file itself"
            )
        if not path.is_file() and not path.is_dir() and not path.is_symlink():
            raise CheckpointError(f"{path} is neither a file nor a directory; expected a file")
        if tokenizer and path.is_file() and path.stat().st_size > TOKENIZER_LIMIT:
            raise CheckpointError(
                f"{path} has {path.stat().st_size} bytes; expected at most {TOKENIZER_LIMIT} of a"
                " file of a tokenizer"
            )


def _read_config(directory: Path) -> Mapping[str, Any]:
    path = directory / "config.json"
    if not path.is_file():
        raise CheckpointError(
            f"{directory} has no config.json (found: {_found(directory)}); expected a GPT-2"
            f" checkpoint in Hugging Face format, as save_pretrained writes it{_hint(directory)}"
        )
    config = _read_json(path)
    if not isinstance(config, dict):
        raise CheckpointError(f"{path} holds a {type(config).__name__}; expected a JSON object")
    kind = config.get("model_type")
    if kind is None:
        raise CheckpointError(
            f'{path} has no model_type; expected "model_type": "gpt2". Add it if this is a GPT-2'
        )
    if kind != "gpt2":
        raise CheckpointError(
            f"{directory} is a checkpoint of model_type {kind!r}; gpt2eval scores 'gpt2' only,"
            " choose a GPT-2 checkpoint"
        )
    for key, others in CONFIG_ALIASES.items():
        given = [config[name] for name in (key, *others) if config.get(name) is not None]
        config.update({key: given[0]} if given else {})
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
    return config


def _check_size(path: Path, key: str, value: object, limit: int) -> None:
    if type(value) is not int or value <= 0:
        raise CheckpointError(f"{path} says {key} = {value!r:.80}; expected a positive integer")
    if value > limit:
        raise CheckpointError(f"{path} says {key} = {value}; expected at most {limit}")


def _found(directory: Path) -> str:
    names = sorted(path.name for path in directory.iterdir())
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "") or "nothing"


def _hint(directory: Path) -> str:
    """What a directory without a config may be instead, and what to do then."""
    if (directory / "adapter_config.json").is_file():
        return ". This is an adapter: merge it into its base model and save that"
    inside = sorted(path.parent for path in directory.glob("*/config.json"))
    return f". There is one in {inside[-1]}" if inside else ""


def _read_json(path: Path) -> Any:
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


def _find_weights(directory: Path) -> tuple[tuple[Path, ...], str]:
    for name in WEIGHT_FILES:
        kind = "safetensors" if name.endswith(".safetensors") else "pytorch"
        index = directory / f"{name}.index.json"
        if (directory / name).is_file():
            return (directory / name,), kind
        if index.is_file():
            return _shards(directory, index), kind
    raise CheckpointError(
        f"{directory} has no weights (found: {_found(directory)}); expected model.safetensors or"
        " pytorch_model.bin, or one of them in shards with its .index.json, as save_pretrained"
        " writes them"
    )


def _shards(directory: Path, index: Path) -> tuple[Path, ...]:
    content = _read_json(index)
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


def _find_tokenizer(directory: Path) -> list[Path]:
    found = [directory / name for name in TOKENIZER_FILES if (directory / name).is_file()]
    names = {path.name for path in found}
    if "tokenizer.json" not in names and not {"vocab.json", "merges.txt"} <= names:
        raise CheckpointError(
            f"{directory} has no tokenizer; expected tokenizer.json, or vocab.json with merges.txt"
            " (for OpenAI's vocabulary: save_pretrained of the tokenizer of 'gpt2')"
        )
    return found


def _check_shapes(directory: Path, config: Mapping[str, Any], weights: Iterable[Path]) -> None:
    """Compare every tensor's shape with what the config promises, from the headers alone."""
    shapes: dict[str, list[int]] = {}
    for path in weights:
        shapes.update(read_safetensors_header(path))
    shapes = {name.removeprefix("transformer."): shape for name, shape in shapes.items()}
    for name, expected in expected_shapes(config):
        if name not in shapes:
            raise CheckpointError(
                f"{directory}: the weights lack {name!r}, which config.json promises; found"
                f" {len(shapes)} tensors. {_ANOTHER}"
            )
        if tuple(shapes[name]) != expected:
            raise CheckpointError(
                f"{directory}: tensor {name!r} has shape {tuple(shapes[name])}; config.json"
                f" promises {expected}. {_ANOTHER}"
            )
    layers = config.get("n_layer", CONFIG_DEFAULTS["n_layer"])
    for name in shapes:
        if (layer := re.match(r"h\.(\d+)\.", name)) and int(layer[1]) >= layers:
            raise CheckpointError(
                f"{directory}: the weights hold {name!r}; config.json promises n_layer = {layers},"
                f" numbered from 0. {_ANOTHER}"
            )


_ANOTHER = "One of the two belongs to another checkpoint: copy both from the same place"


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
