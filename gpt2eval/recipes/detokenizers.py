"""De-tokenizers that can be undone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

Rule = Callable[[str], str]


def invertible(*rules: Rule) -> tuple[Rule, Rule]:
    """(detokenize, tokenize) of a text, line by line; the second undoes the first on any text.

    Each rule swaps the two spellings of a boundary wherever either occurs: "word ," <-> "word,". A
    rule applied twice gives its input back, so the whole is undone by the rules in reverse. Where a
    text already has the rare spelling, it gets the other one: the event that is scored stays the
    same, which is what the GPT-2 paper asks of a de-tokenizer.
    """

    def detokenize(text: str) -> str:
        return "\n".join(_apply(line, rules) for line in text.split("\n"))

    def tokenize(text: str) -> str:
        return "\n".join(_apply(line, rules[::-1]) for line in text.split("\n"))

    return detokenize, tokenize


def swap_space(pattern: str) -> Rule:
    """A rule that swaps one space and none wherever `pattern` matches; its group is the space.

    To be undone, the pattern may look around, but never at a space that it swaps elsewhere.
    """
    compiled = re.compile(pattern)
    return lambda line: compiled.sub(lambda match: "" if match[1] else " ", line)


_QUOTES = re.compile(r'"( ?)([^\s"]|[^\s"][^"]*[^\s"])\1"')


def swap_quotes(line: str) -> str:
    """`" word "` <-> `"word"`, in pairs from the left."""

    def swap(match: re.Match[str]) -> str:
        space = "" if match[1] else " "
        return f'"{space}{match[2]}{space}"'

    return _QUOTES.sub(swap, line)


def swap_margins(line: str) -> str:
    """` text ` <-> `text`; a line of one space <-> the empty line."""
    if line in ("", " "):
        return " " if line == "" else ""
    inside = line.strip(" ")
    if inside and line in (inside, f" {inside} "):
        return inside if line != inside else f" {inside} "
    return line


def _apply(line: str, rules: Iterable[Rule]) -> str:
    for rule in rules:
        line = rule(line)
    return line
