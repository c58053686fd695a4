"""`gpt2eval verify`: every edit of what a run stored is found, and named."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import gpt2eval
from gpt2eval import cli, stats
from gpt2eval.errors import StoreError
from gpt2eval.results import digests_of
from gpt2eval.verify import Verified, verify_all
from tests.checkpoints import make_checkpoint

TASKS = "lambada,blimp,xsum"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Three runs on bundled samples, with few resamples for as long as they are looked at."""
    place = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setattr(stats, "resample", partial(stats.resample, resamples=50))
        model = make_checkpoint(place / "tiny", n_positions=160, n_embd=16, n_layer=1)
        gpt2eval.run(
            models=model, tasks=TASKS, data="bundled", output=str(place / "out"), limit_first=8
        )
        yield place / "out"


@pytest.fixture
def runs(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(finished, tmp_path / "runs"))


def only(place: Path, name: str) -> Path:
    (found,) = place.glob(f"tiny/{name}@*/*")
    return found


def edit(path: Path, change: Callable[[Any], None], *, forged: bool = False) -> None:
    """Change a result; with `forged`, its digests too, as somebody would who knows of them."""
    content = json.loads(path.read_text("utf-8"))
    change(content)
    if forged:
        content["digests"] = digests_of(content, path.parent)
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2), "utf-8")


def findings(verified: list[Verified], name: str) -> list[str]:
    """What was found in one run; nothing in the others."""
    others = [one for one in verified if not one.name.startswith(name)]
    assert len(others) == 2
    assert not any(one.findings for one in others)
    (one,) = (one for one in verified if one.name.startswith(name))
    return list(one.findings)


def test_what_runs_made_is_in_order(runs: Path) -> None:
    verified = verify_all([runs])
    assert len(verified) == 3
    for one in verified:
        assert (one.findings, one.source, one.note) == ([], "responses", "")


def leaves(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value in a JSON document."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield from leaves(value, (*path, key))
    elif isinstance(content, list):
        for key, value in enumerate(content):
            yield from leaves(value, (*path, key))
    else:
        yield path


def test_every_single_value_of_a_result(runs: Path) -> None:
    """One after the other, each by a little: found, and the section is named."""
    path = only(runs, "lambada") / "result.json"
    content = json.loads(path.read_text("utf-8"))
    whole = path.read_text("utf-8")
    every = list(leaves(content))
    assert len(every) > 100
    for where in every:

        def change(content: Any, where: tuple[Any, ...] = where) -> None:
            for key in where[:-1]:
                content = content[key]
            old = content[where[-1]]
            numeric = isinstance(old, (int, float)) and not isinstance(old, bool)
            content[where[-1]] = old + 1e-12 if numeric else f"{old} "

        edit(path, change)
        if json.loads(path.read_text("utf-8")) == content:
            path.write_text(whole, "utf-8")
            continue  # 1e-12 is nothing beside a large number
        found = " ".join(*[one.findings for one in verify_all([path.parent])])
        named = where[1] if where[0] == "digests" else where[0]
        assert str(named) in found, where
        path.write_text(whole, "utf-8")


FORGED: dict[str, tuple[str, Callable[[Any], None], str]] = {
    "value": (
        "lambada",
        lambda c: c["metrics"]["accuracy"].update(value=0.99),
        r"accuracy, value: recorded 0\.99, the records give 0",
    ),
    "bound": (
        "lambada",
        lambda c: c["metrics"]["perplexity"].update(low=1.0),
        r"perplexity, low: recorded 1\.0, the records give",
    ),
    "n": (
        "lambada",
        lambda c: c["metrics"]["perplexity"].update(n=9),
        r"perplexity, n: recorded 9, the records give 8",
    ),
    "denominator": (
        "lambada",
        lambda c: c["metrics"]["perplexity"].update(denominator="9 passages"),
        r"perplexity, denominator: recorded '9 passages', the records give '8",
    ),
    "direction": (
        "lambada",
        lambda c: c["metrics"]["perplexity"].update(higher_is_better=True),
        r"perplexity, higher_is_better: recorded True",
    ),
    "part": (
        "blimp",
        lambda c: c["metrics"]["accuracy/anaphor_gender_agreement"].update(value=0.123),
        r"accuracy/anaphor_gender_agreement, value: recorded 0\.123",
    ),
    "system without a model": (
        "xsum",
        lambda c: c["baselines"]["lede-1"]["rouge1"].update(value=77.0),
        r"lede-1, rouge1, value: recorded 77\.0",
    ),
    "metric that was removed": (
        "lambada",
        lambda c: c["metrics"].pop("accuracy"),
        r"accuracy: only the records give it",
    ),
    "ledger": (
        "xsum",
        lambda c: c["ledger"].update(contexts_truncated=1000),
        r"ledger, contexts_truncated: recorded 1000, the records have",
    ),
    "samples that are said to be more": (
        "lambada",
        lambda c: c["data"].update(selected=9),
        r"8 samples; the result is of 9",
    ),
}


@pytest.mark.parametrize("case", FORGED)
def test_numbers_that_were_edited_with_their_digests(case: str, runs: Path) -> None:
    """The records say it all the same, to the metric and the field."""
    name, change, words = FORGED[case]
    edit(only(runs, name) / "result.json", change, forged=True)
    (finding,) = findings(verify_all([runs]), name)
    assert re.search(words, finding)


@pytest.mark.parametrize("forged", [False, True])
@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"accuracy": [0.0', '"accuracy": [1.0', "responses give other statistics.* '"),
        ('"logprobs": [-', '"logprobs": [-1', "responses give other statistics.* '"),
    ],
)
def test_records_that_were_edited(old: str, new: str, words: str, forged: bool, runs: Path) -> None:
    """By the digest of the file; and where that was forged too, by the sample."""
    directory = only(runs, "lambada")
    path = directory / "records.jsonl"
    lines = path.read_text("utf-8").splitlines(keepends=True)
    place = next(number for number, line in enumerate(lines) if old in line)
    name = json.loads(lines[place])["id"]
    lines[place] = lines[place].replace(old, new, 1)
    path.write_text("".join(lines), "utf-8")
    if forged:
        edit(directory / "result.json", lambda content: None, forged=True)
    found = findings(verify_all([runs]), "lambada")
    assert any("records.jsonl: edited since the run ended" in one for one in found) is not forged
    assert any(words.split(".*")[0] in one and repr(name) in one for one in found)


@pytest.mark.parametrize("where", ["first", "last"])
def test_records_that_are_missing(where: str, runs: Path) -> None:
    directory = only(runs, "lambada")
    path = directory / "records.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[1:] if where == "first" else lines[:-1]))
    edit(directory / "result.json", lambda content: None, forged=True)
    found = findings(verify_all([runs]), "lambada")
    assert any("7 samples; the result is of 8" in one for one in found)
    path.unlink()
    assert "records.jsonl: is missing" in findings(verify_all([runs]), "lambada")


def test_digests_that_were_removed(runs: Path) -> None:
    edit(only(runs, "lambada") / "result.json", lambda content: content.pop("digests"))
    (found,) = findings(verify_all([runs]), "lambada")
    assert "result.json has no digests; they were removed, or an earlier gpt2eval" in found


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"format": 1, "digests": {}}'])
def test_results_that_are_none(content: str, runs: Path) -> None:
    path = only(runs, "lambada") / "result.json"
    path.write_text(content)
    verified = verify_all([runs])
    assert sorted(bool(one.findings) for one in verified) == [False, False, True]


def test_data_that_are_not_here(finished: Path, tmp_path: Path, monkeypatch: Any) -> None:
    """The statistics in the records give the numbers; what was not looked at is said."""
    monkeypatch.chdir(tmp_path)
    from gpt2eval import rescore
    from gpt2eval.errors import DataError

    def missing(*_arguments: Any, **_options: Any) -> None:
        raise DataError("not here")

    monkeypatch.setattr(rescore, "load", missing)
    verified = verify_all([finished])
    assert [(one.findings, one.source) for one in verified] == [([], "statistics")] * 3
    assert all("not here" in one.note for one in verified)


def test_the_command(runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    def run(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["gpt2eval", "verify", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        shown = capsys.readouterr()
        return int(end.value.code or 0), shown.out + shown.err

    code, shown = run(runs)
    assert code == 0
    assert "3 of 3 results are what their runs made; 3 of them down to the responses" in shown
    path = only(runs, "lambada")
    edit(path / "result.json", lambda c: c["metrics"]["accuracy"].update(value=0.5))
    code, shown = run(path)
    assert code == 1
    assert f"{path.relative_to(Path.cwd())}: result.json, metrics: edited since" in shown.replace(
        f"{Path.cwd()}/", ""
    )
    assert "accuracy, value: recorded 0.5, the records give" in shown
    assert "0 of 1 results" in shown
    code, shown = run("nowhere")
    assert code == 4
    assert "'nowhere' holds no result.json; expected the --output of a run" in shown
    with pytest.raises(StoreError):
        verify_all(["nowhere"])
