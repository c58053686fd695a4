"""Whatever is in a file, a reader gives a value or an error of ours, never another and no hang.

Files are damaged ones that were good: bytes are replaced, cut out, repeated and put in, and values
of JSON exchanged for others. GPT2EVAL_FUZZ=5000 tries so many of each kind, other ones every time.
"""

from __future__ import annotations

import bz2
import copy
import gzip
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpt2eval import data
from gpt2eval.checkpoint import open_checkpoint
from gpt2eval.compare import compare, compare_where_possible
from gpt2eval.errors import Gpt2EvalError
from gpt2eval.manifest import read_manifest
from gpt2eval.model.loading import load_model
from gpt2eval.peers import import_results
from gpt2eval.pickled import check_pickle
from gpt2eval.report import report_files
from gpt2eval.results import (
    load_results,
    read_records,
    read_result,
    recover_records,
    write_result,
)
from gpt2eval.task import Protocol, discover
from gpt2eval.types import Record
from tests.peers.test_lm_eval import TIME
from tests.peers.test_lm_eval import write as write_lm_eval
from tests.report.building import paper, result, write_words
from tests.report.running import answer_record, choice_record, run, text_record

MANY = int(os.environ.get("GPT2EVAL_FUZZ", "0"))
HEALTH = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]


def examples(count: int) -> settings:
    """So many in the suite; as many as the environment says by hand."""
    return settings(max_examples=MANY or count, derandomize=not MANY, suppress_health_check=HEALTH)


# ---- damage -------------------------------------------------------------------------------------

ODD = [b"", b"\0", b"\xff", b"\n", b"\r\n", b"\t", b'"', b"[", b"]", b"{", b"}", b"<", b">", b"&"]
ODD += [
    b",",
    b"-1",
    b"1e999",
    b"NaN",
    b"null",
    b"true",
    b"\\ud800",
    b"9" * 30,
    b"\xef\xbb\xbf",
    b" ",
]
VALUES = st.sampled_from(
    [None, True, 0, -1, 10**30, 1.5, 1e308, "", "x", "\ud800", "\0", [], {}, [[]], [None], {"a": 1}]
)


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """The content with one to four pieces exchanged."""
    for _ in range(draw(st.integers(1, 4))):
        begin = draw(st.integers(0, len(content)))
        end = min(len(content), begin + draw(st.sampled_from([0, 0, 1, 1, 2, 8, 64, 1024])))
        piece = draw(st.sampled_from(ODD) | st.binary(max_size=8) | st.just(content[begin:end] * 3))
        content = content[:begin] + piece + content[end:]
    return content


@st.composite
def altered(draw: st.DrawFn, value: Any) -> Any:
    """A JSON value, of which one to three values are others, or gone."""
    value = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, 3))):
        place = value
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            inside = place[key]
            if isinstance(inside, (dict, list)) and inside and draw(st.integers(0, 3)):
                place = inside
                continue
            if draw(st.booleans()):
                place[key] = copy.deepcopy(draw(VALUES))
            else:
                del place[key]
            break
    return value


def altered_lines(content: bytes) -> st.SearchStrategy[bytes]:
    """JSON lines, or one JSON value, with other values."""
    try:
        values = [json.loads(content)]
    except ValueError:
        values = [json.loads(line) for line in content.splitlines() if line.strip()]
    lines = altered(values).map(lambda rows: "".join(json.dumps(row) + "\n" for row in rows))
    return lines.map(str.encode)


def damage(path: Path) -> st.SearchStrategy[bytes]:
    content = path.read_bytes()
    if path.suffix in (".json", ".jsonl"):
        return damaged(content) | altered_lines(content)
    return damaged(content)


# ---- data ---------------------------------------------------------------------------------------


def protocols() -> dict[str, Protocol]:
    """A protocol for each way in which the bundled samples are read."""
    found: dict[tuple[int, int], tuple[str, Protocol]] = {}
    for task in discover().values():
        for protocol in task.protocols:
            if not data.lacking(protocol.dataset, "bundled"):
                key = (id(protocol.dataset), id(protocol.samples))
                found.setdefault(key, (f"{task.name}@{protocol.name}", protocol))
    return dict(found.values())


PROTOCOLS = protocols()


@pytest.mark.parametrize("name", PROTOCOLS)
def test_data_of_tasks(name: str, tmp_path: Path) -> None:
    """Rows, samples and requests, as a run asks for them."""
    protocol = PROTOCOLS[name]
    names = list(data.load(protocol.dataset, "bundled").provenance["files"])
    for each in names:
        (tmp_path / each).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(data.bundled_directory() / each, tmp_path / each)
    strategies = {each: damage(data.bundled_directory() / each) for each in names}

    @examples(8)
    @given(st.sampled_from(names).flatmap(lambda each: st.tuples(st.just(each), strategies[each])))
    def check(drawn: tuple[str, bytes]) -> None:
        each, content = drawn
        (tmp_path / each).write_bytes(content)
        try:
            for sample in protocol.samples(data.load(protocol.dataset, tmp_path).rows):
                assert isinstance(sample.id, str)
                protocol.requests(sample)
        except Gpt2EvalError:
            pass
        finally:
            shutil.copyfile(data.bundled_directory() / each, tmp_path / each)

    check()


def zipped(tmp_path: Path) -> bytes:
    path = tmp_path / "good.zip"
    with zipfile.ZipFile(path, "w") as file:
        for number, kind in enumerate(
            (0, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
        ):
            file.writestr(f"{number}.jsonl", b'{"a": "x"}\n' * 20, kind)
    return path.read_bytes()


LINES = b'{"a": "x", "b": "y"}\n{"a": "z", "b": "w"}\n'
READERS: dict[str, tuple[Callable[[Path], bytes], Callable[[Path], Any]]] = {
    "a.jsonl": (lambda _: LINES, lambda path: list(data.read_jsonl([path], "a", "b"))),
    "a.json": (lambda _: b'{"a": [1, "x", {"b": null}]}', lambda p: data.read_json(p, kind=dict)),
    "a.csv": (lambda _: b'a,b\n1,"x, y"\n2,"p""q"\n', lambda p: list(data.read_csv([p], "a", "b"))),
    "a.tsv": (lambda _: b"a\tb\n1\tx\n2\ty\n", lambda path: list(data.read_lines([path]))),
    "a.sgm": (
        lambda _: b'<refset><doc docid="d">\n<seg id="1">a &amp; b</seg>\n</doc></refset>\n',
        lambda path: list(data.read_sgml([path, path], ("en", "fr"))),
    ),
    "a.xml": (
        lambda _: (
            b'<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE a SYSTEM "a.dtd">'
            b'<a><b c="d">x &amp; y</b><!-- z --><![CDATA[w]]></a>'
        ),
        data.read_xml,
    ),
    "a.gz": (lambda _: gzip.compress(LINES * 9), data.read_text),
    "a.bz2": (lambda _: bz2.compress(LINES * 9), data.read_text),
    "tail.bz2": (lambda _: bz2.compress(LINES * 9), lambda path: data.read_tail(path, 50)),
    "a.zip": (zipped, lambda path: list(data.read_zip(path, ".jsonl"))),
    "one.zip": (zipped, data.read_text),
    "manifest.json": (
        lambda _: json.dumps(
            {
                "format": "gpt2eval data 1",
                "files": {"a/b": {"sha256": "0" * 64, "source": "hub", "revision": "x"}},
            }
        ).encode(),
        lambda path: read_manifest(path.parent),
    ),
}


@pytest.mark.parametrize("name", READERS)
def test_readers(name: str, tmp_path: Path) -> None:
    make, read = READERS[name]
    path = tmp_path / name
    good = make(tmp_path)
    path.write_bytes(good)
    if name != "one.zip":  # which has four
        assert read(path) is not None

    @examples(100)
    @given(damaged(good) | st.binary(max_size=60))
    def check(content: bytes) -> None:
        path.write_bytes(content)
        with suppress(Gpt2EvalError):
            read(path)

    check()


# ---- checkpoints --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.json",
        "merges.txt",
    ],
)
def test_files_of_a_checkpoint(name: str, tiny_checkpoint: Path, tmp_path: Path) -> None:
    """As far as the loaded model and its first tokens."""
    directory = Path(shutil.copytree(tiny_checkpoint, tmp_path / "copy"))
    if name in ("vocab.json", "merges.txt"):
        (directory / "tokenizer.json").unlink()
    good = (directory / name).read_bytes()
    kinds = damaged(good)
    if name == "model.safetensors":
        length = 8 + int.from_bytes(good[:8], "little")
        kinds = damaged(good[:length]).map(lambda header: header + good[length:])
    elif name.endswith(".json"):
        kinds |= altered_lines(good)

    @examples(15)
    @given(kinds)
    def check(content: bytes) -> None:
        (directory / name).write_bytes(content)
        with suppress(Gpt2EvalError):
            model = load_model(open_checkpoint(directory), "cpu")
            ids = model.encode(["A ship, and l'été"])[0]
            assert all(isinstance(number, int) for number in ids)

    check()


@pytest.mark.parametrize("legacy", [True, False])
def test_pickles(legacy: bool, tmp_path: Path) -> None:
    path = tmp_path / "pytorch_model.bin"
    content = {"wte.weight": torch.ones(3, 2), "h.0.ln_1.bias": torch.zeros(2).half()}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    good = path.read_bytes()

    @examples(100)
    @given(damaged(good))
    def check(content: bytes) -> None:
        path.write_bytes(content)
        with suppress(Gpt2EvalError):
            check_pickle(path)

    check()


# ---- results ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["result.json", "records.jsonl"])
def test_results(name: str, tmp_path: Path) -> None:
    made = result(path=tmp_path)
    write_words(tmp_path, 20)
    write_result(made, tmp_path)
    assert read_result(tmp_path).metrics.keys() == made.metrics.keys()
    strategy = damage(tmp_path / name)

    @examples(60)
    @given(strategy)
    def check(content: bytes) -> None:
        (tmp_path / name).write_bytes(content)
        with suppress(Gpt2EvalError):
            if name == "result.json":
                asdict(read_result(tmp_path))
            else:
                list(read_records(tmp_path, responses=False))
                list(read_records(tmp_path))
        if name != "result.json":
            with suppress(Gpt2EvalError):
                recover_records(tmp_path)

    check()


@pytest.mark.parametrize("name", ["result.json", "records.jsonl"])
def test_reports_and_comparisons(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As far as the finished tables and the page; figures are built, and not drawn."""
    drawn = dict.fromkeys(("png", "svg", "pdf"), bytes(24))
    monkeypatch.setattr("gpt2eval.report.plots.save", lambda figure: drawn)
    kept: dict[str, list[Record]] = {
        "chosen@p": [choice_record(number, number % 3 > 0) for number in range(8)],
        "told@p": [answer_record(number, "A sum:", "4", f"{number}") for number in range(8)],
        "read@p": [text_record(number, [0, 1, 2, 3], [0.1, 1, 2, 3]) for number in range(4)],
    }
    directories = [tmp_path / checkpoint / task / "r" for checkpoint in "ab" for task in kept]
    for directory in directories:
        checkpoint, task = directory.parts[-3:-1]
        references = [] if task == "told@p" else paper("accuracy", 0.5)
        made = run(directory, checkpoint, task, kept[task], references=references)
        write_result(made, directory)
    report_files([read_result(directory) for directory in directories])
    good = {directory: (directory / name).read_bytes() for directory in directories}
    whose = st.sampled_from(directories)
    damages = whose.flatmap(lambda one: damage(one / name).map(lambda content: (one, content)))

    @examples(60)
    @given(damages)
    def check(damaged: tuple[Path, bytes]) -> None:
        directory, content = damaged
        (directory / name).write_bytes(content)
        try:
            with suppress(Gpt2EvalError):
                results = [read_result(each) for each in directories]
                comparisons, left_out = compare_where_possible(results, allow_intersection=True)
                assert all(one.p is None or 0 <= one.p <= 1 for one in comparisons)
                report_files(results, "", comparisons, left_out=left_out, intervals=True)
            with suppress(Gpt2EvalError):
                compare(load_results(tmp_path))
        finally:
            (directory / name).write_bytes(good[directory])

    check()


@pytest.mark.parametrize("which", ["results", "samples"])
def test_results_of_lm_eval(which: str, tmp_path: Path) -> None:
    root = tmp_path / "in"
    write_lm_eval(root)
    path = root / (f"results_{TIME}.json" if which == "results" else f"samples_boolq_{TIME}.jsonl")
    strategy = damage(path)

    @examples(40)
    @given(strategy)
    def check(content: bytes) -> None:
        path.write_bytes(content)
        output = tmp_path / "out"
        shutil.rmtree(output, ignore_errors=True)
        with suppress(Gpt2EvalError):
            import_results([root], output)
        assert set(os.listdir(tmp_path)) <= {"in", "out"}

    check()
