"""BLEU, chrF and ROUGE again, by their own programs, from what a run leaves on disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rouge_score.rouge_scorer import RougeScorer

from tests.oracles.conftest import Run

pytestmark = pytest.mark.oracle

ROUGE = ("rouge1", "rouge2", "rougeL", "rougeLsum")
TRANSLATIONS = (
    "wmt14_fr_en@paper",
    "wmt14_en_fr@paper",
    "multi30k_fr_en@paper",
    "multi30k_en_fr@paper",
)
SUMMARIES = ("cnn_dailymail@tldr", "cnn_dailymail@tldr-greedy", "xsum@tldr-greedy")


def sacrebleu(
    predictions: list[str], references: list[str], directory: Path
) -> dict[str, tuple[float, str]]:
    """The sacrebleu command line on two files: name of the metric -> (score, signature)."""
    names = ("predictions.txt", "references.txt")
    for name, texts in zip(names, (predictions, references), strict=True):
        # Line breaks of any kind would shift all lines below; to both metrics they are a space.
        lines = [" ".join(text.splitlines()) for text in texts]
        (directory / name).write_text("".join(f"{line}\n" for line in lines), "utf-8")
    command = [sys.executable, "-m", "sacrebleu", names[1], "--input", names[0]]
    command += ["--metrics", "bleu", "chrf", "--width", "12", "--format", "json"]
    environment = {**os.environ, "PYTHONUTF8": "1"}
    output = subprocess.run(
        command, cwd=directory, env=environment, check=True, capture_output=True, text=True
    ).stdout
    return {entry["name"]: (entry["score"], entry["signature"]) for entry in json.loads(output)}


@pytest.mark.parametrize("task", TRANSLATIONS)
@pytest.mark.parametrize("name", ["trained", "demo-base"])
def test_bleu_and_chrf(
    name: str,
    task: str,
    checkpoint_of: Callable[[str], Path],
    toy_data: Path,
    tmp_path: Path,
    evaluate: Callable[..., Run],
) -> None:
    """The score, and the signature that we print beside it."""
    run = evaluate(checkpoint_of(name), task, toy_data, batch_size=8)
    predictions = [response["prediction"] for response in run.responses()]
    references = [reference for record in run.records for reference in record["references"]]
    expected = sacrebleu(predictions, references, tmp_path)
    for ours, theirs in ((bleu_of(run), "BLEU"), (chrf_of(run), "chrF2")):
        score, signature = expected[theirs]
        estimate = run.result.metrics[ours]
        assert estimate.value == pytest.approx(score, abs=1e-6)
        assert estimate.signature == signature
    if name == "trained":
        assert run.value(bleu_of(run)) > 0, "a test of nothing: no n-gram matches"


def bleu_of(run: Run) -> str:
    """Our name of BLEU."""
    (name,) = (name for name in run.result.metrics if name.startswith("bleu"))
    return name


def chrf_of(run: Run) -> str:
    """Our name of chrF2."""
    (name,) = (name for name in run.result.metrics if name.startswith("chrf"))
    return name


@pytest.mark.parametrize("task", SUMMARIES)
@pytest.mark.parametrize("name", ["trained", "demo-base"])
def test_rouge(
    name: str,
    task: str,
    checkpoint_of: Callable[[str], Path],
    toy_data: Path,
    evaluate: Callable[..., Run],
) -> None:
    """The mean F1 of rouge-score in points, with and without its stemmer."""
    run = evaluate(checkpoint_of(name), task, toy_data, batch_size=8)
    for stemmer, suffix in ((False, ""), (True, "_stem")):
        scorer = RougeScorer(ROUGE, use_stemmer=stemmer)
        scores = [
            scorer.score(*record["references"], response["prediction"])
            for record, response in zip(run.records, run.responses(), strict=True)
        ]
        for variant in ROUGE:
            mean = sum(score[variant].fmeasure for score in scores) / len(scores)
            assert run.value(variant + suffix) == pytest.approx(100 * mean, abs=1e-6), variant
    if name == "trained":
        assert run.value("rouge2") > 0, "a test of nothing: no bigram matches"


@pytest.mark.parametrize("task", SUMMARIES)
def test_summaries_have_a_sentence_a_line(
    task: str, checkpoint_of: Callable[[str], Path], toy_data: Path, evaluate: Callable[..., Run]
) -> None:
    """rougeLsum reads lines as sentences: CNN/DM 3 at most, XSum one."""
    run = evaluate(checkpoint_of("trained"), task, toy_data, batch_size=8)
    lines = [response["prediction"].split("\n") for response in run.responses()]
    assert max(map(len, lines)) == (1 if task.startswith("xsum") else 3)
    assert all(line.strip() for part in lines for line in part)
