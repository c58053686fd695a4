"""From examples to rows of tokens, and from rows to batches.

Rows are padded on the right, where a causal model never looks, so no mask is needed; and a position
that begins again at 0 begins a new sequence, which transformers gives a mask of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gpt2eval.errors import DataError, UsageError
from gpt2eval.finetuning.options import FinetuneOptions
from gpt2eval.finetuning.texts import Example

IGNORED = -100  # the label that the loss leaves out
PIECE = 1 << 20  # characters that are tokenised in one piece
GROUP = 512  # examples that are tokenised at a time
OPEN_ROWS = 50  # rows that may still be filled
HELD_OUT = 8_192  # tokens at most: what two checkpoints differ by in them is known to 0.01 nats

Tokens = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Row:
    """Token ids, the place of each in its own sequence, and whether it is learned."""

    ids: Tokens
    positions: Tokens
    learned: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Rows:
    """All rows of a training run, as a data set of torch, and how many examples they hold.

    skipped  examples that were longer than a row
    cut      whether there are texts among them, which were cut to rows
    """

    rows: Sequence[Row]
    examples: int
    skipped: int
    cut: bool

    @property
    def tokens(self) -> int:
        """Tokens of one pass over the rows."""
        return sum(len(row.ids) for row in self.rows)

    @property
    def learned(self) -> int:
        """Those of them of which a loss is taken."""
        return sum(int(row.learned.sum()) for row in self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Row:
        return self.rows[index]


def make_rows(
    examples: Iterable[Example], tokenizer: Any, eos: int, n_ctx: int, options: FinetuneOptions
) -> Rows:
    """Tokenise examples, and cut or join them to rows. Raises DataError where nothing is left."""
    block = options.block_size or n_ctx
    if not 2 <= block <= n_ctx:
        raise UsageError(
            f"--block-size {block}: expected 2 to {n_ctx}, the positions that the model has"
        )
    texts: list[Row] = []
    pairs: list[Row] = []
    skipped = 0
    for example, row in _tokenised(examples, tokenizer, eos, options.learn_prompt):
        if example.text:
            texts.append(row)
        elif len(row.ids) <= block:
            pairs.append(row)
        elif options.skip_long:
            skipped += 1
        else:
            raise DataError(
                f"{example.place}: prompt and completion have {len(row.ids)} tokens; a row has"
                f" {block}. Shorten it, or leave such out with --skip-long"
            )
    joined = [_join(texts)] if texts and options.packing is not False else texts
    rows = [piece for row in joined for piece in _cut(row, block)]
    rows += pack(pairs, block) if options.packing else pairs
    rows = [row for row in rows if row.learned.any()]
    if not rows:
        why = f"; {skipped} pairs were longer than {block} tokens" if skipped else ""
        raise DataError(f"the training files hold nothing that can be learned{why}")
    return Rows(rows, len(texts) + len(pairs), skipped, cut=bool(texts))


def hold_out(rows: Rows, share: float) -> tuple[Rows, list[Row]]:
    """The rows to learn, and a share of them that is not learned; none of few rows.

    Which they are depends on nothing but their number: they lie evenly in the files, so that
    trainings with different seeds, and files that are sorted, have comparable losses.
    """
    mean = rows.tokens / len(rows)
    count = min(int(share * len(rows)), max(1, int(HELD_OUT / mean)))
    places = {(2 * n + 1) * len(rows) // (2 * count) for n in range(count)}
    kept = [row for place, row in enumerate(rows.rows) if place not in places]
    return replace(rows, rows=kept), [rows[place] for place in sorted(places)]


def _tokenised(
    examples: Iterable[Example], tokenizer: Any, eos: int, learn_prompt: bool
) -> Iterator[tuple[Example, Row]]:
    """Each example with its tokens, closed by `<|endoftext|>`.

    A prompt has the tokens that it has when the model is asked to go on from it. What has no prompt
    begins with `<|endoftext|>`, as it does when it is scored.
    """
    waiting = iter(examples)
    while group := list(islice(waiting, GROUP)):
        prompts = token_ids(tokenizer, [example.prompt for example in group])
        completions = token_ids(tokenizer, [example.completion for example in group])
        for example, prompt, completion in zip(group, prompts, completions, strict=True):
            before = prompt if len(prompt) else np.array([eos], dtype=np.int32)
            ids = np.concatenate([before, completion, np.array([eos], dtype=np.int32)])
            learned = np.ones(len(ids), dtype=bool)
            learned[: 1 if learn_prompt else len(before)] = False  # nothing predicts the first
            yield example, Row(ids, np.arange(len(ids), dtype=np.int32), learned)


def token_ids(tokenizer: Any, texts: Sequence[str]) -> list[Tokens]:
    """The token ids of each text; long ones are tokenised piece by piece, which changes none."""
    short = [text for text in texts if len(text) <= PIECE]
    found = iter(tokenizer(short, add_special_tokens=False)["input_ids"] if short else ())
    return [
        np.array(next(found), dtype=np.int32)
        if len(text) <= PIECE
        else np.concatenate(
            [
                np.array(tokenizer(piece, add_special_tokens=False)["input_ids"], dtype=np.int32)
                for piece in pieces(text, PIECE)
            ]
        )
        for text in texts
    ]


def pieces(text: str, size: int) -> Iterator[str]:
    """A text in pieces of `size` characters or somewhat more, cut where GPT-2 never joins tokens.

    That is before a single space between two other characters.
    """
    gap = re.compile(r"(?<=\S) (?=\S)")
    begin = 0
    while found := gap.search(text, begin + size):
        yield text[begin : found.start()]
        begin = found.start()
    yield text[begin:]


def _join(rows: Sequence[Row]) -> Row:
    """Texts as one stream, `<|endoftext|>` once between two of them."""
    ids = np.concatenate([row.ids[min(number, 1) :] for number, row in enumerate(rows)])
    learned = np.ones(len(ids), dtype=bool)
    learned[0] = False
    return Row(ids, np.arange(len(ids), dtype=np.int32), learned)


def _cut(row: Row, block: int) -> Iterator[Row]:
    """A text as rows of at most `block` tokens; the first of each is context alone."""
    for begin in range(0, len(row.ids), block):
        ids = row.ids[begin : begin + block]
        learned = row.learned[begin : begin + block].copy()
        learned[0] = False
        yield Row(ids, np.arange(len(ids), dtype=np.int32), learned)


def pack(rows: Iterable[Row], block: int) -> list[Row]:
    """Several whole examples in a row: each goes to the first of the last rows with room for it."""
    filled: list[list[Row]] = []
    sizes: list[int] = []
    for row in rows:
        first = max(0, len(sizes) - OPEN_ROWS)
        fits = (n for n in range(first, len(sizes)) if sizes[n] + len(row.ids) <= block)
        number = next(fits, len(sizes))
        if number == len(sizes):
            filled.append([])
            sizes.append(0)
        filled[number].append(row)
        sizes[number] += len(row.ids)
    return [
        Row(
            np.concatenate([row.ids for row in members]),
            np.concatenate([row.positions for row in members]),
            np.concatenate([row.learned for row in members]),
        )
        for members in filled
    ]


def collate(rows: Sequence[Row]) -> dict[str, Any]:
    """Rows as a batch for GPT2LMHeadModel, and "tokens": how many of it are no padding."""
    longest = max(len(row.ids) for row in rows)
    ids = np.zeros((len(rows), longest), dtype=np.int64)
    labels = np.full((len(rows), longest), IGNORED, dtype=np.int64)
    positions = np.zeros((len(rows), longest), dtype=np.int64)
    for number, row in enumerate(rows):
        size = len(row.ids)
        ids[number, :size] = row.ids
        labels[number, :size] = np.where(row.learned, row.ids, IGNORED)
        positions[number, :size] = row.positions
        # Padding goes on counting, so that it begins no sequence of its own.
        positions[number, size:] = np.arange(longest - size) + row.positions[-1] + 1
    return {
        "input_ids": torch.from_numpy(ids),
        "labels": torch.from_numpy(labels),
        "position_ids": torch.from_numpy(positions),
        "use_cache": False,  # with one, transformers would not look where sequences begin
        "tokens": sum(len(row.ids) for row in rows),
    }
