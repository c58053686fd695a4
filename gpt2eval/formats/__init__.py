"""Every form in which a GPT-2 lies on disk, each in a module of its own.

A format is a module with four things: `ACCEPTS`, a line for messages; `detect(path)`, which looks
at names and at most a few bytes; `open(path)`, which reads headers with bounded memory and gives
an `Opened`; and its name in FORMATS. Nothing here imports torch: numbers are read by the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from gpt2eval.errors import CheckpointError
from gpt2eval.formats import adapter, gguf, huggingface, llmc, nanogpt, openai, safetensors
from gpt2eval.formats.files import found, name_list
from gpt2eval.formats.opened import Opened

# A path is taken for the first that says so.
FORMATS: Sequence[ModuleType] = (
    huggingface,
    adapter,
    safetensors,
    nanogpt,
    llmc,
    openai,
    gguf,
)
# Files that a directory may hold in the place of a config.json.
ENDINGS = {".pt", ".pth", ".bin", ".gguf", ".safetensors"}


def open_path(path: Path) -> tuple[Path, Opened]:
    """The checkpoint at a path, and the file or directory that it is.

    Raises CheckpointError, with a list of all that is accepted, where it is none.
    """
    if path.is_dir() and not huggingface.detect(path) and not adapter.detect(path):
        path = _inside(path)
    for form in FORMATS:
        if form.detect(path):
            _check_alone(path)
            opened: Opened = form.open(path)
            return path, opened
    what = "a directory" if path.is_dir() else "a file"
    raise CheckpointError(
        f"{path} is {what} in no format that is known{_reason(path)}; expected {accepted()}"
    )


def accepted() -> str:
    """All that is accepted, as a list for a message."""
    return "one of:\n" + "\n".join(f"  {form.ACCEPTS}" for form in FORMATS)


def _inside(directory: Path) -> Path:
    """The file in a directory without a config.json that is the checkpoint."""
    if index := openai.choose(directory):
        return index
    files = [
        path
        for path in sorted(directory.iterdir())
        if path.suffix in ENDINGS
        and path.name not in huggingface.WEIGHT_FILES
        and path.is_file()
        and _is_model(path)
    ]
    if len(files) > 1:
        raise CheckpointError(
            f"{directory} has no config.json and several checkpoints"
            f" ({name_list(path.name for path in files)}); give one of them: --model {files[-1]}"
        )
    if files:
        return files[0]
    inside = sorted(path.parent for path in directory.glob("*/config.json"))
    hint = f". There is one in {inside[-1]}" if inside else ""
    raise CheckpointError(
        f"{directory} has no config.json (found: {found(directory)}); expected a checkpoint,"
        f" {accepted()}{hint}"
    )


def _is_model(path: Path) -> bool:
    """Whether a file is a checkpoint by itself; of llm.c's, only what is a model."""
    if llmc.detect(path):
        with path.open("rb") as file:
            return int.from_bytes(file.read(4), "little") == llmc.MAGIC
    return any(form.detect(path) for form in (nanogpt, gguf, safetensors))


def _check_alone(path: Path) -> None:
    """Refuse a directory that is both a whole model and an adapter."""
    if (
        path.is_dir()
        and adapter.detect(path)
        and huggingface.detect(path)
        and any((path / name).is_file() for name in adapter.WEIGHTS)
    ):
        raise CheckpointError(
            f"{path} holds a whole model and an adapter; give the file that is meant:"
            f" --model {path / huggingface.WEIGHT_FILES[0]} or --model {path / adapter.CONFIG}"
        )


def _reason(path: Path) -> str:
    if path.is_file():
        with path.open("rb") as file:
            begin = file.read(8)
        return f" (it begins with {begin!r})"
    return f" (found: {found(path)})"
