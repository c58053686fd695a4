"""LaTeX as a paper reads it: escaped, balanced, aligned; set by pdflatex where there is one."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from gpt2eval.report import report_files
from gpt2eval.report.latex import ROWS, parts_latex, section_latex, summary_latex
from gpt2eval.report.sections import group
from gpt2eval.report.significance import Significance, significance
from gpt2eval.report.text import latex
from gpt2eval.types import Result
from tests.report.building import compared, estimate, paper, result

NONE = Significance()
HOSTILE = [
    "a&b%c#d_e~f^g\\h{i}j$k",
    "\\input{/etc/passwd}",
    "[1] *x",
    "*",
    "\\end{tabular}",
    "%",
    "模型 😀",
    "naïve Łódź – “quoted” … ½",
    "--- ''",
    "a\nb\tc\x00d\u202ee",
]


def accuracy(value: float, low: float | None = None, high: float | None = None) -> object:
    return estimate(value, low, high, "fraction", higher=True)


def checked(text: str) -> list[list[str]]:
    """The rows of a table as cells, once everything about the file's form holds."""
    assert text.isascii()
    body = re.sub(r"^%.*\n", "", text, flags=re.MULTILINE)
    assert "%" not in body.replace(r"\%", "")
    opened: list[str] = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", body):
        if kind == "begin":
            opened.append(name)
        else:
            assert opened.pop() == name
    assert opened == []
    bare = re.sub(r"\\[{}]", "", body)
    assert bare.count("{") == bare.count("}")
    found = []
    tables = re.findall(r"\\begin\{tabular\}\{(l[^\n]*)\}\n(.*?)\\end\{tabular\}", body, re.DOTALL)
    assert tables
    for shape, inside in tables:
        columns = 1 + shape.count("S[")
        for line in filter(None, inside.split("\n")):
            if line in (r"\toprule", r"\midrule", r"\bottomrule"):
                continue
            assert line.endswith(r" \\")
            cells = re.split(r"(?<!\\)&", line.removesuffix(r" \\"))
            assert len(cells) == columns, line
            found.append([cell.strip() for cell in cells])
    return found


# ---- escaping -----------------------------------------------------------------------------------


def test_the_ten_specials_are_escaped() -> None:
    assert latex(r"#$%&~_^\{}").replace(r"\allowbreak{}", "") == (
        r"\#\$\%\&\textasciitilde{}\_\textasciicircum{}\textbackslash{}\{\}"
    )


def test_letters_that_pdflatex_has_become_commands() -> None:
    assert latex("Popović, Černocký, naïve, straße, Ø") == (
        r"Popovi\'{c}, \v{C}ernock\'{y}, na\"{\i}ve, stra{\ss}e, {\O}"
    )


def test_other_scripts_show_as_code_points() -> None:
    assert latex("模 😀") == "{[}U+6A21{]} {[}U+1F600{]}"


def test_what_a_line_break_would_take_for_its_argument_is_in_braces() -> None:
    assert latex("[x]*") == "{[}x{]}{*}"


def test_marks_that_would_join_stay_apart() -> None:
    assert latex("--model ''x'' ,,") == "-{}-model '{}'x'{}' ,{},"


@pytest.mark.parametrize("text", HOSTILE)
def test_escaped_text_is_ascii_and_balanced(text: str) -> None:
    escaped = latex(text)
    assert escaped.isascii()
    bare = re.sub(r"\\[{}]", "", escaped)
    assert bare.count("{") == bare.count("}")
    assert not re.search(r"(?<!\\)[%#&_]", escaped)


# ---- tables -------------------------------------------------------------------------------------


def two(**changes: object) -> list[Result]:
    return [
        result("gpt2", "lambada@openai", {"accuracy": accuracy(0.3256, 0.3128, 0.3385)}),
        result("mine", "lambada@openai", {"accuracy": accuracy(0.401, 0.388, 0.414)}),
        result("gpt2", metrics={"word_perplexity": estimate(37.3698, 36.5, 38.3)}),
        result("mine", metrics={"word_perplexity": estimate(1234.5, 1200.0, 1300.0)}),
    ]


GOLDEN = r"""
& {lambada@openai} & {wikitext2@lm-eval} \\
& {accuracy (\%) $\uparrow$} & {word perplexity $\downarrow$} \\
\midrule
gpt2 & 32.56 & \bfseries 37.37 \\
mine & \bfseries 40.10{$^{**}$} & 1234 \\
"""


def test_summary_reads_like_this() -> None:
    marks = significance([compared("mine", 0.075, p=0.004)])
    text = summary_latex(group(two()), marks)
    checked(text)
    assert GOLDEN in text
    stars = "table-space-text-post={$^{**}$}"
    assert rf"\begin{{tabular}}{{lS[table-format=2.2,{stars}]S[table-format=4.2]}}" in text
    assert r"\caption{Scores of 2 checkpoints.}" in text
    assert r"\label{tab:summary}" in text
    assert r"differs from gpt2, $p$ below 0.05, 0.01, 0.001 (exact McNemar test;" in text
    assert "Holm" in text


def test_intervals_are_an_option() -> None:
    sections = group(two())
    assert "31.28" not in summary_latex(sections, NONE)
    text = summary_latex(sections, NONE, intervals=True)
    checked(text)
    assert r"32.56{~{\scriptsize\mdseries {[}31.28, 33.85{]}}}" in text
    assert r"In brackets: 95 \% intervals" in text


def test_stars_follow_the_corrected_p_and_the_named_baseline() -> None:
    (section,) = group(two()[:2])
    for p, stars in ((0.0004, "***"), (0.004, "**"), (0.02, "*"), (0.03, ""), (None, "")):
        marks = significance([compared("mine", 0.075, p=p)])
        assert marks.stars(section, "accuracy", "mine") == stars
    other = compared("mine", 0.075, baseline="elsewhere")
    assert significance([other], "gpt2").stars(section, "accuracy", "mine") == ""
    assert significance([other, compared("mine", 0.1)], "gpt2").stars(
        section, "accuracy", "mine"
    ) == "*"  # fmt: skip
    # Two baselines and none named: nobody would know what a star means.
    assert significance([other, compared("mine", 0.1)]).comparisons == ()


def test_comparisons_of_an_ambiguous_task_mark_nothing() -> None:
    whole, part = (
        result("mine", "lambada@openai", {"accuracy": accuracy(0.4)}, selected=n, available=100)
        for n in (100, 50)
    )
    for section in group([whole, part, *two()[:1]]):
        assert significance([compared("mine", 0.1)]).of(section) == []


def test_neither_direction_has_no_arrow_and_no_bold() -> None:
    neutral = [
        result(name, metrics={"zipf": estimate(value, unit="slope", higher=None)})  # type: ignore[arg-type]
        for name, value in (("a", 1.0), ("b", 1.2))
    ]
    (section,) = group(neutral)
    text = section_latex(section, NONE)
    checked(text)
    assert "bfseries" not in text
    assert "arrow" not in text
    files = report_files(neutral)
    assert "zipf |" in files["tables/summary.md"].decode()
    assert "**" not in files["tables/summary.md"].decode().split("\n\n")[1]
    assert "neither direction is better" in files["report.md"].decode()


def test_section_has_checkpoints_then_baselines_then_published_values() -> None:
    metrics = {"word_perplexity": estimate(37.37), "bits_per_byte": estimate(0.9769, unit="bits")}
    chance = {"unigram": {"word_perplexity": estimate(900.0)}}
    references = paper("word_perplexity", 29.41)
    run = result("gpt2", metrics=metrics, baselines=chance, references=references)
    (section,) = group([run])
    text = section_latex(section, NONE)
    rows = checked(text)
    assert [row[:2] for row in rows[1:]] == [
        ["gpt2", "37.37"],
        ["unigram$^{a}$", "900.00"],
        ["gpt2$^{b}$", "29.41"],
    ]
    assert rows[2][2] == "{--}"
    assert r"$^{a}$\,System without a model." in text
    assert r"$^{b}$\,Published: Radford et al. 2019, GPT-2 paper Table 3." in text
    assert r"bits per byte $\downarrow$" in text


def test_a_checkpoint_with_the_name_of_a_baseline_keeps_its_own_number() -> None:
    baseline = {"gpt2": {"word_perplexity": estimate(900.0)}}
    (section,) = group([result("gpt2", baselines=baseline)])
    assert [row[1] for row in checked(section_latex(section, NONE))[1:]] == ["37.37", "900.00"]


def test_data_are_marked() -> None:
    runs = [
        result("a", "lambada@openai", source="bundled"),
        result("a", "coqa@paper", subset="first 10", selected=10, available=500),
        result("a"),
    ]
    text = summary_latex(group(runs), NONE)
    checked(text)
    assert "lambada@openai$^{a}$" in text
    assert "coqa@paper$^{b}$" in text
    assert r"$^{a}$\,sample data, not a benchmark score." in text
    assert r"$^{b}$\,subset: first 10 of 500." in text
    (section, *_) = group(runs)
    assert "Sample data, not a benchmark score." in section_latex(section, NONE)


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (math.inf, "perplexity", r"{$\infty$}"),
        (math.nan, "perplexity", "{n/a}"),
        (1.25e9, "perplexity", r"{$1.2\times10^{9}$}"),
        (12345.6, "perplexity", "12346"),
        (-0.123, "points", "-0.12"),
        (5.0, "wishes", "5"),
        (1e-9, "wishes", r"{$1\times10^{-9}$}"),
    ],
)
def test_odd_values(value: float, unit: str, shown: str) -> None:
    (section,) = group([result(metrics={"m": estimate(value, None, None, unit)})])
    rows = checked(section_latex(section, NONE))
    assert rows[-1][1] == shown


def test_a_negative_number_reserves_its_sign() -> None:
    (section,) = group([result(metrics={"m": estimate(-12.5, unit="points")})])
    assert "S[table-format=-2.2]" in section_latex(section, NONE)


def test_many_columns_go_into_blocks() -> None:
    runs = [
        result(name, f"a_rather_long_name_{n}@paper", {"accuracy": accuracy(0.1 * n)})
        for n in range(1, 10)
        for name in ("a", "b")
    ]
    text = summary_latex(group(runs), NONE, intervals=True)
    rows = checked(text)
    assert text.count(r"\begin{tabular}") > 2
    assert sum(row[0] == "a" for row in rows) == text.count(r"\begin{tabular}")
    numbers = [cell.partition("{")[0] for row in rows if row[0] == "a" for cell in row[1:]]
    assert numbers == [f"{10 * n}.00" for n in range(1, 10)]


def hostile_results() -> list[Result]:
    runs = []
    for number, name in enumerate(HOSTILE):
        metrics = {f"m{name}": accuracy(0.1 * number, 0.0, 1.0), "plain": accuracy(0.5)}
        baselines = {name: {"plain": accuracy(0.25)}}
        run = result(name, "task@p", metrics, baselines=baselines, references=paper("plain", 0.3))
        run.task["summary"] = f"Summary {name}"  # type: ignore[index]
        run.task["options"] = {name: name}  # type: ignore[index]
        run.task["source"] = name  # type: ignore[index]
        run.data["files"] = {f"{name}.txt": "0" * 64}  # type: ignore[index]
        runs.append(run)
    return runs


def test_hostile_names_stay_text_in_tables() -> None:
    files = report_files(hostile_results())
    tables = [name for name in files if name.endswith(".tex") and name.startswith("tables/")]
    assert len(tables) > 1
    for name in tables:
        checked(files[name].decode())


# ---- parts, and tables that are longer than a page ----------------------------------------------


def of_parts(checkpoints: int, parts: int) -> list[Result]:
    runs = []
    for number in range(checkpoints):
        metrics: dict[str, object] = {"f1": accuracy(0.5), "em": accuracy(0.4)}
        for part in range(parts):
            for metric in ("f1", "em"):
                value = 0.5 + 0.001 * part + 0.1 * number
                metrics[f"{metric}/part_{part}"] = estimate(
                    value, 0.4, 0.8, "fraction", higher=True, part=f"part_{part}", n=10 + part
                )
        runs.append(result(f"model-{number}", "coqa@paper", metrics))  # type: ignore[arg-type]
    return runs


def test_each_metric_of_parts_has_a_table() -> None:
    runs = of_parts(2, 3)
    (section,) = group(runs)
    text = parts_latex(section)
    rows = checked(text)
    one = [
        ["", "{$n$}", "{model-0}", "{model-1}"],
        ["part 0", "10", "50.00", r"\bfseries 60.00"],
        ["part 1", "11", "50.10", r"\bfseries 60.10"],
        ["part 2", "12", "50.20", r"\bfseries 60.20"],
    ]
    assert rows == one * 2
    assert r"\caption{\textsf{coqa@paper} by part: f1 (\%) $\uparrow$.}" in text
    assert r"\label{tab:coqa-paper-parts-f1}" in text
    assert r"\label{tab:coqa-paper-parts-em}" in text
    assert r"$n$: samples of the part." in text
    assert "40.00" not in text
    assert r"~{\scriptsize\mdseries {[}40.00, 80.00{]}}" in parts_latex(section, intervals=True)
    assert "tables/coqa@paper-parts.tex" in report_files(runs)
    (plain,) = group(two()[:1])
    assert parts_latex(plain) == ""


def test_a_name_as_long_as_a_line_is_cut_and_stays_its_own() -> None:
    long = ["a" * 60 + end + "b" * 30 for end in ("1", "2")]
    runs = [result(name, "coqa@paper", {"f1": accuracy(0.5)}) for name in long]
    cut = "a" * 20 + r"\ldots{}" + "b" * 19
    for text in (summary_latex(group(runs), NONE), section_latex(group(runs)[0], NONE)):
        assert [row[0] for row in checked(text)[-2:]] == [f"{cut} (1)", f"{cut} (2)"]


def test_no_file_of_parts_takes_the_place_of_another_table() -> None:
    runs = [*of_parts(1, 1), result("model-0", "coqa@paper-parts"), result("a", "Comparisons@p")]
    stems = [section.stem for section in group(runs)]
    assert stems[1] == "coqa@paper-parts-2"
    assert len(report_files(runs)) == len({name.lower() for name in report_files(runs)})


@pytest.mark.parametrize(("checkpoints", "parts"), [(2, 67), (50, 3), (30, 50)])
def test_no_float_is_longer_than_a_page(checkpoints: int, parts: int) -> None:
    (section,) = group(of_parts(checkpoints, parts))
    for text in (parts_latex(section), section_latex(section, NONE)):
        checked(text)
        floats = text.split(r"\begin{table}")[1:]
        labels = re.findall(r"\\label\{([^}]+)\}", text)
        assert len(set(labels)) == len(labels) == len(floats)
        for one in floats:
            assert one.count(r" \\") + 3 * one.count(r"\toprule") <= ROWS
    shown = re.findall(r"& (?:\\bfseries )?(\d+\.\d\d) ", parts_latex(section))
    assert len(shown) == 2 * parts * checkpoints  # nothing is lost between two floats


# ---- the whole, set by TeX ----------------------------------------------------------------------

DOCUMENT = r"""\documentclass{article}
\usepackage{booktabs,siunitx}
\usepackage[hidelinks]{hyperref}
\usepackage[numbers]{natbib}
\begin{document}
\input{methods}
%s
\bibliographystyle{plainnat}
\bibliography{references}
\end{document}
"""


@pytest.mark.skipif(
    not (shutil.which("pdflatex") and shutil.which("bibtex")),
    reason="needs pdflatex and bibtex with booktabs, siunitx and natbib",
)
@pytest.mark.parametrize("which", ["plain", "hostile", "long"])
def test_tables_and_methods_compile(which: str, tmp_path: Path) -> None:
    runs = {"plain": two, "hostile": hostile_results, "long": lambda: of_parts(20, 67)}[which]()
    comparisons = [compared("mine", 0.075, p=0.004)] if which == "plain" else []
    for name, content in report_files(runs, comparisons=comparisons, intervals=True).items():
        if name.endswith((".tex", ".bib")):
            path = tmp_path / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
    tables = sorted((tmp_path / "tables").glob("*.tex"))
    inputs = "\n".join(f"\\input{{tables/{path.stem}}}\\clearpage" for path in tables)
    (tmp_path / "main.tex").write_text(DOCUMENT % inputs)
    latex_command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "main.tex"]
    for command in (latex_command, ["bibtex", "main"], latex_command, latex_command):
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=120
        )
        assert done.returncode == 0, done.stdout[-3000:]
        if command[0] == "bibtex":
            assert "error message" not in done.stdout
    log = (tmp_path / "main.log").read_text(errors="replace")
    assert not re.search("Warning: (Citation|Reference)", log)
    assert "Missing character" not in log
    assert "Float too large" not in log
    assert (tmp_path / "main.pdf").stat().st_size > 10_000
