"""The tutorial, typed line by line: every command, its exit code, and what it is said to print."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_docs import blocks

EXIT = re.compile(r"\s+# exit code (\d)$")

pytestmark = pytest.mark.slow


def steps() -> list[tuple[str, list[str]]]:
    """Each line after a `$`, and the lines it is said to print."""
    found: list[tuple[str, list[str]]] = []
    for block in blocks("docs/tutorial.md", "console"):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line.removeprefix("$ "), []))
            elif line.strip() != "...":
                found[-1][1].append(line)
    return found


def test_the_tutorial_does_what_it_says(tmp_path: Path) -> None:
    taught = steps()
    assert len(taught) >= 8
    for line, said in taught:
        code = EXIT.search(line)
        words = shlex.split(EXIT.sub("", line))
        assert words[0] in ("gpt2eval", "ls"), line
        command = words if words[0] == "ls" else [sys.executable, "-m", *words]
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env={**os.environ, "COLUMNS": "110"},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == int(code[1] if code else 0), f"{line}\n{done.stderr}"
        shown = " ".join((done.stdout + done.stderr).split())
        for text in said:
            assert " ".join(text.split()) in shown, f"{line} does not print: {text}\n{shown}"
