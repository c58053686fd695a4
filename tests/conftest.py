"""Fixtures that several test modules share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

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
