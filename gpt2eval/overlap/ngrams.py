"""Runs of words as 64-bit numbers, made by numpy alone: a gigabyte of text in seconds.

Words are those of the GPT-2 paper (section 4): lower-cased, letters and digits, everything else
parts them. Two different runs of words have the same number with a probability of 2^-64.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Hashes = NDArray[np.uint64]

SIZES = (8, 13)  # words: of the GPT-2 paper, and of GPT-3's (appendix C)
WORD = re.compile(r"[^\W_]+")  # what str.isalnum says of each character
NORMALISATION = "lower case, words of letters and digits, everything else parts them"

# Odd, so that they have an inverse modulo 2^64: a sum over the whole text gives that of any word.
_OF_CHARACTERS = 0x9E3779B97F4A7C15
_OF_WORDS = 0xD1342543DE82EF95
_MODULUS = 1 << 64


def words_of(text: str) -> list[str]:
    """The words of a text, as they are compared."""
    return WORD.findall(text.lower())


def hash_words(text: str) -> tuple[Hashes, NDArray[np.intp]]:
    """A number for each word of a text, and where the words begin.

    A text that is not ASCII is lower-cased already: that can change its length.
    """
    if text.isascii():
        codes: NDArray[np.unsignedinteger] = np.frombuffer(text.encode("ascii"), np.uint8)
        values = _ascii()[codes]
    else:
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
        values = _unicode()[codes]
    inside = values != 0
    inside[1:] &= ~inside[:-1]
    starts = np.flatnonzero(inside)
    if not len(starts):
        return np.empty(0, np.uint64), starts
    powers, inverses = _powers(_OF_CHARACTERS, len(values))
    values *= powers[: len(values)]
    # What is no part of a word is 0 and adds nothing to the sum of the word before it.
    return _mixed(np.add.reduceat(values, starts) * inverses[starts]), starts


def hash_runs(words: Hashes, sizes: Sequence[int]) -> list[Hashes]:
    """A number for each run of so many words: [words - size + 1] of each size."""
    powers, inverses = _powers(_OF_WORDS, len(words) + 1)
    sums = np.zeros(len(words) + 1, np.uint64)
    np.cumsum(words * powers[: len(words)], out=sums[1:])
    return [
        _mixed((sums[size:] - sums[:-size]) * inverses[: len(sums) - size])
        if len(words) >= size
        else np.empty(0, np.uint64)
        for size in sizes
    ]


def runs_of(text: str, sizes: Sequence[int]) -> list[Hashes]:
    """`hash_runs` of a text."""
    return hash_runs(hash_words(text if text.isascii() else text.lower())[0], sizes)


def _mixed(values: Hashes) -> Hashes:
    """Every bit of the input moves every bit of the output (splitmix64, Steele et al. 2014)."""
    values = values ^ (values >> np.uint64(30))
    values *= np.uint64(0xBF58476D1CE4E5B9)
    values ^= values >> np.uint64(27)
    values *= np.uint64(0x94D049BB133111EB)
    values ^= values >> np.uint64(31)
    return values


@cache
def _ascii() -> Hashes:
    return np.array([_number(chr(code)) for code in range(128)], np.uint64)


@cache
def _unicode() -> Hashes:
    """A number for each character: a hundred milliseconds and 9 MB, where a text is not ASCII."""
    characters = np.arange(0x110000, dtype=np.uint64)
    known = np.fromiter((chr(code).isalnum() for code in range(0x110000)), bool, 0x110000)
    table = np.where(known, _mixed(characters + np.uint64(_OF_CHARACTERS)), np.uint64(0))
    table[:128] = _ascii()
    return table


def _number(char: str) -> int:
    """The number of an ASCII character, the same for both cases; 0: it is no part of a word."""
    if not char.isalnum():
        return 0
    return int(_mixed(np.array([ord(char.lower()) + _OF_CHARACTERS], np.uint64))[0])


_POWERS: dict[int, tuple[Hashes, Hashes]] = {}


def _powers(base: int, count: int) -> tuple[Hashes, Hashes]:
    """base^i and base^-i for i below `count`, and somewhat more."""
    known = _POWERS.get(base)
    if known is None or len(known[0]) < count:
        length = max(1 << 16, 1 << (count - 1).bit_length())
        tables = []
        for factor in (base, pow(base, -1, _MODULUS)):
            steps = np.full(length, factor, np.uint64)
            steps[0] = 1
            tables.append(np.multiply.accumulate(steps))
        _POWERS[base] = known = (tables[0], tables[1])
    return known


class Wanted:
    """A set of numbers, and which of them have been seen.

    A table with a place for the first bits of each number sends most of what is not wanted away;
    what is left is looked up in order.
    """

    def __init__(self, numbers: Hashes) -> None:
        self.numbers = np.unique(numbers)
        self.seen = np.zeros(len(self.numbers), bool)
        bits = min(26, max(16, (16 * len(self.numbers)).bit_length()))
        self._shift = np.uint64(64 - bits)
        self._table = np.zeros(1 << bits, bool)
        self._table[self.numbers >> self._shift] = True

    def see(self, numbers: Hashes) -> None:
        """Note which of these are wanted."""
        likely = numbers[self._table[numbers >> self._shift]]
        if len(likely) and len(self.numbers):
            places = np.searchsorted(self.numbers, likely)
            places[places == len(self.numbers)] = 0
            self.seen[places[self.numbers[places] == likely]] = True

    def found(self, numbers: Hashes) -> NDArray[np.bool_]:
        """Which of these, all of them wanted, have been seen."""
        return self.seen[np.searchsorted(self.numbers, numbers)]
