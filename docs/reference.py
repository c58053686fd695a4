"""Pages that are made when the site is built: commands, tasks, public names.

A hook of mkdocs. The pages say what click, the registry and the docstrings say, so nothing here is
kept twice. The functions give Markdown and need no mkdocs.
"""

from __future__ import annotations

import inspect
import pkgutil
import re
import textwrap
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_origin

import click
import gpt2eval_tasks

import gpt2eval
from gpt2eval.cli import app
from gpt2eval.data import listed
from gpt2eval.published import entries
from gpt2eval.report.text import direction, format_value
from gpt2eval.task import Protocol, Task

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
# Documents of the repository that are pages as well; the first of the site is the README.
BESIDE = {
    "index.md": "README.md",
    **{
        name: name
        for name in (
            "CONTRIBUTING.md",
            "CHANGELOG.md",
            "RELEASING.md",
            "benchmarks/README.md",
            "benchmarks/table.md",
            "gpt2eval/demo/README.md",
        )
    },
}


# ---- the hook -----------------------------------------------------------------------------------


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Put the generated pages and the documents beside docs/ among its files."""
    from mkdocs.structure.files import File

    pages = {"commands": commands, "tasks": tasks, "python": python}
    made = {f"reference/{name}.md": page() for name, page in pages.items()}
    made |= {uri: (ROOT / name).read_text("utf-8") for uri, name in BESIDE.items()}
    for uri, content in made.items():
        files.append(File.generated(config, uri, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, **_more: object) -> str:
    """Links as they are in the repository, where docs/ is a directory, become those of the site.

    One that is named by its file is named by what it is about.
    """
    markdown = re.sub(
        r"\[docs/([\w-]+)\.md\]", lambda found: f"[{found[1].capitalize()}]", markdown
    )
    if page.file.src_uri == "index.md":
        return markdown.replace("](docs/", "](")
    if "/" in page.file.src_uri:
        return markdown.replace("](../docs/", "](../")
    return markdown.replace("](../", "](")


def plain(text: str) -> str:
    """Text that Markdown takes as it stands."""
    return re.sub(
        r"[&<>\\`*_\[\]|~#^]", lambda found: f"&#{ord(found[0])};", " ".join(text.split())
    )


def prose(text: str) -> str:
    """The same, but with code where it stands in back quotes, and addresses as links."""
    quoted = re.sub(r"&#96;(.+?)&#96;", r"<code>\1</code>", plain(text))
    return re.sub(r"https?://[\w./:?=%&#;+-]*[\w/]", r'<a href="\g<0>">\g<0></a>', quoted)


def code(text: str) -> str:
    """Text as code; a pipe would end the cell of a table."""
    return f"<code>{plain(text)}</code>"


# ---- commands -----------------------------------------------------------------------------------


def commands() -> str:
    """Every command with its arguments and options."""
    parts = [
        "# Commands",
        "What `gpt2eval COMMAND --help` prints.",
    ]
    for name in app.list_commands(click.Context(app)):
        parts += _command(name, app.commands[name])
    return "\n\n".join(parts) + "\n"


def _command(name: str, command: click.Command) -> Iterator[str]:
    context = click.Context(command, info_name=f"gpt2eval {name}")
    yield f"## {name}"
    yield f"```\n{command.get_usage(context).removeprefix('Usage: ')}\n```"
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        if paragraph.startswith("\b\n"):  # click's mark of lines that stay as they are
            yield f"```\n{paragraph[2:]}\n```"
        else:
            yield prose(paragraph)
    rows = [
        record
        for parameter in command.get_params(context)
        if (record := parameter.get_help_record(context))
    ]
    lines = [f"| {code(option)} | {prose(words)} |" for option, words in rows]
    yield "\n".join(["| option | what it does |", "| --- | --- |", *lines])


# ---- tasks --------------------------------------------------------------------------------------


def tasks() -> str:
    """Every task and protocol of the registry."""
    found = registry()
    parts = ["# Tasks and protocols", "What `gpt2eval explain TASK` prints, of the built-in tasks."]
    groups: dict[str, list[str]] = {}
    for task in found.values():
        for group in task.groups:
            groups.setdefault(group, []).append(f"[{task.name}](#{task.name})")
    lines = [f"| {code(name)} | {', '.join(members)} |" for name, members in sorted(groups.items())]
    parts.append("\n".join(["| group | tasks |", "| --- | --- |", *lines]))
    for task in found.values():
        parts += _task(task)
    return "\n\n".join(parts) + "\n"


def registry() -> dict[str, Task]:
    """The built-in tasks; not what happens to be installed, or to lie in ./tasks."""
    found = {}
    for info in pkgutil.iter_modules(gpt2eval_tasks.__path__, "gpt2eval_tasks."):
        for thing in vars(import_module(info.name)).values():
            if isinstance(thing, Task):
                found[thing.name] = thing
    return dict(sorted(found.items()))


def _task(task: Task) -> Iterator[str]:
    yield f"## {task.name}"
    yield prose(task.summary)
    if task.source:
        yield f"Source: {prose(task.source)}"
    if task.story:
        yield prose(task.story)
    for protocol in task.protocols:
        yield f"### {task.name}@{protocol.name}"
        yield from _protocol(protocol)
    yield from _published(task.name)


def _protocol(protocol: Protocol) -> Iterator[str]:
    yield prose(protocol.detail or protocol.summary)
    whole = [metric for metric in protocol.metrics if not metric.part]
    lines = [
        f"| {code(one.name)} | {one.unit} | {one.per} | {direction(one.higher_is_better)} |"
        for one in whole
    ]
    yield "\n".join(["| metric | unit | over | direction |", "| --- | --- | --- | --- |", *lines])
    facts = []
    if parts := len(protocol.metrics) - len(whole):
        facts.append(f"{parts} numbers of parts besides")
    if protocol.lm_eval:
        facts.append(f"lm-evaluation-harness has it as {code(protocol.lm_eval)}")
    options = ", ".join(code(f"{key}={value}") for key, value in protocol.options.items())
    facts.append(f"options: {options or 'none'}")
    if protocol.baselines:
        facts.append(f"beside the score: {', '.join(map(plain, protocol.baselines))}")
    if protocol.fewshot:
        facts.append(f"examples for {code('--num-fewshot')}: {_files(protocol.fewshot.dataset)}")
    hub = f"; hub: {plain(str(protocol.dataset.hub))}" if protocol.dataset.hub else ""
    facts.append(f"data: {_files(protocol.dataset)}{hub}")
    yield "\n".join(f"- {fact}" for fact in facts)


def _files(dataset: Any) -> str:
    return " or ".join(code(listed(names)) for names in dataset.files)


def _published(task: str) -> Iterator[str]:
    found = entries(task)
    if not found:
        return
    yield f"Published of {plain(task)}:"
    lines = []
    for entry in found:
        values = ", ".join(
            f"{plain(model)} {format_value(value, entry['unit'])}"
            for model, value in entry["values"].items()
        )
        protocols = ", ".join(f"@{name}" for name in entry["protocols"]) or "none of ours"
        cells = (entry["metric"], entry["how"], protocols, entry["source"])
        lines.append(f"| {' | '.join(map(plain, cells))} | {values} |")
    head = ["| metric | how | protocol | source | values |", "| --- | --- | --- | --- | --- |"]
    yield "\n".join([*head, *lines])


# ---- Python -------------------------------------------------------------------------------------


def python() -> str:
    """The public names with their signatures and docstrings."""
    parts = ["# Python", prose(inspect.getdoc(gpt2eval) or "")]
    for name in gpt2eval.__all__:
        thing = getattr(gpt2eval, name)
        parts.append(f"## {name}")
        if isinstance(thing, str):
            parts.append(code(thing))
        elif inspect.ismodule(thing):
            parts.append(f"```\n{inspect.getdoc(thing)}\n```")
            for inner in thing.__all__:
                parts += _name(f"{name}.{inner}", getattr(thing, inner), "###")
        else:
            parts += _name(name, thing, "")
    return "\n\n".join(parts) + "\n"


def _name(name: str, thing: Any, level: str) -> Iterator[str]:
    if level:
        yield f"{level} {name}"
    if get_origin(thing) or not callable(thing):
        yield code(str(thing))  # a union, an alias, a constant
        return
    # That of an exception says nothing.
    if not (inspect.isclass(thing) and issubclass(thing, BaseException)):
        yield f"```python\n{_signature(name.rpartition('.')[2], thing)}\n```"
    yield f"```\n{inspect.getdoc(thing)}\n```"


class _Bare(str):
    """An annotation, which is a text, without quotation marks."""

    __repr__ = str.__str__


def _signature(name: str, thing: Any) -> str:
    signature = inspect.signature(thing)

    def bare(annotation: Any) -> Any:
        return _Bare(annotation) if isinstance(annotation, str) else annotation

    shown = signature.replace(
        parameters=[
            parameter.replace(annotation=bare(parameter.annotation))
            for parameter in signature.parameters.values()
        ],
        return_annotation=bare(signature.return_annotation),
    )
    return textwrap.fill(
        f"{name}{shown}",
        100,
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )
