"""The fixtures that a test suite of somebody else's gets."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from tests.comparing import answers, write_run

pytest_plugins = ["pytester"]

SUITE = """
def test_gate(gpt2eval_check):
    checks = gpt2eval_check({new!r}, "old", max_drop={margin!r}, output={output!r})
    assert [check.verdict for check in checks] == ["pass"]

def test_scores(gpt2eval_scores):
    scores = gpt2eval_scores("old", output={output!r})
    assert set(scores) == {{"made@p/accuracy", "made@p/perplexity"}}
    assert scores["made@p/accuracy"].n == 200
"""


def suite(pytester: pytest.Pytester, tmp_path: Path, new: str, margin: object) -> pytest.RunResult:
    output = tmp_path / "results"
    write_run(output, "old", answers(200, 1, 0.6))
    write_run(output, "better", answers(200, 2, 0.7))
    write_run(output, "worse", answers(200, 3, 0.2))
    pytester.makepyfile(SUITE.format(new=new, margin=margin, output=str(output)))
    plugins = {entry.value for entry in entry_points(group="pytest11")}
    # A checkout that was installed before the plug-in was written does not announce it.
    named = [] if "gpt2eval.pytest_plugin" in plugins else ["-p", "gpt2eval.pytest_plugin"]
    return pytester.runpytest_subprocess("-p", "no:cacheprovider", *named)


@pytest.mark.parametrize(
    "margin", ["made@p/accuracy=5pt", ["made@p/accuracy=5pt"], ("made@p/accuracy=5pt",)]
)
def test_a_better_checkpoint_passes(
    pytester: pytest.Pytester, tmp_path: Path, margin: object
) -> None:
    suite(pytester, tmp_path, "better", margin).assert_outcomes(passed=2)


def test_a_worse_checkpoint_fails_with_the_numbers(
    pytester: pytest.Pytester, tmp_path: Path
) -> None:
    found = suite(pytester, tmp_path, "worse", "made@p/accuracy=5pt")
    found.assert_outcomes(passed=1, failed=1)
    found.stdout.re_match_lines([r"check failed: 0 of 1 pass, 1 fail"])
    found.stdout.re_match_lines([r".*made@p/accuracy.*may drop by 5 pt; fail: it dropped by more"])
    assert "pytest_plugin.py" not in found.stdout.str()


def test_bad_input_is_an_error_and_no_pass(pytester: pytest.Pytester, tmp_path: Path) -> None:
    found = suite(pytester, tmp_path, "nobody", "made@p/accuracy=5pt")
    found.assert_outcomes(passed=1, failed=1)
    found.stdout.fnmatch_lines(["*UsageError: no results are called 'nobody'*"])


def test_scores_are_of_one_checkpoint(pytester: pytest.Pytester, tmp_path: Path) -> None:
    from gpt2eval import pytest_plugin
    from gpt2eval.errors import UsageError

    write_run(tmp_path, "a", answers(9, 1))
    write_run(tmp_path, "b", answers(9, 2))
    scores = pytest_plugin.gpt2eval_scores.__wrapped__()
    with pytest.raises(UsageError, match="results of a, b; expected those of one checkpoint"):
        scores(["a", "b"], output=tmp_path)


def test_the_plug_in_loads_nothing_heavy() -> None:
    code = (
        "import sys, gpt2eval.pytest_plugin;"
        "print([x for x in ('torch', 'numpy', 'pandas', 'transformers') if x in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
