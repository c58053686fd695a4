"""Checkpoints of a training run: written as Hugging Face does, found again after a kill."""

from __future__ import annotations

import errno
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

from gpt2eval.errors import StoreError, UsageError
from gpt2eval.finetuning.options import FREE, flag
from gpt2eval.formats.files import TOKENIZER_FILES
from gpt2eval.lineage import LINEAGE, lineage_text, read_lineage
from gpt2eval.results import finite, write_atomically

FULL = ("no space left", "file too large", "disk quota", "os error 28", "os error 27")


def save_model(model: Any, directory: Path, *, merge: bool = True) -> None:
    """Write the weights of a model under training, with what its adapters add unless told not to.

    The adapters are merged into a copy: the training goes on as if nothing had happened.
    """
    if merge and hasattr(model, "merge_and_unload"):
        model = deepcopy(model).merge_and_unload()
    model.save_pretrained(directory)


def save_tokenizer(tokenizer: Any, directory: Path) -> None:
    """Write a tokenizer; one that is given as a directory is copied, so that its digest stays."""
    if not isinstance(tokenizer, (str, Path)):
        tokenizer.save_pretrained(directory)
        return
    for name in TOKENIZER_FILES:
        if (Path(tokenizer) / name).is_file():
            shutil.copyfile(Path(tokenizer) / name, directory / name)


def write_lineage(directory: Path, content: Mapping[str, Any]) -> None:
    """Write the record of a checkpoint, last of all: a directory that has one is complete."""
    write_atomically(directory / LINEAGE, lineage_text(finite(content)))


def begun(output: Path, plan: Mapping[str, Any]) -> dict[str, Any] | None:
    """The record of the same plan in the output directory; None where that is empty.

    Raises UsageError where it is somebody else's, or that of another plan.
    """
    if all(each.name == "lock" for each in output.iterdir()):
        return None
    found = read_lineage(output)
    if found is None:
        raise UsageError(
            f"--output {str(output)!r} exists and is no output of gpt2eval finetune; give another"
            " directory, or delete it"
        )
    _check_same(output, found, plan)
    return found


def _check_same(output: Path, found: Mapping[str, Any], plan: Mapping[str, Any]) -> None:
    """UsageError for the first field in which the plan differs from the one that is under way."""
    for name in ("sha256", "tokenizer_sha256"):
        before, now = found.get("base", {}).get(name), plan["base"][name]
        if before != now:
            raise UsageError(_differs(output, f"--model, {name}", before, now))
    before, now = found.get("train", {}).get("files", {}), plan["train"]["files"]
    if list(before.values()) != list(now.values()):  # the same files may be named another way
        raise UsageError(_differs(output, "--train, files", before, now))
    old = found.get("arguments", {})
    for name, now in plan["arguments"].items():
        if name not in (*FREE, "model", "train") and old.get(name) != now:
            raise UsageError(_differs(output, flag(name), old.get(name), now))


def _differs(output: Path, what: str, before: object, now: object) -> str:
    return (
        f"--output {str(output)!r} holds a fine-tuning with another configuration: {what} was"
        f" {before!r:.200}, now {now!r:.200}. Give the command that began it, or another --output"
    )


def last_checkpoint(output: Path) -> Path | None:
    """The complete checkpoint with the most steps; those that a kill tore are deleted."""
    found: dict[int, Path] = {}
    for path in output.iterdir():
        if (step := re.fullmatch(r"checkpoint-(\d+)", path.name)) and path.is_dir():
            if (path / LINEAGE).is_file():
                found[int(step[1])] = path
            else:
                shutil.rmtree(path)
    return found[max(found)] if found else None


@contextmanager
def saving(output: Path) -> Iterator[None]:
    """Turn what torch and safetensors raise on a full disk into a StoreError."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise StoreError(_full(output, str(error.strerror))) from error
    except Exception as error:  # their classes have nothing in common
        text = " ".join(str(error).split())
        torn = "PytorchStreamWriter" in text or "unexpected pos" in text
        if torn or any(word in text.lower() for word in FULL):
            raise StoreError(_full(output, text)) from error
        raise


def _full(output: Path, reason: str) -> str:
    return (
        f"a checkpoint in {output} could not be saved ({reason:.200}); make room and run the same"
        " command again, which goes on from the last one that is complete"
    )
