"""Text tasks against transformers, one sequence at a time, on the bundled samples."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gpt2eval_tasks import lm1b, ptb

from gpt2eval.data import bundled_directory
from tests.oracles import word_nll
from tests.oracles.conftest import Run

pytestmark = pytest.mark.oracle
SAMPLES = bundled_directory()
Evaluate = Callable[..., Run]


@pytest.fixture(scope="module")
def demo(checkpoint_of: Callable[[str], Path]) -> Path:
    return checkpoint_of("demo-base")


@pytest.fixture(scope="module")
def loaded(demo: Path) -> tuple[Any, Any]:
    return word_nll.load(demo)


def sliding(model: Any, tokenizer: Any, text: str, stride: int) -> float:
    """Summed log-probability: each window advances by `stride` and scores what is new in it."""
    tokens, size = tokenizer.encode(text), model.config.n_positions
    stream = [tokenizer.eos_token_id, *tokens]
    total, done = 0.0, 0
    while done < len(tokens):
        end = min(len(tokens), size if done == 0 else done + stride)
        window = stream[max(0, end - size) : end + 1]
        total += sum(logprob for logprob, _ in word_nll.scored(model, window, end - done))
        done = end
    return total


def close(expected: float) -> Any:
    return pytest.approx(expected, rel=1e-5)


def test_lm1b(demo: Path, loaded: tuple[Any, Any], evaluate: Evaluate) -> None:
    """Each sentence after <|endoftext|> with its line end, per word of the tokenised file."""
    lines = (SAMPLES / "lm1b/news.en.heldout-00000-of-00050").read_text("utf-8").splitlines()
    total = sum(sum(word_nll.rolling(*loaded, lm1b.detokenize(line) + "\n")) for line in lines)
    units = sum(len(line.split(" ")) + 1 for line in lines)
    found = evaluate(demo, "lm1b@paper", SAMPLES).value("word_perplexity")
    assert found == close(math.exp(-total / units))


def test_ptb(demo: Path, loaded: tuple[Any, Any], evaluate: Evaluate) -> None:
    raw = (SAMPLES / "ptb/ptb.test.txt").read_text("utf-8")
    text = "".join(ptb.detokenize(line) + "\n" for line in raw.splitlines())
    units = len(raw.split()) + raw.count("\n")
    found = evaluate(demo, "ptb@paper", SAMPLES).value("word_perplexity")
    assert found == close(math.exp(-sliding(*loaded, text, 32) / units))


@pytest.mark.parametrize(
    ("task", "file", "metric"),
    [
        ("enwik8@stride-512", "enwik8/enwik8", "bits_per_byte"),
        ("text8@stride-512", "text8/text8", "bits_per_character"),
        ("text8@paper", "text8/text8", "bits_per_character"),
    ],
)
def test_characters(
    task: str, file: str, metric: str, demo: Path, loaded: tuple[Any, Any], evaluate: Evaluate
) -> None:
    """Fifty stretches give what one text gives; a text shorter than their context."""
    content = (SAMPLES / file).read_bytes()
    stride = 32 if task.endswith("paper") else 512
    total = sliding(*loaded, content.decode(), stride)
    found = evaluate(demo, task, SAMPLES).value(metric)
    assert found == close(-total / math.log(2) / len(content))


def test_dialogue(demo: Path, loaded: tuple[Any, Any], evaluate: Evaluate) -> None:
    """The likeliest of the candidates, and the perplexity of the true one."""
    hits = evaluate(demo, "dailydialog@hits", SAMPLES, limit_first=12)
    replies = evaluate(demo, "dailydialog@perplexity", SAMPLES, limit_first=12)
    from gpt2eval_tasks import dailydialog

    protocol = dailydialog.DAILYDIALOG.protocols[0]
    rows = list(dailydialog.read([SAMPLES / "dailydialog/test.json"]))
    samples = list(protocol.samples(rows))[:12]
    right, right_by_mean, total, tokens = 0, 0, 0.0, 0
    for sample in samples:
        scores = [
            [score for score, _ in word_nll.continuation(*loaded, sample.fields["prompt"], text)]
            for text in (f" {candidate}\n" for candidate in sample.fields["choices"])
        ]
        gold = sample.fields["gold"]
        right += int(np.argmax([sum(score) for score in scores])) == gold
        right_by_mean += int(np.argmax([np.mean(score) for score in scores])) == gold
        total += sum(scores[gold])
        tokens += len(scores[gold])
    assert hits.value("hits_at_1") == right / 12
    assert hits.value("hits_at_1_mean") == right_by_mean / 12
    assert replies.value("token_perplexity") == close(math.exp(-total / tokens))
    words = sum(len(sample.references[0].split()) + 1 for sample in samples)
    assert replies.value("word_perplexity") == close(math.exp(-total / words))


def test_written_perplexity(demo: Path, loaded: tuple[Any, Any], evaluate: Evaluate) -> None:
    """Of sampled text too it is the probability at temperature 1 with no token cut off."""
    run = evaluate(demo, "open_generation@top-k-40", SAMPLES, limit_first=6)
    lines = (SAMPLES / "open_generation/prompts.jsonl").read_text("utf-8").splitlines()
    model, tokenizer = loaded
    total, count = 0.0, 0
    for line, record in zip(lines, run.records, strict=False):
        written = record["responses"][0]["tokens"]
        tokens = [*tokenizer.encode(json.loads(line)["prompt"]), *written]
        total += sum(score for score, _ in word_nll.scored(model, tokens, len(written)))
        count += len(written)
    assert count > 300
    assert run.value("written_perplexity") == close(math.exp(-total / count))


def test_greedy_answers(demo: Path, loaded: tuple[Any, Any], evaluate: Evaluate) -> None:
    """A CoQA answer is the first line of what `generate` writes."""
    from gpt2eval_tasks import coqa

    run = evaluate(demo, "coqa@paper", SAMPLES, limit_first=8)
    samples = list(coqa.every_turn(coqa.read([SAMPLES / "coqa/dev.json"])))[:8]
    model, tokenizer = loaded
    for sample, response in zip(samples, run.responses(), strict=True):
        prompt = tokenizer.encode(sample.fields["prompt"])[-(model.config.n_positions - 32) :]
        text = tokenizer.decode(word_nll.greedy(model, prompt, 32))
        assert response["prediction"] == text.split("\n")[0].strip()
