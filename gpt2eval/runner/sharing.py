"""Texts that begin alike, read once: their tokens as one row, a branch for each way they go on.

Four endings of one context, ten candidates of one passage, a hundred questions behind the same
examples: as separate rows each would read the common beginning again. In a bundle it stands once.
Tokens have the positions that they have in their own text, and see their own text only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Item = TypeVar("Item")

WORTH_IT = 8  # common tokens from which a mask is worth its trouble


@dataclass(slots=True)
class Bundle(Generic[Item]):
    """One row of tokens, and which of them make up the text of each item.

    tokens, positions  [width]
    paths              an item's tokens, as indices into the row, in reading order; each path
                       begins like the one before it
    """

    tokens: list[int]
    positions: list[int]
    items: list[Item]
    paths: list[NDArray[np.int64]]
    fresh: list[int]  # how many tokens each item added

    @property
    def branches(self) -> bool:
        """Whether attention needs a mask: a single text is causal as it stands."""
        return len(self.items) > 1

    def mask(self, width: int) -> NDArray[np.bool_]:
        """[width, width]: what each token sees. Padding sees itself, so that it stays finite."""
        seen = np.eye(width, dtype=bool)
        for path, fresh in zip(self.paths, self.fresh, strict=True):
            shared, own = np.split(path, [len(path) - fresh])
            seen[np.ix_(own, shared)] = True
            seen[np.ix_(own, own)] = np.tri(fresh, dtype=bool)
        return seen


def bundle(
    items: Sequence[Item], tokens_of: Callable[[Item], Sequence[int]], width: int
) -> Iterator[Bundle[Item]]:
    """Put items together where that saves work, whatever they are.

    width  of the model: the wider it is, the less attention counts beside the rest
    """
    current: Bundle[Item] | None = None
    for tokens, item in sorted(((list(tokens_of(item)), item) for item in items), key=_by_tokens):
        if current is not None:
            shared = _common(current, tokens)
            total = len(current.tokens) + len(tokens) - shared
            apart = _joint(len(current.tokens), current.branches, width) + _joint(
                len(tokens), False, width
            )
            if shared >= WORTH_IT and _joint(total, True, width) < apart:
                _add(current, item, tokens, shared)
                continue
            yield current
        path = np.arange(len(tokens))
        current = Bundle(tokens, list(range(len(tokens))), [item], [path], [len(tokens)])
    if current is not None:
        yield current


def _by_tokens(pair: tuple[list[int], object]) -> list[int]:
    return pair[0]


def _joint(tokens: int, branches: bool, width: int) -> float:
    """What a row costs, in multiples of layers * width multiplications.

    12 * width for each token in the linear layers, 2 for each pair of tokens in attention, which
    runs at a third of their speed; a causal row has half of the pairs.
    """
    pairs = tokens * tokens if branches else tokens * tokens / 2
    return 12 * width * tokens + 3 * 2 * pairs


def _common(current: Bundle[Item], tokens: Sequence[int]) -> int:
    """How many tokens the last text of a bundle has in common with this one, from the left."""
    path = current.paths[-1]
    for depth, (place, token) in enumerate(zip(path, tokens, strict=False)):
        if current.tokens[place] != token:
            return depth
    return min(len(path), len(tokens))


def _add(current: Bundle[Item], item: Item, tokens: list[int], shared: int) -> None:
    begin = len(current.tokens)
    current.tokens += tokens[shared:]
    current.positions += range(shared, len(tokens))
    own = np.arange(begin, begin + len(tokens) - shared)
    current.paths.append(np.concatenate([current.paths[-1][:shared], own]))
    current.items.append(item)
    current.fresh.append(len(tokens) - shared)
