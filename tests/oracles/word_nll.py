"""Log-likelihoods and greedy continuations straight from transformers, one sequence at a time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, GPT2LMHeadModel, PreTrainedModel


def load(checkpoint: Path) -> tuple[PreTrainedModel, Any]:
    """Model in float32 and tokenizer."""
    model = GPT2LMHeadModel.from_pretrained(checkpoint, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    tokenizer.model_max_length = 10**9  # no warning about texts longer than the model
    return model, tokenizer


@torch.inference_mode()
def scored(model: PreTrainedModel, tokens: Sequence[int], count: int) -> list[tuple[float, bool]]:
    """(log-probability, is it the arg-max) of the last `count` of these tokens, in one pass."""
    logits = model(torch.tensor([list(tokens[:-1])])).logits[0, -count:].double()
    targets = torch.tensor(list(tokens[-count:]))
    logprobs = logits.log_softmax(-1).gather(1, targets[:, None])[:, 0]
    return list(zip(logprobs.tolist(), (logits.argmax(-1) == targets).tolist(), strict=True))


def rolling(model: PreTrainedModel, tokenizer: Any, text: str) -> list[float]:
    """Log-probabilities of a text of any length, by the rules of lm-eval's rolling windows.

    `<|endoftext|>` comes first; whole windows follow each other, each with the last token of the
    one before as its first input; the last window is filled up from the left.
    """
    size, tokens = model.config.n_positions, tokenizer.encode(text)
    stream = [tokenizer.eos_token_id, *tokens]
    found: list[float] = []
    for begin in range(0, len(tokens), size):
        end = min(begin + size, len(tokens))
        window = stream[max(0, end - size) : end + 1]
        found += [logprob for logprob, _ in scored(model, window, end - begin)]
    return found


def window_of(
    model: PreTrainedModel, tokenizer: Any, context: str, text: str
) -> tuple[list[int], int]:
    """The tokens that score a text after a context, and how many at their end are the text's.

    As lm-eval cuts them: white space at the end of the context goes to the text, the tokens of both
    together are cut at the number of tokens of the context, an empty context is `<|endoftext|>`,
    and the context loses its beginning when the model is too short.
    """
    whole, kept = tokenizer.encode(context + text), context.rstrip()
    scored = len(whole) - len(tokenizer.encode(kept)) if kept else len(whole)
    if not kept:
        whole = [tokenizer.eos_token_id, *whole]
    return whole[-(model.config.n_positions + 1) :], scored


def continuation(
    model: PreTrainedModel, tokenizer: Any, context: str, text: str
) -> list[tuple[float, bool]]:
    """(log-probability, is it the arg-max) for each token of a text after a context."""
    return scored(model, *window_of(model, tokenizer, context, text))


@torch.inference_mode()
def greedy(model: PreTrainedModel, prompt: Sequence[int], limit: int) -> list[int]:
    """The token ids that `generate` adds to a prompt without sampling, `<|endoftext|>` included."""
    ids = torch.tensor([list(prompt)])
    out = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=limit,
        do_sample=False,
        num_beams=1,
        pad_token_id=model.config.eos_token_id,
    )
    return out[0, len(prompt) :].tolist()
