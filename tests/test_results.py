"""The results store: what is written is read, and what cannot be written is said."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt2eval import results
from gpt2eval.errors import Gpt2EvalError, StoreError, UsageError
from gpt2eval.results import (
    RecordWriter,
    decode_requests,
    decode_response,
    encode_requests,
    encode_response,
    load_results,
    locate_records,
    locked,
    prepare_output,
    read_records,
    read_result,
    read_vocabulary,
    records_at,
    recover_records,
    run_directory,
    write_result,
    write_vocabulary,
)
from gpt2eval.types import (
    Embedded,
    Estimate,
    Generate,
    Generated,
    Record,
    Result,
    Rolling,
    Score,
    Scored,
)

# Lone surrogates too: the name of a file need not be UTF-8.
TEXT = st.text(
    st.characters() | st.sampled_from('\n\r\x0b\x85\u2028\x00\ud83d\udc80"\\'), max_size=12
)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
RECORDS = st.builds(
    Record,
    id=TEXT,
    group=TEXT,
    statistics=st.dictionaries(TEXT, st.lists(FLOATS, max_size=3), max_size=3),
    responses=st.lists(st.dictionaries(TEXT, TEXT | FLOATS, max_size=3), max_size=2),
    references=st.lists(TEXT, max_size=2),
    error=TEXT,
    asked=st.lists(st.dictionaries(TEXT, TEXT | st.integers(), max_size=3), max_size=2),
    choices=st.lists(TEXT, max_size=2),
    gold=st.none() | st.integers(0, 3),
)


def write(directory: Path, records: list[Record]) -> Path:
    writer = RecordWriter(directory)
    for record in records:
        writer.write(record)
    writer.close()
    return directory / results.RECORDS


def record(name: str, size: int = 1) -> Record:
    return Record(name, "", {"m": [1.5, 2.0]}, [{"text": "é" * size}], ["gold"])


# ---- records ------------------------------------------------------------------------------------


@given(st.lists(RECORDS, max_size=4))
def test_records_are_read_as_written(tmp_path_factory: Any, records: list[Record]) -> None:
    directory = tmp_path_factory.mktemp("run")
    path = write(directory, records)
    assert list(read_records(directory)) == records
    assert recover_records(directory) == records
    assert path.read_bytes().count(b"\n") == len(records)


@given(st.lists(RECORDS, max_size=4), st.randoms())
def test_records_are_found_where_they_were(
    tmp_path_factory: Any, records: list[Record], random: Any
) -> None:
    directory = tmp_path_factory.mktemp("run")
    write(directory, records)
    found = list(locate_records(directory))
    assert [record for _, record in found] == records
    random.shuffle(found)
    places = [place for place, _ in found]
    assert list(records_at(directory, places)) == [record for _, record in found]


@given(st.lists(RECORDS, max_size=4), st.sampled_from(['"', '}, "responses": [', ', "asked": [']))
def test_light_records_are_the_whole_ones_without_their_weight(
    tmp_path_factory: Any, records: list[Record], odd: str
) -> None:
    directory = tmp_path_factory.mktemp("run")
    odd_ones = [replace(each, references=[*each.references, odd], error=odd) for each in records]
    write(directory, odd_ones)
    light = [replace(each, responses=[], asked=(), choices=(), gold=None) for each in odd_ones]
    assert list(read_records(directory, responses=False)) == light


def test_records_of_the_first_runs_are_read(tmp_path: Path) -> None:
    """They did not say what was asked."""
    path = write(tmp_path, [record("a")])
    old = {"id", "group", "statistics", "responses", "references", "error"}
    content = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps({key: content[key] for key in old}) + "\n", "utf-8")
    assert list(read_records(tmp_path)) == [record("a")]
    path.write_text(json.dumps({key: content[key] for key in old - {"error"}}) + "\n", "utf-8")
    with pytest.raises(StoreError, match=r"not a record \(KeyError\('error'\)"):
        list(read_records(tmp_path))


def test_each_record_is_on_disk_at_once(tmp_path: Path) -> None:
    writer = RecordWriter(tmp_path)
    for number in range(3):
        writer.write(record(f"{number}"))
        assert len(list(read_records(tmp_path))) == number + 1
    writer.close()
    writer.close()


def test_records_are_appended(tmp_path: Path) -> None:
    write(tmp_path, [record("a")])
    write(tmp_path, [record("b")])
    assert [item.id for item in read_records(tmp_path)] == ["a", "b"]


@given(st.data())
def test_torn_last_line(tmp_path_factory: Any, data: st.DataObject) -> None:
    """Cut anywhere: whole lines stay, the torn one goes, and appending goes on in a new line."""
    directory = tmp_path_factory.mktemp("run")
    path = write(directory, [record("a"), record("b", 9), record("c")])
    content = path.read_bytes()
    cut = data.draw(st.integers(0, len(content)))
    zeros = data.draw(st.integers(0, 3)) * b"\0"  # what some file systems leave after a power cut
    path.write_bytes(content[:cut] + zeros)
    whole = content[:cut].count(b"\n")
    assert [item.id for item in recover_records(directory)] == list("abc")[:whole]
    write(directory, [record("d")])
    assert [item.id for item in read_records(directory)] == [*list("abc")[:whole], "d"]


def test_nothing_to_recover(tmp_path: Path) -> None:
    assert recover_records(tmp_path / "no run") == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"line 2: not a record \(JSONDecodeError"),
        ("[1]", r"line 2: not a record \(TypeError"),
        ("{}", r"line 2: not a record \(KeyError\('id'\)"),
        ("", r"line 2: not a record"),
    ],
)
def test_damaged_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = write(tmp_path, [record("a")])
    path.write_text(path.read_text("utf-8") + line + "\n", "utf-8")
    with pytest.raises(StoreError, match=rf"records\.jsonl, {message}"):
        list(read_records(tmp_path))


def test_records_that_are_not_text(tmp_path: Path) -> None:
    write(tmp_path, [record("a")]).write_bytes(b"\xff\xfe\n")
    with pytest.raises(StoreError, match=r"records\.jsonl cannot be read"):
        list(read_records(tmp_path))
    with pytest.raises(StoreError, match=r"records\.jsonl cannot be read"):
        list(read_records(tmp_path / "no run"))


# ---- responses ----------------------------------------------------------------------------------

FLOAT32 = st.floats(width=32, allow_nan=False, allow_infinity=False)


@st.composite
def scored_responses(draw: st.DrawFn) -> Scored:
    n = draw(st.integers(0, 12))

    def column(values: st.SearchStrategy[Any], kind: Any) -> Any:
        return np.array(draw(st.lists(values, min_size=n, max_size=n)), dtype=kind)

    greedy = column(st.booleans(), bool)
    ones = draw(st.booleans())
    return Scored(
        tokens=column(st.integers(0, 2**31 - 1), np.int32),
        logprobs=column(FLOAT32, np.float32),
        greedy=greedy,
        context=column(st.integers(0, 30), np.int32),
        weights=np.ones(n) if ones else column(FLOATS, np.float64),
        greedy_excluding=greedy if ones else column(st.booleans(), bool),
        truncated=draw(st.integers(0, 10**6)),
    )


@st.composite
def generated_responses(draw: st.DrawFn) -> Generated:
    n = draw(st.integers(0, 12))
    return Generated(
        text=draw(TEXT),
        tokens=np.array(draw(st.lists(st.integers(0, 60000), min_size=n, max_size=n)), np.int32),
        logprobs=np.array(draw(st.lists(FLOAT32, min_size=n, max_size=n)), np.float32),
        stopped=draw(st.sampled_from(["stop", "eos", "length"])),
        truncated=draw(st.integers(0, 10**6)),
        prediction=draw(TEXT),
    )


@st.composite
def embedded_responses(draw: st.DrawFn) -> Embedded:
    return Embedded(
        vector=np.array(draw(st.lists(FLOAT32, max_size=12)), np.float32),
        tokens=np.array(draw(st.lists(st.integers(0, 60000), max_size=12)), np.int32),
        truncated=draw(st.integers(0, 10**6)),
    )


@given(scored_responses() | generated_responses() | embedded_responses())
def test_responses_are_decoded_as_encoded(response: Scored | Generated | Embedded) -> None:
    """Through JSON, every float32 to the last bit, every type kept."""
    found = decode_response(json.loads(json.dumps(encode_response(response), allow_nan=False)))
    assert type(found) is type(response)
    for name in response.__slots__:
        one, other = getattr(response, name), getattr(found, name)
        if isinstance(one, np.ndarray):
            assert one.dtype == other.dtype, name
            assert one.tobytes() == other.tobytes(), name
        else:
            assert one == other, name


def test_rising_contexts_are_short() -> None:
    n = 1000
    response = Scored(
        tokens=np.zeros(n, np.int32),
        logprobs=np.zeros(n, np.float32),
        greedy=np.zeros(n, bool),
        context=np.arange(1, n + 1, dtype=np.int32),
        weights=np.ones(n),
        greedy_excluding=np.zeros(n, bool),
    )
    content = encode_response(response)
    assert content["context"] == [[1, n]]
    assert not {"weights", "greedy_excluding"} & set(content)


# ---- what was asked, and the texts of tokens ----------------------------------------------------

REQUESTS = st.lists(
    st.builds(Score, TEXT.map(lambda text: text * 3), TEXT)
    | st.builds(Generate, TEXT.map(lambda text: text * 3), st.just(5), st.tuples(TEXT))
    | st.builds(Generate, TEXT, st.just(5), temperature=st.just(0.7), top_k=st.integers(1, 50))
    | st.builds(Rolling, TEXT),
    max_size=5,
)


@given(REQUESTS, TEXT, st.sets(st.integers(0, 4)))
def test_requests_are_decoded_as_encoded(
    requests: list[Any], beginning: str, scorer: set[int]
) -> None:
    encoded = json.loads(json.dumps(encode_requests(requests, beginning, scorer)))
    expected: list[dict[str, Any]] = []
    for position, request in enumerate(requests):
        expected.append({"scorer": True} if position in scorer else {})
        if isinstance(request, Score):
            expected[-1] |= {"context": request.context, "continuation": request.continuation}
        elif isinstance(request, Generate):
            expected[-1] |= {"prompt": request.prompt, "max_new_tokens": 5}
            expected[-1] |= {"stop": list(request.stop)}
            if request.temperature:
                expected[-1] |= {"temperature": 0.7, "top_k": request.top_k, "top_p": 1.0}
    assert decode_requests(encoded, beginning) == expected


def test_a_context_is_written_once() -> None:
    """Neither the choices of a sample nor the samples of a run repeat what they begin with."""
    examples, context = "Q: 1 + 1 A: two\n" * 9, "a long passage, then the question:"
    requests = [Score(f"{examples}{context}", f" {choice}") for choice in "abcd"]
    encoded = encode_requests(requests, examples)
    assert encoded[0] == {"same": len(examples), "context": context, "continuation": " a"}
    whole = len(examples) + len(context)
    assert encoded[1:] == [
        {"same": whole, "context": "", "continuation": f" {choice}"} for choice in "bcd"
    ]
    assert encode_requests([Rolling("a book " * 9999)]) == [{}]


@given(st.dictionaries(st.integers(0, 60000), TEXT.filter(str.isprintable), max_size=4))
def test_vocabularies_are_read_as_written(tmp_path_factory: Any, texts: dict[int, str]) -> None:
    directory = tmp_path_factory.mktemp("run")
    assert read_vocabulary(directory) == {}
    write_vocabulary(directory, {"model": texts, "scorer": {1: "Ġthe"}})
    assert read_vocabulary(directory) == {"model": texts, "scorer": {1: "Ġthe"}}


@pytest.mark.parametrize("content", ["{", "[]", '{"model": {"x": "a"}}', '{"model": 3}'])
def test_damaged_vocabulary(tmp_path: Path, content: str) -> None:
    (tmp_path / "vocabulary.json").write_text(content)
    with pytest.raises(StoreError, match=r"vocabulary\.json cannot be read .*makes it anew"):
        read_vocabulary(tmp_path)


# ---- results ------------------------------------------------------------------------------------


def estimate(value: float, **more: Any) -> Estimate:
    low, high = more.pop("low", value), more.pop("high", value)
    return Estimate(value, low, high, 0.95, "m", 3, "perplexity", "3 words", False, **more)


def result(**metrics: Estimate) -> Result:
    return Result(
        checkpoint={"name": "tiny", "path": "/\udcff/tiny"},
        task={"name": "t", "protocol": "p", "options": {"a": [1, None, "x"]}},
        data={"files": {"a": "b"}},
        run={"seed": 0, "tokens_per_second": None},
        metrics=metrics,
        ledger={"failed": 0},
        signature="task:t@p",
        baselines={"lede-3": dict(metrics)},
    )


NUMBERS = st.floats(allow_nan=False)


@given(NUMBERS, NUMBERS | st.none(), NUMBERS | st.none(), TEXT, st.booleans() | st.none())
def test_results_are_read_as_written(
    tmp_path_factory: Any, value: float, low: Any, high: Any, signature: str, higher: bool | None
) -> None:
    """Infinity is a finding and is kept; so is an interval, or a direction, that does not exist."""
    directory = tmp_path_factory.mktemp("run")
    given = estimate(value, low=low, high=high, signature=signature)
    written = result(m=replace(given, higher_is_better=higher))
    write_result(written, directory)
    assert read_result(directory) == replace(written, path=directory)
    json.loads(
        (directory / "result.json").read_text("utf-8"),
        parse_constant=lambda name: pytest.fail(name),
    )


def test_not_a_number_is_kept(tmp_path: Path) -> None:
    write_result(result(m=estimate(math.nan)), tmp_path)
    assert math.isnan(read_result(tmp_path).metrics["m"].value)


def test_result_is_whole_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that fails leaves the old result, or none; the next one is not in its way."""

    def fail(_number: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(StoreError, match=r"result\.json could not be saved .*make room"):
            write_result(result(m=estimate(1.0)), tmp_path)
        assert not (tmp_path / "result.json").exists()
    write_result(result(m=estimate(2.0)), tmp_path)
    before = (tmp_path / "result.json").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(StoreError):
            write_result(result(m=estimate(3.0)), tmp_path)
    assert (tmp_path / "result.json").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, r"has format 2; this version of gpt2eval reads 1"),
        ({"format": None}, r"has format None; this version"),
        ({"metrics": None}, r"is not a result of gpt2eval"),
        ({"metrics": {"m": {}}}, r"is not a result of gpt2eval"),
        ({"metrics": {"m": 3}}, r"is not a result of gpt2eval"),
        ({"baselines": [1]}, r"is not a result of gpt2eval"),
    ],
)
def test_other_formats_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    write_result(result(m=estimate(1.0)), tmp_path)
    path = tmp_path / "result.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **change}), "utf-8")
    with pytest.raises(StoreError, match=message):
        read_result(tmp_path)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("checkpoint.parameters", [1], r"checkpoint.parameters is \[1\]; expected a whole number"),
        ("checkpoint.parameters", -1, r"checkpoint.parameters is -1"),
        ("task.name", 3, r"task.name is 3; expected a text"),
        ("task.references", [{"value": "3"}], r"task.references\[0\].value is '3'; expected a num"),
        ("data.available", "all", r"data.available is 'all'"),
        ("run.seconds", float("nan"), r"run.seconds is nan; expected a number or null"),
        ("ledger.failed", 1.5, r"ledger.failed is 1.5; expected a whole number"),
        ("metrics.m.value", "1.5", r"metrics.m.value is '1.5'; expected a number, \"inf\""),
        ("metrics.m.value", True, r"metrics.m.value is True"),
        pytest.param(
            "metrics.m.value", 10**400, r"metrics.m.value is 10+\.\.\.; expected", id="huge"
        ),
        ("metrics.m.n", True, r"metrics.m.n is True"),
        ("metrics.m.level", 2, r"metrics.m.level is 2; expected above 0 and at most 1"),
        ("metrics.m.extra", 1, r"metrics.m has 'extra', which no estimate has"),
        ("baselines.chance", {"m": {}}, r"baselines.chance.m.value is missing"),
        ("task.options", [[[]]], r"task.options is \[\[\[\]\]\]; expected an object"),
    ],
)
def test_what_was_edited_is_named(tmp_path: Path, place: str, value: Any, message: str) -> None:
    write_result(result(m=estimate(1.0)), tmp_path)
    path = tmp_path / "result.json"
    content = json.loads(path.read_text("utf-8"))
    *above, last = place.split(".")
    section = content
    for key in above:
        section = section[key]
    section[last] = value
    path.write_text(json.dumps(content), "utf-8")
    with pytest.raises(StoreError, match=rf"is not a result of gpt2eval: {message}"):
        read_result(tmp_path)


def test_what_is_nested_too_deep(tmp_path: Path) -> None:
    write_result(result(m=estimate(1.0)), tmp_path)
    path = tmp_path / "result.json"
    content = json.loads(path.read_text("utf-8"))
    content["task"]["options"] = {"x": json.loads("[" * 60 + "]" * 60)}
    path.write_text(json.dumps(content), "utf-8")
    with pytest.raises(StoreError, match="nested more than 50 levels deep"):
        read_result(tmp_path)


@pytest.mark.parametrize("key", ["checkpoint", "task", "data", "run", "metrics", "ledger"])
def test_missing_section(tmp_path: Path, key: str) -> None:
    write_result(result(m=estimate(1.0)), tmp_path)
    path = tmp_path / "result.json"
    content = json.loads(path.read_text("utf-8"))
    del content[key]
    path.write_text(json.dumps(content), "utf-8")
    with pytest.raises(StoreError, match=rf"is not a result of gpt2eval: {key} is missing"):
        read_result(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
def test_damaged_result(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "result.json").write_bytes(content)
    with pytest.raises(StoreError, match=r"result\.json (cannot be read|has format None)"):
        read_result(tmp_path)


def test_load_results(tmp_path: Path) -> None:
    for name in ("b/x", "a/y"):
        (tmp_path / name).mkdir(parents=True)
        write_result(result(m=estimate(1.0)), tmp_path / name)
    (tmp_path / "c").mkdir()
    write(tmp_path / "c", [record("unfinished")])
    found = load_results(tmp_path, tmp_path / "a")
    assert [item.path for item in found] == [tmp_path / "a/y", tmp_path / "b/x"]
    with pytest.raises(StoreError, match=r"c' holds no result\.json; expected the --output"):
        load_results(tmp_path / "c")


def test_run_id_is_the_identity(tmp_path: Path) -> None:
    one = run_directory(tmp_path, "ckpt", "t@p", {"a": 1, "b": [2]})
    assert one.parent == tmp_path / "ckpt" / "t@p"
    assert one == run_directory(tmp_path, "ckpt", "t@p", {"b": [2], "a": 1})
    assert one != run_directory(tmp_path, "ckpt", "t@p", {"a": 1, "b": [3]})


# ---- one process a run ---------------------------------------------------------------------------

HOLD = """
import sys, time
from pathlib import Path
from gpt2eval.results import locked

with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_second_process_is_told_who_was_first(tmp_path: Path) -> None:
    """And the lock goes with its process, although the file stays behind when that is killed."""
    first = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert first.stdout is not None
    assert first.stdout.readline() == "held\n"
    words = rf"is being written by process {first.pid} on \S+, since 20\d\d-.*; wait until it is"
    with pytest.raises(StoreError, match=words), locked(tmp_path):
        pytest.fail("two processes hold the lock")
    first.kill()
    first.communicate()
    assert (tmp_path / results.LOCK).exists()
    with locked(tmp_path):
        assert f"process {os.getpid()} " in (tmp_path / results.LOCK).read_text("utf-8")
    assert not (tmp_path / results.LOCK).exists()


def test_a_lock_whose_file_was_removed_is_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opened before the owner was done, locked after it removed the file."""
    flock, removed = results.fcntl.flock, []

    def late(file: Any, how: int) -> None:
        if not removed:
            removed.append(file)
            (tmp_path / results.LOCK).unlink()
        flock(file, how)

    monkeypatch.setattr(results.fcntl, "flock", late)
    with locked(tmp_path):
        assert removed
        with pytest.raises(StoreError, match="is being written by"), locked(tmp_path):
            pytest.fail("locked twice")


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_file: Any, _how: int) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(results.fcntl, "flock", refuse)
    with pytest.raises(StoreError, match=r"no locks; give an --output"), locked(tmp_path):
        pytest.fail("locked")


# ---- disks that say no --------------------------------------------------------------------------


def test_output_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Gpt2EvalError, match=r"output directory '.*file/x' cannot be written"):
        prepare_output(tmp_path / "file" / "x")
    with pytest.raises(StoreError, match=r"could not be saved .*check permissions"):
        RecordWriter(tmp_path / "file" / "x")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_directory(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UsageError, match=r"cannot be written \(Permission denied\); give another"):
        prepare_output(tmp_path / "results")
    with pytest.raises(StoreError, match=r"\(Permission denied\); check permissions"):
        RecordWriter(tmp_path / "run")


def test_prepared_output_is_empty(tmp_path: Path) -> None:
    prepare_output(tmp_path / "new" / "results")
    assert list((tmp_path / "new" / "results").iterdir()) == []


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from gpt2eval.errors import StoreError
from gpt2eval.results import RecordWriter
from gpt2eval.types import Record

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
writer = RecordWriter(Path(sys.argv[1]))
try:
    for number in range(1000):
        writer.write(Record(str(number), "", {"m": [1.0]}, [{"text": "x" * 300}]))
except StoreError as error:
    print(number, error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limits on the size of files")
def test_full_disk(tmp_path: Path) -> None:
    """An error that says so; every record before it is kept, and the run can go on."""
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    number, _, message = done.stdout.partition(" ")
    assert "records.jsonl could not be saved" in message, done.stderr
    assert "make room and run the same command again" in message
    assert (tmp_path / "records.jsonl").stat().st_size == 5000
    kept = recover_records(tmp_path)
    assert [item.id for item in kept] == [str(n) for n in range(int(number))]
    write(tmp_path, [record("next")])
    assert len(list(read_records(tmp_path))) == int(number) + 1
