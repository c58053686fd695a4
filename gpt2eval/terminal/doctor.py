"""What `gpt2eval doctor` found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console

from gpt2eval.doctor import Examination
from gpt2eval.report.text import format_bytes
from gpt2eval.terminal import Text

STYLES = {"error": "bold red", "warning": "yellow", "note": "cyan"}


def show_examination(found: Examination) -> None:
    """Print facts by topic, then findings with their remedies, then the verdict."""
    console = Console()
    for topic, facts in found.facts.items():
        console.print(Text(topic, style="bold"))
        for line in _lines(facts) if facts else ["none"]:
            console.print(Text(f"  {line}"), soft_wrap=True)
    console.print()
    for one in found.findings:
        words = f"{one.level}: {one.what}. Do: {one.remedy}"
        console.print(Text(words, style=STYLES[one.level]), soft_wrap=True)
    errors = sum(one.level == "error" for one in found.findings)
    verdict = f"{errors} errors: nothing can be scored here" if errors else "fit to score"
    console.print(Text(verdict, style="bold red" if errors else "green"))


def _lines(facts: Mapping[str, Any]) -> Iterator[str]:
    for name, value in facts.items():
        if isinstance(value, Mapping) and "bytes" in value:
            there = format_bytes(value["bytes"]) if value["there"] else "not there yet"
            can = "writable" if value["writable"] else "not writable"
            part = "" if value["counted"] == "all" else ", counted in part"
            yield f"{name}: {value['path']} ({there}{part}, {can})"
        elif isinstance(value, Mapping) and "missing" in value:
            lacks = ", ".join(value["missing"]) or "nothing"
            yield f"{name}: for {value['for']}; missing: {lacks}"
        elif isinstance(value, Mapping):
            inside = ", ".join(f"{key} {_short(each)}" for key, each in value.items())
            yield f"{name}: {inside or 'none'}"
        else:
            yield f"{name}: {_short(value)}"


def _short(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}"  # of a load or a speed, no more is known
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
