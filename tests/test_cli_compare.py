"""`gpt2eval compare` and `gpt2eval check` as a user types them, in processes of their own."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.comparing import answers, write_run
from tests.test_cli import gpt2eval

pytestmark = pytest.mark.xdist_group("cli")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with results of three checkpoints."""
    place = tmp_path_factory.mktemp("compare")
    for name, seed, right in (("a", 1, 0.5), ("b", 2, 0.7), ("[red]c[/red]", 3, 0.5)):
        write_run(place / "results", name, answers(200, seed, right=right))
    return place


def test_compare_prints_a_table(place: Path) -> None:
    done = gpt2eval("compare", "a", "*", cwd=place)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for text in ("b against a", "[red]c[/red] against a", "accuracy ↑", "perplexity ↓", "p (holm)"):
        assert text in done.stdout
    assert "exact McNemar test over" in done.stdout
    (line,) = [line for line in done.stdout.splitlines() if "accuracy ↑" in line][1:]
    assert "pt" in line
    assert "Cohen's g" in line


def test_a_narrow_terminal_loses_columns_not_digits(place: Path) -> None:
    done = gpt2eval("compare", "a", "b", cwd=place, COLUMNS="80")
    assert "…" not in done.stdout
    assert "no room for" in done.stdout


def test_compare_json(place: Path) -> None:
    arguments = ("compare", "a", "b", "--baseline", "b", "--metric", "acc*", "--json")
    done = gpt2eval(*arguments, cwd=place)
    content = json.loads(done.stdout)
    (one,) = content["comparisons"]
    assert (one["baseline"], one["candidate"], one["metric"]) == ("b", "a", "accuracy")
    assert gpt2eval(*arguments, cwd=place).stdout == done.stdout


def test_compare_needs_no_torch(place: Path) -> None:
    (place / "torch.py").write_text("raise SystemExit('torch was loaded')")
    try:
        done = gpt2eval("compare", "a", "b", cwd=place, PYTHONPATH=str(place))
    finally:
        (place / "torch.py").unlink()
    assert done.returncode == 0, done.stderr + done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("compare",), "Missing argument 'RESULTS...'"),
        (("compare", "a"), "all results are of a"),
        (("compare", "a", "d"), "no results are called 'd'"),
        (("compare", "a", "b", "--correction", "x"), "'x' is not one of"),
        (("compare", "a", "b", "--metric", "x"), "no result has a metric 'x'"),
        (("check", "a"), "Missing option '--baseline'"),
        (("check", "a", "--baseline", "b", "--max-drop", "x"), "is no margin"),
        (("check", "a", "--baseline", "b", "--alpha", "2"), "--alpha 2.0; expected"),
    ],
)
def test_bad_input_is_code_2(place: Path, arguments: tuple[str, ...], words: str) -> None:
    done = gpt2eval(*arguments, cwd=place)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_check_passes_and_fails_by_its_exit_code(place: Path) -> None:
    files = ("--junit", "out.xml", "--summary", "out.md")
    done = gpt2eval("check", "b", "--baseline", "a", *files, cwd=place)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "check passed: 1 of 1 pass" in done.stdout
    assert ElementTree.parse(place / "out.xml").getroot().attrib["failures"] == "0"
    assert (place / "out.md").read_text().startswith("## gpt2eval check passed")
    done = gpt2eval("check", "a", "--baseline", "b", *files, cwd=place)
    assert done.returncode == 1
    assert "check failed: 0 of 1 pass, 1 fail" in done.stdout
    assert ElementTree.parse(place / "out.xml").getroot().attrib["failures"] == "1"
