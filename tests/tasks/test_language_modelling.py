"""PTB, One Billion Words, enwik8 and text8: inverses, denominators, the last bytes of a file."""

from __future__ import annotations

import gzip
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gpt2eval_tasks import enwik8, lm1b, ptb, text8
from hypothesis import given
from hypothesis import strategies as st

from gpt2eval import data
from gpt2eval.data import bundled_directory, load
from gpt2eval.errors import DataError
from gpt2eval.task import Protocol, Task
from gpt2eval.types import Rolling, Sample

WORDS = """the don do n't ca 's 're ' '' s companies $ # N <unk> 3.5 % , . ; ! ? " ( ) [ ] - -- u.s.
    é £ 'd 've"""
PIECES = st.sampled_from([*WORDS.split(), " ", " ", " ", "  ", "\n", " \n", "\t"])
TEXTS = st.one_of(st.text(max_size=40), st.lists(PIECES, max_size=30).map("".join))


@pytest.mark.parametrize("task", [ptb, lm1b], ids=["ptb", "lm1b"])
@given(text=TEXTS)
def test_round_trip(task: Any, text: str) -> None:
    """Exactly what went in, whatever it is."""
    assert task.tokenize(task.detokenize(text)) == text
    assert task.detokenize(task.tokenize(text)) == text


@pytest.mark.parametrize(
    ("raw", "plain"),
    [
        (" no it was n't black monday ", "no it wasn't black monday"),
        (" the u.s. 's <unk> 's shares ", "the u.s.'s <unk>'s shares"),
        (" workers ' pay rose to $ N ", "workers' pay rose to $N"),
        (" they 'll sell for # N million ", "they'll sell for #N million"),
    ],
)
def test_ptb_in_plain_english(raw: str, plain: str) -> None:
    assert ptb.detokenize(raw) == plain


@pytest.mark.parametrize(
    ("raw", "plain"),
    [
        ('" Well , " he said .', '"Well," he said.'),
        ("It ( the club ) lost 3-2 .", "It (the club) lost 3-2."),
        ("Ann 's costs rose 5 % to $ 4.50 .", "Ann's costs rose 5% to $4.50."),
        ("You ca n't ; nobody can !", "You can't; nobody can!"),
    ],
)
def test_lm1b_in_plain_english(raw: str, plain: str) -> None:
    assert lm1b.detokenize(raw) == plain


def bundled(protocol: Protocol) -> list[Sample]:
    return list(protocol.samples(load(protocol.dataset, "bundled").rows))


def asked(protocol: Protocol, sample: Sample) -> Rolling:
    (request,) = protocol.requests(sample)
    assert isinstance(request, Rolling)
    return request


def test_ptb_protocols() -> None:
    raw = (bundled_directory() / "ptb/ptb.test.txt").read_bytes().decode()
    paper, token = ptb.PTB.protocols
    samples = bundled(paper)
    requests = [asked(paper, sample) for sample in samples]
    text = requests[0].text
    assert ptb.tokenize(text.removesuffix("\n")) + "\n" == raw
    assert {(r.text, r.windows, r.stride) for r in requests} == {(text, "sliding", 32)}
    parts = [r.text[r.start : r.end] for r in requests]
    assert "".join(parts) == text
    assert all(part.count("\n") == 20 for part in parts)
    # As counted in the literature: words, and one <eos> a line.
    words = len(raw.split()) + raw.count("\n")
    assert sum(sample.fields["words+eos"] for sample in samples) == words
    # transformers' guide: "\n\n".join of the stripped rows.
    joined = "\n\n".join(line.strip() for line in raw.splitlines())
    requests = [asked(token, sample) for sample in bundled(token)]
    assert requests[0].text == joined
    assert "".join(r.text[r.start : r.end] for r in requests) == joined


def test_ptb_rows_of_the_hub(tmp_path: Path) -> None:
    path = packed(tmp_path / "ptb.test.txt", b" a b \n")
    assert list(data.read_lines([path])) == [ptb.from_hub({"sentence": "a b"})]


def test_lm1b_protocols() -> None:
    raw = (bundled_directory() / "lm1b/news.en.heldout-00000-of-00050").read_bytes().decode()
    paper, concatenated = lm1b.LM1B.protocols
    samples = bundled(paper)
    assert len(samples) == raw.count("\n")
    assert "".join(lm1b.tokenize(asked(paper, sample).text) for sample in samples) == raw
    together = bundled(concatenated)
    assert asked(concatenated, together[0]).text == lm1b.detokenize(raw)
    words = len(raw.split()) + raw.count("\n")
    for found in (samples, together):
        assert sum(sample.fields["words+eos"] for sample in found) == words


# ---- the last bytes -----------------------------------------------------------------------------


def packed(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(content))
    elif path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(path.stem, content)
    else:
        path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", ["enwik8", "enwik8.gz", "enwik8.zip"])
def test_tail(tmp_path: Path, name: str) -> None:
    text = "Zürich 東京 — " * 300_000  # of 4 million bytes and more, several blocks
    path = packed(tmp_path / name, text.encode())
    assert data.read_tail(path, 10**8) == text
    for size in (0, 1, 2, 3, 1_000, 1_500_001):
        tail = data.read_tail(path, size)
        assert text.endswith(tail)
        assert size - 3 <= len(tail.encode()) <= size


@pytest.mark.parametrize("name", ["enwik8", "enwik8.gz", "enwik8.zip"])
def test_tail_is_flat_in_memory(tmp_path: Path, name: str) -> None:
    path = packed(tmp_path / name, b"0123456789abcde\n" * 4_000_000)  # 64 million bytes
    tracemalloc.start()
    try:
        data.read_tail(path, 100_000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 5_000_000


def test_tail_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="is not UTF-8"):
        data.read_tail(packed(tmp_path / "a", b"abc\xff"), 10)
    with pytest.raises(DataError, match="cannot be read"):
        data.read_tail(packed(tmp_path / "a", b"not an archive").rename(tmp_path / "b.zip"), 10)
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("one", "1")
        archive.writestr("two", "2")
    with pytest.raises(DataError, match="holds 2 files; expected one"):
        data.read_tail(tmp_path / "two.zip", 10)
    monkeypatch.setattr(data.files, "MAX_UNPACKED", 1_000)
    with pytest.raises(DataError, match="unpacks to more than 1000 bytes"):
        data.read_tail(packed(tmp_path / "c.gz", b"x" * 2_000), 10)


@pytest.mark.parametrize(
    ("task", "file", "unit"),
    [(enwik8.ENWIK8, "enwik8/enwik8", "bytes"), (text8.TEXT8, "text8/text8", "characters")],
)
def test_stretches_are_the_file(tmp_path: Path, task: Task, file: str, unit: str) -> None:
    """Each with the text before it, in a file long enough to be cut."""
    rng = np.random.default_rng(0)
    words = ["der", "Zürich", "東京", "a"] if unit == "bytes" else ["one", "canal", "a"]
    text = " ".join(rng.choice(words, 600_000))
    text = text.encode()[-5_000_000:].decode("utf-8", "ignore")
    packed(tmp_path / file, f"{text[:1000]}{text}".encode())
    for protocol in task.protocols:
        samples = list(protocol.samples(load(protocol.dataset, tmp_path).rows))
        assert len(samples) == 50
        requests = [asked(protocol, sample) for sample in samples]
        parts = [r.text[r.start : r.end] for r in requests]
        whole = "".join(parts)
        assert f"{text[:1000]}{text}".endswith(whole)
        counts = [len(part.encode() if unit == "bytes" else part) for part in parts]
        assert counts == [sample.fields["count"] for sample in samples]
        assert 0 <= min(5_000_000, len(f"{text[:1000]}{text}".encode())) - len(whole.encode()) < 4
        place = 0
        for request, part in zip(requests, parts, strict=True):
            assert whole[:place].endswith(request.text[: request.start])
            assert request.start == min(place, 20_000)
            assert whole[place:].startswith(request.text[request.start :])
            place += len(part)


def test_hub_rows_of_text8() -> None:
    assert len(text8.from_hub({"text": "a " * 3_000_000})["text"]) == 5_000_000


def test_stretches_have_the_tokens_of_the_whole(tiny_model: Any, tmp_path: Path) -> None:
    """And, each window full, a likelihood that only the phase of the windows moves."""
    from gpt2eval.runner import answer

    source = bundled_directory() / "wikitext2/wiki.test.raw"
    text = source.read_bytes().decode()[:12_000]
    packed(tmp_path / "enwik8/enwik8", text.encode())
    protocol = enwik8.ENWIK8.protocols[0]
    samples = list(protocol.samples(load(protocol.dataset, tmp_path).rows))
    requests = [asked(protocol, sample) for sample in samples]
    parts: dict[int, Any] = {a.number: a.response for a in answer(tiny_model, requests)}
    tokens = [token for number in range(50) for token in parts[number].tokens.tolist()]
    assert tokens == tiny_model.encode([text])[0]
    (whole,) = answer(tiny_model, [Rolling(text, windows="sliding", stride=32)])
    assert isinstance(requests[0], Rolling)
    ours = sum(float(parts[number].logprobs.sum()) for number in range(50))
    assert ours == pytest.approx(float(whole.response.logprobs.sum()), rel=1e-6)
