"""Embed: the state at the last token, whatever else is in the batch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import GPT2Model

from gpt2eval.runner import answer
from gpt2eval.types import Embed, Embedded
from tests.checkpoints import PASSAGE

TEXTS = ["The lighthouse keeper", "no", PASSAGE, "Le gardien du phare compte les navires", "no"]


def ask(model: Any, *texts: str, **options: Any) -> list[Embedded]:
    found = sorted(answer(model, list(map(Embed, texts)), **options), key=lambda one: one.number)
    assert [one.number for one in found] == list(range(len(texts)))
    return [one.response for one in found]  # type: ignore[misc]


@pytest.mark.oracle
@pytest.mark.parametrize("batch_size", [None, 1, 2])
def test_last_hidden_state_of_transformers(
    tiny_model: Any, tiny_checkpoint: Path, batch_size: int | None
) -> None:
    theirs = GPT2Model.from_pretrained(tiny_checkpoint).eval()
    for text, found in zip(TEXTS, ask(tiny_model, *TEXTS, batch_size=batch_size), strict=True):
        (tokens,) = tiny_model.encode([text])
        assert found.tokens.tolist() == tokens[: tiny_model.n_ctx]
        assert found.truncated == max(0, len(tokens) - tiny_model.n_ctx)
        with torch.inference_mode():
            states = theirs(torch.tensor([found.tokens.tolist()])).last_hidden_state
        np.testing.assert_allclose(found.vector, states[0, -1].numpy(), atol=1e-5)
        assert found.vector.dtype == np.float32


def test_the_same_tokens_are_read_once(tiny_model: Any) -> None:
    planned: list[int] = []
    one, other = ask(tiny_model, "no", "no", on_plan=planned.append)
    assert planned == [len(one.tokens)]
    assert one.vector.tobytes() == other.vector.tobytes()


def test_what_cannot_be_read_is_told_apart(tiny_model: Any) -> None:
    failed: dict[int, str] = {}
    requests = [Embed(""), Embed("a"), Embed("half a pair: \ud800")]
    found = list(answer(tiny_model, requests, on_failed=failed.__setitem__))
    assert [one.number for one in found] == [1]
    assert failed[0] == "nothing to embed in Embed(text=''): it has no tokens"
    assert "cannot be tokenised" in failed[2]


def test_a_vector_that_is_not_finite_is_no_answer(tiny_model: Any) -> None:
    tensors = {**tiny_model.transformer.tensors}
    tensors["ln_f.bias"] = torch.full_like(tensors["ln_f.bias"], torch.nan)
    broken = replace(tiny_model, transformer=_with(tiny_model.transformer, tensors))
    failed: dict[int, str] = {}
    assert list(answer(broken, [Embed("a")], on_failed=failed.__setitem__)) == []
    assert "first in the output of ln_f" in failed[0]


def _with(transformer: Any, tensors: Any) -> Any:
    from copy import copy

    changed = copy(transformer)
    changed.tensors = tensors
    return changed
