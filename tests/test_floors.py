"""The unigram floor of the tasks of likelihood, against counts made in another way."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import entropy

import gpt2eval
from gpt2eval import recipes
from gpt2eval.data import bundled_directory, load
from gpt2eval.estimates import baselines
from gpt2eval.task import Protocol
from gpt2eval.work import Work
from tests.checkpoints import make_checkpoint
from tests.test_task import BUNDLED, PROTOCOLS


def floor(name: str) -> dict[str, Any]:
    """The estimates of the floor of a task@protocol on its bundled samples."""
    task, protocol = PROTOCOLS[name]
    samples = tuple(protocol.samples(load(protocol.dataset, "bundled").rows))
    requests = tuple(tuple(protocol.requests(sample)) for sample in samples)
    return baselines(Work(task, protocol, {}, samples, requests), 0)[recipes.UNIGRAM]


def text(name: str) -> str:
    return (bundled_directory() / name).read_text(encoding="utf-8")


def nats(units: list[Any]) -> float:
    """What all units cost: their number times the entropy of their shares, by numpy and scipy."""
    _, counts = np.unique(np.array(units), return_counts=True)
    return len(units) * float(entropy(counts))


def words_and_ends(content: str) -> list[str]:
    """Words as regular expressions find them, and one more for each line."""
    lines = content.removesuffix("\n").split("\n")
    return [unit for line in lines for unit in [*re.findall(r"\S+", line), "</s>"]]


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("ptb@paper", "ptb/ptb.test.txt"),
        ("lm1b@paper", "lm1b/news.en.heldout-00000-of-00050"),
        ("lm1b@concatenated", "lm1b/news.en.heldout-00000-of-00050"),
    ],
)
def test_words_and_line_ends(name: str, file: str) -> None:
    units = words_and_ends(text(file))
    found = floor(name)["word_perplexity"]
    assert found.value == pytest.approx(np.exp(nats(units) / len(units)), rel=1e-12)
    assert found.denominator == f"{len(units)} words and line ends"
    assert found.low < found.value < found.high


def test_words_of_pages() -> None:
    """As lm-eval counts them: what white space leaves, empty ends included."""
    pages = [s.fields["page"] for s in samples_of("wikitext2@lm-eval")]
    units = [unit for page in pages for unit in re.split(r"\s+", page)]
    found = floor("wikitext2@lm-eval")
    total = nats(units)
    size = sum(len(page.encode()) for page in pages)
    assert found["word_perplexity"].value == pytest.approx(np.exp(total / len(units)), rel=1e-12)
    assert found["byte_perplexity"].value == pytest.approx(np.exp(total / size), rel=1e-12)
    assert found["bits_per_byte"].value == pytest.approx(total / np.log(2) / size, rel=1e-12)


def samples_of(name: str) -> list[Any]:
    _, protocol = PROTOCOLS[name]
    return list(protocol.samples(load(protocol.dataset, "bundled").rows))


@pytest.mark.parametrize(
    ("name", "metric"),
    [("enwik8@paper", "bits_per_byte"), ("text8@stride-512", "bits_per_character")],
)
def test_bytes_and_characters(name: str, metric: str) -> None:
    _, protocol = PROTOCOLS[name]
    (row,) = load(protocol.dataset, "bundled").rows
    units = list(row["text"].encode() if metric == "bits_per_byte" else row["text"])
    expected = nats(units) / np.log(2) / len(units)
    assert floor(name)[metric].value == pytest.approx(expected, rel=1e-12)
    assert 3 < expected < 6


def test_a_line_end_is_a_unit() -> None:
    """By hand: a a b and two line ends, each line its own text."""
    first, second = recipes.unigram_nats([["a", "b", "\n"], ["a", "\n"]])
    assert first == pytest.approx(-np.log(2 / 5) - np.log(1 / 5) - np.log(2 / 5))
    assert second == pytest.approx(-2 * np.log(2 / 5))
    assert recipes.unigram_nats([]) == []


def test_no_other_unigram_model_is_better() -> None:
    """It is the floor of all models of one unit: any other distribution costs more."""
    rng = np.random.default_rng(0)
    text = rng.choice(list("abcdef"), 200, p=[0.4, 0.3, 0.1, 0.1, 0.05, 0.05])
    least = sum(recipes.unigram_nats([text]))
    for _ in range(100):
        shares = dict(zip("abcdef", rng.dirichlet(np.ones(6)), strict=True))
        assert -sum(np.log(shares[unit]) for unit in text) > least


def test_where_there_is_a_floor() -> None:
    """All language modelling per unit of the data; not per token: tokenizers differ."""

    def has_floor(protocol: Protocol) -> bool:
        return recipes.UNIGRAM in protocol.baselines

    found = {name for name, (_, protocol) in PROTOCOLS.items() if has_floor(protocol)}
    assert found == {
        "enwik8@paper", "enwik8@stride-512", "lm1b@concatenated", "lm1b@paper", "ptb@paper",
        "text8@paper", "text8@stride-512", "wikitext103@lm-eval", "wikitext103@paper",
        "wikitext2@lm-eval", "wikitext2@paper",
    }  # fmt: skip
    for name in found:
        _, protocol = PROTOCOLS[name]
        assert {metric.unit for metric in protocol.metrics} <= {"perplexity", "bits"}
        assert {metric.per for metric in protocol.metrics}.isdisjoint({"tokens"})


def test_it_stands_beside_the_score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In result and report, on the samples that were scored alone."""
    monkeypatch.chdir(tmp_path)
    checkpoint = make_checkpoint(tmp_path / "tiny")
    assert "ptb@paper" in BUNDLED
    (result,) = gpt2eval.run(
        models=checkpoint, tasks="ptb@paper", data="bundled", output=str(tmp_path), limit_first=1
    )
    (floor_of_run,) = result.baselines.values()
    (sample, *_) = samples_of("ptb@paper")
    expected = np.exp(sample.fields["unigram_nats"] / sample.fields["words+eos"])
    assert floor_of_run["word_perplexity"].value == pytest.approx(expected)
    page = gpt2eval.write_report([result], tmp_path / "report")
    assert f"| {recipes.UNIGRAM} | baseline |" in page.read_text(encoding="utf-8")
