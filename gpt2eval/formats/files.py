"""Files of a checkpoint: whether they may be read, and which of them make a tokenizer."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

from gpt2eval.errors import CheckpointError
from gpt2eval.formats.opened import TokenizerFiles

TOKENIZER_FILES = (
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
# Files that transformers looks for beside those, when tokenizer_config.json names another class.
OTHER_TOKENIZER_FILES = (
    *("vocab.txt", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model"),
    *("chat_template.jinja", "chat_template.json", "processor_config.json"),
)
# What OpenAI's release calls vocab.json and merges.txt.
OPENAI_NAMES = {"vocab.json": "encoder.json", "merges.txt": "vocab.bpe"}
TOKENIZER_LIMIT = 50_000_000  # bytes of one file; that of 256,000 tokens has 35,000,000
END_OF_TEXT = "<|endoftext|>"
# What tells transformers the class where nothing else does.
PLAIN_CONFIG = json.dumps(
    {
        "tokenizer_class": "GPT2Tokenizer",
        **dict.fromkeys(("bos_token", "eos_token", "unk_token"), END_OF_TEXT),
    }
).encode()


def check_file(path: Path) -> None:
    """Refuse what would be read from elsewhere, without end, or at any length.

    A link may lead to a file inside the directory, or, in the hub's cache, to a blob of the same
    repository. Elsewhere it could make a stranger's checkpoint read any file of its user.
    """
    home = path.parent.resolve()
    homes = [home]
    if home.parent.name == "snapshots":
        homes.append(home.parent.parent / "blobs")
    target = Path(os.path.realpath(path))  # which lets a link to itself be
    if not any(target.is_relative_to(place) for place in homes):
        raise CheckpointError(
            f"{path} is a link to {target}, outside of the checkpoint; copy the file itself"
        )
    if not path.is_file() and not path.is_dir() and not path.is_symlink():
        raise CheckpointError(f"{path} is neither a file nor a directory; expected a file")
    tokenizer = path.name in (*TOKENIZER_FILES, *OTHER_TOKENIZER_FILES, *OPENAI_NAMES.values())
    if tokenizer and path.is_file() and path.stat().st_size > TOKENIZER_LIMIT:
        raise CheckpointError(
            f"{path} has {path.stat().st_size} bytes; expected at most {TOKENIZER_LIMIT} of a"
            " file of a tokenizer"
        )


def own_file(directory: Path, name: str) -> Path | None:
    """A file of a directory, checked; None where there is none of that name."""
    path = directory / name
    if not os.path.lexists(path):
        return None
    check_file(path)
    return path if path.is_file() else None


def need_file(directory: Path, name: str, what: str) -> Path:
    """The same; CheckpointError where it is missing. `what` says what it is needed for."""
    path = own_file(directory, name)
    if path is None:
        raise CheckpointError(
            f"{directory} has no {name} (found: {found(directory)}), {what}; copy or download it"
            " too"
        )
    return path


def found(directory: Path) -> str:
    """The first names in a directory, for a message."""
    names = sorted(path.name for path in directory.iterdir())
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "") or "nothing"


def name_list(names: Iterable[str], most: int = 8) -> str:
    """Some names for a message."""
    listed = sorted(names)
    return ", ".join(listed[:most]) + (", ..." if len(listed) > most else "") or "none"


def find_tokenizer(directory: Path) -> TokenizerFiles | None:
    """The files of a tokenizer in a directory; None where there are too few.

    tokenizer.json, or vocab.json with merges.txt, or these two under OpenAI's names.
    """
    files = {name: path for name in TOKENIZER_FILES if (path := own_file(directory, name))}
    if "tokenizer.json" in files or {"vocab.json", "merges.txt"} <= files.keys():
        return files
    named = {ours: own_file(directory, theirs) for ours, theirs in OPENAI_NAMES.items()}
    openai = {ours: path for ours, path in named.items() if path}
    return {**files, **openai} if len(openai) == len(OPENAI_NAMES) else None


def tokenizer_beside(directory: Path, what: Path) -> TokenizerFiles:
    """The tokenizer in the directory of a checkpoint that does not hold one itself.

    what  the checkpoint, for the message
    """
    files = find_tokenizer(directory)
    if files is None:
        raise CheckpointError(
            f"{what} brings no tokenizer, and {directory} has none (found: {found(directory)});"
            " expected tokenizer.json, or vocab.json with merges.txt, or encoder.json with"
            " vocab.bpe beside it. Or name one: --tokenizer DIR or a hub id such as"
            " --tokenizer gpt2"
        )
    return complete(files, directory)


def complete(files: TokenizerFiles, directory: Path | None = None) -> TokenizerFiles:
    """The files, with what tells transformers the class of the tokenizer."""
    if "tokenizer_config.json" in files:
        return files
    if directory and (config := own_file(directory, "config.json")):
        return {**files, "config.json": config}
    return {**files, "tokenizer_config.json": PLAIN_CONFIG}
