"""Names and texts from strangers: as names of files, on every system, and in a terminal."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from pathlib import PurePath

# "checkpoint-500", "step_1000", "global_step20k", "iter=3": a word for steps, then their number.
_STEP = re.compile(
    r"(?<![a-z])(?:checkpoint|ckpt|global[-_]?step|steps?|iter(?:ation)?s?)[-_=]?"
    r"(\d{1,18})([km]?)(?![a-z0-9])",
    re.IGNORECASE,
)
_THOUSANDS = {"": 1, "k": 1_000, "m": 1_000_000}

# What Windows takes for a device, whatever stands behind the first dot.
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def safe_name(text: str, limit: int = 80) -> str:
    """A text as a directory name: ASCII letters, digits, `.`, `_`, `-`; never `.` or `..`."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")
    if len(name) > limit:
        name = f"{name[: limit - 9]}-{hashlib.sha256(os.fsencode(text)).hexdigest()[:8]}"
    if _DEVICES.fullmatch(name):
        name = f"_{name[1:]}" if len(name) == limit else f"_{name}"
    return name or "checkpoint"


def safe_task(name: str) -> str:
    """`task@protocol` as a directory name."""
    return "@".join(map(safe_name, name.split("@", 1)))


def training_step(text: str) -> tuple[str, int] | None:
    """What a name says besides its last training step, and the step; None where it has none."""
    found = list(_STEP.finditer(text))
    if not found:
        return None
    last = found[-1]
    rest = (text[: last.start()] + text[last.end() :]).strip("-_./= ")
    return rest, int(last[1]) * _THOUSANDS[last[2].lower()]


def checkpoint_name(directory: PurePath, parts: int = 1) -> str:
    """What a checkpoint in this directory is called, by so many of the last parts of its path.

    A part that is nothing but a step says too little alone: `runs/a/checkpoint-500` is
    `a-checkpoint-500`, whatever stands beside it, so that its results are found again.
    """
    names = [part for part in directory.parts if part != directory.anchor and part != ".."]
    step = training_step(names[-1]) if names else None
    return safe_name("-".join(names[-max(parts, 2 if step and not step[0] else 1) :]))


def natural_key(text: str) -> list[tuple[int, int, str]]:
    """Sorts names as people do: checkpoint-500 before checkpoint-1000, and step3000 before step20k.

    Digits are compared as numbers, everything else as text.
    """
    keys = []
    for part in PurePath(text).parts:
        step = training_step(part)
        if step is not None:
            keys += [(1, 0, step[0]), (0, step[1], ""), (1, 0, part)]
            continue
        for piece in filter(None, re.split(r"([0-9]+)", part)):
            keys.append(
                (0, int(piece), "") if piece.isascii() and piece.isdigit() else (1, 0, piece)
            )
        keys.append((1, 0, "/"))
    return keys


def visible(text: str) -> str:
    """A text for a terminal: what would move its cursor, colour it or turn it round, as escapes."""
    return "".join(
        char if char in "\n\t" or unicodedata.category(char) not in ("Cc", "Cf") else _escape(char)
        for char in text
    )


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode()


def unescaped(text: str) -> str:
    r"""`\n`, `\t` and `\\` of a command line as what they stand for."""
    meant = {"n": "\n", "t": "\t", "\\": "\\"}
    return re.sub(r"\\([nt\\])", lambda match: meant[match[1]], text)
