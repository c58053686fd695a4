"""From a corpus to scores on clean and on overlapping samples, over files on disk."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from gpt2eval.compare import compare
from gpt2eval.errors import ComparisonError, DataError, UsageError
from gpt2eval.options import RunOptions
from gpt2eval.overlap import Overlap, overlap, read_overlap, texts, write_overlap
from gpt2eval.overlap.ngrams import words_of
from gpt2eval.overlap.split import Rule, clean_samples, split
from gpt2eval.reporting import report
from gpt2eval.results import read_records
from gpt2eval.stats import wilson
from gpt2eval.task import discover, select
from gpt2eval.types import Result
from gpt2eval.work import load_work
from tests.comparing import answers, write_run


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Overlap, Path]:
    """Three passages of the bundled LAMBADA in a corpus, one of them in half."""
    place = tmp_path_factory.mktemp("corpus")
    options = RunOptions(
        tasks="lambada@openai,wikitext2,natural_questions,hellaswag", data="bundled"
    )
    (work, *_) = load_work(select("lambada@openai", discover()), "bundled", options)
    of_sample = [texts(s, r) for s, r in zip(work.samples, work.requests, strict=True)]
    half = of_sample[5][0].split()
    lines = [of_sample[0][0].upper(), f"before {of_sample[3][0]} after", " ".join(half[:30])]
    file = place / "corpus.jsonl"
    file.write_text("\n".join(json.dumps({"text": line}) for line in lines))
    return overlap([file], options), file


def test_samples_of_a_corpus_are_found(found: tuple[Overlap, Path]) -> None:
    whole, file = found
    lambada = next(task for task in whole.tasks if task.task == "lambada@openai")
    ids = list(lambada.samples[8])
    for size in (8, 13):
        counts = lambada.samples[size]
        full = {name for name, (hits, runs) in counts.items() if hits == runs}
        assert full == {ids[0], ids[3]}
        hits, runs = counts[ids[5]]
        assert 0 < hits < runs
        assert lambada.shares[size].overlapping == 3
        first = lambada.most[size][0]
        assert first.sample in full
        documents = [json.loads(line)["text"] for line in file.read_text().splitlines()]
        assert first.text.removesuffix(" ...") in " ".join(words_of(" ".join(documents)))
    assert whole.corpus[0].documents == 3
    assert whole.false_positives == whole.corpus[0].words / 2**64


def test_the_beginning_of_all_samples_is_no_part_of_them(tmp_path: Path) -> None:
    """Examples before a question are not what is tested; what the task asks is."""
    (work,) = load_work(select("natural_questions", discover()), "bundled", RunOptions())
    prompt = work.requests[0][0].prompt  # type: ignore[union-attr]
    file = tmp_path / "corpus.txt"
    file.write_text(prompt[: prompt.rindex("Q:")] if "Q:" in prompt else prompt[:400])
    whole = overlap([file], RunOptions(tasks="natural_questions", data="bundled"))
    assert whole.tasks[0].shares[8].found == 0


def test_a_file_reads_back(found: tuple[Overlap, Path], tmp_path: Path) -> None:
    write_overlap(found[0], tmp_path / "o.json")
    assert read_overlap(tmp_path / "o.json") == found[0]
    for text in ("{", "[]", '{"format": 9}', '{"format": 1, "tasks": [{}], "corpus": []}'):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(DataError, match="cannot be read as an overlap"):
            read_overlap(tmp_path / "bad.json")
    with pytest.raises(UsageError, match="there is no directory"):
        write_overlap(found[0], tmp_path / "no" / "o.json")


# ---- scores -------------------------------------------------------------------------------------


def made(place: Path, n: int = 60) -> tuple[Overlap, list[Result]]:
    """Two checkpoints and an overlap of a made-up task: every third sample overlaps."""
    results = [
        write_run(place / "results", name, answers(n, seed), data={"sha256": "a" * 64})
        for name, seed in (("x", 1), ("y", 2))
    ]
    counts = {f"s{i}": [10 if i % 3 == 0 else 0, 0 if i == 1 else 20] for i in range(n)}
    content = {
        "format": 1,
        "corpus": [],
        "tasks": [
            {
                "task": "made@p",
                "version": results[0].task["version"],
                "data": {"source": "d", "sha256": "a" * 64, "subset": "all"},
                "shares": {},
                "samples": {"13": counts},
                "most": {},
            }
        ],
    }
    (place / "o.json").write_text(json.dumps(content))
    return read_overlap(place / "o.json"), results


def test_scores_of_clean_and_overlapping_samples(tmp_path: Path) -> None:
    whole, results = made(tmp_path)
    splits = split(results, whole, Rule())
    assert {(one.checkpoint, one.metric) for one in splits} == {
        (name, metric) for name in "xy" for metric in ("accuracy", "perplexity")
    }
    records = {record.id: record for record in read_records(results[0].path)}  # type: ignore[arg-type]
    for kind, kept in (
        ("overlapping", [f"s{i}" for i in range(0, 60, 3)]),
        ("clean", [f"s{i}" for i in range(60) if i % 3 and i != 1]),
    ):
        right = [records[name].statistics["accuracy"][0] for name in kept]
        accuracy, perplexity = (one.estimates[kind] for one in splits[:2])
        assert accuracy.n == perplexity.n == len(kept)
        assert accuracy.value == pytest.approx(np.mean(right))
        assert (accuracy.low, accuracy.high) == pytest.approx(wilson(sum(right), len(kept)))
        losses = [records[name].statistics["perplexity"][0] for name in kept]
        assert perplexity.value == pytest.approx(np.exp(np.mean(losses)))
        assert perplexity.low is not None
        assert perplexity.low < perplexity.value
    assert splits[0].estimates["all"] == results[0].metrics["accuracy"]
    assert "overlapping" not in split(results, whole, Rule(above=0.5))[0].estimates


def test_comparisons_of_clean_samples(tmp_path: Path) -> None:
    whole, results = made(tmp_path)
    only = clean_samples(whole, results, Rule())
    assert len(only["made@p"]) == 39
    by_metric = {one.metric: one for one in compare(results, only=only)}
    values = {
        (s.checkpoint, s.metric): s.estimates["clean"].value for s in split(results, whole, Rule())
    }
    for metric, one in by_metric.items():
        assert one.n == 39
        assert one.baseline_value == pytest.approx(values["x", metric])
        assert one.candidate_value == pytest.approx(values["y", metric])
        assert one.note == "39 clean samples, of 60"
    with pytest.raises(ComparisonError, match="none of the 60 samples is clean"):
        compare(results, only={"made@p": frozenset()})


def test_other_data_are_refused(tmp_path: Path) -> None:
    whole, results = made(tmp_path)
    other = write_run(tmp_path / "other", "z", answers(60, 3), data={"sha256": "b" * 64})
    with pytest.raises(ComparisonError, match="the data digest is bbbbbbbbbbbb, and aaaaaaaaaaaa"):
        split([other], whole, Rule())
    another = write_run(tmp_path / "other", "w", answers(60, 3), on="made@q")
    with pytest.raises(ComparisonError, match="the overlap is of made@p, and none"):
        split([another], whole, Rule())
    more = write_run(tmp_path / "other", "v", answers(61, 3), data={"sha256": "a" * 64})
    with pytest.raises(ComparisonError, match=r"does not have 1 of its samples, as 's60'"):
        split([more], whole, Rule())
    with pytest.raises(UsageError, match="--overlap-words 8: the file has runs of 13 words"):
        split(results, whole, Rule(8))
    with pytest.raises(UsageError, match="--overlap-above 5"):
        Rule(13, 5.0)


def test_a_report_has_the_scores_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(tmp_path)
    monkeypatch.chdir(tmp_path)
    page, _ = report(["results"], tmp_path / "report", overlap=tmp_path / "o.json", rule=Rule())
    assert "## Overlap with a training corpus" in page.read_text()
    table = (page.parent / "tables" / "overlap.csv").read_text().splitlines()
    assert len(table) == 1 + 2 * 2 * 3
    assert table[0].startswith("task@protocol,checkpoint,metric,samples,value,low,high,n,unit")
