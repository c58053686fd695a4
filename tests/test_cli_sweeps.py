"""Sweeps from the command line: a file of an experiment, the best checkpoint, overlap."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.checkpoints import make_checkpoint
from tests.test_cli import gpt2eval

pytestmark = pytest.mark.xdist_group("cli")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with two checkpoints of a training run, scored."""
    place = tmp_path_factory.mktemp("sweep")
    for step in (1000, 500):
        make_checkpoint(place / "runs" / "a" / f"checkpoint-{step}", seed=step)
    (place / "experiment.yaml").write_text(
        "models: [runs/*/checkpoint-*]\ntasks: [{name: lambada, limit: 20}]\ndata: bundled\n"
        "variants: {early: {1: a-checkpoint-500}, late: {1: a-checkpoint-1000}}\n"
    )
    planned = gpt2eval("run", "experiment.yaml", "--dry-run", cwd=place)
    assert planned.returncode == 0, planned.stderr
    assert "2 runs: 0 finished, 2 to compute, 40 samples; nothing was computed" in planned.stdout
    assert not (place / "results").exists()
    done = gpt2eval("run", "experiment.yaml", cwd=place)
    assert done.returncode == 0, done.stderr
    return place


def test_a_finished_sweep_has_nothing_to_compute(place: Path) -> None:
    again = gpt2eval("run", "experiment.yaml", "--dry-run", cwd=place)
    assert "2 runs: 2 finished, 0 to compute, 0 samples" in again.stdout
    assert again.stdout.index("a-checkpoint-500") < again.stdout.index("a-checkpoint-1000")
    more = gpt2eval("run", "experiment.yaml", "--dry-run", "--limit", "30", cwd=place)
    assert "2 runs: 0 finished, 2 to compute, 60 samples" in more.stdout


def test_the_report_joins_the_run_and_marks_none_of_equals_as_the_best(place: Path) -> None:
    """Seeded weights know no last word; tests/test_reporting.py has runs with a best one."""
    curve = (place / "reports" / "latest" / "plots" / "learning.csv").read_text().splitlines()
    rows = [line.split(",") for line in curve[1:]]
    assert [row[1:4] for row in rows] == [["a", "500", "0.0"], ["a", "1000", "0.0"]]
    assert [row[6] for row in rows] == ["", ""]
    assert "A star" not in (place / "reports/latest/report.md").read_text()


def test_best(place: Path) -> None:
    done = gpt2eval("best", "a-*", "--metric", "perplexity", cwd=place)
    assert done.returncode == 0, done.stderr
    for text in ("lambada@openai perplexity", "1,000", "corrected for the choice among 2", "best"):
        assert text in done.stdout
    content = json.loads(gpt2eval("best", "a-*", "--metric", "perp*", "--json", cwd=place).stdout)
    assert content["best"]["checkpoint"] in content["set"]
    wrong = gpt2eval("best", "a-*", "--metric", "accurcy", cwd=place)
    assert wrong.returncode == 2
    assert "did you mean 'accuracy'?" in wrong.stderr


def test_variants_of_the_file(place: Path) -> None:
    done = gpt2eval("compare", "a-*", "--group-by", "experiment.yaml", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "late against early" in done.stdout or "early against late" in done.stdout


def test_overlap_and_what_takes_it(place: Path) -> None:
    corpus = place / "corpus.txt"
    sample = Path(__file__).parents[1] / "gpt2eval/samples/lambada/lambada_test.jsonl"
    lines = [json.loads(line)["text"] for line in sample.read_text().splitlines()]
    corpus.write_text("\n".join(lines[: len(lines) // 2]))
    asked = ("--tasks", "lambada", "--data", "bundled")
    done = gpt2eval("overlap", "--train", "corpus.txt", *asked, cwd=place)
    assert done.returncode == 0, done.stderr
    assert "lambada@openai" in done.stdout
    compared = gpt2eval("compare", "a-*", "--overlap", "overlap.json", cwd=place)
    assert compared.returncode == 0, compared.stderr
    for text in ("overlapping", "any of their runs of 13 words", "clean samples, of 20"):
        assert text in compared.stdout
    made = gpt2eval("report", "results", "--overlap", "overlap.json", cwd=place)
    assert made.returncode == 0, made.stderr
    page = (place / "reports" / "latest" / "report.html").read_text()
    assert "Overlap with a training corpus" in page
    assert 'class="legend">Scores on all samples, on clean and on overlapping ones.' in page
    wrong = gpt2eval("overlap", "--train", "nothing*.txt", *asked, cwd=place)
    assert wrong.returncode == 2
    assert "matches no file here" in wrong.stderr


def test_mistakes_in_a_file(place: Path) -> None:
    (place / "bad.yaml").write_text("models: [a]\nlimt: 3\n")
    done = gpt2eval("run", "bad.yaml", cwd=place)
    assert done.returncode == 2
    assert "bad.yaml, line 2: unknown key 'limt'; did you mean 'limit'?" in done.stderr
    assert "Traceback" not in done.stderr
    none = gpt2eval("run", "--model", "runs/*/ckpt-*", "--tasks", "lambada", cwd=place)
    assert none.returncode == 2
    assert "matches nothing here" in none.stderr
