"""`gpt2eval finetune` from the command line to a significant gain, and the report of it."""

from __future__ import annotations

import json
import os
import random
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gpt2eval.checkpoint import open_checkpoint
from gpt2eval.cli import app
from gpt2eval.cli.options import dashes
from gpt2eval.finetuning.options import FinetuneOptions, flag

pytest.importorskip("accelerate")  # gpt2eval[finetune]

SHIPS = "Alcyone Bramble Corentin Daphne Elsinore Fulmar".split()
PORTS = "Anvil Bay,Cape Morrow,Dunmarsh,Port Ellery,Saltholm".split(",")
CARGO = "salt timber slate wool lamp oil".split()
WINDS = "north,east,south,west".split(",")


def log_of_a_harbour(count: int, seed: int) -> list[str]:
    """Sentences of one kind, as a corpus of newspapers has them: punctuation stands alone."""
    draw = random.Random(seed)
    return [
        f"At {draw.randint(1, 12)} o'clock the {draw.choice(SHIPS)} left {draw.choice(PORTS)} with"
        f" {draw.randint(2, 90)} crates of {draw.choice(CARGO)} , and the wind was from the"
        f" {draw.choice(WINDS)} ."
        for _ in range(count)
    ]


def gpt2eval(place: Path, *arguments: object, note: str = "") -> str:
    done = subprocess.run(
        [sys.executable, "-m", "gpt2eval", *map(str, arguments)],
        cwd=place, capture_output=True, text=True, timeout=280,
        env={**os.environ, "COLUMNS": "120"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(f"note: {note}.*\n" if note else "", done.stderr), done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_gain_that_is_no_chance(tmp_path: Path) -> None:
    """Trained on one year of a log, scored on another: p < 0.01 by `gpt2eval compare`."""
    data = tmp_path / "data" / "lm1b"
    data.mkdir(parents=True)
    held_out = log_of_a_harbour(60, seed=2)
    train = [line.replace(" ,", ",").replace(" .", ".") for line in log_of_a_harbour(600, seed=1)]
    (data / "news.en.heldout-00000-of-00050").write_text("\n".join([*held_out, ""]))
    (tmp_path / "log.txt").write_text("\n".join([*train, ""]))
    told = gpt2eval(
        tmp_path, "finetune", "--model", "demo-base", "--train", "log.txt",
        "--output", "runs/ships", "--steps", 20, "--block-size", 128, "--learning-rate", 1e-3,
        "--save-every", 10, "--eval-task", "lm1b", "--data", "data", "--device", "cpu",
        note="--block-size 128 is shorter than the model's 512 positions",
    )  # fmt: skip
    assert "step 20 of 20" in told
    assert told.count("lm1b@paper/word_perplexity") == 3
    before, after = map(float, re.findall(r"held-out rows: (\S+) before, (\S+) after", told)[0])
    assert after < before - 1

    gpt2eval(
        tmp_path, "run", "--model", "demo-base", "--model", "runs/ships", "--tasks", "lm1b",
        "--data", "data", "--report", "reports/ships",
    )  # fmt: skip
    (row,) = _rows(
        gpt2eval(tmp_path, "compare", "demo-base", "ships", "--metric", "word_perplexity", "--json")
    )
    assert row["n"] == 60
    assert row["candidate_value"] < row["baseline_value"] / 2
    assert row["p_corrected"] < 0.01

    (path,) = (tmp_path / "results" / "ships").glob("lm1b@paper/*/result.json")
    found = json.loads(path.read_text())["checkpoint"]["finetuned"]
    assert found["base"]["sha256"] == open_checkpoint("demo-base").sha256
    methods = (tmp_path / "reports" / "ships" / "methods.md").read_text()
    tokens = f"{found['tokens_seen']:,} tokens, seed 0"
    assert re.search(rf"fine-tuned from demo-base .* in 20 steps over {tokens}", methods)
    # The scores along the way are a learning curve.
    gpt2eval(tmp_path, "report", "results", "--output", "reports/all")
    (table,) = (tmp_path / "reports" / "all" / "plots").glob("learning*.csv")
    steps = [line.split(",")[2] for line in table.read_text().splitlines()[1:]]
    assert steps == ["0", "10", "20"]


def _rows(text: str) -> list[dict[str, Any]]:
    content = json.loads(text)
    return content["comparisons"] if isinstance(content, dict) else content


def test_help_names_every_option(tmp_path: Path) -> None:
    told = gpt2eval(tmp_path, "finetune", "--help")
    for name in FinetuneOptions.__dataclass_fields__:
        assert flag(name).split("/")[0] in told, name


def test_the_commands_of_the_how_to_can_be_typed() -> None:
    text = (Path(__file__).parents[2] / "docs" / "finetuning.md").read_text(encoding="utf-8")
    blocks = re.split(r"^```.*$", text, flags=re.MULTILINE)[1::2]
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    typed = [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("gpt2eval ")]
    assert {name for name, *_ in typed} == {
        "finetune", "overlap", "run", "compare", "report", "generate",
    }  # fmt: skip
    for name, *arguments in typed:
        app.commands[name].make_context(name, arguments, token_normalize_func=dashes)


def test_bad_input_is_one_message(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gpt2eval", "finetune", "--model", "demo-base", "--train", "x.txt",
         "--output", "out"],
        cwd=tmp_path, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == "gpt2eval: --train 'x.txt' does not exist; expected text or JSON lines\n"
    assert not (tmp_path / "out").exists()
