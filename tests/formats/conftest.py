"""A checkpoint of Hugging Face to be written in other formats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.checkpoints import make_checkpoint


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two heads of 64, as wide as those of OpenAI, so that files without a config can be read."""
    return make_checkpoint(
        tmp_path_factory.mktemp("original") / "original", vocab=360, n_embd=128, scale=0.08
    )


@pytest.fixture(scope="session")
def original_model(original: Path) -> Any:
    from transformers import GPT2LMHeadModel

    return GPT2LMHeadModel.from_pretrained(original).eval()
