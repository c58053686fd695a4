"""report.md: the page that holds the tables and pictures together."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from gpt2eval.report.panels import Picture
from gpt2eval.report.sections import Section, data_digests, data_mark, data_words
from gpt2eval.report.tables import (
    all_labels,
    banner,
    counted,
    markdown_table,
    section_markdown,
    summary_markdown,
    verdicts_markdown,
)
from gpt2eval.report.text import (
    NOTHING,
    code_block,
    format_bytes,
    format_count,
    format_parameters,
    markdown,
    plain,
)
from gpt2eval.types import Result


def report_markdown(
    title: str,
    sections: Sequence[Section],
    pictures: Sequence[Picture],
    left_out: Sequence[str] = (),
    *,
    compared: bool = False,
) -> str:
    """The whole page; links are relative to its directory.

    left_out  what was not compared, and why
    compared  whether there is a table of comparisons
    """
    results = [result for section in sections for result in section.results.values()]
    shown = any(section.metrics for section in sections)
    overall = [picture for picture in pictures if not picture.section]
    names = [section.first.task["name"] for section in sections]
    firsts = [name not in names[:place] for place, name in enumerate(names)]
    parts = [
        f"# {markdown(title or 'GPT-2 evaluation')}",
        banner(results),
        "[report.html](report.html) has all this for a browser, and the samples.",
        "## Checkpoints",
        checkpoints_table(sections),
        "## Summary",
        summary_markdown(sections),
        "Tables as files: [summary.csv](tables/summary.csv), [results.csv](tables/results.csv) "
        "(one row a number)"
        + (", [comparisons.csv](tables/comparisons.csv) (one row a test)" if compared else "")
        + (", [summary.tex](tables/summary.tex) for a paper." if shown else "."),
        "How the numbers were made, for a paper: [methods.md](methods.md), "
        "[methods.tex](methods.tex), [references.bib](references.bib).",
        *(_embed(picture) for picture in overall),
        _left_out(left_out),
        *(
            _section(section, pictures, first)
            for section, first in zip(sections, firsts, strict=True)
        ),
        "## Speed and memory",
        speed_table(sections),
        "## How to reproduce",
        _reproduce(results),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _left_out(lines: Sequence[str]) -> str:
    """What the comparisons say nothing about."""
    if not lines:
        return ""
    return "\n".join(["Not compared:", "", *(f"- {markdown(line)}" for line in lines)])


def checkpoints_table(sections: Sequence[Section]) -> str:
    """Name, size, digest and arithmetic of every checkpoint."""
    rows = []
    for label in all_labels(sections):
        results = [section.results[label] for section in sections if label in section.results]
        checkpoint = results[0].checkpoint
        parameters = checkpoint.get("parameters")
        rows.append(
            [
                markdown(label),
                f"{format_parameters(parameters)} ({format_count(parameters)})"
                if parameters
                else NOTHING,
                markdown(checkpoint.get("kind", "")),
                markdown(str(checkpoint.get("sha256", ""))[:12]),
                markdown(str(checkpoint.get("tokenizer_sha256", ""))[:12]),
                _words(result.run.get("dtype", "") for result in results),
                _words(result.run.get("device", "") for result in results),
            ]
        )
    header = ["checkpoint", "parameters", "kind", "sha256", "tokenizer", "dtype", "device"]
    return markdown_table(header, rows, text_columns=len(header))


def ledger_words(ledger: Mapping[str, int], samples: int | None = None) -> str:
    """What happened to the samples besides being scored, in words."""
    failed = ledger.get("failed", 0)
    of_all = f" of {format_count(samples)}" if samples else ""
    parts = (
        [f"{counted(failed, 'sample')}{of_all} failed and left out of the numbers"]
        if failed
        else []
    )
    nouns = {"contexts_truncated": "context", "empty_generations": "empty generation"}
    for key, noun in nouns.items():
        if number := ledger.get(key, 0):
            verb = " truncated" if key == "contexts_truncated" else ""
            parts.append(f"{counted(number, noun)}{verb}")
    endings = {
        "stopped_by_stop": "at a stop string",
        "stopped_by_eos": "at the end of text",
        "stopped_by_length": "at the length limit",
    }
    stopped = [
        f"{format_count(number)} {where}"
        for key, where in endings.items()
        if (number := ledger.get(key, 0))
    ]
    if stopped:
        parts.append(f"generations ended: {', '.join(stopped)}")
    if not failed and not ledger.get("contexts_truncated", 0):
        parts.insert(0, "nothing failed, no context truncated")
    return "; ".join(parts) + "."


def speed_table(sections: Sequence[Section]) -> str:
    """Time, rate and memory of every run."""
    rows = []
    for section in sections:
        for label, result in section.results.items():
            run = result.run
            rows.append(
                [
                    markdown(label),
                    markdown(section.title),
                    markdown(f"{run.get('device', '')}, {run.get('dtype', '')}"),
                    _number(run.get("tokens"), format_count),
                    _number(run.get("seconds"), lambda seconds: f"{seconds:,.1f}"),
                    _number(run.get("tokens_per_second"), format_count),
                    _number(run.get("peak_memory_bytes"), format_bytes),
                ]
            )
    header = "checkpoint|task@protocol|device|tokens|seconds|tokens per second|peak memory"
    return markdown_table(header.split("|"), rows, text_columns=3)


def _section(section: Section, pictures: Sequence[Picture], told: bool) -> str:
    """One task@protocol; `told`: with the story of the task, which its first section tells."""
    task = section.first.task
    options = ", ".join(f"{key} = {value}" for key, value in task.get("options", {}).items())
    protocol = f"Protocol {task['protocol']}, version {task.get('version', '?')}"
    parts = [
        f"## {markdown(section.title)}",
        banner([section.first]),
        markdown(task.get("summary", "")),
        markdown(f"{protocol}; {options}" if options else protocol) + ".",
        f"Benchmark: {markdown(task['source'])}." if task.get("source") else "",
        section_markdown(section),
        verdicts_markdown(section),
        _published_note(section),
        markdown(task.get("story", "")) if told and not section.bundled else "",
        *(_embed(picture) for picture in pictures if picture.section == section.title),
        f"Data: {markdown(data_sentence(section))}.",
        _ledgers(section),
        "Signatures, with all that can change a number:",
        code_block(signatures(section)),
        _files(section),
    ]
    return "\n\n".join(filter(None, parts))


def _files(section: Section) -> str:
    """Links to the tables of a section."""
    stem = section.stem
    links = [f"[table](tables/{stem}.md)", f"[numbers](tables/{stem}.csv)"]
    links += [f"[LaTeX](tables/{stem}.tex)"] if section.metrics else []
    links += [f"[parts in LaTeX](tables/{section.parts_stem}.tex)"] if section.parts else []
    return f"Files: {', '.join(links)}."


def _ledgers(section: Section) -> str:
    lines = []
    for words, labels in fared(section).items():
        names = ", ".join(f"**{markdown(label)}**" for label in who(section, labels))
        lines.append(f"- {names}: {markdown(words)}")
    return "\n".join(lines)


def fared(section: Section) -> dict[str, list[str]]:
    """What happened to the samples, in words -> the checkpoints that fared so."""
    found: dict[str, list[str]] = {}
    for label, result in section.results.items():
        words = (
            ledger_words(result.ledger, result.data.get("selected"))
            if result.ledger
            else "what happened besides is not told."
        )
        found.setdefault(" ".join([words, *_besides(result)]), []).append(label)
    return found


def _besides(result: Result) -> Iterator[str]:
    """Who read what was written, if another checkpoint did, and what a metric says of its value."""
    if isinstance(judge := result.run.get("scorer"), Mapping):
        name, digest = (plain(str(judge.get(key, ""))) for key in ("name", "sha256"))
        yield f"What was written was scored by {name} (weights {digest[:12] or 'unknown'})."
    for name, shown in result.metrics.items():
        if shown.note:
            yield f"{plain(name)}: {plain(shown.note)}."


def who(section: Section, labels: Sequence[str]) -> list[str]:
    """The checkpoints by name, or all together where they are many."""
    everyone = len(labels) == len(section.results) > 3
    return [f"all {len(labels)} checkpoints"] if everyone else list(labels)


def signatures(section: Section) -> str:
    """The signature of each checkpoint's result, or the one that all share."""
    found = {label: plain(result.signature) for label, result in section.results.items()}
    if len(set(found.values())) == 1:
        return next(iter(found.values()))
    return "\n".join(f"{label}: {signature}" for label, signature in found.items())


def _published_note(section: Section) -> str:
    if section.bundled and section.first.task.get("references"):
        return "Published values are left out: they were not measured on these samples."
    if section.references and data_mark(section.first):
        return "Published values are for the whole test set, not for this subset."
    return ""


def data_sentence(section: Section) -> str:
    """Where the data come from, with their digests."""
    data = section.first.data
    files = data.get("files", ())
    names = files if isinstance(files, str) else ", ".join(str(name) for name in files)
    facts = [
        f"source {data.get('source', '?')}",
        *(f"{key} {data[key]}" for key in ("id", "config", "split", "revision") if data.get(key)),
        str(names),
        *(f"sha256 of {name} {digest}" for name, digest in data_digests(section.first).items()),
        data_words(section.first),
        str(data.get("verdict", "")),
    ]
    return "; ".join(filter(None, facts))


def _reproduce(results: Sequence[Result]) -> str:
    commands = dict.fromkeys(str(result.run.get("command", "")) for result in results)
    commits = dict.fromkeys(str(result.run.get("git_commit", "")) for result in results)
    versions = dict.fromkeys(_versions(result) for result in results)
    known = ", ".join(filter(None, commits))
    parts = [
        code_block("\n".join(filter(None, commands))) if any(commands) else "",
        f"Code at commit {markdown(known)}." if known else "",
        *(f"Versions: {markdown(line)}." for line in versions if line),
        "[sources.json](sources.json) lists the run directories and their digests.",
    ]
    return "\n\n".join(filter(None, parts))


def _versions(result: Result) -> str:
    versions = result.run.get("versions", {})
    if not isinstance(versions, Mapping):
        return json.dumps(versions, default=str)
    return ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))


def _embed(picture: Picture) -> str:
    path = f"plots/{picture.stem}"
    vector = f"[pdf]({path}.pdf), [svg]({path}.svg)"
    if picture.data[0]:
        vector += f", [numbers]({path}.csv)"
    return f"![{markdown(picture.alt)}]({path}.png)\n\n{markdown(picture.caption)} ({vector})"


def _number(value: float | None, show: Callable[[float], str]) -> str:
    return NOTHING if value is None else show(value)


def _words(values: Iterable[object]) -> str:
    return markdown(", ".join(dict.fromkeys(str(value) for value in values if value)))
