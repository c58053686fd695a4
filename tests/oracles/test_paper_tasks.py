"""Tasks of the GPT-2 paper and their kin by plain transformers, from the files alone.

Nothing here is the tasks' own: files are parsed, texts de-tokenised, prompts put together and
answers normalised a second time, by other means where there are any.
"""

from __future__ import annotations

import json
import re
import string
import xml.etree.ElementTree as ET
import zipfile
from collections import Counter, defaultdict
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpt2eval.data import bundled_directory
from tests.oracles import hf_docs, word_nll
from tests.oracles.conftest import Run

pytestmark = pytest.mark.oracle
SAMPLES = bundled_directory()
FEW = 20
Evaluate = Callable[..., Run]


@pytest.fixture(scope="module")
def demo(checkpoint_of: Callable[[str], Path]) -> Path:
    return checkpoint_of("demo-base")


@pytest.fixture(scope="module")
def loaded(demo: Path) -> tuple[Any, Any]:
    return word_nll.load(demo)


@pytest.fixture(scope="module")
def score(loaded: tuple[Any, Any]) -> Callable[[str, str], list[float]]:
    """(context, text) -> the log-probability of each token of the text."""
    return lambda context, text: [
        logprob for logprob, _ in word_nll.continuation(*loaded, context, text)
    ]


def lines(name: str) -> list[str]:
    return (SAMPLES / name).read_text("utf-8").splitlines()


def assert_scores(run: Run, expected: list[list[float]]) -> None:
    """The log-probability of every choice of every sample: few samples have the same accuracy."""
    assert len(run.records) == len(expected)
    for record, scores in zip(run.records, expected, strict=True):
        ours = [sum(response["logprobs"]) for response in record["responses"]]
        assert ours == pytest.approx(scores, abs=1e-3)


def test_ptb_by_token(demo: Path, loaded: tuple[Any, Any], evaluate: Evaluate) -> None:
    model, tokenizer = loaded
    text = "\n\n".join(line.strip() for line in lines("ptb/ptb.test.txt"))
    tokens = tokenizer.encode(text)
    expected = hf_docs.perplexity(model, tokens, min(1024, model.config.n_positions))
    found = evaluate(demo, "ptb@token", SAMPLES).value("token_perplexity")
    assert found == pytest.approx(expected, rel=1e-5)


# ---- Children's Book Test -----------------------------------------------------------------------

BRACKETS = {"-LRB-": "(", "-RRB-": ")", "-LSB-": "[", "-RSB-": "]", "-LCB-": "{", "-RCB-": "}"}


def as_a_book_has_it(tokens: str) -> str:
    """A sentence of the Treebank's tokens, by substitution."""
    text = re.sub(r"-[LR][RSC]B-", lambda found: BRACKETS[found[0]], tokens)
    text = re.sub(r"(?<!\S)(``?|[(\[{$#£]) ", r"\1", text)
    text = re.sub(r" (''?|[.,;:?!)\]}%]|\.{3}|n't|'(?:s|m|d|re|ve|ll))(?=\s|$)", r"\1", text)
    return text.replace("``", '"').replace("''", '"').replace("`", "'")


@pytest.mark.parametrize("kind", ["CN", "NE"])
def test_childrens_books(
    kind: str, demo: Path, score: Callable[..., list[float]], evaluate: Evaluate
) -> None:
    """The choice with the rest of its sentence, and alone; de-tokenised and as distributed."""
    right: Counter[str] = Counter()
    scores: defaultdict[str, list[list[float]]] = defaultdict(list)
    file = lines(f"cbt/cbtest_{kind}_valid_2000ex.txt")
    stories = [list(part) for filled, part in groupby(file, bool) if filled]
    for story in stories:
        *before, last = (line.partition(" ")[2] for line in story)
        question, answer, _, choices = last.split("\t")
        for name, write in (("paper", as_a_book_has_it), ("raw", str)):
            text = " ".join(map(write, [*before, question]))
            context, _, rest = text.partition("XXXXX")
            ends = [sum(score(context, choice + rest)) for choice in choices.split("|")]
            scores[name].append(ends)
            right[name] += choices.split("|")[int(np.argmax(ends))] == answer
            if name == "paper":
                alone = [score(context, choice) for choice in choices.split("|")]
                for metric, reduce in (("accuracy", np.sum), ("accuracy_tokens", np.mean)):
                    best = int(np.argmax([reduce(each) for each in alone]))
                    right[metric] += choices.split("|")[best] == answer
    task = f"cbt_{kind.lower()}"
    for name in ("paper", "raw"):
        run = evaluate(demo, f"{task}@{name}", SAMPLES)
        assert_scores(run, scores[name])
        assert run.value("accuracy") == right[name] / len(stories)
    run = evaluate(demo, f"{task}@choice-only", SAMPLES)
    for metric in ("accuracy", "accuracy_tokens"):
        assert run.value(metric) == right[metric] / len(stories)


# ---- schemas and pairs --------------------------------------------------------------------------


def test_winograd(demo: Path, score: Callable[..., list[float]], evaluate: Evaluate) -> None:
    """Trinh and Le's partial and full scores of the first schemas of the collection."""
    schemas = list(ET.parse(SAMPLES / "winograd/WSCollection.xml").getroot().iter("schema"))[:FEW]
    right: Counter[str] = Counter()
    partials, wholes = [], []
    for schema in schemas:
        left, pronoun, rest = (
            " ".join(schema.findtext(f"text/{tag}", "").split()) for tag in ("txt1", "pron", "txt2")
        )
        gold = "AB".index(schema.findtext("correctAnswer", "").strip()[0])
        beginnings = []
        for answer in schema.iter("answer"):
            name = " ".join((answer.text or "").split())
            name += "'s" if pronoun.lower() in {"his", "her", "their", "our", "my"} else ""
            if not left.endswith("."):
                name = re.sub(r"^(?:An?|The|My|His|Her|Their)\b", lambda m: m[0].lower(), name)
            beginnings.append(f"{left} {name}".strip())
        rest = rest if rest[0] in string.punctuation else f" {rest}"
        partial = [sum(score(beginning, rest)) for beginning in beginnings]
        whole = [score("", beginning + rest) for beginning in beginnings]
        partials.append(partial)
        wholes.append([sum(each) for each in whole])
        right["partial"] += int(np.argmax(partial)) == gold
        right["full"] += int(np.argmax([sum(each) for each in whole])) == gold
        right["mean"] += int(np.argmax([np.mean(each) for each in whole])) == gold
    by_part = evaluate(demo, "winograd@partial", SAMPLES, limit_first=FEW)
    full = evaluate(demo, "winograd@full", SAMPLES, limit_first=FEW)
    assert_scores(by_part, partials)
    assert_scores(full, wholes)
    found = (by_part.value("accuracy"), full.value("accuracy"), full.value("accuracy_tokens"))
    assert found == (right["partial"] / FEW, right["full"] / FEW, right["mean"] / FEW)


def test_minimal_pairs(demo: Path, score: Callable[..., list[float]], evaluate: Evaluate) -> None:
    with zipfile.ZipFile(SAMPLES / "blimp/BLiMP.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jsonl"))
        texts = [line for name in names for line in archive.read(name).decode().splitlines()]
    pairs = [json.loads(text) for text in texts][:FEW]
    for name, space in (("sentence", ""), ("lm-eval", " ")):
        scores = [
            [sum(score("", space + pair[f"sentence_{which}"])) for which in ("good", "bad")]
            for pair in pairs
        ]
        run = evaluate(demo, f"blimp@{name}", SAMPLES, limit_first=FEW)
        assert_scores(run, scores)
        assert run.value("accuracy") == sum(good > bad for good, bad in scores) / FEW


# ---- questions ----------------------------------------------------------------------------------


def normalized(text: str) -> list[str]:
    """Words as SQuAD compares them."""
    kept = "".join(sign for sign in text.lower() if sign not in string.punctuation)
    return [word for word in kept.split() if word not in {"a", "an", "the"}]


def f1(ours: list[str], gold: list[str]) -> float:
    if not ours or not gold:
        return float(ours == gold)
    return 2 * sum((Counter(ours) & Counter(gold)).values()) / (len(ours) + len(gold))


@pytest.mark.parametrize(
    ("task", "directory", "file", "column", "mark"),
    [
        ("natural_questions@paper", "nq_open", "NQ-open.dev.jsonl", "answer", "?"),
        (
            "triviaqa@examples",
            "triviaqa",
            "triviaqa_test_subsample1000.jsonl",
            "golden_answers",
            "",
        ),
    ],
)
def test_closed_books(
    task: str,
    directory: str,
    file: str,
    column: str,
    mark: str,
    demo: Path,
    loaded: tuple[Any, Any],
    evaluate: Evaluate,
    tmp_path: Path,
) -> None:
    """Five pairs, a question, the first line that `generate` writes; the surest tenth apart.

    Some questions get what was written as their answer, or all scores would be 0.
    """
    model, tokenizer = loaded
    shots = [line.split("\t") for line in lines(f"{directory}/examples.tsv")[:5]]
    before = "".join(f"Q: {question}{mark}\nA: {answer}\n" for question, answer in shots)
    rows = [json.loads(line) for line in lines(f"{directory}/{file}")][:FEW]
    exact, overlap, sure = [], [], []
    for number, row in enumerate(rows):
        prompt = tokenizer.encode(f"{before}Q: {row['question']}{mark}\nA:")
        prompt = prompt[-(model.config.n_positions - 32) :]
        written = word_nll.greedy(model, prompt, 32)
        ends = [n for n in range(1, len(written)) if "\n" in tokenizer.decode(written[:n])]
        written = written[: min(ends, default=len(written))]
        text = tokenizer.decode(written, skip_special_tokens=True).partition("\n")[0]
        if number % 3 == 0:
            row[column] = [*row[column], f"The {text.upper()}!"]
        elif number % 3 == 1:
            row[column] = [f"{text} and more", *row[column]]
        golds = [normalized(gold) for gold in row[column]]
        exact.append(float(normalized(text) in golds))
        overlap.append(max(f1(normalized(text), gold) for gold in golds))
        scores = word_nll.scored(model, [*prompt, *written], len(written))
        sure.append(sum(logprob for logprob, _ in scores))
    path = tmp_path / directory / file
    path.parent.mkdir()
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")
    run = evaluate(demo, task, tmp_path)
    assert 0.2 < np.mean(exact) < np.mean(overlap) < 0.9
    assert run.value("exact_match") == pytest.approx(np.mean(exact))
    assert run.value("f1") == pytest.approx(np.mean(overlap))
    surest = np.argsort(sure)[::-1][: FEW // 10]
    assert run.value("exact_match_top10") == pytest.approx(np.mean(np.array(exact)[surest]))


# ---- what a model writes ------------------------------------------------------------------------


def test_variety_of_what_is_written(demo: Path, evaluate: Evaluate) -> None:
    """Each measure once more from the texts of the records."""
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

    for decoding in ("greedy", "top-k-40"):
        run = evaluate(demo, f"open_generation@{decoding}", SAMPLES, limit_first=FEW)
        texts = [response["text"].split() for response in run.responses() if "text" in response]
        assert len(texts) == FEW
        for n in (1, 2, 3):
            grams = [tuple(words[i : i + n]) for words in texts for i in range(len(words) - n + 1)]
            assert run.value(f"distinct_{n}") == pytest.approx(len(set(grams)) / len(grams))
        repeated, loops = [], 0
        for words in texts:
            fours = [" ".join(words[i : i + 4]) for i in range(len(words) - 3)]
            repeated += [1 - len(set(fours)) / len(fours)] if fours else []
            loops += re.search(r"(?:^| )(\S+(?: \S+)*?)(?: \1){2}$", " ".join(words)) is not None
        assert run.value("seq_rep_4") == pytest.approx(np.mean(repeated))
        assert run.value("degenerate") == loops / FEW
        smooth = SmoothingFunction().method1
        bleu = [
            sentence_bleu(texts[:i] + texts[i + 1 :], words, smoothing_function=smooth)
            for i, words in enumerate(texts)
        ]
        assert run.value("self_bleu") == pytest.approx(np.mean(bleu), abs=1e-9)
        counts = sorted(Counter(word for words in texts for word in words).values())[::-1]
        x, y = np.log(np.arange(1, len(counts) + 1)), np.log(counts)
        slope = np.cov(x, y)[0, 1] / np.var(x, ddof=1)
        assert run.value("zipf") == pytest.approx(-slope)
