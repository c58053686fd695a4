"""Bundles: what is fetched is what a run reads, a changed byte stops it, no network is asked."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gpt2eval import data
from gpt2eval.bundles import fetch
from gpt2eval.data import Dataset, Hub
from gpt2eval.digests import digest_files
from gpt2eval.errors import DataError, StoreError, TaskError, UsageError
from gpt2eval.manifest import MANIFEST, read_manifest, stays_inside
from gpt2eval.options import RunOptions
from gpt2eval.task import Protocol, Task, discover
from tests.data.directory import write_data

TASKS = "wikitext2,lambada,wmt14_fr_en,multi30k_en_fr"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of benchmark files, as a user may have one."""
    return write_data(tmp_path_factory.mktemp("source"))


@pytest.fixture
def bundle(source: Path, tmp_path: Path) -> Path:
    """Fetched from it, for a test to damage."""
    fetch(RunOptions(tasks=TASKS, data=str(source)), tmp_path / "bundle")
    return tmp_path / "bundle"


def content(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


# ---- from a directory ---------------------------------------------------------------------------


def test_files_are_copied_and_listed(source: Path, bundle: Path) -> None:
    files = content(bundle)
    listed = json.loads(files.pop(MANIFEST))["files"]
    assert listed.keys() == files.keys()
    assert "xsum/xsum_test.jsonl" not in files  # nobody asked for it
    for name, found in files.items():
        assert found == (source / name).read_bytes()
        assert listed[name]["sha256"] == digest_files([source / name])
        assert listed[name]["bytes"] == len(found)
        assert listed[name]["source"] == "directory"


@pytest.mark.parametrize("task", TASKS.split(","))
def test_a_bundle_reads_as_its_source(source: Path, bundle: Path, task: str) -> None:
    dataset = discover()[task].protocols[0].dataset
    assert data.load(dataset, bundle, offline=True) == data.load(dataset, source)


def test_more_tasks_go_into_the_same_bundle(source: Path, bundle: Path) -> None:
    before = content(bundle)
    fetch(RunOptions(tasks="xsum,lambada", data=str(source)), bundle)
    after = content(bundle)
    assert after.keys() - before.keys() == {"xsum/xsum_test.jsonl"}
    assert read_manifest(bundle).keys() == after.keys() - {MANIFEST}  # type: ignore[union-attr]
    again = content(bundle)
    fetch(RunOptions(tasks=f"xsum,{TASKS}", data=str(source)), bundle)
    assert content(bundle) == again


def test_a_manifest_for_a_directory_that_is_there(source: Path, tmp_path: Path) -> None:
    here = tmp_path / "here"
    shutil.copytree(source, here)
    put = fetch(RunOptions(tasks="lambada", data=str(here)), here)
    assert read_manifest(here) == put
    assert content(here).keys() - content(source).keys() == {MANIFEST}


def test_a_bundle_of_a_bundle_keeps_where_files_are_from(bundle: Path, tmp_path: Path) -> None:
    listed = json.loads((bundle / MANIFEST).read_text("utf-8"))
    listed["files"]["lambada/lambada_test.jsonl"]["what"] = "noted by hand"
    (bundle / MANIFEST).write_text(json.dumps(listed), "utf-8")
    put = fetch(RunOptions(tasks="lambada", data=str(bundle)), tmp_path / "second")
    assert put["lambada/lambada_test.jsonl"]["what"] == "noted by hand"


# ---- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize("offline", [True, False])
def test_a_changed_byte_is_refused(bundle: Path, offline: bool) -> None:
    path = bundle / "lambada/lambada_test.jsonl"
    before = digest_files([path])
    changed = bytearray(path.read_bytes())
    changed[20] ^= 1
    path.write_bytes(changed)
    dataset = discover()["lambada"].protocols[0].dataset
    with pytest.raises(DataError) as caught:
        data.load(dataset, bundle, offline=offline)
    for part in (str(path), f"expected sha256 {before}", f"found {digest_files([path])}"):
        assert part in str(caught.value)


def test_a_file_that_is_not_listed_is_refused(source: Path, bundle: Path) -> None:
    """Else a better alternative, put beside a file that is listed, would be read unchecked."""
    shutil.copytree(source / "xsum", bundle / "xsum")
    with pytest.raises(DataError, match=r"manifest\.json does not list xsum/xsum_test\.jsonl"):
        data.load(discover()["xsum"].protocols[0].dataset, bundle)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        "[" * 100_000,
        '{"format": "gpt2eval data 2", "files": {}}',
        '{"format": "gpt2eval data 1"}',
        '{"format": "gpt2eval data 1", "files": []}',
        '{"format": "gpt2eval data 1", "files": {"a": {}}}',
        '{"format": "gpt2eval data 1", "files": {"a": {"sha256": "0", "source": "hub"}}}',
        '{"format": "gpt2eval data 1", "files": {"a": {"sha256": 5, "source": "hub"}}}',
    ],
)
def test_a_manifest_that_is_none(bundle: Path, text: str) -> None:
    (bundle / MANIFEST).write_text(text, "utf-8")
    with pytest.raises(DataError, match=r"manifest\.json is not a manifest of gpt2eval fetch"):
        data.load(discover()["lambada"].protocols[0].dataset, bundle)


def test_a_file_in_the_way(source: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "lambada/lambada_test.jsonl"
    theirs.parent.mkdir()
    theirs.write_text("mine\n", "utf-8")
    with pytest.raises(StoreError, match=r"lambada_test\.jsonl is in the way"):
        fetch(RunOptions(tasks="lambada", data=str(source)), tmp_path)
    assert content(tmp_path) == {"lambada/lambada_test.jsonl": b"mine\n"}


def test_a_fetch_that_cannot_write(source: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(StoreError, match=r"could not be written \(Not a directory\)"):
        fetch(RunOptions(tasks="lambada", data=str(source)), tmp_path / "file")


def test_the_samples_are_not_fetched(tmp_path: Path) -> None:
    """Copied, they would lose their mark and look like a benchmark."""
    with pytest.raises(UsageError, match="sample texts come with gpt2eval"):
        fetch(RunOptions(tasks="lambada", data="bundled"), tmp_path)


def test_data_that_are_missing(source: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"1 of 2 tasks have no data in .*\n  piqa: "):
        fetch(RunOptions(tasks="lambada,piqa", data=str(source)), tmp_path / "to")
    assert not (tmp_path / "to").exists()


@pytest.mark.parametrize(
    ("name", "inside"),
    [
        ("a/b.txt", True),
        ("../a", False),
        ("a/../../b", False),
        ("/etc/passwd", False),
        ("a//b", False),
        ("./a", False),
        ("", False),
        ("a\\..\\b", False),
        ("c:a", False),
        ("a\0b", False),
        ("..", False),
        ("a..b/..c", True),
    ],
)
def test_names_inside(name: str, inside: bool) -> None:
    assert stays_inside([name]) is inside


def task_of(dataset: Dataset) -> dict[str, Task]:
    protocol = Protocol("p", "", dataset, lambda rows: (), lambda sample: (), ())
    return {"t": Task("t", 1, "", (protocol,))}


def test_a_task_cannot_write_outside(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = Dataset((("../outside.txt",),), data.read_lines)
    monkeypatch.setattr("gpt2eval.bundles.discover", lambda directory: task_of(dataset))
    (source.parent / "outside.txt").write_text("x\n", "utf-8")
    with pytest.raises(TaskError, match=r"a task reads \.\./outside\.txt; expected names inside"):
        fetch(RunOptions(tasks="t", data=str(source)), tmp_path / "to")


# ---- from the hub -------------------------------------------------------------------------------


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[dict[str, Any]]]:
    """A hub on which each data set has these rows, and that counts as reached; id -> rows."""
    import datasets
    import huggingface_hub

    rows: dict[str, list[dict[str, Any]]] = {
        "EleutherAI/lambada_openai": [{"text": f"He said “ya”, and {n} ships left"} for n in "ab"],
        "wmt/wmt14": [{"translation": {"fr": f"Un œuf {n}.", "en": f"An egg {n}."}} for n in "ab"],
        "o/parts": [{"n": 1, "deep": [{"x": None, "y": 2.5}]}],
    }

    class Info:
        sha = "c0ffee"

    class Api:
        def dataset_info(self, name: str, **_: Any) -> Info:
            return Info()

    def load_dataset(id: str, name: str | None, **options: Any) -> Any:
        table = [{**row, "part": name} if id == "o/parts" else row for row in rows[id]]
        return datasets.Dataset.from_list(table)

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return rows


def test_rows_of_the_hub_read_as_from_the_hub(hub: Any, tmp_path: Path) -> None:
    """The same rows, digest and revision: a run from the bundle answers the same question."""
    fetch(RunOptions(tasks="lambada,wmt14_fr_en,wmt14_en_fr"), tmp_path)
    assert content(tmp_path).keys() == {
        MANIFEST,
        "hub/EleutherAI--lambada_openai/default/test.jsonl",
        "hub/wmt--wmt14/fr-en/test.jsonl",
    }
    for task in ("lambada", "wmt14_fr_en", "wmt14_en_fr"):
        dataset = discover()[task].protocols[0].dataset
        online, offline = data.load(dataset, "hub"), data.load(dataset, tmp_path, offline=True)
        assert offline.rows == online.rows
        differing = {"files", "verdict"}
        assert {k: v for k, v in offline.provenance.items() if k not in differing} == {
            k: v for k, v in online.provenance.items() if k not in differing
        }
        assert offline.provenance["revision"] == "c0ffee"


def test_configurations_keep_their_order(
    hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = Dataset(
        (("never.txt",),), data.read_lines, Hub("o/parts", ("b", "a"), branch="refs/x")
    )
    monkeypatch.setattr("gpt2eval.bundles.discover", lambda directory: task_of(dataset))
    monkeypatch.setattr("gpt2eval.bundles.load_work", lambda *_: [])
    put = fetch(RunOptions(tasks="t"), tmp_path)
    assert list(put) == [f"hub/o--parts/refs-x/{part}/test.jsonl" for part in "ba"]
    assert [entry["revision"] for entry in put.values()] == ["c0ffee"] * 2
    assert data.load(dataset, tmp_path).rows == data.load(dataset, "hub").rows
    assert [row["part"] for row in data.load(dataset, tmp_path).rows] == ["b", "a"]


def test_rows_of_the_hub_are_held_to_the_manifest(hub: Any, tmp_path: Path) -> None:
    fetch(RunOptions(tasks="lambada"), tmp_path)
    dataset = discover()["lambada"].protocols[0].dataset
    path = tmp_path / "hub/EleutherAI--lambada_openai/default/test.jsonl"
    path.write_text(path.read_text("utf-8").replace("ships", "boats"), "utf-8")
    with pytest.raises(DataError, match=r"test\.jsonl is not the file that was fetched: expected"):
        data.load(dataset, tmp_path)
    (tmp_path / MANIFEST).unlink()
    with pytest.raises(DataError, match="no manifest that says of which revision"):
        data.load(dataset, tmp_path)


def test_a_later_revision_replaces_what_was_fetched(hub: Any, tmp_path: Path) -> None:
    fetch(RunOptions(tasks="lambada"), tmp_path)
    hub["EleutherAI/lambada_openai"].append({"text": "And then the last one left"})
    fetch(RunOptions(tasks="lambada"), tmp_path)
    assert len(data.load(discover()["lambada"].protocols[0].dataset, tmp_path).rows) == 3


def test_rows_that_json_has_no_words_for(hub: Any, tmp_path: Path) -> None:
    hub["EleutherAI/lambada_openai"][0]["text"] = b"bytes"
    hub["EleutherAI/lambada_openai"].pop()
    with pytest.raises(DataError, match=r"row 1 cannot be kept as JSON .*bytes.*--data DIR"):
        fetch(RunOptions(tasks="lambada"), tmp_path)
    assert content(tmp_path) == {}


# ---- without a network --------------------------------------------------------------------------

# Tells of every attempt, also of one that would be caught and passed over.
WATCH = """
import runpy, sys
def hook(event, args):
    if event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.sendto") or (
        event == "socket.connect" and not isinstance(args[1], (str, bytes))
    ):
        print("NETWORK", event, args[1:], file=sys.stderr, flush=True)
sys.addaudithook(hook)
sys.argv = ["gpt2eval", *sys.argv[1:]]
runpy.run_module("gpt2eval", run_name="__main__")
"""


def without_network() -> list[str]:
    """A command that runs another in a network namespace without interfaces, where one can be."""
    try:
        done = subprocess.run(["unshare", "-rn", "true"], capture_output=True, check=False)
    except OSError:
        return []
    return ["unshare", "-rn"] if done.returncode == 0 else []


def watched(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*without_network(), sys.executable, "-c", WATCH, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_the_watch_sees_an_attempt(tmp_path: Path) -> None:
    code = "import socket\ntry: socket.create_connection(('127.0.0.1', 9), 1)\nexcept OSError: pass"
    script = WATCH.partition("sys.argv")[0] + code
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "NETWORK socket.getaddrinfo" in done.stderr
    assert "NETWORK socket.connect" in done.stderr


def test_a_run_from_a_bundle_asks_no_network(bundle: Path, tmp_path: Path) -> None:
    arguments = ["run", "--model", "demo-base", "--tasks", "lambada,wmt14_fr_en", "--limit", "2"]
    arguments += ["--data", str(bundle), "--offline", "--output", str(tmp_path / "results")]
    arguments += ["--report", str(tmp_path / "report")]
    done = watched(*arguments)
    assert done.returncode == 0, done.stderr
    assert "NETWORK" not in done.stderr
    (path,) = (tmp_path / "results/demo-base/lambada@openai").glob("*/result.json")
    assert json.loads(path.read_text("utf-8"))["data"]["source"] == "directory"
    text = bundle / "lambada/lambada_test.jsonl"
    text.write_text(text.read_text("utf-8").replace("key", "kex"), "utf-8")
    done = watched(*arguments)
    assert done.returncode == 2
    assert "lambada_test.jsonl is not the file that was fetched: expected sha256" in done.stderr
    assert "NETWORK" not in done.stderr
