"""methods.md and methods.tex: how the numbers of this report were made, in sentences.

Every clause is read from the results: what they do not say is not claimed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gpt2eval.report.bibliography import Bibliography
from gpt2eval.report.differences import MARKS
from gpt2eval.report.document import ledger_words, who
from gpt2eval.report.sections import Section, data_digests, data_mark
from gpt2eval.report.significance import CORRECTED, Significance, without_counts
from gpt2eval.report.tables import all_labels, counted
from gpt2eval.report.text import SAMPLE_NOTICE, format_count, format_parameters, latex, markdown
from gpt2eval.types import Comparison, Estimate, Result

DIGITS = 12  # of a sha256; sources.json has them all

# What the words of a test or of an interval's method stand for.
_METHODS = (
    (r"\bwilson\b", "wilson1927"),
    (r"\bbootstrap\b", "efron1979"),
    (r"\bmcnemar\b", "mcnemar1947"),
    (r"\brandomi[sz]ation\b|\bpermutation\b|\bsign[- ]flip", "noreen1989"),
    (r"\bholm\b", "holm1979"),
    (r"\bbenjamini\b", "benjamini1995"),
)


@dataclass(frozen=True, slots=True)
class Cite:
    """A citation of entries of references.bib."""

    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Code:
    """A name that is printed as it is typed."""

    text: str


Piece = str | Cite | Code
Paragraph = list[Piece]


@dataclass(frozen=True, slots=True)
class Methods:
    """The text in two forms, and the entries that it cites."""

    markdown: str
    latex: str
    bibliography: str


def methods_of(sections: Sequence[Section], compared: Significance) -> Methods:
    """The methods of a report."""
    cited = Bibliography()
    paragraphs = [
        _checkpoints(sections, cited),
        *(_section(section, cited) for section in sections),
        _intervals(sections, cited),
        _comparisons(compared, cited),
        _care(sections),
    ]
    paragraphs = [each for each in paragraphs if each]
    return Methods(
        "# Methods\n\n" + "\n\n".join(map(_markdown, paragraphs)) + "\n",
        "% The entries that are cited are in references.bib.\n"
        + "\n\n".join(map(_latex, paragraphs))
        + "\n",
        cited.text(),
    )


# ---- paragraphs ---------------------------------------------------------------------------------


def _checkpoints(sections: Sequence[Section], cited: Bibliography) -> Paragraph:
    """What was scored, and by which programs."""
    labels = all_labels(sections)
    text: Paragraph = [f"We evaluated {counted(len(labels), 'checkpoint')}: "]
    for number, label in enumerate(labels):
        text += ["; " * bool(number), Code(label), _facts(_first(sections, label))]
    text.append(".")
    for tool, computed in _by_tool(sections).items():
        labels = list(dict.fromkeys(label for label, _ in computed))
        text += _tool(tool, labels, [result for _, result in computed], cited)
    return text


def _first(sections: Sequence[Section], label: str) -> Result:
    return next(section.results[label] for section in sections if label in section.results)


def _facts(result: Result) -> str:
    checkpoint = result.checkpoint
    facts = []
    if checkpoint.get("parameters"):
        facts.append(f"{format_parameters(checkpoint['parameters'])} parameters")
    if checkpoint.get("revision"):
        facts.append(f"revision {checkpoint['revision']}")
    if checkpoint.get("sha256"):
        facts.append(f"weights SHA-256 {checkpoint['sha256'][:DIGITS]}")
    else:
        facts.append("digest of the weights unknown")
    return f" ({', '.join([*facts, *_finetuned(checkpoint)])})"


def _finetuned(checkpoint: Mapping[str, Any]) -> list[str]:
    """How a checkpoint was fine-tuned, if the record that lies beside it is of these weights."""
    record = checkpoint.get("finetuned")
    if not isinstance(record, Mapping) or record.get("weights_sha256") != checkpoint.get("sha256"):
        return []
    base, step, tokens = (record.get(key) for key in ("base", "step", "tokens_seen"))
    if not isinstance(base, Mapping) or type(step) is not int or type(tokens) is not int:
        return []
    return [
        f"fine-tuned from {base.get('name')} with weights SHA-256"
        f" {str(base.get('sha256'))[:DIGITS]} in {counted(step, 'step')} over"
        f" {counted(tokens, 'token')}, seed {record.get('seed')}"
    ]


def _by_tool(sections: Sequence[Section]) -> dict[str, list[tuple[str, Result]]]:
    """Results with the label of their checkpoint, by the program that computed them."""
    found: dict[str, list[tuple[str, Result]]] = {}
    for section in sections:
        for label, result in section.results.items():
            found.setdefault(str(result.run.get("tool", "gpt2eval")), []).append((label, result))
    return found


def _tool(
    tool: str, labels: Sequence[str], results: Sequence[Result], cited: Bibliography
) -> Paragraph:
    """One sentence on a program, what it ran on, and how."""
    versions: dict[str, list[str]] = {}
    for result in results:
        for name, version in dict(result.run.get("versions", {})).items():
            if version not in versions.setdefault(name, []):
                versions[name].append(str(version))
    own = " and ".join(versions.pop(tool, []))
    text: Paragraph = []
    if tool == "gpt2eval":
        text += [" Scores were computed with gpt2eval"]
        text += [
            f" {own}" * bool(own),
            Cite(
                cited.software(
                    "gpt2eval", "Evaluation of GPT-2 checkpoints", f"Version {own}" * bool(own)
                )
            ),
        ]
        text += [" on GPT-2 models", Cite(cited.tool("radford2019"))]
    else:
        text += [" The scores of ", *_listed([Code(label) for label in labels])]
        text += [f" were computed with {tool} {own}".rstrip()]
        known = tool == "lm-eval"
        keys = cited.tool("gao2024") if known else cited.software(tool, "Evaluation", "")
        text += [Cite(keys), " and imported"]
    for name, key in (("torch", "paszke2019"), ("transformers", "wolf2020")):
        if name in versions:
            shown = {"torch": "PyTorch"}.get(name, name)
            text += [f", {shown} {' and '.join(versions.pop(name))}", Cite(cited.tool(key))]
    rest = [f"{name} {' and '.join(found)}" for name, found in versions.items()]
    text += [f" ({', '.join(rest)})" if rest else ""]
    dtypes = _distinct(result.run.get("dtype") for result in results)
    devices = _distinct(result.run.get("device") for result in results)
    seeds = _distinct(result.run.get("seed") for result in results)
    context = _distinct(result.run.get("n_ctx") for result in results)
    said = [
        f"weights in {dtypes}" if dtypes else "",
        f"on {devices}" if devices else "",
        f"with a context of {context} tokens" if context else "",
        f"seed {seeds}" if seeds else "",
    ]
    how = ", ".join(filter(None, said))
    return [*text, f", {how}." if how else "."]


def _section(section: Section, cited: Bibliography) -> Paragraph:
    """One task@protocol: what it is, its data, and what each metric is divided by."""
    task = section.first.task
    text: Paragraph = [Code(section.title)]
    if keys := cited.benchmark(section.first):
        text.append(Cite(keys))
    summary = str(task.get("summary", "")).rstrip(".")
    text.append(f" (version {task.get('version', '?')}): {summary or 'no summary'}.")
    options = [f"{name} {_option(value)}" for name, value in task.get("options", {}).items()]
    if options:
        text.append(f" Settings: {'; '.join(options)}.")
    text.append(f" {_data(section)}")
    alike: dict[tuple[tuple[str, ...], str], list[Piece]] = {}
    for name, shown in section.metrics.items():
        found = [r.metrics[name] for r in section.results.values() if name in r.metrics]
        alike.setdefault((_defined(name, shown, cited), _divided(found)), []).append(Code(name))
    for (keys, facts), names in alike.items():
        text += [" ", *_listed(names), Cite(keys), f": {facts}." if facts else "."]
    return [*text, *_scorers(section), *_endings(section)]


def _option(value: object) -> str:
    """A setting in words; of a digest, its beginning."""
    text = str(value)
    return text[:DIGITS] if re.fullmatch("[0-9a-f]{64}", text) else text


def _data(section: Section) -> str:
    """Where the samples come from, how many there are, and which were taken."""
    data = section.first.data
    digests = data_digests(section.first)
    named = [f"{name}, SHA-256 {digest[:DIGITS]}" for name, digest in digests.items() if digest]
    where = {
        "bundled": "sample texts that come with gpt2eval",
        "hub": f"{data.get('id', 'a data set')} of the Hugging Face hub",
        "directory": "local files",
    }.get(str(data.get("source")), f"source {data.get('source') or 'unknown'}")
    facts = [where, *named]
    facts += [f"{key} {data[key]}" for key in ("config", "split", "revision") if data.get(key)]
    if data.get("verdict") and data.get("source") != "bundled":
        facts.append(str(data["verdict"]))
    chosen = data_mark(section.first).removeprefix(SAMPLE_NOTICE).removeprefix("; ")
    available = data.get("available")
    count = chosen or (
        f"all {format_count(available)} samples" if isinstance(available, int) else "all samples"
    )
    return f"Data: {'; '.join(facts)}; {count}."


def _defined(name: str, shown: Estimate, cited: Bibliography) -> tuple[str, ...]:
    """Who defined a metric, where its signature shows which one it is."""
    signature = shown.signature
    if "version:" in signature and "tok:" in signature and name == "bleu":
        return cited.tool("papineni2002", "post2018")
    if "version:" in signature and "nc:" in signature:
        return cited.tool("popovic2015", "post2018")
    if signature.startswith("rouge-score:"):
        return cited.tool("lin2004")
    if name == "ece" and signature.startswith("bins:"):
        return cited.tool("guo2017")
    return ()


def _divided(found: Sequence[Estimate]) -> str:
    """What a metric is divided by, and all else that counts; checkpoints may differ in it."""
    over = _distinct(each.denominator.strip() for each in found)
    signatures = _distinct(each.signature for each in found)
    facts = [f"over {over}" if over else "", f"signature {signatures}" if signatures else ""]
    facts += [_distinct(each.note for each in found)]
    return "; ".join(filter(None, facts))


def _scorers(section: Section) -> Paragraph:
    """Who scored what the checkpoints wrote, where that was asked."""
    found = dict.fromkeys(
        (str(judge.get("name", "")), str(judge.get("sha256", "")))
        for result in section.results.values()
        if isinstance(judge := result.run.get("scorer"), Mapping)
    )
    text: Paragraph = []
    for name, digest in found:
        text += [" What was written was scored by ", Code(name)]
        text += [f" (weights SHA-256 {digest[:DIGITS]})." if digest else "."]
    return text


def _endings(section: Section) -> Paragraph:
    """What happened to the samples besides being scored."""
    fared: dict[str, list[str]] = {}
    for label, result in section.results.items():
        if result.ledger:
            words = ledger_words(result.ledger, result.data.get("selected"))
            fared.setdefault(words, []).append(label)
        else:
            fared.setdefault("failures and truncation unknown.", []).append(label)
    text: Paragraph = []
    for words, labels in fared.items():
        named = who(section, labels)
        if named == labels:
            text += [" ", *_listed([Code(label) for label in labels]), f": {words}"]
        else:
            text.append(f" A{named[0][1:]}: {words}")
    return text


def _intervals(sections: Sequence[Section], cited: Bibliography) -> Paragraph:
    """How intervals were made: one sentence for each way, and which metrics it was used for."""
    used: dict[str, dict[str, None]] = {}
    for section in sections:
        for result in section.results.values():
            for name, each in result.metrics.items():
                if each.part:
                    continue
                way = re.sub(r" over \d+ \w+", "", each.method)
                used.setdefault(way, {}).setdefault(f"{section.title} {name}")
    if not used:
        return []
    text: Paragraph = ["Intervals."]
    most = max(used, key=lambda way: len(used[way]))
    for way, names in used.items():
        text.append(f" {way[:1].upper()}{way[1:]}")
        if keys := _known(way, cited):
            text.append(Cite(keys))
        if len(used) == 1:
            text.append(": all metrics.")
        elif way == most:
            text.append(": all metrics but those named here.")
        else:
            text += [": ", *_listed([Code(name) for name in names]), "."]
    units = [
        each.method
        for section in sections
        for result in section.results.values()
        for each in result.metrics.values()
    ]
    if any(re.search(r"over \d+ groups", method) for method in units):
        text.append(" Samples of one group (a document, a dialogue) were drawn together.")
    return text


def _comparisons(compared: Significance, cited: Bibliography) -> Paragraph:
    """Which differences were tested, and how."""
    shown = [each for each in compared.comparisons if each.p is not None]
    if not shown:
        return []
    text: Paragraph = [f"Comparisons. {counted(len(shown), 'test')} against "]
    text += [Code(compared.baseline), ", each over the samples that both checkpoints have."]
    by_test: dict[str, list[Comparison]] = {}
    for each in shown:
        by_test.setdefault(without_counts(each.test), []).append(each)
    for test, members in by_test.items():
        text.append(f" {test[:1].upper()}{test[1:]}")
        text += [Cite(keys)] if (keys := _known(test, cited)) else []
        text += [": ", *_where(members), "."]
    for correction in dict.fromkeys(each.correction for each in shown):
        text.append(f" p-values were {CORRECTED[correction]}")
        text += [Cite(keys)] if (keys := _known(CORRECTED[correction], cited)) else []
        text.append(".")
    by_note: dict[str, list[Comparison]] = {}
    for each in shown:
        by_note.setdefault(each.note, []).append(each)
    for note, members in by_note.items():
        if note:
            text += [" For ", *_where(members), f": {note.rstrip('.')}."]
    levels = ", ".join(f"{mark} below {p:g}" for p, mark in reversed(MARKS))
    return [*text, f" Marks of corrected p-values: {levels}."]


def _where(comparisons: Sequence[Comparison]) -> Paragraph:
    """Tasks, each with the metrics of it and how many samples were compared."""
    by_task: dict[tuple[str, int], list[str]] = {}
    for each in comparisons:
        by_task.setdefault((each.task, each.n), []).append(each.metric)
    text: Paragraph = []
    for (task, n), metrics in by_task.items():
        named = ", ".join(dict.fromkeys(metrics))
        text += [", " * bool(text), Code(task), f" ({named}; n = {format_count(n)})"]
    return text


def _care(sections: Sequence[Section]) -> Paragraph:
    """What a reader has to know before quoting a number."""
    if any(section.bundled for section in sections):
        return [
            f"Caution: {SAMPLE_NOTICE}. Numbers from the sample texts of gpt2eval cannot be"
            " compared with published ones."
        ]
    return []


def _known(words: str, cited: Bibliography) -> tuple[str, ...]:
    """Entries for what a method is called."""
    keys = [key for pattern, key in _METHODS if re.search(pattern, words, re.IGNORECASE)]
    return cited.tool(*keys)


def _listed(pieces: Sequence[Piece]) -> Paragraph:
    """Pieces with commas between them."""
    return [piece for number, each in enumerate(pieces) for piece in (", " * bool(number), each)]


def _distinct(values: Iterable[object]) -> str:
    known = dict.fromkeys(str(value) for value in values if value not in (None, ""))
    return " and ".join(known)


# ---- two forms ----------------------------------------------------------------------------------


def _markdown(paragraph: Paragraph) -> str:
    """Pandoc's form: a citation is [@key]."""
    return "".join(map(_markdown_piece, paragraph)).strip()


def _markdown_piece(piece: Piece) -> str:
    if isinstance(piece, Cite):
        return f" [{'; '.join(f'@{key}' for key in piece.keys)}]" if piece.keys else ""
    if isinstance(piece, Code):
        # Code in back quotes could not hold one; escaped text can hold anything.
        return f"**{markdown(piece.text)}**"
    return _spaced(piece, markdown)


def _latex(paragraph: Paragraph) -> str:
    text = "".join(map(_latex_piece, paragraph)).strip()
    # Names and signatures have few places to break at.
    return f"\\begin{{sloppypar}}\n{text}\n\\end{{sloppypar}}"


def _latex_piece(piece: Piece) -> str:
    if isinstance(piece, Cite):
        return f"~\\cite{{{','.join(piece.keys)}}}" if piece.keys else ""
    if isinstance(piece, Code):
        return f"\\textsf{{{latex(piece.text)}}}"
    return _spaced(piece, latex)


def _spaced(text: str, escape: Callable[[str], str]) -> str:
    """Text escaped, with the spaces at its ends, which escaping takes away."""
    inside = escape(text)
    if not inside:
        return " " if text else ""
    return f"{' ' * text.startswith(' ')}{inside}{' ' * text.endswith(' ')}"
