"""How a token stream longer than the model is cut into windows: pure arithmetic, no model.

A stream is everything that conditions or is scored, in order. A window feeds `stream[begin:end]`
to the model and scores the last `count` of the tokens `stream[begin+1 : end+1]`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Window:
    """One pass over at most n_ctx tokens; `weight` is that of each scored token in a mean."""

    begin: int
    end: int
    count: int
    weight: float = 1.0

    @property
    def first(self) -> int:
        """Index in the stream of the first scored token."""
        return self.end + 1 - self.count


def disjoint(scored: int, n_ctx: int) -> Iterator[Window]:
    """lm-evaluation-harness's rolling windows over one prefix token and `scored` tokens.

    Each token is scored once; each window but the first sees one token of the one before, and the
    last is moved back so that it is full (`get_rolling_token_windows` with context_len=1).
    """
    done = 0
    while done < scored:
        count = min(n_ctx, scored - done)
        end = done + count
        yield Window(max(0, end - n_ctx), end, count)
        done = end


def hf_docs(length: int, n_ctx: int, stride: int) -> Iterator[Window]:
    """The perplexity guide of transformers over `length` tokens without a prefix.

    Windows begin every `stride` tokens. The guide weights the mean loss of a window by its labels
    minus one, although a window with context loses no label to the shift: hence the weight.
    """
    covered = 0
    for begin in range(0, length, stride):
        end = min(begin + n_ctx, length)
        labels = end - covered
        count = min(labels, end - begin - 1)  # the first token of a window has no predecessor
        if count > 0:
            yield Window(begin, end - 1, count, (labels - 1) / count)
        covered = end
        if end == length:
            return


def sliding(scored: int, n_ctx: int, stride: int) -> Iterator[Window]:
    """Full windows that advance by `stride`, over one prefix token and `scored` tokens.

    Each token is scored once, with at least n_ctx - stride tokens of context where there are any.
    """
    done = 0
    while done < scored:
        end = min(scored, done + stride if done else n_ctx)
        yield Window(max(0, end - n_ctx), end, end - done)
        done = end


def continuation(context: int, scored: int, n_ctx: int) -> Iterator[Window]:
    """Windows that score the last `scored` of `context + scored` tokens (context >= 1).

    One window with as much context as fits; a continuation longer than the model is rolled over
    like a text whose prefix is the last token of the context.
    """
    if scored <= n_ctx:
        end = context + scored - 1
        yield Window(max(0, end - n_ctx), end, scored)
        return
    for window in disjoint(scored, n_ctx):
        shift = context - 1
        yield Window(window.begin + shift, window.end + shift, window.count)
