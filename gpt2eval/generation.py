"""`gpt2eval generate`: texts from a checkpoint, by the engine that writes them for tasks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from gpt2eval.data import read_jsonl, read_lines
from gpt2eval.errors import DataError, UsageError
from gpt2eval.naming import unescaped
from gpt2eval.options import DTYPES, SHORT_DTYPES
from gpt2eval.types import Generate, Generated


def _option(help: str, default: Any = None, **more: Any) -> Any:
    return field(default=default, metadata={"help": help, **more})


@dataclass(frozen=True, slots=True)
class GenerateOptions:
    """What to go on from, and how. Raises UsageError for values out of range."""

    model: str = _option(
        "Checkpoint: a directory, a hub id, or demo-base / demo-tuned.",
        default="demo-base",
        metavar="CHECKPOINT",
    )
    tokenizer: str | None = _option(
        "Tokenizer in place of the checkpoint's own: a directory or a hub id.", metavar="DIR|ID"
    )
    prompt: tuple[str, ...] = _option(
        "What to go on from. May be given several times; without it, a line of stdin is a prompt.",
        default=(),
        metavar="TEXT",
        multiple=True,
    )
    prompts: str | None = _option(
        "File with a prompt a line, or JSON lines with 'prompt' (.jsonl); - is stdin.",
        metavar="FILE",
    )
    max_new_tokens: int = _option("Tokens of a text at most.", default=100, metavar="N")
    temperature: float | None = _option(
        "0 always takes the likeliest token.  [default: 1 where something is drawn, else 0]",
        metavar="X",
    )
    top_k: int = _option("Draw among the K likeliest tokens; 0: all.", default=0, metavar="K")
    top_p: float = _option(
        "Draw among the likeliest tokens that make up this probability.", default=1.0, metavar="P"
    )
    repetition_penalty: float = _option(
        "Above 1: make tokens less likely that the text has already.", default=1.0, metavar="X"
    )
    stop: tuple[str, ...] = _option(
        "Text to stop before; \\n is a new line. May be given several times.",
        default=(),
        metavar="TEXT",
        multiple=True,
    )
    num_samples: int = _option("Texts a prompt, each drawn by itself.", default=1, metavar="N")
    seed: int = _option("Seed of what is drawn.", default=0, metavar="N")
    batch_size: int | None = _option(
        "Most texts written at a time, or auto: as many as fit.  [default: auto]",
        metavar="N",
        auto=True,
    )
    dtype: str = _option(f"Precision of the weights: {', '.join(DTYPES)}.", default="float32")
    device: str = _option("Where to compute: auto, cpu, cuda, cuda:N or mps.", default="auto")
    offline: bool = _option("Never use the network.", default=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "dtype", SHORT_DTYPES.get(self.dtype, self.dtype))
        for name in ("max_new_tokens", "num_samples"):
            self._need(name, lambda x: x >= 1, "a whole number of at least 1")
        for name in ("top_k", "seed"):
            self._need(name, lambda x: x >= 0, "a whole number from 0 up")
        self._need("batch_size", lambda x: x is None or x >= 1, "a whole number of at least 1")
        self._need("top_p", lambda x: 0 < x <= 1, "a number above 0, at most 1")
        self._need("repetition_penalty", lambda x: isfinite(x) and x > 0, "a number above 0")
        self._need(
            "temperature", lambda x: x is None or (isfinite(x) and x >= 0), "a number from 0 up"
        )
        self._need("dtype", lambda x: x in DTYPES, f"one of {', '.join(DTYPES)}")
        self._need("stop", lambda x: all(x), "a text that is not empty")
        if self.temperature == 0 and self.drawn:
            raise UsageError(
                "--temperature 0 always takes the likeliest token, so --top-k, --top-p and"
                " --num-samples change nothing; leave one or the other out"
            )
        if self.prompt and self.prompts is not None:
            raise UsageError("--prompt and --prompts exclude each other; give one of them")

    @property
    def drawn(self) -> bool:
        """Whether something is asked for that only sampling can give."""
        return self.top_k > 0 or self.top_p < 1 or self.num_samples > 1

    def _need(self, name: str, fits: Callable[[Any], bool], expected: str) -> None:
        value = getattr(self, name)
        if not fits(value):
            raise UsageError(f"--{name.replace('_', '-')} {value!r}: expected {expected}")


def requests_of(options: GenerateOptions) -> list[Generate]:
    """What is asked of the model, prompt by prompt."""
    temperature = options.temperature
    if temperature is None:
        temperature = 1.0 if options.drawn else 0.0
    return [
        Generate(
            prompt=prompt,
            max_new_tokens=options.max_new_tokens,
            stop=tuple(map(unescaped, options.stop)),
            temperature=temperature,
            top_k=options.top_k,
            top_p=options.top_p,
            repetition_penalty=options.repetition_penalty,
            sample=sample,
        )
        for prompt in _prompts(options)
        for sample in range(options.num_samples)
    ]


def _prompts(options: GenerateOptions) -> list[str]:
    if options.prompt:
        return list(options.prompt)
    if options.prompts is None and sys.stdin.isatty():
        raise UsageError("no prompt: give --prompt TEXT, --prompts FILE, or lines on stdin")
    if options.prompts in (None, "-"):
        try:
            text = sys.stdin.buffer.read().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise DataError(f"stdin is not UTF-8: byte {error.start}") from error
        prompts = [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]
        prompts = prompts if text else []
    else:
        path = Path(str(options.prompts)).expanduser()
        if path.suffix == ".jsonl":
            prompts = [row["prompt"] for row in read_jsonl([path], "prompt")]
        else:
            prompts = [row["text"] for row in read_lines([path])]
    if not prompts:
        raise DataError(f"{options.prompts or 'stdin'} holds no prompt; expected one a line")
    return prompts


def written(
    options: GenerateOptions,
    requests: Sequence[Generate],
    *,
    piece: Callable[[str], None] | None = None,
    plan: Callable[[int], None] = lambda _tokens: None,
    advance: Callable[[int], None] = lambda _tokens: None,
) -> Iterator[tuple[Generate, Generated]]:
    """The answers to requests, in their order.

    piece    told of the text of a single request as it comes, in pieces that make up the whole
    plan, advance  told of the tokens that the work has, and of those that are done
    """
    from gpt2eval.checkpoint import open_checkpoint
    from gpt2eval.model import load_model
    from gpt2eval.runner import answer

    checkpoint = open_checkpoint(
        options.model, offline=options.offline, tokenizer=options.tokenizer
    )
    model = load_model(checkpoint, options.device, options.dtype)
    stream = Stream(model.decode, requests[0].stop)

    def wrote(_number: int, tokens: Sequence[int]) -> None:
        if piece is not None:
            piece(stream.more(tokens))

    waiting: dict[int, Generated] = {}
    following = 0
    for reply in answer(
        model,
        requests,
        seed=options.seed,
        batch_size=options.batch_size,
        on_plan=plan,
        wrote=wrote,
    ):
        advance(reply.tokens)
        assert isinstance(reply.response, Generated)
        waiting[reply.number] = reply.response
        while following in waiting:
            if piece is not None:
                piece(stream.rest(waiting[following].text))
            yield requests[following], waiting.pop(following)
            following += 1


class Stream:
    """A text as it comes: what no later token can change, and what is new of it.

    Held back are the end of a text that may be half a character, and what may become a stop string,
    which is no part of it.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str], stop: Sequence[str]) -> None:
        self.decode, self.stop = decode, stop
        self.shown = 0  # characters

    def more(self, tokens: Sequence[int]) -> str:
        """What can be shown of a text that goes on, besides what was."""
        text = self.decode(tokens).rstrip("\N{REPLACEMENT CHARACTER}")
        return self._new(text[: len(text) - self._held(text)])

    def rest(self, text: str) -> str:
        """What is left of the whole text."""
        return self._new(text)

    def _new(self, text: str) -> str:
        new = text[self.shown :]
        self.shown = max(self.shown, len(text))
        return new

    def _held(self, text: str) -> int:
        """Characters at the end that a stop string begins with."""
        lengths = (n for stop in self.stop for n in range(1, len(stop)) if text.endswith(stop[:n]))
        return max(lengths, default=0)
