"""Which figures there are, what numbers they show, and the style they are drawn in."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from gpt2eval.errors import UsageError
from gpt2eval.report import plots, report_files
from gpt2eval.report.curves import training_step
from gpt2eval.report.plots import Difference
from gpt2eval.report.plots.marks import MARKERS, palette
from gpt2eval.report.plots.names import apart
from gpt2eval.report.position import Curve
from gpt2eval.types import Result
from tests.report.building import compared, estimate, result, write_words


def rows(files: dict[str, bytes], stem: str) -> list[dict[str, str]]:
    """The numbers of a plot."""
    return list(csv.DictReader(io.StringIO(files[f"plots/{stem}.csv"].decode())))


def words(root: Path, name: str, skill: float, seed: int) -> Result:
    directory = write_words(root / name, skill=skill, seed=seed)
    metrics = {
        "accuracy": estimate(skill, unit="fraction", higher=True, denominator="600 passages"),
        "perplexity": estimate(40.0, denominator="600 passages"),
    }
    return result(name, "lambada@openai", metrics, path=directory, selected=600, available=600)


# ---- training steps -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "path", "found"),
    [
        ("checkpoint-500", "out/run-a/checkpoint-500", ("run-a", 500)),
        ("run-a-checkpoint-1000", "out/run-a/checkpoint-1000", ("run-a", 1000)),
        ("step_1000", "/m/wide/step_1000/", ("wide", 1000)),
        ("tiny-global_step20k", "x", ("tiny", 20_000)),
        ("iter=3", "iter=3", ("checkpoint", 3)),
        ("Steps2M", "runs/b/Steps2M", ("b", 2_000_000)),
        ("final", "run/checkpoint-7", ("run", 7)),
        ("gpt2", "openai-community/gpt2", None),
        ("gpt2-medium", "gpt2-medium", None),
        ("footsteps-9", "footsteps-9", None),
        ("checkpoint-abc", "checkpoint-abc", None),
        ("run1-lr3e-4", "run1-lr3e-4", None),
    ],
)
def test_training_step(name: str, path: str, found: tuple[str, int] | None) -> None:
    run = result(name)
    run.checkpoint.update(path=path)  # type: ignore[attr-defined]
    assert training_step(run) == found


def test_learning_curves_join_the_checkpoints_of_a_run() -> None:
    runs = []
    for name, value in (("a-checkpoint-500", 40.0), ("a-checkpoint-1000", 35.0), ("gpt2", 30.0)):
        run = result(name, metrics={"word_perplexity": estimate(value, value - 1, value + 1)})
        run.checkpoint.update(path=name)  # type: ignore[attr-defined]
        runs.append(run)
    files = report_files(runs[::-1])
    found = [(row["run"], row["step"], row["value"]) for row in rows(files, "learning")]
    assert found == [("a", "500", "40.0"), ("a", "1000", "35.0")]
    assert "plots/learning.png" not in report_files(runs[1:])


# ---- differences --------------------------------------------------------------------------------


def test_differences_are_drawn_for_the_main_metric_and_the_baseline() -> None:
    metrics = {
        "accuracy": estimate(0.3, unit="fraction", higher=True),
        "ece": estimate(0.1, unit="fraction"),
    }
    runs = [result(name, "lambada@openai", metrics) for name in ("gpt2", "mine", "other")]
    comparisons = [
        compared("mine", 0.05),
        compared("other", -0.01, p=None, low=None, high=None),
        compared("mine", -0.02, metric="ece", higher=False),
        compared("other", 0.2, baseline="mine"),
    ]
    files = report_files(runs, comparisons=comparisons, baseline="gpt2")
    found = rows(files, "differences-fraction")
    assert [(row["candidate"], row["metric"], row["difference"]) for row in found] == [
        ("mine", "accuracy", "0.05"),
        ("other", "accuracy", "-0.01"),
    ]
    assert found[1]["p"] == found[1]["low"] == ""
    page = files["report.md"].decode()
    assert (
        "Filled: corrected p below 0.05. Exact McNemar test; p-values corrected by Holm's method."
        in page
    )
    # Two baselines and none named.
    assert "plots/differences-fraction.png" not in report_files(runs, comparisons=comparisons)


def test_differences_on_sample_data_say_so_in_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    titles: list[str] = []
    save = plots.save

    def seen(figure: Figure) -> dict[str, bytes]:
        titles.extend(ax.get_title() for ax in figure.axes)
        return save(figure)

    metrics = {"accuracy": estimate(0.3, unit="fraction", higher=True)}
    runs = [result(name, "lambada@openai", metrics, source="bundled") for name in ("gpt2", "mine")]
    monkeypatch.setattr(plots, "save", seen)
    report_files(runs, comparisons=[compared("mine", 0.05)], baseline="gpt2")
    assert "sample data, not a benchmark score" in titles


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures of reports that are made after this, as they are saved."""
    seen: list[Figure] = []
    save = plots.save
    monkeypatch.setattr(plots, "save", lambda figure: seen.append(figure) or save(figure))
    return seen


def test_a_notice_of_all_panels_stands_once_above_them(figures: list[Figure]) -> None:
    metrics = {"accuracy": estimate(0.3, unit="fraction", higher=True)}
    report_files([result("a", task, metrics, source="bundled") for task in ("one@p", "two@p")])
    (figure,) = figures
    assert figure.get_suptitle() == "sample data, not a benchmark score"
    assert [ax.get_title() for ax in figure.axes] == ["one@p", "two@p"]
    figures.clear()
    runs = [
        result("a", task, metrics, source=source)
        for task, source in (("one@p", "bundled"), ("two@p", "hub"))
    ]
    report_files(runs)
    (figure,) = figures
    assert figure.get_suptitle() == ""
    assert "sample data" in figure.axes[0].get_title()
    assert "sample data" not in figure.axes[1].get_title()


def test_long_names_fit_below(tmp_path: Path, figures: list[Figure]) -> None:
    report_files([words(tmp_path, f"{'n' * 40}{n}", 0.3, n) for n in range(6)])
    below = [figure for figure in figures if figure.legends]
    assert below
    for figure in below:
        figure.draw_without_rendering()
        (legend,) = figure.legends
        box = legend.get_window_extent()
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.width


def test_no_loss_is_negative() -> None:
    ax = Figure().subplots()
    ends = np.array([1, 2])
    mean, error, counts = np.array([2.0, 2.0]), np.array([3.0, 3.0]), np.array([9, 9])
    curve = Curve(ends, ends, mean, error, ends, counts, "9 documents")
    plots.draw_positions(ax, {"a": curve}, {"a": 0})
    assert ax.get_ylim()[0] == 0
    assert ax.get_ylim()[1] > 7


def test_many_differences_take_several_figures_and_the_first_has_all_numbers() -> None:
    metric = {"accuracy": estimate(0.3, unit="fraction", higher=True)}
    tasks = [f"task{n}@p" for n in range(100)]
    runs = [result(name, task, metric) for task in tasks for name in ("gpt2", "mine")]
    files = report_files(runs, comparisons=[compared("mine", 0.01, task) for task in tasks])
    assert len(rows(files, "differences-fraction-1")) == 100
    assert len(rows(files, "differences-fraction-2")) == 24
    assert "plots/differences-fraction-3.csv" not in files
    assert "The numbers hold all 100 comparisons" in files["report.md"].decode()


def test_more_checkpoints_than_lines_are_left_out_and_said_to_be(tmp_path: Path) -> None:
    runs = [words(tmp_path, f"m{n}", 0.3, n) for n in range(10)]
    files = report_files(runs)
    assert {row["checkpoint"] for row in rows(files, "context")} == {f"m{n}" for n in range(8)}
    assert "The first 8 of 10 checkpoints are shown." in files["report.md"].decode()


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf"), 1e-12, 1e9])
def test_odd_differences_are_drawn(value: float) -> None:
    ax = Figure().subplots()
    with plots.style():
        row = Difference("a", "x", value, None, float("inf"), "", False)
        plots.draw_differences(ax, [row], "points", "gpt2", True)


# ---- samples ------------------------------------------------------------------------------------


def test_accuracy_by_context_and_frequency(tmp_path: Path) -> None:
    runs = [words(tmp_path, "one", 0.3, 1), words(tmp_path, "two", 0.5, 2)]
    files = report_files(runs)
    for stem in ("context", "frequency"):
        found = rows(files, stem)
        assert {row["checkpoint"] for row in found} == {"one", "two"}
        for label in ("one", "two"):
            assert sum(int(row["samples"]) for row in found if row["checkpoint"] == label) == 600
    page = files["report.md"].decode()
    assert "Accuracy by how often a sample's target is the target among all evaluated" in page


def test_scatter_is_of_two_checkpoints_and_their_common_samples(tmp_path: Path) -> None:
    one, two = words(tmp_path, "one", 0.3, 1), words(tmp_path, "two", 0.5, 2)
    path = tmp_path / "two" / "records.jsonl"
    path.write_text("\n".join(path.read_text().splitlines()[:500]) + "\n")
    files = report_files([one, two])
    found = rows(files, "scatter-lambada@openai")
    assert len(found) == 500
    page = files["report.md"].decode()
    assert "loss (nats per passage) of each of 500 samples under one and two" in page
    third = words(tmp_path, "three", 0.4, 3)
    assert "plots/scatter-lambada@openai.png" not in report_files([one, two, third])


def test_the_named_baseline_stands_on_the_x_axis(tmp_path: Path) -> None:
    runs = [words(tmp_path, "one", 0.3, 1), words(tmp_path, "two", 0.5, 2)]
    header = report_files(runs, baseline="two")["plots/scatter-lambada@openai.csv"].decode()
    assert header.startswith("sample,two,one,")


# ---- style --------------------------------------------------------------------------------------


def test_the_house_style_is_read_from_its_file() -> None:
    with plots.style():
        assert mpl.rcParams["pdf.fonttype"] == 42
        assert mpl.rcParams["font.size"] == 7
        assert len(palette()) == len(MARKERS) - 2 == 7
    assert mpl.rcParams["font.size"] == 10


def test_a_style_by_name_and_by_file(tmp_path: Path) -> None:
    with plots.style("ggplot"):
        assert palette()[0] == "#E24A33"
        assert mpl.rcParams["pdf.fonttype"] == 42
    file = tmp_path / "mine.mplstyle"
    file.write_text("font.size: 9\npdf.fonttype: 3\nsvg.hashsalt: x\nbackend: svg\n")
    with plots.style(str(file)):
        assert mpl.rcParams["font.size"] == 9
        # What keeps files equal and fonts embedded stays.
        assert mpl.rcParams["pdf.fonttype"] == 42
        assert mpl.rcParams["svg.hashsalt"] == "gpt2eval"
        assert palette()[0] == "#0072B2"


def test_an_unknown_style_is_an_error_that_suggests() -> None:
    with pytest.raises(UsageError, match=r"--style 'ggplott' is neither.*did you mean 'ggplot'"):
        report_files([result()], style="ggplott")


@pytest.mark.parametrize("text", ["font.size: large-ish\n", "no such key: 1\n", "nonsense\n"])
def test_a_broken_style_file_is_an_error(text: str, tmp_path: Path) -> None:
    file = tmp_path / "broken.mplstyle"
    file.write_text(text)
    with pytest.raises(UsageError, match=r"broken.mplstyle' cannot be read as a style"):
        report_files([result()], style=str(file))


def test_a_binary_style_file_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "x.mplstyle"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="cannot be read as a style"):
        report_files([result()], style=str(file))


def test_a_style_changes_pictures_and_nothing_else() -> None:
    house, other = report_files([result()]), report_files([result()], style="ggplot")
    changed = {name for name in house if house[name] != other[name]}
    assert changed
    # The page holds the plots.
    assert all(name.startswith("plots/") or name == "report.html" for name in changed)


def test_names_at_the_ends_of_lines_move_apart_both_ways() -> None:
    assert apart([0.0, 20.0], 8.0) == [0.0, 20.0], "where there is room nothing moves"
    assert apart([10.0, 10.0, 10.0], 8.0) == [2.0, 10.0, 18.0]
    places = apart([0.0, 1.0, 30.0, 31.0, 33.0], 8.0)
    assert places == pytest.approx([-3.5, 4.5, 70 / 3, 94 / 3, 118 / 3])
