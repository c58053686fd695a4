"""The forward pass of transformers, one text at a time: what our own is held against.

Nothing of the engine is in it but the reading of weights: no batches, no padding, no shared
contexts, attention as its formula stands ("eager"), and logits of the whole vocabulary at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from gpt2eval.checkpoint import Checkpoint
from gpt2eval.errors import CheckpointError
from gpt2eval.formats.config import HEAD
from gpt2eval.model.loading import _config, choose_device
from gpt2eval.model.weights import read_weights

Kernel = Literal["eager", "sdpa"]


@dataclass(frozen=True, slots=True)
class Reference:
    """`GPT2LMHeadModel` of transformers with the weights of a checkpoint."""

    checkpoint: Checkpoint
    model: Any
    device: torch.device

    @torch.inference_mode()
    def log_probs(self, tokens: Sequence[int], count: int) -> Tensor:
        """Log-probabilities of what comes after each of the last `count` tokens, if they stand
        alone: float32 [count, vocabulary].
        """
        states = self.model.transformer(self._row(tokens), use_cache=False).last_hidden_state
        return self._head(states[0, -count:])

    @torch.inference_mode()
    def writer(self, prompt: Sequence[int]) -> Callable[[int | None], Tensor]:
        """A function from the token that was written last to log-probabilities of the next one.

        None asks what comes after the prompt. Keys and values of the text are kept by transformers.
        """
        past: Any = None

        @torch.inference_mode()
        def after(token: int | None) -> Tensor:
            nonlocal past
            row = self._row(prompt if token is None else [token])
            out = self.model.transformer(row, past_key_values=past, use_cache=True)
            past = out.past_key_values
            return self._head(out.last_hidden_state[0, -1:])[0]

        return after

    @torch.inference_mode()
    def parts(self, tokens: Sequence[int]) -> dict[str, Tensor]:
        """What each part of the model adds up to, by the names of `Transformer.forward`.

        float32 [tokens, width] of each; a part is read where the next layer norm takes it in.
        """
        blocks, found = self.model.transformer.h, dict[str, Tensor]()
        places = [("the embedding", blocks[0].ln_1)]
        for number, block in enumerate(blocks):
            following = blocks[number + 1].ln_1 if number + 1 < len(blocks) else None
            places.append((f"h.{number}.attn", block.ln_2))
            places.append((f"h.{number}.mlp", following or self.model.transformer.ln_f))

        def keep(name: str) -> Callable[[Any, Any], None]:
            def read(_module: Any, given: Any) -> None:
                found[name] = given[0][0].float().clone()

            return read

        hooks = [norm.register_forward_pre_hook(keep(name)) for name, norm in places]
        try:
            out = self.model.transformer(self._row(tokens), use_cache=False).last_hidden_state
        finally:
            for hook in hooks:
                hook.remove()
        return {**found, "ln_f": out[0].float()}

    def _row(self, tokens: Sequence[int]) -> Tensor:
        return torch.tensor([list(tokens)], device=self.device)

    def _head(self, states: Tensor) -> Tensor:
        """The head in float32, whatever the dtype of the weights: what the engine promises."""
        head = self.model.lm_head.weight.float()
        return torch.log_softmax(states.float() @ head.t(), dim=-1)


def load_reference(
    checkpoint: Checkpoint, device: str = "auto", dtype: str = "float32", kernel: Kernel = "eager"
) -> Reference:
    """The checkpoint in transformers, on a device and in a dtype; no dropout, nothing trained."""
    from transformers import GPT2LMHeadModel

    place = choose_device(device)
    config = _config(checkpoint)
    config.tie_word_embeddings = False  # the head is set below, tied or not
    config._attn_implementation = kernel
    with torch.random.fork_rng(), torch.device(place):
        model = GPT2LMHeadModel(config).to(getattr(torch, dtype)).eval()
    wanted = dict(model.named_parameters())
    left = set(wanted)
    with torch.no_grad():
        for name, stored in read_weights(checkpoint):
            name = name if name == HEAD else f"transformer.{name}"
            wanted[name].copy_(stored)
            left.discard(name)
        if HEAD in left or checkpoint.config.get("tie_word_embeddings", True):
            model.lm_head.weight.copy_(model.transformer.wte.weight)
            left.discard(HEAD)
    if left:
        raise CheckpointError(
            f"transformers asks more of {checkpoint.path} than gpt2eval reads:"
            f" {', '.join(sorted(left)[:4])}; use another version of transformers"
        )
    return Reference(checkpoint, model, place)
