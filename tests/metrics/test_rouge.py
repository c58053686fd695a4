from __future__ import annotations

from importlib import import_module
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nltk.stem.porter import PorterStemmer
from rouge_score.rouge_scorer import RougeScorer

from gpt2eval.errors import DataError
from gpt2eval.metrics import rouge, rouge_average
from gpt2eval.task import Metric
from tests.metrics.answers import generated, sample

rouge_module = import_module("gpt2eval.metrics.rouge")  # the package has a function of that name
NAMES = ["rouge1", "rouge2", "rougeL", "rougeLsum"]
PAIRS = [
    ("The cats were sitting.\nIt rained.", ("It rained.\nA cat sits on the mats.",)),
    ("Nothing in common", ("the cat sat on the mat",)),
    ("", ("the cat sat on the mat",)),
    ("The mat sat on a cat.", ("the dog ran", "the cat sat on the mat")),
    ("the the the", ("the cat",)),
]


def value(metric: Metric) -> float:
    rows = [metric.stats(sample(*refs), [generated(text)]) for text, refs in PAIRS]
    return float(metric.value(np.sum(rows, axis=0)))


@pytest.mark.parametrize("stemmer", [False, True])
def test_mean_of_rouge_score(stemmer: bool) -> None:
    scorer = RougeScorer(NAMES, use_stemmer=stemmer)
    scores = [scorer.score_multi(refs, text) for text, refs in PAIRS]
    expected = [100 * np.mean([score[name].fmeasure for score in scores]) for name in NAMES]
    assert [value(metric) for metric in rouge(stemmer=stemmer)] == pytest.approx(expected)
    average = np.mean([expected[0], expected[1], expected[3]])
    assert value(rouge_average(stemmer=stemmer)) == pytest.approx(average)


def test_known_values() -> None:
    # 3 words of 4 and of 6 are common, 1 pair of 3 and of 5, and the words come in two runs
    answer = [generated("the cat sat here")]
    gold = sample("sat on a mat\nthe cat")
    scores = [metric.stats(gold, answer)[0] for metric in rouge(stemmer=False)]
    assert scores == pytest.approx([0.6, 0.25, 0.4, 0.6])


def test_names_and_signatures() -> None:
    assert [metric.name for metric in rouge(stemmer=False)] == NAMES
    assert [metric.name for metric in rouge(stemmer=True)] == [f"{name}_stem" for name in NAMES]
    assert [metric.name for metric in rouge(("rougeL",), stemmer=False)] == ["rougeL"]
    assert rouge_average(stemmer=True).name == "rouge_average_stem"
    assert rouge_average(stemmer=True).signature == (
        "rouge-score:0.1.2|stem:yes|sentences:lines|refs:best"
    )


def test_a_sample_is_scored_once_for_all_variants() -> None:
    metrics = (*rouge(stemmer=True), rouge_average(stemmer=True))
    with patch.object(RougeScorer, "score", autospec=True, side_effect=RougeScorer.score) as score:
        for metric in metrics:
            metric.stats(sample("a text that no other test has"), [generated("a text")])
    assert score.call_count == 1


@given(st.text(alphabet="aeginrst 'sS3.\n", max_size=60), st.text("aeginrst \n", max_size=60))
def test_stems_that_are_kept_score_as_those_that_are_not(text: str, reference: str) -> None:
    expected = RougeScorer(NAMES, use_stemmer=True).score(reference, text)
    for metric in rouge(stemmer=True):
        score, _ = metric.stats(sample(reference), [generated(text)])
        assert score == expected[metric.name.removesuffix("_stem")].fmeasure


def test_a_word_is_stemmed_once() -> None:
    stem = PorterStemmer.stem
    with patch.object(PorterStemmer, "stem", autospec=True, side_effect=stem) as stemmed:
        tokenizer = rouge_module._Tokenizer()
        assert tokenizer.tokenize("Walking walked walking") == ["walk", "walk", "walk"]
    assert stemmed.call_count == 2


def test_no_reference() -> None:
    with pytest.raises(DataError, match="'s' has no reference"):
        rouge_average(stemmer=False).stats(sample(), [generated("a")])
