"""What a report may replace, and what it must leave alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gpt2eval.errors import StoreError
from gpt2eval.report.folder import replace_report

FILES = {"report.md": b"one", "tables/a.csv": b"a"}


def test_missing_and_empty_directories_are_filled(tmp_path: Path) -> None:
    for directory in (tmp_path, tmp_path / "new" / "deep"):
        replace_report(directory, FILES, {"title": "t"})
        assert (directory / "tables/a.csv").read_bytes() == b"a"
        assert json.loads((directory / "sources.json").read_text())["files"] == sorted(FILES)


def test_an_earlier_report_is_replaced_and_foreign_files_stay(tmp_path: Path) -> None:
    replace_report(tmp_path, FILES, {})
    (tmp_path / "notes.txt").write_text("mine")
    replace_report(tmp_path, {"report.md": b"two"}, {})
    assert (tmp_path / "report.md").read_bytes() == b"two"
    assert not (tmp_path / "tables/a.csv").exists()
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_directory_with_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(StoreError, match=r"found thesis\.tex.*choose another directory"):
        replace_report(tmp_path, FILES, {})
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(StoreError, match="is a file"):
        replace_report(tmp_path / "out", FILES, {})


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        ('{"format": "other", "files": []}', "has format 'other'"),
        ("{}", "was not written by gpt2eval"),
        ("not json", "was not written by gpt2eval"),
    ],
)
def test_a_strange_marker_is_refused(tmp_path: Path, marker: str, message: str) -> None:
    (tmp_path / "sources.json").write_text(marker)
    with pytest.raises(StoreError, match=message):
        replace_report(tmp_path, FILES, {})


def test_a_file_in_the_way_is_not_overwritten(tmp_path: Path) -> None:
    replace_report(tmp_path, {"report.md": b"one"}, {})
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables/a.csv").write_text("mine")
    with pytest.raises(StoreError, match="in the way"):
        replace_report(tmp_path, FILES, {})
    assert (tmp_path / "tables/a.csv").read_text() == "mine"


def test_links_do_not_lead_out(tmp_path: Path) -> None:
    report, outside = tmp_path / "report", tmp_path / "outside"
    outside.mkdir()
    replace_report(report, {"report.md": b"one"}, {})
    (report / "tables").symlink_to(outside)
    with pytest.raises(StoreError, match="is a link"):
        replace_report(report, FILES, {})
    assert list(outside.iterdir()) == []


def test_a_forged_list_of_files_deletes_nothing_outside(tmp_path: Path) -> None:
    report, precious = tmp_path / "report", tmp_path / "precious.txt"
    precious.write_text("keep")
    replace_report(report, FILES, {})
    marker = json.loads((report / "sources.json").read_text())
    marker["files"] += ["../precious.txt", str(precious), "tables/../../precious.txt"]
    (report / "sources.json").write_text(json.dumps(marker))
    replace_report(report, FILES, {})
    assert precious.read_text() == "keep"


def test_a_report_that_was_cut_short_is_still_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("os.replace", _fail_on("tables/a.csv"))
        with pytest.raises(StoreError, match="could not be written"):
            replace_report(tmp_path, FILES, {})
    replace_report(tmp_path, FILES, {})
    assert (tmp_path / "tables/a.csv").read_bytes() == b"a"
    assert not list(tmp_path.rglob(".writing-*"))


def _fail_on(name: str) -> object:
    import os

    replace = os.replace

    def failing(source: str, target: Path) -> None:
        if str(target).endswith(name):
            raise OSError(28, "No space left on device")
        replace(source, target)

    return failing
