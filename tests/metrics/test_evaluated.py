"""Metrics of Hugging Face `evaluate` in a task: its numbers, our intervals, clear errors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt2eval import metrics
from gpt2eval.errors import DataError, TaskError
from gpt2eval.metrics.evaluated import decode_texts, encode_texts
from gpt2eval.stats import estimate
from gpt2eval.types import Generated, Sample

evaluate = pytest.importorskip("evaluate")
pytestmark = pytest.mark.filterwarnings("ignore")  # those of evaluate and its dependencies

SCRIPT = """
import datasets
import evaluate


class Local(evaluate.Metric):
    def _info(self):
        value = datasets.Value("string")
        return evaluate.MetricInfo(
            description="", citation="", inputs_description="",
            features=datasets.Features({"predictions": value, "references": %s}),
        )

    def _compute(self, predictions, references, lower=False):
        %s
"""
EXACT = """if lower:
            predictions, references = ([x.lower() for x in y] for y in (predictions, references))
        right = sum(p == r for p, r in zip(predictions, references))
        return {"exact": right / len(predictions), "count": right}"""
# No mean of anything: the share of different words among all words.
VARIED = """words = " ".join(predictions).split()
        return {"varied": len(set(words)) / len(words)}"""
BEST = """right = sum(p in r for p, r in zip(predictions, references))
        return {"best": right / len(predictions)}"""


def script(directory: Path, body: str = EXACT, references: str = "value") -> Path:
    path = directory / "local" / "local.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(SCRIPT % (references, body))
    return path


def responses(text: str) -> list[Generated]:
    nothing = np.zeros(0)
    return [Generated(text, nothing.astype(np.int32), nothing.astype(np.float32), "eos", 0, text)]


def rows_of(metric: Any, pairs: Sequence[tuple[str, tuple[str, ...]]]) -> list[list[float]]:
    return [
        list(metric.stats(Sample(str(n), {}, golds), responses(text)))
        for n, (text, golds) in enumerate(pairs)
    ]


PAIRS = [("Paris", ("Paris",)), ("rome", ("Rome",)), ("Bern", ("Basel",)), ("été", ("été",))]


@given(st.lists(st.text(max_size=20), max_size=4))
def test_texts_are_numbers_and_back(texts: list[str]) -> None:
    assert decode_texts(encode_texts(texts)) == texts


@pytest.mark.parametrize("directory", [False, True])
def test_a_local_metric_gives_what_evaluate_gives(tmp_path: Path, directory: bool) -> None:
    path = script(tmp_path)
    metric = metrics.evaluated(
        path.parent if directory else path, key="exact", higher_is_better=True
    )
    rows = rows_of(metric, PAIRS)
    found = estimate(metric, rows, [""] * 4, np.random.default_rng(0))
    expected = evaluate.load(str(path)).compute(
        predictions=[text for text, _ in PAIRS], references=[golds[0] for _, golds in PAIRS]
    )
    assert found.value == expected["exact"] == 0.5
    assert found.low is not None
    assert found.low < 0.5 < found.high
    assert "bootstrap over 4 samples" in found.method
    assert found.higher_is_better is True


def test_a_metric_that_is_a_mean_may_be_taken_of_each_sample(tmp_path: Path) -> None:
    path = script(tmp_path)
    metric = metrics.evaluated(path, key="exact", higher_is_better=True, each=True)
    rows = rows_of(metric, PAIRS)
    assert rows == [[1, 1], [0, 1], [0, 1], [1, 1]]
    assert estimate(metric, rows, [""] * 4, np.random.default_rng(0)).value == 0.5
    assert metric.interval == "share"
    assert not metric.corpus
    assert "mean over samples" in metric.signature


@pytest.mark.parametrize("each", [False, True])
def test_order_and_repetition_of_samples_do_not_matter(tmp_path: Path, each: bool) -> None:
    metric = metrics.evaluated(script(tmp_path), key="exact", higher_is_better=True, each=each)
    for pairs in (PAIRS, PAIRS[::-1], PAIRS + PAIRS):
        rows = rows_of(metric, pairs)
        found = estimate(metric, rows, [""] * len(rows), np.random.default_rng(0))
        assert found.value == 0.5


def test_a_metric_of_the_corpus_is_computed_of_all_texts(tmp_path: Path) -> None:
    metric = metrics.evaluated(
        script(tmp_path, VARIED), higher_is_better=None, name="variety", interval="none"
    )
    pairs = [("a b", ("x",)), ("a c", ("x",)), ("a b", ("x",))]
    found = estimate(metric, rows_of(metric, pairs), [""] * 3, np.random.default_rng(0))
    assert found.value == 3 / 6  # of each alone it would be 1
    assert (found.low, found.high, found.higher_is_better) == (None, None, None)
    assert metric.name == "variety"


def test_settings_and_the_script_are_in_the_signature(tmp_path: Path) -> None:
    plain = metrics.evaluated(script(tmp_path), key="exact", higher_is_better=True)
    lower = metrics.evaluated(script(tmp_path), key="exact", higher_is_better=True, lower=True)
    rows = rows_of(lower, PAIRS)
    assert float(lower.value([np.array(row) for row in rows])) == 0.75
    other = metrics.evaluated(script(tmp_path / "o", VARIED), key="exact", higher_is_better=True)
    assert len({plain.signature, lower.signature, other.signature}) == 3
    assert str(tmp_path) not in plain.signature


def test_several_references_are_asked_for(tmp_path: Path) -> None:
    path = script(tmp_path, BEST, "datasets.Sequence(value)")
    pairs = [("a", ("b", "a")), ("c", ("d",))]
    metric = metrics.evaluated(path, higher_is_better=True, many=True)
    assert float(metric.value([np.array(row) for row in rows_of(metric, pairs)])) == 0.5
    with pytest.raises(DataError, match=r"has 2 references; local takes one, or several with"):
        rows_of(metrics.evaluated(path, higher_is_better=True), pairs)


@pytest.mark.parametrize(
    ("body", "settings", "message"),
    [
        (EXACT, {}, r"gives exact, count; expected one number. Say which by"),
        (EXACT, {"key": "f1"}, r"gives exact, count; expected f1"),
        ("return {'a': float('nan')}", {}, r"gives nan for a; expected a finite number"),
        ("return {'a': [1.0, 2.0]}", {}, r"gives \[1.0, 2.0\] for a"),
        ("raise RuntimeError('broken')", {}, r"failed: RuntimeError\('broken'\)"),
        ("return {'a': 1}", {"unknown": 1}, r"unexpected keyword argument 'unknown'"),
    ],
)
def test_what_a_metric_does_wrong_is_said(
    tmp_path: Path, body: str, settings: dict[str, Any], message: str
) -> None:
    metric = metrics.evaluated(script(tmp_path, body), higher_is_better=True, each=True, **settings)
    with pytest.raises(TaskError, match=message):
        rows_of(metric, PAIRS[:1])


@pytest.mark.parametrize("name", ["no_such_metric_anywhere", "./nowhere.py"])
def test_a_metric_that_is_not_there_is_named(name: str) -> None:
    metric = metrics.evaluated(name, higher_is_better=True, each=True)  # nothing is loaded yet
    with pytest.raises(TaskError, match=rf"metric '{name}' of evaluate cannot be loaded"):
        rows_of(metric, PAIRS[:1])


def test_a_script_that_does_not_load_is_named(tmp_path: Path) -> None:
    path = tmp_path / "torn.py"
    path.write_text("import nothing_of_that_name\n")
    with pytest.raises(TaskError, match="cannot be loaded"):
        rows_of(metrics.evaluated(path, higher_is_better=True, each=True), PAIRS[:1])


TASK = """
from pathlib import Path

from gpt2eval import Dataset, Generate, Protocol, Sample, Task, data, metrics

LOCAL = Path(__file__).parent / "local"
QUESTIONS = Task(
    name="questions",
    version=1,
    summary="s",
    protocols=(
        Protocol(
            name="p",
            summary="s",
            dataset=Dataset(
                files=(("q.jsonl",),), read=lambda paths: data.read_jsonl(paths, "q", "a")
            ),
            samples=lambda rows: [
                Sample(id=row["q"], fields=row, references=(row["a"],)) for row in rows
            ],
            requests=lambda sample: [Generate(sample.fields["q"], 4)],
            metrics=(
                metrics.evaluated(LOCAL, key="exact", higher_is_better=True, each=True),
                metrics.evaluated(LOCAL, key="exact", name="whole", higher_is_better=True),
            ),
            extract=lambda text: text[:1],
        ),
    ),
)
"""


def test_a_task_names_a_metric_and_a_run_has_its_number(
    tmp_path: Path, tiny_checkpoint: Path
) -> None:
    import json

    import gpt2eval
    from gpt2eval.results import read_records

    path = script(tmp_path / "tasks")
    (tmp_path / "tasks/questions.py").write_text(TASK)
    (tmp_path / "data").mkdir()
    lines = [{"q": f"Question {n}:", "a": "e"} for n in range(6)]
    (tmp_path / "data/q.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (result,) = gpt2eval.run(
        models=tiny_checkpoint,
        tasks="questions",
        data=str(tmp_path / "data"),
        tasks_dir=str(tmp_path / "tasks"),
        output=str(tmp_path / "results"),
    )
    assert result.path is not None
    written = [record.responses[0]["prediction"] for record in read_records(result.path)]
    expected = evaluate.load(str(path)).compute(predictions=written, references=["e"] * 6)
    assert result.metrics["exact"].value == result.metrics["whole"].value == expected["exact"]
    assert result.metrics["exact"].n == 6
    assert "module:local.py|code:sha256" in result.metrics["whole"].signature
