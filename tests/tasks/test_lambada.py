"""LAMBADA: the passage is context and last word, letter by letter."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from gpt2eval_tasks import lambada
from hypothesis import given
from hypothesis import strategies as st

from gpt2eval.data import load
from gpt2eval.errors import DataError
from gpt2eval.types import Score
from tests.data.directory import LAMBADA, write_data

WORDS = st.text(st.characters(codec="utf-8"), max_size=10).filter(str.strip)


@given(st.lists(WORDS, min_size=1, max_size=6).map(" ".join))
def test_request_is_the_passage(text: str) -> None:
    (sample,) = lambada.samples([{"text": text}])
    (request,) = lambada.requests(sample)
    assert isinstance(request, Score)
    if " " in text:
        assert request.context + request.continuation == text
    else:
        assert (request.context, request.continuation) == ("", f" {text}")
    assert request.continuation[0] == " "
    assert " " not in request.continuation[1:]
    assert sample.references == (request.continuation[1:],)


def test_empty_passage_is_named() -> None:
    with pytest.raises(DataError, match="passage 2 is empty"):
        list(lambada.samples([{"text": "a b"}, {"text": " \n"}]))


def test_protocols_of_one_text_ask_the_same(tmp_path: Path) -> None:
    write_data(tmp_path)
    asked = {}
    for protocol in lambada.LAMBADA.protocols:
        rows = load(protocol.dataset, tmp_path).rows
        asked[protocol.name] = [r for s in protocol.samples(rows) for r in protocol.requests(s)]
    openai = asked.pop("openai")
    standard = asked.pop("standard")
    assert len(openai) == len(LAMBADA)
    assert all(requests == openai for requests in asked.values())
    assert set(standard).isdisjoint(openai)


def test_stop_words() -> None:
    """As they are compared: lower case, each once; the digest in the options is theirs."""
    words = lambada.STOP_WORDS
    assert len(words) == len(set(words))
    assert all(word == word.strip().lower() and word.isalpha() for word in words)
    assert {"the", "and", "i"} <= set(words)
    (protocol,) = (p for p in lambada.LAMBADA.protocols if p.name == "openai-stopwords")
    digest = hashlib.sha256(" ".join(words).encode()).hexdigest()
    assert protocol.options["stop_words_sha256"] == digest
    assert str(len(words)) in protocol.detail


@pytest.mark.shared
def test_authentic_files(shared_data: Path) -> None:
    for protocol, lines_with in ((lambada.LAMBADA.protocols[0], 4_642), (_standard(), 0)):
        loaded = load(protocol.dataset, shared_data)
        assert len(loaded.rows) == 5_153
        assert "5,153 passages" in loaded.provenance["verdict"]
        assert sum("\n" in row["text"] for row in loaded.rows) == lines_with
        for row, sample in zip(loaded.rows, protocol.samples(loaded.rows), strict=True):
            (request,) = protocol.requests(sample)
            assert isinstance(request, Score)
            assert request.context + request.continuation == row["text"]


@pytest.mark.shared
def test_counts_of_openai_file(shared_data: Path) -> None:
    rows = load(lambada.OPENAI, shared_data).rows
    texts = [row["text"] for row in rows]
    assert sum(text.split(" ")[-1] != text.split()[-1] for text in texts) == 7
    assert sum("’" in text for text in texts) == 1_604


def _standard() -> lambada.Protocol:
    return lambada.LAMBADA.protocols[-1]
