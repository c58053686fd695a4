"""Names from strangers stay in their directory, and say nothing to terminal, sheet or page."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from gpt2eval import terminal
from gpt2eval.naming import safe_name, safe_task, visible
from gpt2eval.report import report_files, write_report
from gpt2eval.results import run_directory
from gpt2eval.terminal.results import show_results
from tests.report.building import estimate, result

RTL, SLASH, WIDE = "\u202e", "\u2215", "\uff0f"
NAMES = [
    "..",
    "../../etc/passwd",
    "/etc/passwd",
    "a/../../b",
    "..\\..\\windows",
    "C:\\x",
    "\\\\host\\share",
    "x\0y",
    "x" * 300,
    "é" * 300,
    f"gpt2{RTL}txt.exe",
    f"a{SLASH}..{WIDE}b",
    "trailing...",
    "trailing. ",
    ".hidden",
    "-rf",
    "~root",
    "$(id)",
    "con",
    "NUL.txt",
    "com1",
    "Lpt9.a.b",
    "",
    " ",
    "\ud800",
    "\x1b[31mred\x1b]0;title\x07",
]
HOSTILE = [
    *("=HYPERLINK(1)", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", " =1", "＝1", "\x00=1"),
    *("<script>alert(1)</script>", "[x](javascript:y)", "![x](http://h/y)", "a|b", "`c`", "*d*"),
    *("\\input{/etc/passwd}", "\\write18{id}", "%", "$x$", "#", "{", "}", "~^_&", '"', "'"),
    *("\x1b[2J\x1b]8;;http://h\x07", "\x9b31m", f"a{RTL}b", "x\0y", "a\nb", "[red]x[/red]"),
]


@pytest.mark.parametrize("name", NAMES)
def test_a_run_is_kept_below_the_output(name: str, tmp_path: Path) -> None:
    output = tmp_path / "out"
    for checkpoint, task in ((name, "t@p"), ("c", name), ("c", f"{name}@{name}"), (name, name)):
        place = run_directory(output, checkpoint, task, {})
        parts = place.relative_to(output).parts
        assert len(parts) == 3
        place.mkdir(parents=True, exist_ok=True)
        assert place.resolve().is_relative_to(output.resolve())
        for part in parts[:2]:
            assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._@-]*", part)
            assert not re.fullmatch(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?", part)
            assert not part.endswith(".")
            assert len(part) <= 161


@given(st.text(max_size=200))
def test_any_name_is_a_directory(name: str) -> None:
    for made in (safe_name(name), safe_task(name)):
        assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._@-]*", made)


def test_a_report_of_such_names_stays_inside(tmp_path: Path) -> None:
    """All of them in one report: its files are named after them, and none takes another's place."""
    results = [result(name, f"{name}@{name}", sha256="0" * 64) for name in NAMES]
    write_report(results, tmp_path / "report")
    assert [path.name for path in tmp_path.iterdir()] == ["report"]
    for path in (tmp_path / "report").rglob("*"):
        assert re.fullmatch(r"[A-Za-z0-9._@-]+", path.name)
        assert len(path.name) < 140


def reports() -> dict[str, str]:
    """The text files of a report in which every name and every text is hostile."""
    results = []
    for number, text in enumerate(HOSTILE):
        made = result(
            text,
            f"task{number % 3}@{text if number % 3 == 0 else 'p'}",
            {text: estimate(2.0, 1.0, 3.0, denominator=text, method=text)},
            subset=text,
            baselines={text: {text: estimate(4.0)}},
        )
        made.task.update(summary=text, source=text, story=text)  # type: ignore[attr-defined]
        made.run.update(command=text, device=text)  # type: ignore[attr-defined]
        results.append(made)
    return {
        name: content.decode()
        for name, content in report_files(results, title=HOSTILE[-1]).items()
        if Path(name).suffix in (".md", ".csv", ".tex", ".bib", ".json", ".txt")
    }


@pytest.fixture(scope="module")
def files() -> dict[str, str]:
    return reports()


def test_cells_are_no_formulas(files: dict[str, str]) -> None:
    cells = [
        cell
        for name, text in files.items()
        if name.endswith(".csv")
        for row in csv.reader(io.StringIO(text))
        for cell in row
    ]
    assert any("HYPERLINK" in cell for cell in cells)
    for cell in cells:
        numeric = re.fullmatch(r"[+-]?(\d[\d.,e+-]*|inf|nan)", cell)
        assert numeric or not re.match(r"\s*[=+\-@＝＋－＠]", cell), cell


def test_texts_have_no_control_characters(files: dict[str, str]) -> None:
    assert {Path(name).suffix for name in files} >= {".md", ".csv", ".tex"}
    for name, text in files.items():
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text), name


def test_pages_have_no_markup_of_theirs(files: dict[str, str]) -> None:
    for name, text in files.items():
        if name.endswith(".md"):
            prose = re.sub(r"(?ms)^(```+)text\n.*?^\1$", "", text)
            assert "<script" not in prose
            assert "](javascript" not in prose.replace("\\]", "")
            assert "](http://h" not in prose.replace("\\]", "")
        if name.endswith(".tex"):
            assert not re.search(r"\\(input|write)", text.replace("\\textbackslash{}", "")), name


def test_a_terminal_is_not_spoken_to(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    for text in HOSTILE:
        shown: Any = result(text, f"{text}@{text}", {text: estimate(2.0)}, subset=text)
        show_results([shown], tmp_path / "x")
        out = capsys.readouterr().out
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", out), text


@given(st.text())
def test_what_a_terminal_is_shown(text: str) -> None:
    shown = visible(text)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2066-\u2069]", shown)
    assert str(terminal.Text(text)).replace("\n", "") == shown.replace("\n", "")
    if text.isprintable():
        assert shown == text


def test_rich_alone_would_let_it_through() -> None:
    """What the class is for; if this fails, rich does it by now."""
    from rich.text import Text

    console = Console(file=io.StringIO(), force_terminal=False)
    console.print(Text("\x1b[31m"))
    assert "\x1b" in console.file.getvalue()  # type: ignore[attr-defined]
