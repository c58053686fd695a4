"""What the documents show is run."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from gpt2eval import data
from gpt2eval.task import Task, discover
from gpt2eval.types import Score
from tests.metrics.answers import scored

ROOT = Path(__file__).parents[1]


def blocks(document: str, language: str) -> list[str]:
    """The fenced blocks of one language in a document of the repository."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def capitals(tmp_path: Path) -> Task:
    """The example of CONTRIBUTING.md, found the way a user's own file is."""
    (example,) = blocks("CONTRIBUTING.md", "python")
    assert len(example.splitlines()) < 40
    directory = tmp_path / "my tasks"
    directory.mkdir()
    (directory / "capitals.py").write_text(example, encoding="utf-8")
    assert "capitals" not in discover()
    return discover(directory)["capitals"]


def test_example_task_gives_a_number(capitals, tmp_path):
    folder = tmp_path / "capitals"
    folder.mkdir()
    lines = [{"country": "France", "capital": "Paris"}, {"country": "Peru", "capital": "Lima"}]
    (folder / "test.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (protocol,) = capitals.protocols

    samples = list(protocol.samples(data.load(protocol.dataset, tmp_path).rows))
    requests = [protocol.requests(sample) for sample in samples]
    assert requests[0] == [Score("The capital of France is", " Paris")]

    answers = [[scored([-1.0], greedy=[True])], [scored([-1.0, -2.0], greedy=[True, False])]]
    accuracy, perplexity = (
        float(metric.value(np.sum([*map(metric.stats, samples, answers)], axis=0)))
        for metric in protocol.metrics
    )
    assert accuracy == 0.5
    assert perplexity == pytest.approx(np.exp((1 + 3) / 2))


def test_example_of_the_readme_runs(tmp_path, monkeypatch, capsys):
    (example,) = blocks("README.md", "python")
    assert len(example.splitlines()) < 10
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "README.md", "exec"), {})
    shown = capsys.readouterr().out
    assert "demo-tuned lambada@openai task:lambada@openai" in shown
    assert (tmp_path / "reports" / "python" / "report.md").is_file()


def test_the_command_to_try_the_example_names_it(capitals):
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert f"--tasks {capitals.name} --tasks-dir" in text


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_named_paths_exist(document):
    """Paths in back quotes that begin with a directory of the repository."""
    text = (ROOT / document).read_text(encoding="utf-8")
    rooms = r"(?:gpt2eval|tasks|tests|benchmarks|\.ci)"
    named = re.findall(rf"`({rooms}/[\w./-]*)`", text)
    missing = [path for path in named if not (ROOT / path).exists()]
    assert not missing


def test_tests_for_other_pythons_exist():
    named = re.findall(r"tests/[\w./]+", (ROOT / ".ci/versions").read_text(encoding="utf-8"))
    assert named
    assert not [path for path in named if not (ROOT / path).exists()]


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_named_make_targets_exist(document):
    text = (ROOT / document).read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = set(re.findall(r"^make ([a-z]+)", text, flags=re.MULTILINE))
    assert named
    assert named <= targets
