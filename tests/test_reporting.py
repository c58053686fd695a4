"""`gpt2eval report`: which results a name leads to, what is refused, and the real command line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gpt2eval.errors import StoreError, UsageError
from gpt2eval.report import report_files
from gpt2eval.reporting import find_results, report
from gpt2eval.results import load_results, write_result
from gpt2eval.types import Result
from tests.report.building import estimate, result, write_records


def keep(root: Path, name: str, task: str = "wikitext2@lm-eval", run: str = "0123456789ab") -> Path:
    """A finished run with records, where a run would leave it."""
    directory = write_records(root / name / task / run, documents=12, windows=1)
    write_result(result(name, task, path=directory), directory)
    return directory


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Two checkpoints, two tasks."""
    root = tmp_path / "results"
    for name in ("gpt2", "mine"):
        keep(root, name)
        keep(root, name, "wikitext2@paper", "ba9876543210")
    return root


def names(found: list[Result]) -> list[tuple[str, str]]:
    return [(each.checkpoint["name"], each.name) for each in found]


# ---- names --------------------------------------------------------------------------------------


def test_directories_above_runs_and_runs(store: Path) -> None:
    assert len(find_results([str(store)]).results) == 4
    assert len(find_results([str(store / "gpt2")]).results) == 2
    run = store / "mine" / "wikitext2@paper" / "ba9876543210"
    for name in (run, run / "result.json"):
        assert names(find_results([str(name)]).results) == [("mine", "wikitext2@paper")]


def test_globs_and_overlaps_name_a_run_once(store: Path) -> None:
    assert names(find_results([f"{store}/*/*@paper"]).results) == [
        ("gpt2", "wikitext2@paper"),
        ("mine", "wikitext2@paper"),
    ]
    assert len(find_results([f"{store}/**/result.json", str(store), f"{store}/*"]).results) == 4


def test_the_order_is_that_of_the_names(store: Path) -> None:
    found = find_results([str(store / "mine"), str(store / "gpt2")]).results
    assert [each.checkpoint["name"] for each in found] == ["mine", "mine", "gpt2", "gpt2"]


def test_a_directory_with_a_star_in_its_name(tmp_path: Path) -> None:
    keep(tmp_path / "odd [1]*", "gpt2")
    assert len(find_results([str(tmp_path / "odd [1]*")]).results) == 1


def test_a_copy_counts_once_and_a_changed_copy_is_refused(store: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(store, copy)
    assert len(find_results([str(store), str(copy)]).results) == 4
    path = copy / "gpt2" / "wikitext2@paper" / "ba9876543210" / "result.json"
    content = json.loads(path.read_text())
    content["metrics"]["word_perplexity"]["value"] = 1.0
    path.write_text(json.dumps(content))
    with pytest.raises(StoreError, match=r"are one run.*with different numbers"):
        find_results([str(store), str(copy)])


def test_runs_that_did_not_finish_are_named(store: Path) -> None:
    half = write_records(store / "gpt2" / "lambada@openai" / "aaaaaaaaaaaa", documents=1)
    found = find_results([str(store)])
    assert len(found.results) == 4
    assert found.unfinished == [half]
    with pytest.raises(UsageError, match=r"have not finished.*goes on where it stopped"):
        find_results([str(half)])


def test_what_leads_nowhere_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.txt").write_text("x")
    for name, words in (
        ("missing", "does not exist"),
        ("miss*", "does not exist"),
        ("empty", "holds no result.json"),
        ("file.txt", "is a file"),
    ):
        with pytest.raises(UsageError, match=words):
            find_results([str(tmp_path / name)])
    with pytest.raises(UsageError, match="no results were named"):
        find_results([])


def test_another_format_is_refused(store: Path) -> None:
    path = store / "gpt2" / "wikitext2@paper" / "ba9876543210" / "result.json"
    path.write_text(path.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(StoreError, match="has format 2; this version of gpt2eval reads 1"):
        find_results([str(store)])


def test_a_baseline_that_is_no_checkpoint(store: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'gpt3' is none of the checkpoints; did you mean 'gpt2'"):
        report([str(store)], tmp_path / "report", baseline="gpt3")
    assert not (tmp_path / "report").exists()


# ---- the report ---------------------------------------------------------------------------------


def test_the_report_of_a_store_holds_all_that_a_paper_takes(store: Path, tmp_path: Path) -> None:
    page, found = report([str(store)], tmp_path / "report", title="Ours", baseline="gpt2")
    assert page == tmp_path / "report" / "report.md"
    assert len(found.results) == 4
    files = {path.relative_to(page.parent).as_posix() for path in page.parent.rglob("*.*")}
    assert {
        "methods.md",
        "methods.tex",
        "references.bib",
        "sources.json",
        "tables/summary.tex",
        "tables/wikitext2@paper.tex",
        "plots/scores-perplexity.pdf",
    } <= files
    sources = json.loads((page.parent / "sources.json").read_text())
    digests = {each["files"]["result.json"] for each in sources["results"]}
    assert len(digests) == 4


def test_the_same_results_give_the_same_bytes(store: Path) -> None:
    one, other = (report_files(load_results(store), "Ours", intervals=True) for _ in range(2))
    assert one == other
    assert {name.rpartition(".")[2] for name in one} == {
        "md",
        "tex",
        "bib",
        "csv",
        "png",
        "svg",
        "pdf",
    }


# ---- the command line ---------------------------------------------------------------------------


def gpt2eval(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gpt2eval", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "COLUMNS": "100"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_report_from_the_command_line_twice_is_the_same_to_the_byte(
    store: Path, tmp_path: Path
) -> None:
    contents = []
    for _ in range(2):
        done = gpt2eval(
            "report", "results", "--output", "reports/ab", "--baseline", "gpt2", cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr
        assert "Report of 4 results: reports/ab/report.md" in done.stdout
        files = sorted((tmp_path / "reports" / "ab").rglob("*.*"))
        contents.append({path: path.read_bytes() for path in files})
    assert len(contents[0]) > 20
    assert contents[0] == contents[1]


def test_a_report_loads_no_torch(store: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from gpt2eval.reporting import report;"
        f"report([{str(store)!r}], {str(tmp_path / 'r')!r});"
        "print([n for n in ('torch', 'transformers', 'matplotlib.pyplot') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_unfinished_runs_are_told_on_stderr(store: Path, tmp_path: Path) -> None:
    write_records(store / "gpt2" / "lambada@openai" / "aaaaaaaaaaaa", documents=1)
    done = gpt2eval("report", "results", "--quiet", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout == ""
    assert "left out, since it has not finished: results/gpt2/lambada@openai" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "Missing argument"),
        (("nowhere",), "'nowhere' does not exist"),
        (("results", "--baseline", "nobody"), "'nobody' is none of the checkpoints"),
        (("results", "--style", "fancy"), "--style 'fancy' is neither a style"),
        (("results", "--output", "results"), "neither empty nor a report"),
        (("results", "--output", ""), "--output ''"),
        (("results", "--intervalls"), "No such option"),
    ],
)
def test_what_is_wrong_is_said_without_a_traceback(
    arguments: tuple[str, ...], words: str, store: Path, tmp_path: Path
) -> None:
    done = gpt2eval("report", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "reports" / "latest" / "report.md").exists()


def test_no_value_anywhere_is_a_report_too(tmp_path: Path) -> None:
    directory = tmp_path / "r" / "gpt2" / "a@b" / "aaaaaaaaaaaa"
    directory.mkdir(parents=True)
    write_result(result("gpt2", "a@b", {}), directory)
    write_result(
        result("gpt2", "c@d", {"m/x": estimate(1.0, part="x")}), directory
    )  # only a part of the samples
    page, _ = report([str(tmp_path / "r")], tmp_path / "report")
    assert page.is_file()
