"""The files that lm-evaluation-harness writes: `results_*.json` and `samples_*.jsonl`.

https://github.com/EleutherAI/lm-evaluation-harness, the layout of 0.4. A `results` file has the
values of all tasks of one run; with `--log_samples` each task has a file of samples beside it, with
a line for each document and filter. The names of both end in the same time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from gpt2eval.errors import DataError, UsageError
from gpt2eval.peers import lighteval

_TIME = re.compile(r"_(\d{4}-\d{2}-\d{2}T[\d.-]+)$")


TOOL = "lm-eval"


@dataclass(frozen=True, slots=True)
class Run:
    """One results file, read; that of another tool in the terms of lm-eval's."""

    path: Path
    content: Mapping[str, Any]
    tool: str = TOOL

    @property
    def config(self) -> Mapping[str, Any]:
        """How the model was loaded."""
        return _mapping(self.content.get("config"))

    @property
    def model(self) -> str:
        """The model as the user named it."""
        return str(self.content.get("model_name") or "unknown")

    @property
    def version(self) -> str:
        """Of the tool."""
        key = f"{self.tool.replace('-', '_')}_version"
        return str(self.content.get(key) or "unknown")

    @property
    def exported(self) -> bool:
        """Whether it was written by `gpt2eval export`."""
        return isinstance(self.content.get("gpt2eval"), Mapping)

    @property
    def tasks(self) -> list[str]:
        """Tasks that were scored; groups, whose values are made of those, are not among them."""
        return [name for name in self.content["results"] if name in self.content["configs"]]

    def of(self, key: str, task: str) -> Any:
        """What one of the tables by task says; None where it says nothing."""
        return _mapping(self.content.get(key)).get(task)

    @property
    def versions(self) -> dict[str, str]:
        """Of the tool, transformers and torch, as far as they are told."""
        found = {self.tool: self.version}
        if self.content.get("transformers_version"):
            found["transformers"] = str(self.content["transformers_version"])
        said = re.search(r"PyTorch version: (\S+)", str(self.content.get("pretty_env_info")))
        return {**found, "torch": said[1]} if said else found

    @property
    def started(self) -> str:
        """When it began, in ISO form; empty where that is not told."""
        try:
            moment = datetime.fromtimestamp(float(self.content["date"]), timezone.utc)
        except (KeyError, TypeError, ValueError, OverflowError, OSError):
            return ""
        return moment.isoformat(timespec="seconds")

    def samples_path(self, task: str) -> Path | None:
        """The file with the samples of a task; None where they were not logged."""
        if self.tool == lighteval.TOOL:
            return lighteval.details_path(self.path, task)
        time = _TIME.search(self.path.stem)
        name = f"samples_{task}_{time[1]}.jsonl" if time else ""
        # A name that leads to another directory, or that no file can have, is not lm-eval's.
        if not name or Path(name).name != name or "\0" in name or len(name.encode()) > 255:
            return None
        path = self.path.with_name(name)
        return path if path.is_file() else None


@dataclass(frozen=True, slots=True)
class Document:
    """What lm-eval kept of a document under one filter.

    doc       the row of the data set
    asked     arguments of each request: (context, continuation), (text,) or (prompt, settings)
    answers   what the model answered to each, before the filter and behind it
    """

    id: int
    filter: str
    asked: Sequence[tuple[Any, ...]]
    answers: Sequence[Any]
    filtered: Sequence[Any]
    target: str
    hash: str
    row: Mapping[str, Any]
    doc: Mapping[str, Any]


def read_runs(names: Sequence[str | Path]) -> list[Run]:
    """The runs in these files, or in these directories and below."""
    paths: dict[Path, None] = {}
    for name in names:
        path = Path(name).expanduser()
        if not path.exists():
            raise UsageError(
                f"{str(name)!r} does not exist; expected results_*.json of lm-eval or lighteval, or"
                " the directory given to --output_path or --output-dir"
            )
        found = [path] if path.is_file() else sorted(path.rglob("results_*.json"))
        if not found:
            raise UsageError(
                f"{str(name)!r} holds no results_*.json; expected the directory given to lm-eval's"
                " --output_path or lighteval's --output-dir"
            )
        paths |= dict.fromkeys(found)
    return [_read_run(path) for path in paths]


def _read_run(path: Path) -> Run:
    content = _json(path.read_bytes(), str(path))
    tool = TOOL
    if lighteval.is_lighteval(content):
        content, tool = lighteval.translate(path, content), lighteval.TOOL
    for key in ("results", "configs"):
        if not isinstance(content, dict) or not isinstance(content.get(key), dict):
            raise DataError(
                f"{path} is not a results file of lm-eval: it has no {key!r} by task; expected what"
                " `lm_eval --output_path DIR` writes, version 0.4"
            )
    # Half a surrogate pair, which JSON can spell, is no text: names go into tables and digests.
    text = json.dumps(content, ensure_ascii=False).encode(errors="replace")
    run = Run(path, json.loads(text), tool)
    for task in run.tasks:
        if not isinstance(run.content["results"][task], dict):
            raise DataError(
                f"{path}: the results of task {task!r} are {content['results'][task]!r:.80};"
                " expected values by metric"
            )
    if not run.tasks:
        raise DataError(f"{path} has results of no task; run {tool} again")
    return run


def read_documents(path: Path) -> Iterator[Document]:
    """The documents of a samples file, in the order of the file."""
    if path.suffix == ".parquet":
        yield from map(_document, lighteval.read_rows(path))
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            where = f"{path}, line {number}"
            row = _json(line, where)
            try:
                yield _document(row)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise DataError(
                    f"{where} is not a sample of lm-eval ({error!r}); expected what `lm_eval"
                    " --log_samples` writes, version 0.4. Copy the file again, or leave it out"
                ) from error


def _document(row: Mapping[str, Any]) -> Document:
    arguments = row["arguments"]
    asked = [
        tuple(
            arguments[f"gen_args_{i}"][f"arg_{j}"] for j in range(len(arguments[f"gen_args_{i}"]))
        )
        for i in range(len(arguments))
    ]
    return Document(
        id=int(row["doc_id"]),
        filter=str(row.get("filter", "none")),
        asked=asked,
        answers=list(row["resps"]),
        filtered=list(row["filtered_resps"]),
        target=str(row["target"]),
        hash=str(row.get("doc_hash", "")),
        row=row,
        doc=_mapping(row.get("doc")),
    )


def _json(content: bytes, where: str) -> Any:
    try:
        return json.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{where} is not JSON ({error}); copy the file of lm-eval again, or leave it out"
        ) from error


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
