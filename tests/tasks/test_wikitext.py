"""WikiText: nothing is lost between the file, the articles and the texts that are scored."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
from gpt2eval_tasks import wikitext
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gpt2eval.data import bundled_directory, load
from gpt2eval.published import rows as published_rows
from gpt2eval.task import Protocol

# Text made of what the rules look at.
PIECES = st.sampled_from(
    [
        *" ,;:.!?()[]{}'\"=%-@/°<>N1\n",
        *(" @-@ ", " @,@ ", " @.@ ", "@-@", " 's", "s '", "n't", " 've", "<unk>", "= =", " = "),
        *("word", "Ann", "3", "é", "日", "€", "\u2028", "\r", "\t", "  ", " \n", "\n ", "° C"),
    ]
)
MARKED = st.lists(PIECES, max_size=25).map("".join)
ANY = st.text(max_size=30) | MARKED
SAMPLES = bundled_directory() / "wikitext2"
PROTOCOLS = {
    f"{task.name}@{protocol.name}": protocol
    for task in (wikitext.WIKITEXT2, wikitext.WIKITEXT103)
    for protocol in task.protocols
}


def rows(path: Path) -> list[Any]:
    return list(wikitext.read_wikitext([path]))


# ---- the invertible de-tokenizer ----------------------------------------------------------------


@settings(max_examples=1000)
@given(ANY)
@example("( a )")
@example('" a " b " c "')
@example("1 , 2")
@example("a - b @-@ c-d")
def test_tokenize_undoes_detokenize(text: str) -> None:
    assert wikitext.tokenize(wikitext.detokenize(text)) == text


@given(ANY)
def test_detokenize_undoes_tokenize(text: str) -> None:
    assert wikitext.detokenize(wikitext.tokenize(text)) == text


@given(ANY)
def test_lines_stay_lines(text: str) -> None:
    """One <eos> a line is part of the denominator."""
    assert wikitext.detokenize(text).count("\n") == text.count("\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" It is 4 @.@ 5 metres deep , and well @-@ known . ",
         "It is 4.5 metres deep, and well-known."),
        (" 1 @,@ 200 boats ( see below ) ; Ann 's was lost : why ? ",
         "1,200 boats (see below); Ann's was lost: why?"),
        (' He said " no " and didn \'t go . ', 'He said "no" and didn\'t go.'),
        (" ", ""),
        (" = = History = = ", "= = History = ="),
        (" the <unk> of <unk> , ", "the <unk> of <unk>,"),
    ],
)  # fmt: skip
def test_ordinary_english(text: str, expected: str) -> None:
    assert wikitext.detokenize(text) == expected


def assert_inverse(path: Path) -> None:
    text = path.read_bytes().decode()
    plain = wikitext.detokenize(text)
    assert wikitext.tokenize(plain) == text
    assert len(plain) < 0.99 * len(text)
    # Little is left of the tokenisation, most of it beside <unk> and in lists of symbols.
    marks = re.compile(r" [,.;:?!](?= )| @[-,.]@ ")
    assert len(marks.findall(plain)) < 0.05 * len(marks.findall(text))


@pytest.mark.parametrize("name", ["wiki.test.raw", "wiki.test.tokens"])
def test_inverse_on_samples(name: str) -> None:
    assert_inverse(SAMPLES / name)


@pytest.mark.shared
@pytest.mark.parametrize("name", ["wiki.test.raw", "wiki.test.tokens"])
def test_inverse_on_the_test_set(shared_data: Path, name: str) -> None:
    assert_inverse(shared_data / "wikitext2" / name)


# ---- lm-eval ------------------------------------------------------------------------------------


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore")  # those of lm-eval's own imports
@settings(max_examples=1000)
@given(ANY)
@example("the players ' club ( in 1990 ) said \" no \" \n = = = = N 's ° C")
def test_detokenizer_is_that_of_lm_eval(text: str) -> None:
    from lm_eval.tasks.wikitext.preprocess_wikitext import wikitext_detokenizer

    assert wikitext.lm_eval_detokenize(text) == wikitext_detokenizer({"page": text})


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["wiki.test.raw", "wiki.test.tokens"])
def test_counts_are_those_of_lm_eval(name: str) -> None:
    from lm_eval.tasks.wikitext.preprocess_wikitext import process_results

    for sample in wikitext.lm_eval_samples(rows(SAMPLES / name)):
        expected = process_results({"page": sample.fields["page"]}, [0.0])
        assert sample.fields["words"] == expected["word_perplexity"][1]
        assert sample.fields["bytes"] == expected["byte_perplexity"][1]


@given(ANY)
def test_pages_lose_only_the_line_ends_between_them(text: str) -> None:
    """And what stands before the first heading, if it is blank."""
    joined = "\n".join(wikitext.pages(text))
    assert text.endswith(joined)
    assert not text[: len(text) - len(joined)].strip()


# ---- articles -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (" = Harbour = \n", True),
        (" = = History = = \n", False),
        (" = = = Light = = = \n", False),
        (" = Harbour = ", True),
        (" The = sign = is not\n", False),
        (" \n", False),
        ("", False),
        (" = 2 volts and I = \n", True),  # a formula, as lm-eval has it
    ],
)
def test_headings(line: str, expected: bool) -> None:
    assert wikitext.is_heading(line) == expected


@given(st.lists(st.sampled_from([" = A = \n", " \n", " text . \n", " = = B = = \n"]), max_size=12))
def test_articles_partition_the_rows(lines: list[str]) -> None:
    found = wikitext.articles([{"text": line} for line in lines])
    assert [line for article in found for line in article] == lines
    # An article begins with its heading; only what is blank before the first has none.
    for article in found[1:]:
        assert wikitext.is_heading(article[0])


@given(st.lists(ANY.map(lambda text: text.replace("\n", " ")), min_size=1), st.booleans())
def test_rows_are_the_file(tmp_path_factory: Any, lines: list[str], closed: bool) -> None:
    """Its line ends too, those of Windows apart; a file without a word has no rows."""
    path = tmp_path_factory.getbasetemp() / "wiki.test.raw"
    text = "\n".join(lines).removeprefix("\ufeff") + ("\n" if closed else "")
    path.write_bytes(text.encode())
    read = [row["text"] for row in rows(path)]
    assert "".join(read) == (text.replace("\r\n", "\n") if text.strip() else "")
    assert not any("\n" in row[:-1] for row in read)
    path.write_bytes(text.replace("\r\n", "\n").replace("\n", "\r\n").encode())
    assert [row["text"] for row in rows(path)] == read


def from_hub_and_back(path: Path) -> list[Any]:
    """What the hub has of a file: blank lines are empty there."""
    hub = [{"text": row["text"] if row["text"].strip() else ""} for row in rows(path)]
    return [wikitext.from_hub(row) for row in hub]


@pytest.mark.parametrize("name", ["wiki.test.raw", "wiki.test.tokens"])
def test_hub_rows_are_those_of_the_file(name: str) -> None:
    assert from_hub_and_back(SAMPLES / name) == rows(SAMPLES / name)


def assert_stretches_cover(protocol: Protocol, place: Path) -> str:
    """Every character of the one stream belongs to exactly one sample; returns the stream."""
    samples = list(protocol.samples(load(protocol.dataset, place).rows))
    (stream,) = {sample.fields["stream"] for sample in samples}
    edges = [sample.fields["start"] for sample in samples] + [samples[-1].fields["end"]]
    assert edges[0] == 0
    assert edges[-1] == len(stream)
    assert edges == sorted(set(edges))
    assert [sample.fields["end"] for sample in samples] == edges[1:]
    return str(stream)


def file_of(stream: str) -> str:
    """The file that a de-tokenised stream of whole lines came from."""
    return wikitext.tokenize(stream.removesuffix("\n")) + "\n"


@pytest.mark.parametrize("name", [name for name in PROTOCOLS if "lm-eval" not in name])
def test_stretches_cover_the_stream(name: str, tmp_path: Path) -> None:
    for folder in ("wikitext2", "wikitext103"):
        (tmp_path / folder).mkdir()
        for path in SAMPLES.iterdir():
            (tmp_path / folder / path.name).write_bytes(path.read_bytes())
    stream = assert_stretches_cover(PROTOCOLS[name], tmp_path)
    if name == "wikitext2@paper":
        assert file_of(stream) == (SAMPLES / "wiki.test.tokens").read_bytes().decode()
    if name == "wikitext103@paper":
        assert stream == (SAMPLES / "wiki.test.tokens").read_bytes().decode()


# ---- the authentic files ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def count(shared_data: Path) -> Any:
    """Text -> number of tokens of GPT-2."""
    from tokenizers import ByteLevelBPETokenizer

    folder = shared_data / "gpt2_tokenizer"
    tokenizer = ByteLevelBPETokenizer(str(folder / "encoder.json"), str(folder / "vocab.bpe"))
    return lambda text: len(tokenizer.encode(text).ids)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "size", "unknown", "undone", "detokenized"),
    [
        ("wiki.test.raw", 1_290_590, 0, 286_221, 272_045),
        ("wiki.test.tokens", 1_256_449, 15_218, 295_877, 278_365),
    ],
)
def test_counts_of_the_files(
    shared_data: Path,
    count: Any,
    name: str,
    size: int,
    unknown: int,
    undone: int,
    detokenized: int,
) -> None:
    path = shared_data / "wikitext2" / name
    content = path.read_bytes()
    text = content.decode()
    assert len(content) == size
    assert text.count("<unk>") == unknown
    assert len(rows(path)) == 4_358
    assert len(text.split()) == 241_211
    assert len(wikitext.articles(rows(path))) == 62
    assert count(text) == undone
    assert count(wikitext.lm_eval_detokenize(text)) == detokenized


@pytest.mark.shared
def test_counts_of_the_protocols(shared_data: Path, count: Any) -> None:
    lm_eval = PROTOCOLS["wikitext2@lm-eval"]
    samples = list(lm_eval.samples(load(lm_eval.dataset, shared_data).rows))
    assert len(samples) == 62
    assert sum(sample.fields["words"] for sample in samples) == 241_335
    assert sum(sample.fields["bytes"] for sample in samples) == 1_290_527
    stream = assert_stretches_cover(PROTOCOLS["wikitext2@hf-docs-512"], shared_data)
    assert count(stream) == 287_644
    paper = PROTOCOLS["wikitext2@paper"]
    samples = list(paper.samples(load(paper.dataset, shared_data).rows))
    assert sum(sample.fields["words+eos"] for sample in samples) == 245_569
    stream = assert_stretches_cover(paper, shared_data)
    assert file_of(stream) == (shared_data / "wikitext2/wiki.test.tokens").read_bytes().decode()


@pytest.mark.shared
def test_official_files_are_recognised(shared_data: Path) -> None:
    for protocol in wikitext.WIKITEXT2.protocols:
        verdict = load(protocol.dataset, shared_data).provenance["verdict"]
        assert verdict.startswith("official")


def test_published_numbers_agree_with_each_other() -> None:
    """lm-eval's word perplexity and bits per byte of gpt2 are one sum, divided twice."""
    published = {
        row["metric"]: row["value"]
        for row in published_rows("wikitext2", "lm-eval")
        if row["model"] == "gpt2" and row["source"] == "lm-eval, ml-by-hand releases"
    }
    nll = math.log(published["word_perplexity"]) * 241_335
    bits = nll / math.log(2) / 1_290_527
    assert bits == pytest.approx(published["bits_per_byte"], abs=5e-5)
