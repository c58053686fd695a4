from __future__ import annotations

from math import isclose

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from gpt2eval.errors import DataError
from gpt2eval.metrics import bleu, chrf
from gpt2eval.task import Metric
from tests.metrics.answers import generated, sample

OURS_AND_THEIRS = [
    (bleu(), BLEU()),
    (bleu(lowercase=True), BLEU(lowercase=True)),
    (bleu(tokenize="intl"), BLEU(tokenize="intl")),
    (bleu(tokenize="char"), BLEU(tokenize="char")),
    (chrf(), CHRF()),
]
IDS = ["bleu", "bleu-lc", "bleu-intl", "bleu-char", "chrf"]
CORPORA = {
    "equal": [("the cat sat on the mat", "the cat sat on the mat")],
    "empty hypothesis": [("", "the cat sat on the mat")],
    "one empty of two": [("", "a b c d e"), ("the cat sat on it", "the cat sat on it")],
    "empty reference": [("the cat sat on the mat", "")],
    "both empty": [("", "")],
    "nothing right": [("one two three four five", "the cat sat on the mat")],
    "shorter than an n-gram": [("the cat", "the cat")],
    "no 4-gram right": [("the cat sat in the mat now", "the cat sat on the mat now")],
    "only words right": [("mat the on sat cat the", "the cat sat on the mat")],
    "brevity penalty": [("the cat sat on", "the cat sat on the mat, and slept.")],
    "too long": [("the cat sat on the mat, and slept.", "the cat sat on")],
    "case and punctuation": [('The "cat" sat, on 3.5 mats!', "the cat sat on 3.5 mats.")],
    "French": [("C\u2019est l\u2019été\u00a0! Où\u00a0?", "C'est l'été ! Où donc ?")],
}

words = st.sampled_from(["the", "cat", "Cat", "sat", "on", "a", "mat", ".", ",", "3.5", "d'été"])
line = st.lists(words, max_size=9).map(" ".join)
corpus = st.lists(st.tuples(line, line), min_size=1, max_size=6)


def ours(metric: Metric, pairs: list[tuple[str, ...]]) -> float:
    rows = [metric.stats(sample(*refs), [generated(text)]) for text, *refs in pairs]
    return float(metric.value(np.sum(rows, axis=0)))


def theirs(scorer: BLEU | CHRF, pairs: list[tuple[str, ...]]) -> float:
    texts, *streams = map(list, zip(*pairs, strict=True))
    return float(scorer.corpus_score(texts, streams).score)


@pytest.mark.parametrize(("metric", "scorer"), OURS_AND_THEIRS, ids=IDS)
@pytest.mark.parametrize("pairs", CORPORA.values(), ids=CORPORA.keys())
def test_corpus_score(metric: Metric, scorer: BLEU | CHRF, pairs: list[tuple[str, ...]]) -> None:
    assert ours(metric, pairs) == pytest.approx(theirs(scorer, pairs), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(("metric", "scorer"), OURS_AND_THEIRS, ids=IDS)
@given(pairs=corpus)
def test_corpus_score_of_any_corpus(
    metric: Metric, scorer: BLEU | CHRF, pairs: list[tuple[str, ...]]
) -> None:
    assert isclose(ours(metric, pairs), theirs(scorer, pairs), rel_tol=1e-12, abs_tol=1e-12)


@given(pairs=st.lists(st.tuples(line, line, line), min_size=1, max_size=4))
def test_two_references(pairs: list[tuple[str, ...]]) -> None:
    for metric, scorer in ((bleu(references=2), BLEU()), (chrf(references=2), CHRF())):
        assert isclose(ours(metric, pairs), theirs(scorer, pairs), rel_tol=1e-12, abs_tol=1e-12)
        assert metric.signature == scorer.get_signature().format()


@pytest.mark.parametrize(("metric", "scorer"), OURS_AND_THEIRS, ids=IDS)
def test_leading_axes(metric: Metric, scorer: BLEU | CHRF) -> None:
    rows = [
        metric.stats(sample(reference), [generated(text)])
        for pairs in CORPORA.values()
        for text, reference in pairs
    ]
    expected = [theirs(scorer, [pair]) for pairs in CORPORA.values() for pair in pairs]
    sums = np.array(rows).reshape(2, 7, -1)
    np.testing.assert_allclose(
        metric.value(sums), np.reshape(expected, (2, 7)), rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize(("metric", "scorer"), OURS_AND_THEIRS, ids=IDS)
def test_signature_is_sacrebleu_s(metric: Metric, scorer: BLEU | CHRF) -> None:
    scorer.corpus_score(["a"], [["a"]])
    assert metric.signature == scorer.get_signature().format()
    assert metric.signature.startswith("nrefs:1|case:")


@pytest.mark.parametrize("metric", [bleu(), chrf()])
@pytest.mark.parametrize("references", [(), ("a", "b")])
def test_another_number_of_references(metric: Metric, references: tuple[str, ...]) -> None:
    with pytest.raises(DataError, match=f"has {len(references)} references, but .* is set to 1"):
        metric.stats(sample(*references), [generated("a")])
