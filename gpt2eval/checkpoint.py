"""What a checkpoint is on disk: found, checked and hashed before any weight is loaded.

Checkpoints are untrusted. Everything here reads JSON and the safetensors header by itself, with
bounded memory, and imports neither torch nor transformers.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from glob import glob, has_magic
from importlib.resources import files
from pathlib import Path
from typing import Any

from gpt2eval.digests import digest_files, digest_items, digest_named
from gpt2eval.errors import CheckpointError
from gpt2eval.formats import open_path
from gpt2eval.formats.adapter import check_fit
from gpt2eval.formats.config import CONFIG_DEFAULTS as CONFIG_DEFAULTS
from gpt2eval.formats.config import expected_shapes as expected_shapes
from gpt2eval.formats.files import TOKENIZER_FILES, complete, find_tokenizer, found
from gpt2eval.formats.opened import Adapter, Opened, Stored, TokenizerFiles
from gpt2eval.formats.safetensors import read_safetensors_header as read_safetensors_header
from gpt2eval.lineage import read_lineage
from gpt2eval.naming import checkpoint_name, natural_key
from gpt2eval.naming import safe_name as safe_name

BUNDLED = ("demo-base", "demo-tuned")
# Names of files that say nothing of the checkpoint; its directory does.
GENERIC = ("model", "pytorch_model", "ckpt", "model.ckpt", "adapter_model", "adapter_config")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A GPT-2 checkpoint, in any of the formats of `gpt2eval.formats`.

    name              short, unique in a run, safe as a directory name
    path              the directory, or the file
    config            config.json, or what it would say
    weights           the weight files, one or many shards
    sha256            of the weights: of the file, or of the "digest  name" lines of the shards; of
                      an adapter: of its files' digest and the digest of its base
    tokenizer_sha256  of the tokenizer's files, likewise
    kind              the format: "safetensors", "pytorch", "adapter", "nanogpt", "llm.c",
                      "tensorflow" or "gguf"
    source            what the user typed: a path, a hub id, or the name of a bundled checkpoint
    revision          commit on the hub; empty for local directories
    lineage           what `gpt2eval finetune` recorded of how it was made, where it did
    tokenizer         the tokenizer's files
    tensors, absent, assumed, adapter  see `gpt2eval.formats.opened.Opened`
    base              the checkpoint below an adapter
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
    tokenizer: TokenizerFiles = field(default_factory=dict)
    tensors: Mapping[str, Stored] | None = None
    absent: frozenset[str] = frozenset()
    assumed: tuple[str, ...] = ()
    adapter: Adapter | None = None
    base: Checkpoint | None = None

    def size(self, key: str) -> int:
        """A size from the config (`n_embd`, `n_layer`, ...) or GPT-2's default for it."""
        return int(self.config.get(key, CONFIG_DEFAULTS[key]))


def open_checkpoint(
    source: str | Path, *, offline: bool = False, tokenizer: str | None = None
) -> Checkpoint:
    """Find and check one checkpoint: a directory, a file, a bundled name, or a hub id.

    tokenizer  where the tokenizer is taken from instead: a directory or a hub id

    Raises CheckpointError for anything that is not a complete GPT-2 checkpoint.
    """
    try:
        return _open(source, offline, tokenizer)
    except OSError as error:
        raise CheckpointError(
            f"checkpoint {str(source)!r}: {error.filename or ''} cannot be read ({error.strerror});"
            " check that it is there and its permissions"
        ) from error


def _open(
    source: str | Path,
    offline: bool,
    tokenizer: str | None,
    *,
    is_base: bool = False,
    revision: str = "",
) -> Checkpoint:
    """revision: of a hub id; the last commit of its main branch where it is empty."""
    place, revision = _locate(str(source), offline, revision=revision)
    path, opened = open_path(place)
    if opened.adapter and is_base:
        raise CheckpointError(f"{path} is an adapter itself; merge it into its own base first")
    base = _open_base(path, opened, offline, tokenizer) if opened.adapter else None
    if tokenizer:
        found_files = _other_tokenizer(tokenizer, offline)
    else:
        found_files = opened.tokenizer() or (base.tokenizer if base else {})
    digest = digest_files(opened.weights)
    config, adapter = opened.config, opened.adapter
    if base and adapter:
        check_fit(opened, base.config)
        digest = digest_items([digest, base.sha256])
        config = {**base.config}
        if not config.get("tie_word_embeddings", True):
            adapter = replace(adapter, own_head=False)  # the base's own, which stays or is replaced
        elif adapter.own_head:
            config["tie_word_embeddings"] = False
    return Checkpoint(
        name=safe_name(str(source)) if revision else _name(place),
        path=path,
        config=config,
        weights=opened.weights,
        sha256=digest,
        tokenizer_sha256=digest_named(found_files),
        kind=opened.kind,
        source=str(source),
        revision=revision,
        lineage=read_lineage(path) if path.is_dir() else None,
        tokenizer=found_files,
        tensors=opened.tensors,
        absent=base.absent if base else opened.absent,
        assumed=base.assumed if base else opened.assumed,
        adapter=adapter,
        base=base,
    )


def _name(path: Path) -> str:
    """What a directory or a file is called in a run."""
    if path.is_dir():
        return checkpoint_name(path.resolve())
    whole = path.absolute()
    stem = whole.name.removesuffix(".index") if whole.suffix == ".index" else whole.stem
    return checkpoint_name(whole.parent) if stem in GENERIC else safe_name(stem)


def _open_base(path: Path, opened: Opened, offline: bool, tokenizer: str | None) -> Checkpoint:
    """The checkpoint that an adapter is for. A path is relative to where we are, as in PEFT."""
    try:
        return _open(opened.base, offline, tokenizer, is_base=True, revision=opened.base_revision)
    except CheckpointError as error:
        raise CheckpointError(
            f"the base of the adapter {path} cannot be had: {error}\n"
            f"Its adapter_config.json names it as base_model_name_or_path: {opened.base!r:.200}"
            + (f", revision: {opened.base_revision!r:.80}" if opened.base_revision else "")
        ) from error


def _other_tokenizer(source: str, offline: bool) -> TokenizerFiles:
    """The files of `--tokenizer`."""
    path, _ = _locate(source, offline, tokenizer=True)
    found_files = find_tokenizer(path) if path.is_dir() else None
    if found_files is None:
        raise CheckpointError(
            f"--tokenizer {source!r} is no directory with a tokenizer (found:"
            f" {found(path) if path.is_dir() else 'a file'}); expected tokenizer.json, or"
            " vocab.json with merges.txt, or encoder.json with vocab.bpe"
        )
    return complete(found_files, path)


def open_checkpoints(
    sources: Sequence[str | Path], *, offline: bool = False, tokenizer: str | None = None
) -> list[Checkpoint]:
    """Open several checkpoints and give them names that differ; sources may be globs."""
    groups = open_groups(sources, offline=offline, tokenizer=tokenizer)
    return [checkpoint for group in groups for checkpoint in group]


def open_groups(
    sources: Sequence[str | Path],
    *,
    names: Sequence[str] = (),
    offline: bool = False,
    tokenizer: str | None = None,
) -> list[list[Checkpoint]]:
    """The checkpoints of each source, with names that differ from all others.

    sources    directories, files, hub ids, bundled names, and globs
    names      one for each source, or ""; a source with a name is one checkpoint
    tokenizer  in place of their own
    """
    opened = [_open_all(str(source), offline, tokenizer) for source in sources]
    given = names or [""] * len(sources)
    for source, group, name in zip(sources, opened, given, strict=True):
        if name and len(group) > 1:
            raise CheckpointError(
                f"{str(source)!r} is {len(group)} checkpoints, which cannot all be called {name!r};"
                " leave the name out, or give the path of one of them"
            )
    every = [
        (checkpoint, name)
        for group, name in zip(opened, given, strict=True)
        for checkpoint in group
    ]
    told_apart = iter(_told_apart([one for one, _ in every], [name for _, name in every]))
    return [[replace(one, name=next(told_apart)) for one in group] for group in opened]


def _open_all(source: str, offline: bool, tokenizer: str | None) -> list[Checkpoint]:
    """The checkpoint of a source, or all that a glob matches."""
    places = expand(source)
    if places == [source]:
        return [open_checkpoint(source, offline=offline, tokenizer=tokenizer)]
    opened, problems = [], []
    for place in places:
        try:
            opened.append(open_checkpoint(place, offline=offline, tokenizer=tokenizer))
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
    matched = sorted(glob(str(path), recursive=True), key=natural_key)
    if not matched:
        raise CheckpointError(
            f"{source!r} matches nothing here ({Path.cwd()}); expected a glob over checkpoints such"
            " as 'runs/*/checkpoint-*', in quotation marks"
        )
    return matched


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


def _locate(
    source: str, offline: bool, *, tokenizer: bool = False, revision: str = ""
) -> tuple[Path, str]:
    """The directory or file of a checkpoint, and its hub revision if it came from there.

    tokenizer  whether nothing but the tokenizer is wanted of it
    """
    path = Path(source).expanduser()
    if path.is_dir() or path.is_file() or path.with_name(f"{path.name}.index").is_file():
        return path, ""
    if source in BUNDLED:
        return Path(str(files("gpt2eval") / "demo" / source)), ""
    if path.exists():
        raise CheckpointError(
            f"{source!r} is neither a file nor a directory; expected a checkpoint"
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
    return _download(source, offline, tokenizer, revision)


def _download(source: str, offline: bool, tokenizer: bool, revision: str) -> tuple[Path, str]:
    """Fetch a hub checkpoint into the local cache; only files that hold data, never code."""
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import HFValidationError

    patterns = ["config.json", *TOKENIZER_FILES]
    if not tokenizer:
        patterns += ["*.safetensors", "*.safetensors.index.json", "adapter_config.json"]
        patterns += ["pytorch_model*.bin", "pytorch_model.bin.index.json", "adapter_model.bin"]
    try:
        directory = snapshot_download(
            source,
            revision=revision or None,
            allow_patterns=patterns,
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
            f"With a network, fetch it once:  hf download {source}"
            + (f" --revision {revision}\n" if revision else "\n")
            + "Or give the directory of a local checkpoint:  --model ./my-checkpoint"
        ) from error
    path = Path(directory)
    return path, path.name
