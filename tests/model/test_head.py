"""The head in pieces says what the whole softmax says, also where tokens are equally likely."""

from __future__ import annotations

import pytest
import torch

from gpt2eval.model import head


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(head.ROWS, "cpu", 16)
    monkeypatch.setitem(head.TOKENS, "cpu", 32)


def _case(dtype: torch.dtype, *, twins: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Hidden states, a head of 101 tokens, and targets: every other one the likeliest token."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(60, 8, generator=generator).to(dtype)
    weights = torch.randn(101, 8, generator=generator).to(dtype)
    if twins:  # each of them also some pieces later, and right beside it
        weights[50:100] = weights[:50].clone()
        weights[1:50:2] = weights[0:49:2].clone()
    targets = torch.randint(0, 101, (60,), generator=generator)
    likeliest = (hidden.float() @ weights.float().t()).argmax(1)
    targets[::2] = likeliest[::2]
    return hidden, weights, targets


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_log_probabilities_are_those_of_the_whole_softmax(dtype: torch.dtype) -> None:
    hidden, weights, targets = _case(dtype, twins=False)
    expected = (hidden.float() @ weights.float().t()).log_softmax(1).gather(1, targets[:, None])
    found, _, _ = head.log_probs(hidden, weights, targets)
    torch.testing.assert_close(found, expected[:, 0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("twins", [False, True])
def test_greedy_is_the_first_of_the_likeliest(twins: bool) -> None:
    # Small whole numbers, whose products are exact: what is equal is equal to the last bit.
    hidden, weights, targets = _case(torch.float32, twins=twins)
    hidden, weights = hidden.mul(2).round(), weights.mul(2).round()
    logits = hidden @ weights.t()
    for chosen in (logits.argmax(1), targets, 100 - logits.flip(1).argmax(1)):  # first, any, last
        _, greedy, allowed = head.log_probs(hidden, weights, chosen)
        expected = torch.tensor(
            [
                row.tolist().index(max(row.tolist())) == int(target)
                for row, target in zip(logits, chosen, strict=True)
            ]
        )
        assert torch.equal(greedy, expected)
        assert torch.equal(allowed, expected)


def test_excluded_tokens_do_not_compete() -> None:
    hidden, weights, targets = _case(torch.float32, twins=True)
    hidden, weights = hidden.mul(2).round(), weights.mul(2).round()
    excluded = torch.arange(101) % 3 == 0
    logits = (hidden @ weights.t()).masked_fill(excluded, -torch.inf)
    targets[::4] = logits.argmax(1)[::4]
    _, greedy, allowed = head.log_probs(hidden, weights, targets, excluded)
    assert torch.equal(allowed, logits.argmax(1) == targets)
    assert torch.equal(greedy, (hidden @ weights.t()).argmax(1) == targets)
    assert not allowed[excluded[targets]].any()
    assert not torch.equal(greedy, allowed)
