"""references.bib: the entries of the benchmarks, metrics and tools that a report used.

Benchmarks bring their own entries in `Task.bibtex`, which every result keeps. One that brings none
is cited by its `source`, as it stands. Metrics, tests and tools are in the file `references.bib`
beside this module.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files

from gpt2eval.report.text import file_stem, latex
from gpt2eval.types import Result

_ENTRY = re.compile(r"@([A-Za-z]+)\s*\{\s*([A-Za-z0-9:._/+-]+)\s*,")
_NO_ENTRY = {"string", "preamble", "comment"}
# All that an entry may do besides print: accents, special letters and the signs that are escaped.
_COMMAND = re.compile(
    r"\\(?:[`'^~\"=.&%$#_{} -]|(?:[uvHcdbrk]|ss|ae|AE|oe|OE|aa|AA|o|O|l|L|i|j)\b)"
)


class Bibliography:
    """Entries by key, in the order in which they were cited."""

    def __init__(self) -> None:
        self.entries: dict[str, str] = {}

    def tool(self, *keys: str) -> tuple[str, ...]:
        """Cite entries of the house's own file."""
        return self._add({key: _own()[key] for key in keys})

    def software(self, name: str, title: str, note: str) -> tuple[str, ...]:
        """Cite a program by its name."""
        return self._add({name: _misc(name, name, title, note)})

    def benchmark(self, result: Result) -> tuple[str, ...]:
        """Cite what a result's task brings, or else its source; nothing where it names neither."""
        task = result.task
        found = entries_of(str(task.get("bibtex", "")))
        source = str(task.get("source", ""))
        if not found and source:
            key = file_stem(str(task["name"])).replace("@", "-")
            found = {key: _misc(key, str(task["name"]), source)}
        return self._add(found)

    def _add(self, found: Mapping[str, str]) -> tuple[str, ...]:
        """Take in entries; a key that already means another entry gets a letter more."""
        keys = []
        for wanted, entry in found.items():
            key = wanted.lower()  # BibTeX does not tell cases apart
            renamed = _ENTRY.sub(rf"@\1{{{key},", entry, count=1)
            while self.entries.get(key, renamed) != renamed:
                key += "x"
                renamed = _ENTRY.sub(rf"@\1{{{key},", entry, count=1)
            self.entries[key] = renamed
            keys.append(key)
        return tuple(keys)

    def text(self) -> str:
        """The file, sorted by key."""
        return "\n\n".join(self.entries[key] for key in sorted(self.entries)) + "\n"


def _misc(key: str, name: str, title: str, note: str = "") -> str:
    """An entry without an author: `name` stands in his place, in the list and in citations."""
    fields = {"key": name, "title": title, "note": note}
    # BibTeX counts every brace, those behind a backslash too.
    lines = [f"  {name} = {{{{{_printed(text)}}}}},\n" for name, text in fields.items() if text]
    return f"@misc{{{key},\n{''.join(lines)}}}"


def _printed(text: str) -> str:
    shown = latex(text).replace(r"\{", r"\textbraceleft{}")
    return shown.replace(r"\}", r"\textbraceright{}")


def entries_of(text: str) -> dict[str, str]:
    """Key -> entry of BibTeX text; empty where it is anything but plain, balanced entries.

    Results come from files that anybody may have written: an entry with a command that does more
    than print a letter is not passed on to LaTeX.
    """
    found = {}
    try:
        for kind, key, entry in _scan(text):
            # "^^5c" is a backslash too.
            if kind.lower() in _NO_ENTRY or "^^" in entry or "\\" in _COMMAND.sub("", entry):
                return {}
            # Letters beyond ASCII are for LaTeX to set, whatever encoding BibTeX reads.
            found[key] = "".join(char if char.isascii() else f"{{{latex(char)}}}" for char in entry)
    except ValueError:
        return {}
    return found


def _scan(text: str) -> Iterator[tuple[str, str, str]]:
    """(kind, key, whole entry) of each; ValueError for what is none."""
    place = 0
    while text[place:].strip():
        place += len(text[place:]) - len(text[place:].lstrip())
        head = _ENTRY.match(text, place)
        if head is None:
            raise ValueError("no entry")
        end = _closing(text, text.index("{", place))
        yield head[1], head[2], text[place:end]
        place = end


def _closing(text: str, start: int) -> int:
    """The place behind the brace that closes the one at `start`."""
    depth = 0
    for mark in re.finditer("[{}]", text[start:]):  # BibTeX counts those behind a backslash too
        depth += 1 if mark[0] == "{" else -1
        if depth == 0:
            return start + mark.end()
    raise ValueError("braces do not match")


@cache
def _own() -> dict[str, str]:
    return entries_of((files("gpt2eval") / "report" / "references.bib").read_text("utf-8"))
