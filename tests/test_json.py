"""`--json`: what a command says to programs, in the shape that docs/json.md has."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from gpt2eval.as_json import as_text
from gpt2eval.cli import COMMANDS, app
from tests.data.directory import write_data

ROOT = Path(__file__).parents[1]
# The script of a shell is no data; the other writes files and says which, one a line.
WITHOUT = {"completion", "export"}
LINES = {"generate"}  # an object for each text instead of one for all


@pytest.fixture(scope="module")
def place(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with results of two checkpoints, and data."""
    folder = tmp_path_factory.mktemp("json")
    write_data(folder / "data")
    for name, dtype in (("a", "float32"), ("b", "bfloat16")):
        arguments = ["run", "--model", str(tiny_checkpoint), "--tasks", "lambada@openai"]
        arguments += ["--data", str(folder / "data"), "--dtype", dtype, "--device", "cpu"]
        arguments += ["--output", str(folder / name), "--report", str(folder / "report")]
        done = CliRunner().invoke(app, [*arguments, "--quiet"], catch_exceptions=False)
        assert done.exit_code == 0, done.output
    return folder


def arguments_of(command: str, place: Path, checkpoint: Path) -> list[str]:
    """What each command is called with; all else is the law's."""
    a, b, data = str(place / "a"), str(place / "b"), str(place / "data")
    tiny = ["--model", str(checkpoint)]
    score = [*tiny, "--tasks", "lambada@openai", "--data", data, "--device", "cpu"]
    known: dict[str, list[str]] = {
        "run": [*score, "--output", a, "--report", str(place / "report")],
        "report": [a, b, "--output", str(place / "report")],
        "compare": [a, b],
        "check": [b, "--baseline", a],
        "rescore": [a, "--data", data],
        "verify": [a, "--data", data],
        "fetch": ["--tasks", "lambada@openai", "--data", data, "--to", str(place / "bundle")],
        "tasks": [],
        "explain": ["lambada"],
        "bench": [
            *tiny,
            "--repeats",
            "1",
            "--device",
            "cpu",
            "--output",
            str(place / "bench"),
            "--report",
            str(place / "bench-report"),
        ],
        "selfcheck": ["--model", "demo-base", "--device", "cpu"],
        "merge": [*score, "--output", a, "--report", str(place / "report")],
        "best": [a, b, "--metric", "accuracy"],
        "overlap": [
            "--train",
            str(place / "data" / "lambada" / "lambada_test.jsonl"),
            *score[2:6],
            "--output",
            str(place / "overlap.json"),
        ],
        "audit": [*score, "--limit", "2"],
        "doctor": [],
        "finetune": [
            *tiny,
            "--train",
            str(place / "data" / "lambada" / "lambada_test.jsonl"),
            "--steps",
            "1",
            "--device",
            "cpu",
            "--output",
            str(place / "tuned"),
        ],
    }
    return known[command]


def test_every_command_takes_json() -> None:
    lacking = {
        module.command.name
        for module in COMMANDS
        if "as_json" not in {parameter.name for parameter in module.command.params}
    }
    assert lacking == WITHOUT


def documented() -> dict[str, set[str]]:
    """Command -> the keys that docs/json.md promises."""
    text = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \|", text, flags=re.MULTILINE)
    return {name: set(re.findall(r"`(\w+)`", keys)) for name, keys in rows}


@pytest.mark.parametrize("name", [name for name in sorted(documented()) if name != "import"])
def test_json_is_all_that_is_printed_and_has_the_documented_keys(
    name: str, place: Path, tiny_checkpoint: Path
) -> None:
    done = CliRunner().invoke(
        app, [name, *arguments_of(name, place, tiny_checkpoint), "--json"], catch_exceptions=False
    )
    assert done.exit_code in (0, 1), done.output

    def no_constants(text: str) -> Any:
        raise AssertionError(f"{text} is no JSON")

    content = json.loads(done.stdout, parse_constant=no_constants)
    assert content["command"] == name
    assert content["format"] == 1
    assert set(content) == {"format", "command"} | documented()[name]


def test_import_has_the_documented_keys(tmp_path: Path) -> None:
    from gpt2eval import as_json

    content = json.loads(as_text("import", as_json.imported([])))
    assert set(content) == {"format", "command"} | documented()["import"]


def test_every_command_with_json_is_documented() -> None:
    with_json = {
        module.command.name
        for module in COMMANDS
        if "as_json" in {parameter.name for parameter in module.command.params}
    }
    assert with_json == set(documented()) | LINES


def test_what_is_no_number_is_a_text() -> None:
    text = as_text("x", {"nan": float("nan"), "inf": [float("inf"), -float("inf")], "none": None})
    assert json.loads(text) == {
        "format": 1,
        "command": "x",
        "nan": "nan",
        "inf": ["inf", "-inf"],
        "none": None,
    }


def test_an_error_leaves_stdout_empty(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    import sys

    from gpt2eval.cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["gpt2eval", "compare", "no", "where", "--json"])
    with pytest.raises(SystemExit) as ended:
        main()
    shown = capsys.readouterr()
    assert ended.value.code == 2
    assert shown.out == ""
    assert "gpt2eval: " in shown.err


def every_option() -> list[tuple[str, click.Parameter]]:
    return [
        (str(module.command.name), parameter)
        for module in COMMANDS
        for parameter in module.command.params
    ]


def test_every_option_says_what_it_is_for() -> None:
    silent = [
        f"{command} {parameter.name}"
        for command, parameter in every_option()
        if isinstance(parameter, click.Option) and not (parameter.help or "").endswith((".", "]"))
    ]
    assert not silent
