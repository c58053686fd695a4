"""The whole report, from results to files."""

from __future__ import annotations

import io
import json
import math
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from gpt2eval.errors import StoreError, UsageError
from gpt2eval.report import report_files, write_report
from gpt2eval.report.document import ledger_words
from gpt2eval.results import load_results, write_result
from gpt2eval.types import Result
from tests.report.building import estimate, paper, result, write_records


def full_results(root: Path) -> list[Result]:
    """Two checkpoints on tasks of every kind, with records, references and baselines."""
    runs = []
    for number, name in enumerate(("gpt2", "gpt2-medium")):
        directory = write_records(root / name, documents=12, windows=1, seed=number)
        rouge = {"rouge1": estimate(21.5 + number, 21.0, 23.0, "points", higher=True)}
        lede = {"lede-3": {"rouge1": estimate(40.4, 40.0, 40.8, "points", higher=True)}}
        paper_values = paper("word_perplexity", 29.41, 22.76, 19.93, 18.34)
        runs += [
            result(name, path=directory),
            result(name, "wikitext2@paper", references=paper_values),
            result(name, "cnndm@paper", rouge, baselines=lede, kind="generation"),
        ]
    return runs


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("full")
    return write_report(full_results(root / "results"), root / "report", title="Two sizes").parent


def test_every_link_of_the_page_leads_to_a_file(report: Path) -> None:
    page = (report / "report.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)]+)\)", page)
    assert len(links) > 10
    assert [link for link in links if not (report / link).is_file()] == []
    shown = {Path(link).name for link in links}
    assert {path.name for path in (report / "plots").iterdir()} <= shown


def test_the_page_tells_what_was_run(report: Path) -> None:
    page = (report / "report.md").read_text(encoding="utf-8")
    for words in (
        "# Two sizes",
        "355M (354,823,168)",
        "Protocol lm-eval, version 1; windows = disjoint, detokenizer = lm-eval.",
        "published: Radford et al. 2019, GPT-2 paper Table 3",
        "nothing failed, no context truncated",
        "wikitext2@lm-eval|v1|fp32|seed:0|gpt2eval:0.1.0",
        "gpt2eval run --model gpt2-medium --tasks cnndm@paper",
        "torch 2.13.0",
        "3.20 GiB",
    ):
        assert words in page


def test_sources_trace_every_number(report: Path) -> None:
    sources = json.loads((report / "sources.json").read_text(encoding="utf-8"))
    assert len(sources["results"]) == 6
    assert len(sources["results"][0]["files"]["records.jsonl"]) == 64
    listed = {name for name in sources["files"] if (report / name).is_file()}
    assert listed == set(sources["files"])


def test_pictures_show_something(report: Path) -> None:
    pictures = sorted((report / "plots").glob("*.png"))
    assert [picture.stem for picture in pictures] == [
        "position-wikitext2@lm-eval",
        "scatter-wikitext2@lm-eval",
        "scores-perplexity",
        "scores-points",
        "size",
    ]
    for picture in pictures:
        pixels = matplotlib.image.imread(io.BytesIO(picture.read_bytes()))
        assert pixels.shape[1] in (660, 1380)  # a column or two, at 200 dpi
        assert 0.01 < np.mean(pixels[..., :3].min(axis=-1) < 0.9) < 0.3


def test_pdf_fonts_are_truetype_and_svg_needs_no_font(report: Path) -> None:
    pdf = (report / "plots/scores-perplexity.pdf").read_bytes()
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf
    assert b"CreationDate" not in pdf
    svg = (report / "plots/scores-perplexity.svg").read_text(encoding="utf-8")
    assert "<text" not in svg
    assert "<dc:date>" not in svg


def test_equal_results_make_equal_files(report: Path, tmp_path: Path) -> None:
    again = report_files(full_results(report.parent / "results"), "Two sizes")
    different = [name for name, data in again.items() if (report / name).read_bytes() != data]
    assert different == []


def test_sample_data_are_marked_everywhere(tmp_path: Path) -> None:
    directory = write_records(tmp_path / "run", documents=4, windows=1)
    run = result("tiny", source="bundled", parameters=1_200_000, path=directory)
    files = report_files([run])
    assert "plots/position-wikitext2@lm-eval.svg" in files
    for name, content in files.items():
        if name.endswith((".md", ".csv")):
            assert b"sample data, not a benchmark score" in content, name


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    names = [
        "a|b\n# c",
        "<img src=x onerror=alert(1)>",
        "=HYPERLINK(1)",
        "$\\frac$",
        "../../up",
        "模型",
    ]
    page = write_report([result(name) for name in names], tmp_path / "report")
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert "<img" not in text
    assert "\n# c" not in text
    for line in (tmp_path / "report/tables/results.csv").read_text().splitlines():
        assert not line.startswith(("=", "+", "-", "@"))
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


def test_eight_checkpoints_with_long_names() -> None:
    names = [f"fine-tuned-on-something-long-{number}-and-then-some" for number in range(8)]
    files = report_files([result(name, parameters=10**8 + n) for n, name in enumerate(names)])
    page = files["report.md"].decode()
    assert all(name in page for name in names)


@pytest.mark.parametrize(
    "metric",
    [
        estimate(math.inf, None, None),
        estimate(1e12, 1e3, math.inf),
        estimate(math.nan, None, None),
        estimate(0.0, 0.0, 0.0, "fraction", higher=True),
        estimate(5.0, 4.0, 6.0, "wishes", higher=True),
    ],
)
def test_odd_values_make_a_report(metric: object) -> None:
    files = report_files([result("a", metrics={"odd": metric}), result("b", parameters=10**9)])
    assert any(name.startswith("plots/scores") for name in files)


def test_a_checkpoint_without_the_main_metric_keeps_the_others_in_place() -> None:
    both = {"word_perplexity": estimate(30.0), "bits_per_byte": estimate(0.9, unit="bits")}
    runs = [
        result("a", metrics=both),
        result("b", metrics={"bits_per_byte": both["bits_per_byte"]}, parameters=10**9),
        result("c", metrics=both, parameters=2 * 10**9),
        result("d", metrics={}),
    ]
    assert "plots/size.png" in report_files(runs)
    assert "plots/size.png" not in report_files([result(metrics={})])


def test_results_from_the_store_make_the_same_tables(tmp_path: Path) -> None:
    run = result(metrics={"p": estimate(math.inf, 2.0, math.inf)}, path=tmp_path)
    write_result(run, tmp_path)
    assert report_files(load_results(tmp_path)) == report_files([run])


def test_no_results_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no results to report"):
        write_report([], tmp_path / "report")


def test_a_refused_directory_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(StoreError, match="neither empty nor a report"):
        write_report([result()], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_ledger_in_words() -> None:
    ledger = {"failed": 1, "contexts_truncated": 14, "empty_generations": 2}
    endings = {"stopped_by_length": 990, "stopped_by_stop": 8}
    assert ledger_words(ledger | endings, 5153) == (
        "1 sample of 5,153 failed and left out of the numbers; 14 contexts truncated; "
        "2 empty generations; generations ended: 8 at a stop string, 990 at the length limit."
    )
    assert ledger_words({}, 62) == "nothing failed, no context truncated."


def test_what_is_said_of_a_value_stands_beside_it() -> None:
    """Too few texts, and whose vectors or scores they are: in both pages, as in the terminal."""
    shown = estimate(0.5, unit="fraction", note="40 texts say little")
    judged = result(metrics={"mauve": shown})
    judged = replace(judged, run={**judged.run, "scorer": {"name": "*big*", "sha256": "ab" * 32}})
    files = report_files([judged, result("b", metrics={"mauve": estimate(0.5, unit="fraction")})])
    told = "nothing failed, no context truncated."
    who = "What was written was scored by {} (weights abababababab). mauve: 40 texts say little."
    pages = [files[f"report.{kind}"] for kind in ("md", "html")]
    texts = [page.decode() for page in pages]
    for page, name in zip(texts, (r"\*big\*", "*big*"), strict=True):
        assert page.count(f"{told} {who.format(name)}") == 1
        assert page.count(told) == 2


def test_a_report_needs_neither_torch_nor_pyplot() -> None:
    code = (
        "import sys, gpt2eval.report; "
        "print([name for name in ('torch', 'matplotlib.pyplot') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_axis_points_where_better_lies() -> None:
    from gpt2eval.report.plots import Axis

    pointers = [Axis("zipf", direction).pointer for direction in (True, False, None)]
    assert pointers == ["higher is better →", "← lower is better", "neither direction is better"]


def test_percentages_are_never_on_a_logarithmic_axis() -> None:
    from matplotlib.figure import Figure

    from gpt2eval.report.plots.scales import score_scale

    percent, perplexity = Figure().subplots(1, 2)
    score_scale(percent, "x", [1.8, 40.0])
    score_scale(perplexity, "x", [18.0, 4000.0])
    assert percent.get_xscale() == "linear"
    assert perplexity.get_xscale() == "log"
