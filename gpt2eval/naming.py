"""Names and texts from strangers: as names of files, on every system, and in a terminal."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata

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
