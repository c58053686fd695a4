"""Runs of words in a corpus, held against a few lines of plain Python."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import re
import string
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt2eval.errors import DataError
from gpt2eval.overlap import corpus
from gpt2eval.overlap.corpus import find_files, scan
from gpt2eval.overlap.ngrams import SIZES, Wanted, hash_words, runs_of, words_of


def naive_runs(text: str, size: int) -> list[tuple[str, ...]]:
    """The paper's words: lower-cased, alphanumeric, whatever parts them."""
    words = "".join(c if c.isalnum() else " " for c in text.lower()).split()
    return [tuple(words[i : i + size]) for i in range(len(words) - size + 1)]


def found_in(
    path: Path, tests: Iterable[str], size: int = 8
) -> tuple[set[tuple[str, ...]], corpus.Source]:
    """Runs of the tests that a scan says are in the file."""
    runs = {text: runs_of(text, (size,))[0] for text in tests}
    wanted = {size: Wanted(np.concatenate([np.empty(0, np.uint64), *runs.values()]))}
    (source,) = scan([path], wanted)
    seen = set()
    for text, hashes in runs.items():
        hits = wanted[size].found(hashes)
        seen |= {run for run, hit in zip(naive_runs(text, size), hits, strict=True) if hit}
    return seen, source


TEXT = st.text(
    alphabet=st.one_of(
        st.sampled_from("aAbB zZ09_-'\n\t.\u2019\u00e9\u00c9\u0130\u03a3\u1e9e\u0661\U0001d400"),
        st.characters(codec="utf-8"),
    ),
    max_size=60,
)


@given(TEXT)
def test_words_are_those_of_plain_python(text: str) -> None:
    expected = "".join(c if c.isalnum() else " " for c in text.lower()).split()
    assert words_of(text) == expected
    hashes, starts = hash_words(text if text.isascii() else text.lower())
    assert len(hashes) == len(starts) == len(expected)
    by_word: dict[str, int] = {}
    for word, number in zip(expected, hashes.tolist(), strict=True):
        assert by_word.setdefault(word, number) == number
    assert len(set(by_word.values())) == len(by_word)


@given(st.lists(st.sampled_from("aB cd,EF x1 \u00e9t\u00c9 q".split(" ")), max_size=40))
def test_runs_are_equal_where_words_are(words: list[str]) -> None:
    text = " ".join(words)
    for size, hashes in zip((1, 2, 3, 8), runs_of(text, (1, 2, 3, 8)), strict=True):
        runs = naive_runs(text, size)
        assert len(hashes) == len(runs)
        assert len(set(hashes.tolist())) == len(set(runs))
        assert len(set(zip(runs, hashes.tolist(), strict=True))) == len(set(runs))


def test_a_word_has_one_number_wherever_it_stands() -> None:
    lone = int(hash_words("Word")[0][0])
    assert int(hash_words("\u00e9 " * 5000 + "wORD")[0][-1]) == lone, "in a text that is not ASCII"
    assert int(hash_words("x" * 100_000 + " word.")[0][-1]) == lone
    assert int(hash_words("wor d")[0][0]) != lone


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_stream_finds_what_plain_python_finds(data: st.DataObject, tmp_path_factory) -> None:
    """Few words, so that much repeats; blocks of a few bytes, so that every edge is met."""
    vocabulary = ["a", "B", "the", "\u00e9t\u00e9", "42", "It's", "\u0130x"]
    line = st.lists(st.sampled_from(vocabulary), max_size=30).map(" ".join)
    documents = data.draw(st.lists(line, min_size=1, max_size=6))
    tests = data.draw(st.lists(line, max_size=4))
    size = data.draw(st.sampled_from([2, 3, 8, 13]))
    directory = tmp_path_factory.mktemp("corpus")
    for name, content, expected in (
        ("a.txt", "\n".join(documents), set(naive_runs("\n".join(documents), size))),
        (
            "a.jsonl",
            "\n".join(json.dumps({"id": None, "text": text}) for text in documents),
            {run for text in documents for run in naive_runs(text, size)},
        ),
    ):
        path = directory / name
        path.write_text(content, encoding="utf-8")
        asked = {run for test in tests for run in naive_runs(test, size)}
        block = corpus.BLOCK
        try:
            for corpus.BLOCK in (7, 64, block):
                seen, source = found_in(path, tests, size)
                assert seen == asked & expected, (name, corpus.BLOCK)
                assert source.words == sum(len(words_of(text)) for text in documents)
                assert source.documents == (bool(content) if name == "a.txt" else len(documents))
        finally:
            corpus.BLOCK = block


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": lambda content: content,
    ".gz": lambda content: gzip.compress(content[:999]) + gzip.compress(content[999:]),
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}
WORDS = np.array(["".join(w) for w in zip(*[iter(string.ascii_lowercase * 9)] * 3, strict=False)])


def made_up(words: int, seed: int) -> str:
    return " ".join(np.random.default_rng(seed).choice(WORDS, words))


@pytest.mark.parametrize("packing", PACKERS)
@pytest.mark.parametrize("kind", ["txt", "jsonl"])
def test_packed_files_are_read_like_plain_ones(tmp_path: Path, packing: str, kind: str) -> None:
    text = made_up(200_000, 0)  # some blocks
    needle = " ".join(text.split()[100_000:100_020])
    content = text if kind == "txt" else json.dumps({"a": ["x", {"b": text}]}) + "\n\n"
    path = tmp_path / f"corpus.{kind}{packing}"
    path.write_bytes(PACKERS[packing](content.encode()))
    told: list[int] = []
    wanted = {8: Wanted(runs_of(f"{needle} {made_up(20, 1)}", (8,))[0])}
    (source,) = scan([path], wanted, told.append)
    assert wanted[8].seen.sum() == 13
    assert len(wanted[8].seen) == 33
    assert sum(told) == source.bytes == path.stat().st_size
    import hashlib

    assert source.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_zst_is_read_or_named(tmp_path: Path) -> None:
    path = tmp_path / "a.txt.zst"
    try:
        import zstandard
    except ImportError:
        path.write_bytes(b"")
        with pytest.raises(DataError, match=r"pip install gpt2eval\[zst\]"):
            scan([path], {8: Wanted(np.empty(0, np.uint64))})
        return
    text = made_up(100_000, 0)
    path.write_bytes(zstandard.compress(text.encode()))
    assert len(found_in(path, [text[200_000:200_400]])[0]) > 90


def test_how_often_a_run_is_taken_for_another() -> None:
    """The first b bits of hashes of distinct runs collide as often as those of fair coins."""
    runs = naive_runs(made_up(400_000, 2), 8)
    text = " ".join(word for run in runs[::8] for word in run)
    hashes = np.unique(runs_of(text, (8,))[0])
    assert len(hashes) == len(set(naive_runs(text, 8)))
    shuffled = np.random.default_rng(0).permutation(hashes)
    for bits in (20, 24, 28):
        for shift in (0, 64 - bits):  # the last bits, and the first
            cut = (shuffled >> np.uint64(shift)) & np.uint64((1 << bits) - 1)
            known, asked = np.unique(cut[: len(cut) // 2]), cut[len(cut) // 2 :]
            expected = len(asked) * len(known) / 2**bits
            found = int(np.isin(asked, known).sum())
            assert abs(found - expected) < 5 * expected**0.5 + 1, (bits, shift, found, expected)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.txt", b"abc \xff", "byte 0xff is not UTF-8"),
        ("a.txt", b"abc\0def", "holds bytes of 0"),
        ("a.jsonl", b'{"text": "a"}\n{', "line 2: not JSON"),
        ("a.jsonl", b"[" * 100_000 + b"\n", "line 1: not JSON"),
        ("a.txt.gz", b"no gzip", "cannot be read"),
        ("a.txt.gz", gzip.compress(b"abc " * 9999, mtime=0)[:60], "cannot be read"),
        ("a.json", b"[]", "is not read as .json"),
        ("a.parquet", b"PAR1", "is not read as .parquet"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=re.escape(words)):
        scan([path], {8: Wanted(np.empty(0, np.uint64))})


def test_names_that_lead_nowhere(tmp_path: Path) -> None:
    for name, words in ((tmp_path / "no.txt", "does not exist"), (tmp_path, "is a directory")):
        with pytest.raises(DataError, match=words):
            scan([name], {8: Wanted(np.empty(0, np.uint64))})
    with pytest.raises(DataError, match="matches no file"):
        find_files([f"{tmp_path}/*.txt"])
    for step in (10, 9):
        (tmp_path / f"part-{step}.txt").write_text("")
    assert [Path(p).name for p in find_files([f"{tmp_path}/*.txt", f"{tmp_path}/part-9.txt"])] == [
        "part-9.txt",
        "part-10.txt",
    ]


def test_a_word_without_end_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded whatever a file holds; the words around are found all the same."""
    monkeypatch.setattr(corpus, "UNBROKEN", 1 << 19)
    needle = "one two three four five six seven eight"
    path = tmp_path / "a.txt"
    path.write_text(f"{needle} {'x' * (1 << 21)} {needle} nine")
    seen, source = found_in(path, [needle, f"{needle} nine"])
    assert len(seen) == 2
    assert source.words > 17
    assert SIZES == (8, 13)
