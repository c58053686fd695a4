"""Two aligned files -> rows: a sentence and its translation."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from gpt2eval.data.dataset import Row
from gpt2eval.data.files import read_text
from gpt2eval.data.tables import read_lines
from gpt2eval.errors import DataError


def read_parallel(paths: Sequence[Path], languages: tuple[str, str]) -> Iterator[Row]:
    """Two aligned files, a sentence a line -> {"id", languages[0], languages[1], "document"}."""
    first, second = ([row["text"] for row in read_lines([path])] for path in paths)
    _check_lengths(paths, len(first), len(second), "lines")
    for number, pair in enumerate(zip(first, second, strict=True), 1):
        yield {"id": str(number), "document": "", **dict(zip(languages, pair, strict=True))}


_SGML_DOC = re.compile(r"<doc\b[^>]*\bdocid\s*=\s*(?:([\"'])(.*?)\1|([^\s>]*))", re.IGNORECASE)
_SGML_SEG = re.compile(r"<seg\b([^>]*)>(.*?)</seg\s*>", re.IGNORECASE)
_SGML_ID = re.compile(r"\bid\s*=\s*[\"']?([^\"'\s]*)", re.IGNORECASE)
_SGML_OPEN = re.compile(r"<seg\b", re.IGNORECASE)
_ENTITIES = {"&lt;": "<", "&gt;": ">", "&quot;": '"', "&apos;": "'"}


def read_sgml(paths: Sequence[Path], languages: tuple[str, str]) -> Iterator[Row]:
    """A source and a reference file of WMT -> the rows of `read_parallel`, aligned by id."""
    first, second = (_segments(path) for path in paths)
    _check_lengths(paths, len(first), len(second), "segments")
    for (place, one), (other, two) in zip(first.items(), second.items(), strict=True):
        if place != other:
            raise DataError(
                f"{paths[0]} and {paths[1]} are not aligned: document and segment {place} against"
                f" {other}"
            )
        yield {
            "id": "/".join(place),
            "document": place[0],
            languages[0]: one,
            languages[1]: two,
        }


def _segments(path: Path) -> dict[tuple[str, str], str]:
    """(document, segment) -> text, in file order, white space folded as sacrebleu does.

    A segment without an id is known by its place in the document.
    """
    segments: dict[tuple[str, str], str] = {}
    document = ""
    before = 0
    for place, line in enumerate(read_text(path).split("\n"), 1):
        if match := _SGML_DOC.search(line):
            document, before = match[2] or match[3] or "", len(segments)
        found = _SGML_SEG.findall(line)
        if len(found) != len(_SGML_OPEN.findall(line)):
            raise DataError(
                f"{path}, line {place}: a segment without an end on its line; expected"
                ' <seg id="1">text</seg>'
            )
        for attributes, text in found:
            named = _SGML_ID.search(attributes)
            number = named[1] if named else str(len(segments) - before + 1)
            if (document, number) in segments:
                raise DataError(
                    f"{path}, line {place}: document {document!r} has two segments {number!r};"
                    " expected each once"
                )
            segments[document, number] = _unescape(re.sub(r"\s+", " ", text.strip()))
    return segments


def _unescape(text: str) -> str:
    """The five XML entities; a bare `&`, as in newstest2014, stays what it is."""
    for entity, character in _ENTITIES.items():
        text = text.replace(entity, character)
    return text.replace("&amp;", "&")


def _check_lengths(paths: Sequence[Path], first: int, second: int, what: str) -> None:
    if first != second:
        raise DataError(
            f"{paths[0]} has {first} {what}, {paths[1]} has {second}; expected as many, line for"
            " line translations of each other"
        )
