"""Two files, aligned line by line or segment by segment."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt2eval import data
from gpt2eval.errors import DataError
from tests.data.writing import LINE, SEGMENT, write


@given(st.lists(st.tuples(LINE.map(lambda line: line.removeprefix("\ufeff")), LINE), min_size=1))
def test_parallel(folder: Path, pairs: list[tuple[str, str]]) -> None:
    paths = [folder / "p.en.gz", folder / "p.fr.gz"]
    for place, path in enumerate(paths):
        path.write_bytes(gzip.compress("".join(f"{pair[place]}\n" for pair in pairs).encode()))
    rows = list(data.read_parallel(paths, ("en", "fr")))
    assert [(row["en"], row["fr"]) for row in rows] == pairs
    assert [row["id"] for row in rows] == [str(n) for n in range(1, len(pairs) + 1)]


def sgml(documents: dict[str, list[str]], escape: Callable[[str], str]) -> str:
    lines = ['<refset setid="test" srclang="any" trglang="en">']
    for name, segments in documents.items():
        lines.append(f'<DOC sysid="ref" docid="{name}" genre="news">\n<hl>')
        lines += [f'<seg id="{n}"> {escape(text)} </seg>' for n, text in enumerate(segments, 1)]
        lines.append("</hl>\n</DOC>")
    return "\n".join([*lines, "</refset>", ""])


def escaped(text: str) -> str:
    for character, entity in (("&", "amp"), ("<", "lt"), (">", "gt"), ('"', "quot"), ("'", "apos")):
        text = text.replace(character, f"&{entity};")
    return text


@given(st.dictionaries(st.from_regex("[a-z]{1,5}", fullmatch=True), st.lists(SEGMENT), min_size=1))
def test_sgml(folder: Path, documents: dict[str, list[str]]) -> None:
    path = write(folder / "s.sgm", sgml(documents, escaped))
    rows = list(data.read_sgml([path, path], ("en", "fr")))
    folded = [" ".join(text.split()) for segments in documents.values() for text in segments]
    assert [row["en"] for row in rows] == [row["fr"] for row in rows] == folded
    assert [row["id"] for row in rows] == [
        f"{name}/{n}" for name, segments in documents.items() for n in range(1, len(segments) + 1)
    ]
    assert {row["document"] for row in rows} == {name for name, segs in documents.items() if segs}


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("Hale & Sons", "Hale & Sons"),  # bare, as in newstest2014
        ("AT&T &amp; co", "AT&T & co"),
        ("&amp;lt;", "&lt;"),  # unescaped once
        ("a\u00a0: b\t c", "a : b c"),
        ("&eacute;", "&eacute;"),
        ("", ""),
    ],
)
def test_sgml_entities(tmp_path: Path, written: str, read: str) -> None:
    path = write(tmp_path / "s.sgm", f'<doc docid="d">\n<seg id="1">{written}</seg>\n</doc>\n')
    (row,) = data.read_sgml([path, path], ("en", "fr"))
    assert row["en"] == read


@pytest.mark.parametrize(
    "lines",
    [
        (
            "<DOC genre='news' docid='d' sysid=x>",
            "<SEG n='1' id=1>a</SEG>",
            '<seg ID = "2">b</seg>',
        ),
        ('<doc docid = "d">', "<seg>a</seg>", "<seg >b</seg >"),
        ("<doc docid=d>", '<seg id="1">a</seg><seg id="2">b</seg>'),
    ],
)
def test_sgml_written_in_other_ways(tmp_path: Path, lines: tuple[str, ...]) -> None:
    """Order and quoting of attributes and case do not matter; without ids, segments are counted."""
    path = write(tmp_path / "s.sgm", "\n".join(lines))
    rows = list(data.read_sgml([path, path], ("en", "fr")))
    assert [(row["id"], row["en"]) for row in rows] == [("d/1", "a"), ("d/2", "b")]


def test_lengths_that_differ(tmp_path: Path) -> None:
    paths = [write(tmp_path / "a.en", "1\n2\n3\n"), write(tmp_path / "a.fr", "1\n2\n")]
    with pytest.raises(DataError, match=r"a\.en has 3 lines, .*a\.fr has 2; expected as many"):
        list(data.read_parallel(paths, ("en", "fr")))


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ({"d": ["a", "b"]}, {"d": ["a"]}, r"has 2 segments, .* has 1"),
        ({"d": ["a"]}, {"e": ["a"]}, r"not aligned: .*\('d', '1'\) against \('e', '1'\)"),
    ],
)
def test_sgml_that_does_not_align(
    tmp_path: Path, first: dict[str, list[str]], second: dict[str, list[str]], message: str
) -> None:
    paths = [
        write(tmp_path / "a.sgm", sgml(first, escaped)),
        write(tmp_path / "b.sgm", sgml(second, escaped)),
    ]
    with pytest.raises(DataError, match=message):
        list(data.read_sgml(paths, ("en", "fr")))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            '<doc docid="d">\n<seg id="1">a</seg>\n<seg id="1">b</seg>\n',
            r"s\.sgm, line 3: document 'd' has two segments '1'; expected each once",
        ),
        # Dropped on both sides, it would go unnoticed.
        ('<doc docid="d">\n<seg id="1">a\nb</seg>\n', r"s\.sgm, line 2: a segment without an end"),
        ('<doc docid="d">\n<seg>a</seg>\n<seg id="1">b</seg>\n', r"two segments '1'"),
    ],
)
def test_bad_sgml(tmp_path: Path, content: str, message: str) -> None:
    path = write(tmp_path / "s.sgm", content)
    with pytest.raises(DataError, match=message):
        list(data.read_sgml([path, path], ("en", "fr")))
