"""`gpt2eval report`: which results a name leads to, what is refused, and the real command line."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from gpt2eval.compare import compare, compare_where_possible
from gpt2eval.errors import UsageError
from gpt2eval.options import ReportOptions
from gpt2eval.report import report_files
from gpt2eval.reporting import report
from gpt2eval.results import load_results, write_result
from tests.comparing import answers, write_run
from tests.report.building import estimate, keep_four, result, write_records


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return keep_four(tmp_path / "results")


# ---- the report ---------------------------------------------------------------------------------


def test_a_baseline_that_is_no_checkpoint(store: Path, tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"'gpt3' is none of the checkpoints: gpt2, mine; did you mean 'gpt2'"
    ):
        report([str(store)], tmp_path / "report", ReportOptions(baseline="gpt3"))
    assert not (tmp_path / "report").exists()


def test_the_report_of_a_store_holds_all_that_a_paper_takes(store: Path, tmp_path: Path) -> None:
    options = ReportOptions(title="Ours", baseline="gpt2")
    page, found = report([str(store)], tmp_path / "report", options)
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
        "html",
        "csv",
        "png",
        "svg",
        "pdf",
    }


# ---- comparisons --------------------------------------------------------------------------------


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """b is better than a on one task; on the other c read other data, and a was run twice."""
    root = tmp_path / "results"
    for name, seed, right in (("a", 1, 0.3), ("b", 2, 0.8), ("c", 3, 0.3)):
        write_run(root, name, answers(100, seed, right=right), on="one@p")
    write_run(root, "a", answers(100, 1), on="other@p")
    write_run(root, "b", answers(100, 2), on="other@p")
    write_run(root, "c", answers(100, 3), on="other@p", data={"sha256": "f" * 64})
    write_run(root, "a", answers(100, 1), on="twice@p")
    write_run(root, "a", answers(100, 1), on="twice@p", run_id="b" * 12, run={"seed": 7})
    write_run(root, "b", answers(100, 2), on="twice@p")
    return root


def texts(page: Path) -> dict[str, str]:
    wanted = ("report.md", "methods.md", "tables/one@p.tex")
    return {name: (page.parent / name).read_text(encoding="utf-8") for name in wanted}


def test_checkpoints_are_compared_with_the_first_and_the_rest_is_said(
    three: Path, tmp_path: Path
) -> None:
    page, _ = report([str(three)], tmp_path / "report")
    written = texts(page)
    (row,) = [line for line in written["tables/one@p.tex"].splitlines() if line.startswith("b &")]
    assert "$^{***}$" in row
    (row,) = [line for line in written["tables/one@p.tex"].splitlines() if line.startswith("c &")]
    assert "^{*" not in row.split("&")[2]  # an accuracy that differs by chance
    assert "differs from a (run 1), $p$ below 0.05" in written["tables/one@p.tex"]
    assert "exact McNemar test, sign-flip permutation test" in written["tables/one@p.tex"]
    assert (
        "over" not in written["tables/one@p.tex"].partition("(exact McNemar")[2].partition(")")[0]
    )
    (line,) = [line for line in written["methods.md"].splitlines() if "Comparisons." in line]
    assert "[@mcnemar1947]: **one@p** (accuracy; n = 100), **other@p** (accuracy; n = 100)." in line
    assert "p-values were corrected by Holm's method [@holm1979]" in line
    _, _, left = written["report.md"].partition("Not compared:\n\n")
    lines = left.partition("\n\n")[0].splitlines()
    assert any("two runs of a on twice@p: seed 0 and 7" in line for line in lines)
    assert any("a (run 1) and c cannot be compared: data digest is" in line for line in lines)
    assert (page.parent / "plots" / "differences-fraction.pdf").is_file()


def test_the_family_is_that_of_compare(three: Path, tmp_path: Path) -> None:
    """The same p-values as `gpt2eval compare` where nothing has to be left out."""
    results = [one for one in load_results(three) if one.name == "one@p"]
    comparisons, left_out = compare_where_possible(results, baseline="b")
    assert comparisons == compare(results, baseline="b")
    assert left_out == []
    changed = replace(results[1], task={**results[1].task, "version": 2})
    comparisons, (line,) = compare_where_possible([results[0], changed, results[2]])
    assert {one.candidate for one in comparisons} == {"c"}
    assert line.startswith("one@p: a and b cannot be compared: version is 1 in")


def test_one_checkpoint_is_compared_with_nothing(three: Path, tmp_path: Path) -> None:
    page, _ = report([str(three / "c")], tmp_path / "report")
    assert "Not compared" not in page.read_text()
    assert not list((page.parent / "plots").glob("differences*"))
    for options in ({}, {"baseline": "c"}):
        assert compare_where_possible(load_results(three / "c"), **options) == ([], [])


def test_what_two_subsets_share_is_compared_where_that_is_asked_for(tmp_path: Path) -> None:
    root = tmp_path / "results"
    whole, half = answers(200, 1), {k: v[:120] for k, v in answers(200, 2, right=0.9).items()}
    write_run(root, "a", whole, on="one@p")
    write_run(root, "b", half, on="one@p", data={"subset": "first 120", "available": 200})
    page, _ = report([str(root)], tmp_path / "report")
    assert "pass --allow-intersection to compare those that both have" in page.read_text()
    refused = page.with_name("report.html").read_text()
    assert "Not compared" in refused
    assert "pass --allow-intersection" in refused
    assert "Comparisons." not in page.with_name("methods.md").read_text()
    assert not (page.parent / "tables" / "comparisons.csv").exists()
    options = ReportOptions(allow_intersection=True)
    page, _ = report([str(root)], tmp_path / "report", options)
    assert "Not compared" not in page.read_text()
    methods = page.with_name("methods.md").read_text()
    assert "(accuracy; n = 120)" in methods
    assert "subset all and first 120 differ" in methods
    assert "120 samples that both have, of 200 and 120." in methods
    with (page.parent / "tables" / "comparisons.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["metric"] for row in rows] == ["accuracy", "perplexity"]
    assert {row["n"] for row in rows} == {"120"}
    expected = compare(load_results(root), allow_intersection=True)
    assert [float(row["difference"]) for row in rows] == [one.difference for one in expected]
    # The difference is over other samples than the numbers of either table.
    for path in (page.parent / "tables").glob("one@p*.tex"):
        assert "^{*" not in path.read_text()
    assert (
        'aria-label="significantly'
        not in (page.with_name("report.html").read_text().partition('id="comparisons"')[0])
    )


def test_damaged_records_stop_no_report(three: Path, tmp_path: Path) -> None:
    (path,) = three.glob("a/one@p/*/records.jsonl")
    path.write_text("{}\n")
    results = [one for one in load_results(three) if one.name == "one@p"]
    comparisons, (line,) = compare_where_possible(results)
    assert comparisons == []
    assert "line 1: not a record" in line


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
        (
            ("nowhere",),
            "no results are called 'nowhere', here or in 'results'; there are gpt2, mine",
        ),
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


def test_of_equal_checkpoints_none_is_marked_as_the_best(tmp_path: Path) -> None:
    """Where no checkpoint can do a task, the first is no better than the others."""
    for step in (500, 1000, 1500):
        write_run(tmp_path / "results", f"a-checkpoint-{step}", {"accuracy": [(0.0, 1.0)] * 30})
        write_run(tmp_path / "results", f"b-checkpoint-{step}", answers(30, step, step / 2000))
    report([str(tmp_path / "results")], tmp_path / "report")
    with (tmp_path / "report" / "plots" / "learning.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["choice"] for row in rows if row["run"] == "a"] == ["", "", ""]
    assert "best" in [row["choice"] for row in rows if row["run"] == "b"]
    assert "A star is the best checkpoint" in (tmp_path / "report" / "report.md").read_text()
