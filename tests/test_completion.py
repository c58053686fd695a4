"""Completion in a real bash, as it is asked at every press of Tab."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from gpt2eval.cli import app

BASH = shutil.which("bash")


def suggested(*words: str) -> list[str]:
    """What click answers to any shell."""
    completion = ShellComplete(app, {}, "gpt2eval", "_GPT2EVAL_COMPLETE")
    found = completion.get_completions(list(words[:-1]), words[-1])
    return [item.value for item in found if item.type == "plain"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "results" / "alpha").mkdir(parents=True)
    (tmp_path / "results" / "README.md").write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path


CASES = [
    (["comp"], ["compare", "completion"]),
    (["run", "--batch"], ["--batch-size"]),
    (["run", "--tasks", "wikitext2,lamb"], ["wikitext2,lambada"]),
    (["run", "--tasks", "lambada@standard"], ["lambada@standard"]),
    (["run", "--tasks", "cor"], ["core"]),
    (["run", "--model", "demo-t"], ["demo-tuned"]),
    (["audit", "--dtype", "float32,b"], ["float32,bfloat16"]),
    (["explain", "hella"], ["hellaswag"]),
    (["compare", "al"], ["alpha"]),
    (["report", "al"], ["alpha"]),
    (["check", "alpha", "--baseline", "a"], ["alpha"]),
    (["completion", "f"], ["fish"]),
    (["run", "--tasks", "nothing-like-it"], []),
]


@pytest.mark.parametrize(("words", "expected"), CASES)
def test_words_are_completed(words: list[str], expected: list[str], place: Path) -> None:
    assert suggested(*words) == expected


def test_a_broken_task_file_does_not_break_the_shell(place: Path) -> None:
    (place / "tasks").mkdir()
    (place / "tasks" / "mine.py").write_text("import gpt2eval\n1/0\n")
    assert suggested("run", "--tasks", "lam") == []


@pytest.mark.skipif(BASH is None, reason="no bash here")
@pytest.mark.parametrize("case", [0, 2, 3, 8])
def test_bash_takes_the_script(case: int, place: Path) -> None:
    """The script as `eval` gets it; the words by COMP_WORDS, split as bash splits a line."""
    assert BASH is not None
    words, expected = CASES[case]
    program = place / "bin" / "gpt2eval"
    program.parent.mkdir()
    program.write_text(f'#!{BASH}\nexec "{sys.executable}" -m gpt2eval "$@"\n')
    program.chmod(0o755)
    line = " ".join(["gpt2eval", *words])
    script = f"""
    eval "$(gpt2eval completion bash)"
    case "$COMP_WORDBREAKS" in *@*) echo "splits at @" >&2; exit 1;; esac
    complete -p gpt2eval >&2 || exit 1
    COMP_WORDS=({line}); COMP_CWORD={len(words)}
    _gpt2eval_completion gpt2eval
    printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        [BASH, "--norc", "-c", script],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == expected


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_script_that_it_can_parse(shell: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gpt2eval", "completion", shell], capture_output=True, text=True
    )
    assert done.returncode == 0
    assert "_GPT2EVAL_COMPLETE" in done.stdout
    if program := shutil.which(shell):
        parsed = subprocess.run([program, "-n"], input=done.stdout, capture_output=True, text=True)
        assert parsed.returncode == 0, parsed.stderr


def test_completion_loads_nothing_heavy(place: Path) -> None:
    watch = (
        "import atexit, sys; sys.argv = ['gpt2eval'];"
        "atexit.register(lambda: print(sorted({'torch', 'transformers', 'rich'}"
        " & set(sys.modules)), file=sys.stderr));"
        "from gpt2eval.cli import main; main()"
    )
    environment = {"_GPT2EVAL_COMPLETE": "bash_complete", "COMP_CWORD": "3"}
    environment["COMP_WORDS"] = "gpt2eval run --tasks lamb"
    done = subprocess.run(
        [sys.executable, "-c", watch],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    assert done.stdout == "plain,lambada\n"
    assert done.stderr == "[]\n"
