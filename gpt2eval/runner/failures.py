"""What becomes of requests that cannot be answered: they are told apart from those that can."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gpt2eval.errors import MACHINE, ModelError
from gpt2eval.model import Model

Failed = Callable[[int, str], None]
"""Called with the number of a request that has no answer, and the reason."""


def stop(_number: int, reason: str) -> None:
    """Let the first request without an answer end the work."""
    raise ModelError(reason)


def of_the_device(error: Exception) -> bool:
    """Whether an accelerator is to blame: nothing that is asked after that has an answer."""
    import torch

    kinds = (getattr(torch, "AcceleratorError", ()), SystemError)
    return isinstance(error, kinds) or "CUDA error" in str(error) or "CUBLAS" in str(error)


def encode(model: Model, texts: Sequence[str]) -> list[list[int] | str]:
    """The token ids of each text, or why it has none: half a surrogate pair, say."""
    try:
        return list(model.encode(texts))
    except MACHINE:
        raise
    except Exception:  # the tokenizer does not say which text it was
        return [_encode(model, text) for text in texts]


def encode_with_starts(model: Model, text: str) -> tuple[list[int], list[int]] | str:
    """The same of a single text, with the character at which each token starts."""
    try:
        return model.encode_with_starts(text)
    except MACHINE:
        raise
    except Exception as error:
        return _untold(text, error)


def _encode(model: Model, text: str) -> list[int] | str:
    try:
        return model.encode([text])[0]
    except MACHINE:
        raise
    except Exception as error:  # tokenizers raises bare ones
        return _untold(text, error)


def _untold(text: str, error: Exception) -> str:
    return f"{text!r:.80} cannot be tokenised ({error!r})"
