"""Which results a name leads to: directories, checkpoints, globs; copies; runs without an end."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from gpt2eval.errors import StoreError, UsageError
from gpt2eval.results import find_results
from gpt2eval.types import Result
from tests.report.building import keep, keep_four, write_records


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return keep_four(tmp_path / "results")


def names(found: list[Result]) -> list[tuple[str, str]]:
    return [(each.checkpoint["name"], each.name) for each in found]


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
    with pytest.raises(UsageError, match=r"holds no finished run, only .*goes on where it stopped"):
        find_results([str(half)])


def test_what_leads_nowhere_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.txt").write_text("x")
    for name, words in (
        ("missing", "no results are called .*missing', here or in"),
        ("miss*", "no results are called"),
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


def test_checkpoints_are_found_below_the_output(store: Path) -> None:
    assert names(find_results(["mine"], store).results) == [
        ("mine", "wikitext2@lm-eval"),
        ("mine", "wikitext2@paper"),
    ]
    assert len(find_results(["gpt*", "mine/*@paper"], store).results) == 3
    with pytest.raises(
        UsageError, match=r"'mime', here or in .*; did you mean 'mine'\?; there are"
    ):
        find_results(["mime"], store)


def test_paths_stay_as_they_were_given(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A report prints them: they must not say where its author lives."""
    monkeypatch.chdir(store.parent)
    (one, *_) = find_results([store.name, str(store)]).results
    assert one.path == Path("results/gpt2/wikitext2@lm-eval/0123456789ab")
