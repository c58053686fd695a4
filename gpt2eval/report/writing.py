"""The files of a report, made whole before the first of them is written."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import gpt2eval
from gpt2eval.beside import LARGE, cores, meanwhile
from gpt2eval.errors import UsageError
from gpt2eval.report.curves import Chosen
from gpt2eval.report.document import report_markdown
from gpt2eval.report.figures import draw_samples, draw_scores
from gpt2eval.report.folder import replace_report
from gpt2eval.report.frame import to_frame
from gpt2eval.report.latex import parts_latex, section_latex, summary_latex
from gpt2eval.report.methods import methods_of
from gpt2eval.report.page import BUDGET, report_html
from gpt2eval.report.page.samples import browsers
from gpt2eval.report.sections import Section, group
from gpt2eval.report.significance import significance
from gpt2eval.report.splits import splits_csv, splits_markdown
from gpt2eval.report.tables import (
    banner,
    comparisons_csv,
    frame_csv,
    section_csv,
    section_markdown,
    summary_csv,
    summary_markdown,
    to_csv,
)
from gpt2eval.report.text import markdown
from gpt2eval.results import records_size
from gpt2eval.types import Comparison, Result, Split

MANY = 8  # sections; figures of more are drawn in a second process


def write_report(
    results: Sequence[Result],
    directory: str | Path,
    *,
    title: str = "",
    comparisons: Sequence[Comparison] = (),
    left_out: Sequence[str] = (),
    baseline: str = "",
    style: str = "",
    intervals: bool = False,
    chosen: Chosen | None = None,
    splits: Sequence[Split] = (),
    rule: str = "",
) -> Path:
    """Write tables, plots, methods text and two documents; returns the path of `report.md`.

    comparisons  between checkpoints of these results: significance marks and a forest plot
    left_out     what could not be compared, and why: a line each
    baseline     label of the checkpoint that marks compare with; needed where there are several
    style        a matplotlib style for the plots: its name, or a file
    intervals    whether LaTeX tables print them
    chosen       the best checkpoints of training runs, for the learning curves
    splits       scores on clean samples and on those that overlap with a training corpus
    rule         when a sample overlaps, in words

    The directory may be missing, empty, or hold an earlier report, which is replaced file by file.
    Equal results make equal files. UsageError without results, and for an unknown style; StoreError
    if the directory holds anything else or cannot be written.
    """
    if not results:
        raise UsageError("there are no results to report; run `gpt2eval run` first")
    directory = Path(directory)
    # Everything is made before anything is written: a failure leaves the old report whole.
    files = report_files(
        results,
        title,
        comparisons,
        left_out=left_out,
        baseline=baseline,
        style=style,
        intervals=intervals,
        chosen=chosen,
        splits=splits,
        rule=rule,
    )
    replace_report(directory, files, _sources(results, title))
    return directory / "report.md"


def report_files(
    results: Sequence[Result],
    title: str = "",
    comparisons: Sequence[Comparison] = (),
    *,
    left_out: Sequence[str] = (),
    baseline: str = "",
    style: str = "",
    intervals: bool = False,
    chosen: Chosen | None = None,
    splits: Sequence[Split] = (),
    rule: str = "",
) -> dict[str, bytes]:
    """Path inside the report -> content; `sources.json` is added when they are written."""
    sections = group(results)
    compared = significance(comparisons, baseline)
    shared = cores() > 1 and (len(sections) > MANY or records_size(results) >= LARGE)
    # Two halves of about the same length.
    with meanwhile(draw_scores, sections, compared, style, chosen, shared=shared) as drawn:
        of_samples = draw_samples(sections, compared, style)
        samples = browsers(sections, BUDGET, significance(comparisons).baseline)
        pictures = drawn() + of_samples
    methods = methods_of(sections, compared)
    texts = {
        "report.md": report_markdown(
            title, sections, pictures, left_out, compared=bool(comparisons)
        ),
        "tables/summary.md": _table_file("Summary", sections, summary_markdown(sections)),
        "tables/summary.csv": summary_csv(sections),
        "tables/results.csv": frame_csv(to_frame(results)),
        "methods.md": methods.markdown,
        "methods.tex": methods.latex,
        "references.bib": methods.bibliography,
    }
    if splits:
        texts["report.md"] += f"\n{splits_markdown(splits, rule)}\n"
        texts["tables/overlap.md"] = splits_markdown(splits, rule) + "\n"
        texts["tables/overlap.csv"] = splits_csv(splits, rule)
    if comparisons:
        texts["tables/comparisons.csv"] = comparisons_csv(comparisons)
    for section in sections:
        body = section_markdown(section)
        texts[f"tables/{section.stem}.md"] = _table_file(section.title, [section], body)
        texts[f"tables/{section.stem}.csv"] = section_csv(section)
    tables = {"summary": summary_latex(sections, compared, intervals=intervals)}
    for section in sections:
        tables[section.stem] = section_latex(section, compared, intervals=intervals)
        tables[section.parts_stem] = parts_latex(section, intervals=intervals)
    texts |= {f"tables/{stem}.tex": table for stem, table in tables.items() if table}
    for picture in pictures:
        if picture.data[0]:
            texts[f"plots/{picture.stem}.csv"] = to_csv(*picture.data)
    files = {name: text.encode() for name, text in texts.items()}
    files["report.html"] = report_html(
        title, sections, pictures, comparisons, left_out, splits=splits, rule=rule, samples=samples
    )
    for picture in pictures:
        for ending, content in picture.files.items():
            files[f"plots/{picture.stem}.{ending}"] = content
    return files


def _table_file(title: str, sections: Sequence[Section], body: str) -> str:
    results = [result for section in sections for result in section.results.values()]
    return "\n\n".join(filter(None, [f"# {markdown(title)}", banner(results), body])) + "\n"


def _sources(results: Sequence[Result], title: str) -> dict[str, Any]:
    """What the report was made from, so that every number can be traced to its run."""
    return {
        "title": title,
        "versions": {"gpt2eval": gpt2eval.__version__}
        | {name: _version(name) for name in ("matplotlib", "numpy", "pandas")},
        "results": [_source(result) for result in results],
    }


def _source(result: Result) -> dict[str, Any]:
    return {
        "directory": str(result.path or ""),
        "files": {
            name: _digest(result.path / name)
            for name in ("result.json", "records.jsonl", "vocabulary.json")
            if result.path and (result.path / name).is_file()
        },
        "checkpoint": {key: result.checkpoint.get(key) for key in ("name", "path", "sha256")},
        "tokenizer_sha256": result.checkpoint.get("tokenizer_sha256"),
        "task": {key: result.task.get(key) for key in ("name", "protocol", "version", "options")},
        "data": {key: result.data.get(key) for key in ("source", "sha256", "subset", "verdict")},
        "git_commit": result.run.get("git_commit"),
        "started": result.run.get("started"),
        "versions": result.run.get("versions"),
        "signature": result.signature,
    }


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
