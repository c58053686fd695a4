"""Memory that runs out for real: a limit on the address space of a real process.

Each try loads a model, then allows the process little more than it has. Whatever the limit, the
process must end by itself: with the numbers of an unlimited one, or with an error that says why.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gpt2eval.room import RESERVE
from tests.checkpoints import make_checkpoint

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS is enforced by Linux")

# Arguments: checkpoint, dtype, kind of request, bytes allowed beyond those in use.
ANSWER = """
import json, resource, sys
from gpt2eval.checkpoint import open_checkpoint
from gpt2eval.errors import ModelError
from gpt2eval.model import Model, load_model
from gpt2eval.runner import answer
from gpt2eval.types import Generate, Score

source, dtype, kind, more = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
texts = [f"{n} ships " + "and a book " * (8 + n % 5) for n in range(24)]
asked = [Score(text, " of the keeper") if kind == "score" else Generate(text, 4) for text in texts]
model = load_model(open_checkpoint(source), dtype=dtype)
tried, original = [], Model.hidden
def hidden(self, rows, *arguments, **options):
    tried.append(len(rows))
    return original(self, rows, *arguments, **options)
Model.hidden = hidden
with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * resource.getpagesize()
if more:
    resource.setrlimit(resource.RLIMIT_AS, (used + more, resource.RLIM_INFINITY))
found, error = {}, ""
try:
    for one in answer(model, asked):
        found[one.number] = one.response.logprobs.tolist()
except ModelError as reason:
    error = str(reason)
print(json.dumps({"found": [found.get(n) for n in range(24)], "tried": tried, "error": error}))
"""


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of one wide layer: its batches take far more than its weights."""
    path = tmp_path_factory.mktemp("wide") / "wide"
    make_checkpoint(path, n_layer=1, n_embd=1024, n_head=16)
    return path


def answered(source: Path, dtype: str, kind: str, more: int) -> dict[str, Any]:
    """What the process printed."""
    done = subprocess.run(
        [sys.executable, "-c", ANSWER, str(source), dtype, kind, str(more)],
        # Each further arena of glibc would take 64 MB of address space, by chance of its threads.
        env={**os.environ, "MALLOC_ARENA_MAX": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, (more, done.returncode, done.stderr)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(("dtype", "kind"), [("float32", "generate"), ("bfloat16", "score")])
def test_batches_are_halved_until_they_fit(wide: Path, dtype: str, kind: str) -> None:
    free = answered(wide, dtype, kind, 0)
    tight = answered(wide, dtype, kind, RESERVE + 40_000_000)
    assert tight["error"] == ""
    assert tight["tried"][0] == free["tried"][0]
    assert len(tight["tried"]) > len(free["tried"])
    for one, other in zip(free["found"], tight["found"], strict=True):
        assert one == pytest.approx(other, abs=1e-4 if dtype == "float32" else 0.05)


@pytest.mark.parametrize(("dtype", "kind"), [("float32", "score"), ("bfloat16", "generate")])
def test_no_room_for_one_sequence_is_an_error_not_a_crash(
    wide: Path, dtype: str, kind: str
) -> None:
    found = answered(wide, dtype, kind, 20_000_000)
    assert found["tried"][-1] == 1
    assert "out of memory with a single sequence" in found["error"]
    assert found["found"] == [None] * 24


LIMITED = """
import resource, sys
import torch
from gpt2eval.cli import main
with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv.pop(1)), resource.RLIM_INFINITY))
sys.argv[0] = "gpt2eval"
main()
"""


@pytest.mark.parametrize("more", [[], ["--workers", "2"]], ids=["alone", "workers"])
def test_no_room_for_the_model_ends_the_command_with_words(
    more: list[str], wide: Path, tmp_path: Path
) -> None:
    """More could be loaded than the weights, but not what transformers and the tokenizer take."""
    command = ["run", "--model", str(wide), "--data", "bundled", "--output", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, "300000000", *command, *more],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 4, done.stderr
    assert "out of memory (no room for the weights of wide, about" in done.stderr
    assert "Traceback" not in done.stderr
