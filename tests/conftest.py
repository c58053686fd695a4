"""Fixtures that several test modules share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# The same examples in every run, and no verdict from how busy the machine is.
settings.register_profile("house", deadline=None, derandomize=True, database=None)
settings.load_profile("house")

# Before any Hugging Face library is imported: no test may ask the network.
for name in (
    "HF_HUB_OFFLINE",
    "HF_DATASETS_OFFLINE",
    "HF_EVALUATE_OFFLINE",
    "TRANSFORMERS_OFFLINE",
):
    os.environ[name] = "1"

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The directory of authentic benchmark files beside the repository; skips without it.

    The environment variable GPT2EVAL_SHARED names the directory above it in its place.
    """
    shared = Path(os.environ.get("GPT2EVAL_SHARED") or ROOT.parent / "shared")
    if not (shared / "data").is_dir():
        pytest.skip(f"authentic benchmark files are not in {shared / 'data'}")
    return shared / "data"


@pytest.fixture
def empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work where there are no `./tasks` and no `results` but what a test puts there."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random GPT-2 of two layers and 64 positions; copy it before changing a file."""
    from tests.checkpoints import make_checkpoint

    return make_checkpoint(tmp_path_factory.mktemp("tiny") / "tiny")


@pytest.fixture(scope="session")
def tiny_model(tiny_checkpoint: Path) -> Any:
    """`tiny_checkpoint`, loaded on the CPU."""
    from gpt2eval.checkpoint import open_checkpoint
    from gpt2eval.model import load_model

    return load_model(open_checkpoint(tiny_checkpoint), "cpu")
