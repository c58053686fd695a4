"""The documents name what there is, their links resolve, and the site is built of all of them."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

import gpt2eval
from gpt2eval.cli import app
from gpt2eval.task import discover

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *PAGES]
IDS = [path.relative_to(ROOT).as_posix() for path in DOCUMENTS]
# Blocks whose lines a shell is given; a continued line is one.
SHELL = re.compile(r"^```(?:bash|console)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
FLAG = re.compile(r"(?<![\w-])--[a-z][\w-]*")
# Whose flags are not ours.
OTHERS = re.compile(
    r"^\s*(docker|lighteval|lm_eval|make|pip|pytest|ray|sbatch|srun|tensorboard)\b|SBATCH|^--array="
)


def flags(command: click.Command) -> set[str]:
    named = [
        name
        for parameter in command.get_params(click.Context(command))
        for name in (*parameter.opts, *parameter.secondary_opts)
    ]
    return {*named, "--help"}


COMMANDS: dict[str, set[str]] = {name: flags(one) for name, one in app.commands.items()}
ALL_FLAGS = set().union(*COMMANDS.values(), flags(app))


def snippets(text: str) -> Iterator[str]:
    """Commands of blocks, a line each without its comment, and what stands in back quotes."""
    for block in SHELL.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            yield re.split(r"\s#\s", line)[0]
    for span in re.findall(r"`([^`]+)`", FENCED.sub("", text)):
        yield " ".join(span.split())


def parts(snippet: str) -> list[str]:
    """The commands of a line."""
    return re.split(r"&&|\||;|\$\(", snippet)


def calls(text: str) -> Iterator[tuple[str, set[str]]]:
    """Each `gpt2eval COMMAND` with the flags that it is given."""
    for snippet in snippets(text):
        for part in parts(snippet):
            if found := re.search(r"(?<![\w/.'\"-])gpt2eval ([a-z-]+)(?=\s|$)(.*)", part):
                yield found[1], set(FLAG.findall(found[2]))


def test_there_are_documents():
    assert len(PAGES) > 10
    assert {"run", "compare"} <= {name for path in DOCUMENTS for name, _ in calls(path.read_text())}


@pytest.mark.parametrize("path", DOCUMENTS, ids=IDS)
def test_commands_and_their_options_exist(path):
    for name, given in calls(path.read_text("utf-8")):
        assert name in COMMANDS, f"gpt2eval {name}"
        assert given <= COMMANDS[name], f"gpt2eval {name}: {given - COMMANDS[name]}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=IDS)
def test_options_that_stand_alone_exist(path):
    for snippet in snippets(path.read_text("utf-8")):
        for part in parts(snippet):
            if not OTHERS.search(part):
                assert set(FLAG.findall(part)) <= ALL_FLAGS, snippet


def test_a_wrong_name_would_be_found():
    text = "```\ngpt2eval run \\\n    --modle a  # --no\ngpt2eval rum\n```\n`--daat` and `--data`\n"
    assert list(calls(text)) == [("run", {"--modle"}), ("rum", set())]
    assert [FLAG.findall(one) for one in snippets(text)][-2:] == [["--daat"], ["--data"]]


def test_every_command_is_in_a_document():
    named = {name for path in DOCUMENTS for name, _ in calls(path.read_text("utf-8"))}
    assert COMMANDS.keys() <= named


# ---- links --------------------------------------------------------------------------------------


def anchors(path: Path) -> set[str]:
    """Those that GitHub and mkdocs both give to headings of plain words."""
    heads = re.findall(r"^#+ (.*)$", FENCED.sub("", path.read_text("utf-8")), flags=re.MULTILINE)
    return {re.sub(r"[^\w\s-]", "", head).strip().lower().replace(" ", "-") for head in heads}


@pytest.mark.parametrize("path", DOCUMENTS, ids=IDS)
def test_links_lead_somewhere(path):
    text = FENCED.sub("", path.read_text("utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("http"):
            continue
        name, _, anchor = target.partition("#")
        place = (path.parent / name).resolve() if name else path
        if place.parent == ROOT / "docs" / "reference":
            assert place.stem in {"commands", "tasks", "python"}, target
            continue
        assert place.is_file(), target
        assert not anchor or anchor in anchors(place), target


# ---- the generated pages, and the site ----------------------------------------------------------


@pytest.fixture(scope="module")
def reference() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "docs" / "reference.py"))


def test_markdown_takes_text_as_it_stands(reference):
    plain = reference["plain"]
    assert plain("a_b & <c>\n*d* #1") == "a&#95;b &#38; &#60;c&#62; &#42;d&#42; &#35;1"


def test_prose_has_code_and_links(reference):
    assert reference["prose"]("`a_b`, see https://x.org/a_b. So") == (
        '<code>a&#95;b</code>, see <a href="https://x.org/a&#95;b">https://x.org/a&#95;b</a>. So'
    )


def section(page: str, title: str) -> str:
    """What stands under a heading of the second level."""
    return page.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize("name", COMMANDS)
def test_reference_has_every_option(reference, name):
    text = section(reference["commands"](), name)
    shown = set(FLAG.findall(text.replace("&#95;", "_")))
    long = {flag for flag in COMMANDS[name] if flag.startswith("--")}
    assert long <= shown


def test_reference_has_every_task_and_protocol(reference):
    page = reference["tasks"]()
    tasks = {name: task for name, task in discover().items() if name in reference["registry"]()}
    assert len(tasks) > 20
    for task in tasks.values():
        text = section(page, task.name)
        assert reference["prose"](task.summary) in text
        for protocol in task.protocols:
            assert f"### {task.name}@{protocol.name}\n" in text
            assert reference["prose"](protocol.detail or protocol.summary) in text
            for metric in protocol.metrics:
                assert metric.part or reference["code"](metric.name) in text


def test_reference_has_every_public_name(reference):
    page = reference["python"]()
    for name in gpt2eval.__all__:
        assert f"\n## {name}\n" in page


def test_site_is_built_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs")
    pytest.importorskip("material")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for page in ("index", "tutorial", "how-to/paper", "reference/tasks", "CONTRIBUTING"):
        text = (tmp_path / f"{page}.html").read_text("utf-8")
        # Nothing is loaded from elsewhere.
        assert not re.findall(r"""<(?:script|link|img)[^>]*(?:src|href)=["']?https?://""", text)
    assert 'id="lambada"' in (tmp_path / "reference" / "tasks.html").read_text("utf-8")
    assert not list(tmp_path.rglob("*.py"))
