"""What only a CUDA device can show: the same numbers as on the processor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gpt2eval.checkpoint import open_checkpoint
from gpt2eval.model import load_model
from gpt2eval.runner import answer
from gpt2eval.types import Generate, Rolling, Score
from tests.checkpoints import PASSAGE

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]


@pytest.fixture(scope="module", params=["float32", "bfloat16", "float16"])
def cuda_model(request: pytest.FixtureRequest, tiny_checkpoint: Path) -> Any:
    return load_model(open_checkpoint(tiny_checkpoint), "cuda", request.param)


def responses(model: Any, requests: list[Any], **options: Any) -> list[Any]:
    found = sorted(answer(model, requests, **options), key=lambda item: item.number)
    return [item.response for item in found]


@pytest.mark.parametrize("batch_size", [None, 1, 3])
def test_scores(cuda_model: Any, tiny_model: Any, batch_size: int | None) -> None:
    requests = [
        Rolling(PASSAGE * 2),
        *(Score(PASSAGE[:60], ending) for ending in (" ships", " the ships", " a")),
        *(Score(PASSAGE[n : n + 50], " bells") for n in range(20)),
    ]
    tolerance = 1e-4 if cuda_model.dtype == torch.float32 else 0.1
    found = responses(cuda_model, requests, batch_size=batch_size)
    for one, other in zip(found, responses(tiny_model, requests), strict=True):
        assert np.abs(one.logprobs - other.logprobs).max() < tolerance


@pytest.mark.parametrize("batch_size", [None, 1, 3])
def test_texts(cuda_model: Any, tiny_model: Any, batch_size: int | None) -> None:
    """Rows that are given to the next prompt, and rows that stand empty at the end."""
    requests = [Generate(PASSAGE[n : n + 30], 5 + 3 * n) for n in range(10)]
    found = responses(cuda_model, requests, batch_size=batch_size)
    for request, one, other in zip(requests, found, responses(tiny_model, requests), strict=True):
        assert 0 < len(one.tokens) <= request.max_new_tokens
        if cuda_model.dtype == torch.float32:
            assert one.tokens.tolist() == other.tokens.tolist()
