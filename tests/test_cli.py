"""The real command line, in processes of its own: what a user types, sees and finds on disk."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gpt2eval import cli
from gpt2eval.options import RunOptions
from tests.checkpoints import make_checkpoint
from tests.data.directory import write_data

# One worker runs them all, so that what they share is made once.
pytestmark = pytest.mark.xdist_group("cli")

TASKS = "wikitext2,lambada@*,cnn_dailymail@tldr,xsum,wmt14_fr_en,multi30k_en_fr"


def gpt2eval(*arguments: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gpt2eval", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "COLUMNS": "160", **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("checkpoints") / "tiny"
    make_checkpoint(directory)
    return directory


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("data")
    write_data(directory)
    return directory


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory, checkpoint: Path, data: Path
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A working directory in which the whole path was run once."""
    place = tmp_path_factory.mktemp("run")
    return place, gpt2eval(
        "run", "--model", checkpoint, "--tasks", TASKS, "--data", data, cwd=place
    )


def test_run_prints_the_table_and_where_the_report_lies(finished):
    place, done = finished
    assert done.returncode == 0, done.stderr
    for text in ("wikitext2@lm-eval", "word_perplexity ↓", "lambada@openai-stopwords", "bleu ↑"):
        assert text in done.stdout
    assert "    lede-3: " in done.stdout
    assert (place / done.stdout.split("Report: ")[1].strip()).is_file()
    assert "Traceback" not in done.stderr


def test_results_lie_where_the_design_says(finished):
    place, _ = finished
    runs = sorted(place.glob("results/tiny/*/*/result.json"))
    assert {run.parts[-3] for run in runs} >= {"wikitext2@lm-eval", "lambada@standard"}
    for run in runs:
        content = json.loads(run.read_text())
        assert content["format"] == 1
        assert (run.parent / "records.jsonl").read_text().count("\n") == content["data"]["selected"]


def test_report_holds_tables_and_plots_of_the_same_numbers(finished):
    place, _ = finished
    report = place / "reports" / "latest"
    table = (report / "tables" / "results.csv").read_text(encoding="utf-8")
    rows = [row for row in csv.DictReader(table.splitlines()) if row["kind"] == "checkpoint"]
    values = {(f"{row['task']}@{row['protocol']}", row["metric"]): row["value"] for row in rows}
    for path in place.glob("results/tiny/*/*/result.json"):
        content = json.loads(path.read_text())
        if content["data"]["subset"] == "all":
            for metric, estimate in content["metrics"].items():
                assert float(values[path.parts[-3], metric]) == pytest.approx(estimate["value"])
    for ending in ("png", "svg", "pdf"):
        assert list(report.glob(f"plots/*.{ending}"))


def test_the_same_command_reads_what_is_there(finished, checkpoint, data):
    place, _ = finished
    before = {path: path.stat().st_mtime_ns for path in place.glob("results/**/*.json*")}
    again = gpt2eval("run", "--model", checkpoint, "--tasks", TASKS, "--data", data, cwd=place)
    assert again.returncode == 0, again.stderr
    assert {path: path.stat().st_mtime_ns for path in place.glob("results/**/*.json*")} == before


def test_underscores_are_accepted_in_flags(finished, checkpoint, data):
    place, _ = finished
    arguments = ("--model", checkpoint, "--tasks", "lambada", "--data", data)
    done = gpt2eval("run", *arguments, "--batch_size", "2", "--limit_first", "2", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "subset (first 2)" in done.stdout


def test_interrupted_runs_go_on(tmp_path, data):
    """Ctrl-C in the middle: exit code 3, no traceback; the same command gives the same numbers."""
    checkpoint = tmp_path / "slow"
    make_checkpoint(checkpoint, n_layer=6, n_embd=96)
    # Batches of one make the run long enough to be stopped in its middle.
    arguments = ["run", "--model", str(checkpoint), "--tasks", "lambada,wikitext2,cnn_dailymail"]
    arguments += ["--data", str(data), "--batch-size", "1"]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    broken.mkdir()
    assert gpt2eval(*arguments, cwd=whole).returncode == 0
    process = subprocess.Popen(
        [sys.executable, "-m", "gpt2eval", *arguments],
        cwd=broken,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    records = broken.glob
    deadline = time.monotonic() + 120
    while not any(path.stat().st_size for path in records("results/*/*/*/records.jsonl")):
        assert process.poll() is None, "the run ended before it could be stopped"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    # A machine fast enough to finish first has nothing to go on with.
    if process.returncode != 0:
        assert process.returncode == 3
        assert "Interrupted" in stderr
        assert "Traceback" not in stderr
    assert gpt2eval(*arguments, cwd=broken).returncode == 0
    finished = [sorted(place.glob("results/*/*/*/result.json")) for place in (whole, broken)]
    for one, other in zip(*finished, strict=True):
        expected, found = (json.loads(path.read_text())["metrics"] for path in (one, other))
        for metric, estimate in expected.items():
            assert found[metric]["value"] == pytest.approx(estimate["value"], rel=1e-6)


def test_python_does_the_same_as_the_command_line(finished, checkpoint, data):
    import gpt2eval as library

    place, _ = finished
    results = library.run(
        models=checkpoint, tasks="lambada", data=str(data), output=str(place / "results")
    )
    frame = library.to_frame(results)
    assert list(frame["metric"]) == ["accuracy", "perplexity"]
    (stored,) = library.load_results(place / "results" / "tiny" / "lambada@openai")[:1]
    assert stored.metrics["accuracy"] == results[0].metrics["accuracy"]


BAD_INPUT = {
    "no such directory": (["--model", "./nope"], r"'\./nope' does not exist"),
    "not in the cache": (["--model", "gpt2"], r"hf download gpt2"),
    "unknown task": (["--tasks", "wikitex"], r"did you mean 'wikitext'\?"),
    "unknown protocol": (["--tasks", "lambada@openia"], r"did you mean 'openai'\?"),
    "no data directory": (["--data", "nowhere"], r"data directory 'nowhere' does not exist"),
    "missing data file": (["--data", "."], r"5 of 5 tasks have no data in \.:.*cnn_dm/test\.csv"),
    "limit 0": (["--limit", "0"], r"--limit 0: expected a whole number of at least 1"),
    "negative limit": (["--limit", "-5"], r"--limit -5"),
    "limit twice": (["--limit", "5", "--limit-first", "5"], r"exclude each other"),
    "limit in words": (["--limit", "ten"], r"'--limit': 'ten'; expected a whole number$"),
    "a part of the data": (["--limit", "0.5"], r"'--limit': '0\.5'; expected a whole number$"),
    "batches": (["--batch_size", "auto:4"], r"'auto:4'; expected a whole number or auto"),
    "no model": (["--model", ""], r"--model '': expected a directory, a hub id"),
    "no data": (["--data", ""], r"--data '': expected the name of a directory"),
    "no output": (["--output", ""], r"--output '': expected the name of a directory"),
    "name in lm-eval": (["--tasks", "lambada_opnai"], r"did you mean 'lambada_openai'\?"),
    "report in a file": (["--report", "file.txt/x"], r"--report 'file\.txt/x' cannot be written"),
    "dtype": (["--dtype", "int8"], r"--dtype 'int8': expected one of float32"),
    "device": (["--device", "tpu9"], r"device 'tpu9' cannot be used"),
    "unknown flag": (["--modle", "x"], r"No such option.*--modle"),
    "tasks directory": (["--tasks-dir", "none"], r"--tasks-dir 'none' is not a directory"),
    "foreign report": (["--report", "."], r"cannot be used: .*neither empty nor a report"),
    "output is a file": (
        ["--output", "file.txt"],
        r"output directory 'file.txt' cannot be written",
    ),
    "seed": (["--seed", "-1"], r"--seed -1: expected a whole number from 0 up"),
}


def here(arguments: list[object], monkeypatch: pytest.MonkeyPatch, place: Path) -> int:
    """The exit code of the command line, run in this process: imports are paid once."""
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "argv", ["gpt2eval", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return int(end.value.code or 0)


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_is_one_message_and_exit_code_2(case, tmp_path, checkpoint, monkeypatch, capsys):
    (tmp_path / "file.txt").write_text("mine")
    arguments, message = BAD_INPUT[case]
    given = ["--model", checkpoint, "--data", "bundled", "--tasks", "core"]
    for flag in arguments[::2]:
        if flag in given:
            place = given.index(flag)
            del given[place : place + 2]
    assert here(["run", *given, *arguments], monkeypatch, tmp_path) == 2
    assert re.search(message, capsys.readouterr().err, re.DOTALL)
    assert (tmp_path / "file.txt").read_text() == "mine"
    assert not list(tmp_path.rglob("result.json"))


BAD_DATA = {
    "malformed line": (
        "lambada",
        b'{"text": "a b"}\n{"text": \n',
        r"jsonl, line 2: not valid JSON",
    ),
    "wrong column": ("lambada", b'{"txt": "a b"}\n', r"line 1: column 'text' is missing"),
    "not UTF-8": ("lambada", b'{"text": "a b"}\n{"text": "caf\xe9 x"}\n', r"line 2: byte 0xe9"),
    "empty": ("lambada", b"", r"holds no rows"),
    "empty passage": ("lambada", b'{"text": " "}\n', r"passage 1 is empty"),
}


@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data_are_named_by_file_and_line(case, tmp_path, checkpoint, monkeypatch, capsys):
    task, content, message = BAD_DATA[case]
    (tmp_path / "lambada").mkdir()
    (tmp_path / "lambada" / "lambada_test.jsonl").write_bytes(content)
    arguments = ["run", "--model", checkpoint, "--data", tmp_path, "--tasks", task]
    assert here(arguments, monkeypatch, tmp_path) == 2
    assert re.search(message, capsys.readouterr().err)


def test_help_names_every_option(tmp_path):
    done = gpt2eval("run", "--help", cwd=tmp_path)
    assert done.returncode == 0
    for name in RunOptions.__dataclass_fields__:
        flag = "--model" if name == "models" else "--" + name.replace("_", "-")
        assert flag in done.stdout


def test_help_keeps_the_examples_apart(tmp_path):
    lines = gpt2eval("--help", cwd=tmp_path).stdout.splitlines()
    examples = [line for line in lines if line.startswith("  gpt2eval run")]
    assert len(examples) == 4
    assert "\\b" not in " ".join(lines)


def test_a_terminal_without_arrows(finished, checkpoint, data):
    """ASCII gets a question mark for what it lacks; before, it got a traceback."""
    place, _ = finished
    arguments = ("run", "--model", checkpoint, "--tasks", TASKS, "--data", data)
    done = gpt2eval(*arguments, cwd=place, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert "word_perplexity ?" in done.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_output_to_a_full_disk(tmp_path):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "gpt2eval", "tasks"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
        )
    assert done.returncode == 4
    assert done.stderr.startswith("gpt2eval: the output could not be read or written (No space")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["run", "--help"], ["tasks"], ["tasks", "--json"], ["explain", "cbt_cn"]],
)
def test_output_that_nobody_reads(arguments, tmp_path):
    """As after `| head`: not a word, and not 1, which would be a check that failed."""
    with subprocess.Popen(
        [sys.executable, "-m", "gpt2eval", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
    ) as process:
        process.stdout.close()
        assert (process.stderr.read(), process.wait()) == (b"", 141)


def test_a_run_that_nobody_reads_is_saved(finished, checkpoint, data):
    """The table comes last: results and report are there when it cannot be printed."""
    place, _ = finished
    arguments = ("--model", str(checkpoint), "--tasks", TASKS, "--data", str(data))
    with subprocess.Popen(
        [sys.executable, "-m", "gpt2eval", "run", *arguments, "--report", "reports/unread"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=place,
    ) as process:
        process.stdout.close()
        assert process.wait() == 141
    assert (place / "reports/unread/report.html").is_file()


def test_batch_size_auto_is_the_default(finished, checkpoint, data):
    place, _ = finished
    arguments = ("--model", checkpoint, "--tasks", TASKS, "--data", data, "--batch_size", "auto")
    before = sorted(place.glob("results/**/result.json"))
    assert gpt2eval("run", *arguments, cwd=place).returncode == 0
    assert sorted(place.glob("results/**/result.json")) == before


def test_tasks_and_explain(tmp_path):
    listed = gpt2eval("tasks", cwd=tmp_path)
    assert listed.returncode == 0
    assert "group core: " in listed.stdout
    told = gpt2eval("explain", "wikitext2", cwd=tmp_path)
    assert told.returncode == 0
    for text in ("wikitext2@lm-eval", "wikitext2@hf-docs-512", "241,335", "29.41", "@lm-eval"):
        assert text in told.stdout
    told = gpt2eval("explain", "open_generation@greedy", cwd=tmp_path)
    assert "zipf: coefficient, over texts; neither direction is better" in told.stdout
    told = gpt2eval("explain", "wikitext", cwd=tmp_path)
    assert told.stdout.startswith("wikitext2:")
    assert "lm-evaluation-harness has it as wikitext" in told.stdout
    wrong = gpt2eval("explain", "wikitex", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "did you mean" in wrong.stderr


def test_a_name_that_means_another_protocol_to_lm_eval_is_said(
    tmp_path, checkpoint, monkeypatch, capsys
):
    given = ["run", "--model", checkpoint, "--data", "bundled", "--limit-first", 1]
    assert here([*given, "--tasks", "triviaqa"], monkeypatch, tmp_path) == 0
    words = "triviaqa is triviaqa@examples here; what lm-eval calls triviaqa is triviaqa@lm-eval"
    assert words in capsys.readouterr().err
    assert here([*given, "--tasks", "triviaqa", "--quiet"], monkeypatch, tmp_path) == 0
    assert "lm-eval" not in capsys.readouterr().err
    (run,) = (tmp_path / "results").glob("*/triviaqa@*")
    assert run.name == "triviaqa@examples"


def test_export(finished, tmp_path, monkeypatch, capsys):
    output = str(tmp_path / "out")
    given = ["export", finished[0] / "results", "--output", output, "--format"]
    assert here([*given, "lm-eval"], monkeypatch, tmp_path) == 0
    paths = capsys.readouterr().out.splitlines()
    assert paths
    for path in paths:
        assert path.startswith(output)
        assert "lambada_openai" in json.loads(Path(path).read_text())["results"]
    assert here([*given, "csv"], monkeypatch, tmp_path) == 2
    assert "'csv' is not one of 'lm-eval', 'model-index'" in capsys.readouterr().err
    assert here([*given, "wandb", "--into", "README.md"], monkeypatch, tmp_path) == 2
    assert "--into 'README.md' is for --format model-index" in capsys.readouterr().err
