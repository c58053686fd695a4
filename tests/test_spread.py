"""One piece of work in several processes: shards, their merging, and workers of one machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import gpt2eval
from gpt2eval import model, stats
from gpt2eval.errors import MissingError, SampleError, StoreError, UsageError
from gpt2eval.evaluation import merge_with
from gpt2eval.options import RunOptions, Shard
from gpt2eval.rescore import rescore_all
from gpt2eval.results import find_results, locked, read_records, read_vocabulary
from gpt2eval.runner import stretches
from gpt2eval.scoring import Silent
from gpt2eval.types import Embed, Generate, Score
from gpt2eval.verify import verify_all
from tests.checkpoints import make_checkpoint

pytestmark = [pytest.mark.xdist_group("spread"), pytest.mark.usefixtures("empty_directory")]

READ = "lambada@*,wikitext2@*,blimp,coqa@*,hellaswag"  # several protocols, parts, one text
WRITTEN = "xsum,open_generation"  # texts, and a scorer's followup
TASKS = f"{READ},{WRITTEN}"
SETTINGS: dict[str, Any] = {"data": "bundled", "limit": 16, "device": "cpu"}
SAME = ("metrics", "ledger", "baselines", "data", "task", "checkpoint", "signature")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(
        tmp_path_factory.mktemp("model") / "small", n_positions=160, n_embd=16, n_layer=2
    )


@pytest.fixture(scope="module", autouse=True)
def small() -> Any:
    """Few resamples; and batches of which there are many, so that there is something to share."""
    from gpt2eval.runner import batches
    from gpt2eval.runner import stretches as cutting

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stats, "bootstrap", partial(stats.bootstrap, resamples=50))
        patch.setattr(batches, "CPU_TOKENS", 80)
        patch.setattr(sys.modules[cutting.__module__], "CPU_TOKENS", 80)
        yield


Score_ = Callable[..., list[Any]]


@pytest.fixture
def score(checkpoint: Path) -> Score_:
    def score(tasks: str = TASKS, output: str = "out", **options: Any) -> list[Any]:
        settings = {"models": checkpoint, **SETTINGS, **options}
        return gpt2eval.run(tasks=tasks, output=output, **settings)

    return score


@pytest.fixture
def merge(checkpoint: Path) -> Score_:
    def merge(tasks: str = TASKS, output: str = "out", **options: Any) -> list[Any]:
        settings = {"models": (str(checkpoint),), **SETTINGS, **options}
        return merge_with(RunOptions(tasks=tasks, output=output, **settings), Silent())

    return merge


@pytest.fixture(scope="module")
def whole(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """TASKS in one process."""
    output = tmp_path_factory.mktemp("whole")
    return gpt2eval.run(models=checkpoint, tasks=TASKS, output=str(output), **SETTINGS)


def content(result: Any) -> dict[str, Any]:
    return dict(json.loads((result.path / "result.json").read_text("utf-8")))


def assert_same(results: list[Any], whole: list[Any]) -> None:
    """Bit for bit what is read; of what is written the texts, and log-probabilities nearly so."""
    expected = {result.name: result for result in whole}
    assert results
    for result in results:
        other = expected[result.name]
        assert result.path.name == other.path.name
        one, two = content(result), content(other)
        assert one["ledger"] == two["ledger"]
        texts = result.task["kind"] == "generation"
        if not texts:
            assert {key: one[key] for key in SAME} == {key: two[key] for key in SAME}
            digests = one["digests"].keys() - {"run"}
            assert {key: one["digests"][key] for key in digests} == {
                key: two["digests"][key] for key in digests
            }
        for name, estimate in result.metrics.items():
            assert estimate.n == other.metrics[name].n
            assert estimate.value == pytest.approx(other.metrics[name].value, rel=1e-6)
        found, records = list(read_records(result.path)), list(read_records(other.path))
        assert [record.id for record in found] == [record.id for record in records]
        for record, same in zip(found, records, strict=True):
            assert texts or record == same
            said = [response.get("text") for response in record.responses]
            assert said == [response.get("text") for response in same.responses]
        assert read_vocabulary(result.path) == read_vocabulary(other.path)
        assert not (result.path / "shards").exists()
        assert sorted(path.name for path in result.path.iterdir()) == sorted(
            path.name for path in other.path.iterdir()
        )


# ---- shards -------------------------------------------------------------------------------------


@pytest.mark.parametrize("of", [2, 5])
def test_shards_give_what_one_process_gives(
    of: int, score: Score_, merge: Score_, whole: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1, of + 1):
        assert score(shard=f"{number}/{of}") == []
    monkeypatch.setattr(model, "load_model", lambda *_: pytest.fail("loaded"))
    results = merge()
    assert len(results) == len(whole)
    assert_same(results, whole)
    for result, one in zip(results, whole, strict=True):
        run = result.run
        assert run["resumed_samples"] == 0
        assert sum(item["samples"] for item in run["processes"]) == result.data["selected"]
        assert (
            run["tokens"] == sum(item["tokens"] for item in run["processes"]) >= one.run["tokens"]
        )
        assert run["seconds"] == pytest.approx(
            sum(item["seconds"] for item in run["processes"]), abs=0.01
        )
        assert run["peak_memory_bytes"] == max(
            item["peak_memory_bytes"] for item in run["processes"]
        )
    assert {item["shard"] for result in results for item in result.run["processes"]} == {
        f"{number}/{of}" for number in range(1, of + 1)
    }
    # And what reads results reads these.
    assert all(not one.findings for one in verify_all(["out"], data=str(Path("nowhere"))))
    before = {path: path.stat().st_mtime_ns for path in Path("out").rglob("*")}
    assert merge() == results
    assert {path: path.stat().st_mtime_ns for path in Path("out").rglob("*")} == before


def test_shards_share_the_tokens_not_the_rows(
    tiny_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No stretch is further from its share than a batch, or a text that is written."""
    texts = [Score(f"{n} harbour", " is deep" * (1 + n % 9)) for n in range(300)]
    written = [Generate(f"{n} once upon", 3 + n % 20) for n in range(60)]
    vectors = [Embed(f"{n} once upon a time" + " a" * (n % 5)) for n in range(60)]
    requests = [*texts, *written, *vectors]
    letters = [len(one.text) for one in vectors]
    lengths = [len(tiny_model.encode([one.context + one.continuation])[0]) - 1 for one in texts]
    sizes = [len(tiny_model.encode([one.prompt])[0]) + one.max_new_tokens for one in written]
    for count in (1, 2, 7):
        found = stretches(tiny_model, requests, None, count)
        assert len(found) == len(requests)
        parts = (lengths, found[:300], 80), (sizes, found[300:360], 30), (letters, found[360:], 30)
        for weights, numbers, most in parts:
            shares = [0] * count
            for weight, number in zip(weights, numbers, strict=True):
                shares[number] += weight
            assert sum(shares) == sum(weights)
            assert all(abs(share - sum(weights) / count) <= most for share in shares)
    rows = Counter(found[:300])
    assert max(rows.values()) > 3 * min(rows.values())
    # The device's batches make no difference.
    from gpt2eval.runner import score as scoring

    monkeypatch.setattr(scoring, "token_budget", lambda _model: 10**6)
    assert stretches(tiny_model, requests, None, 7) == found


def test_no_batch_is_computed_twice(score: Score_, merge: Score_) -> None:
    """Stretches are whole batches, of tasks whose samples ask for one thing each."""
    (one,) = score("lambada@openai", output="one")
    for number in (1, 2, 3):
        score("lambada@openai", shard=f"{number}/3")
    (merged,) = merge("lambada@openai")
    assert merged.run["tokens"] == one.run["tokens"]


@pytest.mark.parametrize(
    "wrong", ["0/4", "5/4", "1", "1/", "/4", "a/b", "-1/4", "1/4/2", "1/0", ""]
)
def test_what_is_no_shard(wrong: str) -> None:
    with pytest.raises(UsageError, match=r"--shard .*expected|--shard .*counted from 1"):
        RunOptions(shard=wrong)


def test_shards_are_counted_from_1() -> None:
    assert Shard.parse("4/4") == Shard(4, 4)
    with pytest.raises(UsageError, match=r"--array=1-4"):
        RunOptions(shard="0/4")
    with pytest.raises(UsageError, match="exclude each other"):
        RunOptions(shard="1/4", workers=2)


# ---- what is missing ----------------------------------------------------------------------------


def test_merging_says_what_is_missing(score: Score_, merge: Score_, whole: Any) -> None:
    with pytest.raises(MissingError, match=r"no shard of it is there") as caught:
        merge("lambada@openai")
    assert (caught.value.exit_code, caught.value.results) == (4, [])
    score("lambada@openai", shard="2/3")
    (result,) = [result for result in whole if result.name == "lambada@openai"]
    total = result.data["selected"]
    with pytest.raises(MissingError) as caught:
        merge("lambada@openai")
    have = len(next(Path("out").rglob("records.jsonl")).read_text("utf-8").splitlines())
    words = str(caught.value)
    assert f"lambada@openai of small: {total - have} of {total} samples are missing" in words
    assert "1 of 3 shards are done, never begun: 1/3, 3/3" in words
    # What looks for results says so too.
    with pytest.raises(UsageError, match=r"shards are there \(2/3\), to be merged by"):
        find_results(["out"])
    with pytest.raises(UsageError, match="to be merged by"):
        rescore_all(["out"])
    with pytest.raises(StoreError, match="to be merged by"):
        verify_all(["out"])


@pytest.mark.parametrize("last", ["whole", "merge"])
def test_samples_of_any_shard_count(
    last: str, score: Score_, merge: Score_, whole: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shards of 3, then of 2 with the samples that are left, then one process for the rest."""
    score(shard="2/3")
    kept = ids(Path("out"))
    score(shard="1/2")
    both = ids(Path("out"))
    assert all(count == 1 for count in both.values())
    assert kept.keys() < both.keys()
    if last == "merge":
        score(shard="2/2")
        results = merge()
    else:
        results = score()
    assert_same(results, whole)


def ids(place: Path) -> Counter[tuple[str, str]]:
    """(task, sample) -> how many records there are of it."""
    return Counter(
        (path.parts[path.parts.index("out") + 2], record.id)
        for path in place.rglob("records.jsonl")
        for record in read_records(path.parent)
    )


def test_an_experiment_with_a_task_in_two_sizes(
    checkpoint: Path, tmp_path: Path, whole: Any
) -> None:
    """Shards of it are told apart by their samples, not by their names."""
    sizes = "".join(f"- {{name: blimp, limit: {size}}}\n" for size in (16, 5))
    text = f"models: [{checkpoint}]\ntasks:\n{sizes}"
    (tmp_path / "e.yaml").write_text(text, "utf-8")
    for shard in ("1/2", "2/2"):
        options = {"data": "bundled", "device": "cpu", "shard": shard, "output": "out"}
        assert gpt2eval.run(experiment="e.yaml", **options) == []
    results = gpt2eval.run(experiment="e.yaml", data="bundled", device="cpu", output="out")
    assert [result.data["selected"] for result in results] == [16, 5]
    assert [result.run["resumed_samples"] for result in results] == [0, 0]
    assert_same(results[:1], whole)


def test_a_torn_line_of_a_shard_is_no_record(score: Score_, merge: Score_, whole: Any) -> None:
    score(READ, shard="1/2")
    score(READ, shard="2/2")
    (path,) = Path("out").glob("*/lambada@openai/*/shards/1-of-2/records.jsonl")
    lines = path.read_bytes()
    path.write_bytes(lines[:-9])
    with pytest.raises(MissingError, match=r"1 of .* samples are missing; 2 of 2 shards"):
        merge(READ)
    score(READ, shard="1/2")
    assert_same(merge(READ), whole)


def test_failed_samples_of_shards(score: Score_, merge: Score_, tmp_path: Path) -> None:
    """A shard is done with them; merging says that there are too many."""
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks/mine.py").write_text(FAILING, "utf-8")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/rows.txt").write_text("".join(f"{n}\n" for n in range(10)), "utf-8")
    with pytest.raises(SampleError, match="2 of 10 samples failed"):
        score("mine", output="one", data="data")
    for number in (1, 2):
        score("mine", data="data", shard=f"{number}/2")
    with pytest.raises(SampleError, match="2 of 10 samples failed") as caught:
        merge("mine", data="data")
    assert_same(caught.value.results, gpt2eval.load_results("one"))
    assert merge("mine", data="data", max_failed="2") == caught.value.results


FAILING = """
from gpt2eval import Dataset, Protocol, Sample, Score, Task, data, metrics


def requests(sample):
    return [Score("", "") if sample.id == "3" else Score("The harbour", " is " + sample.id)]


def samples(rows):
    return [Sample(id=row["text"], fields=row) for row in rows]


def ask(sample):
    1 / (sample.id != "7")
    return requests(sample)


MINE = Task(name="mine", version=1, summary="s", protocols=(Protocol(
    name="p", summary="s", dataset=Dataset(files=(("rows.txt",),), read=data.read_lines),
    samples=samples, requests=ask, metrics=(metrics.accuracy(),),
),))
"""


# ---- who may work when --------------------------------------------------------------------------


def test_shards_share_a_run_and_nobody_else_does(
    score: Score_, merge: Score_, monkeypatch: pytest.MonkeyPatch, whole: Any
) -> None:
    score(READ, shard="1/2")
    (run,) = Path("out").glob("*/lambada@openai/*")
    with locked(run, shared=True), locked(run / "shards/1-of-2"):
        score(READ, shard="2/2")  # another shard
        monkeypatch.setattr(model, "load_model", lambda *_: pytest.fail("loaded"))
        with pytest.raises(StoreError, match=r"1-of-2 is being written by process \d+ on"):
            score(READ, shard="1/2")
        for other in (score, merge):
            with pytest.raises(StoreError, match="is being written by shards, the last to begin"):
                other(READ)
    with locked(run), pytest.raises(StoreError, match=r"is being written by process \d+ on"):
        score(READ, shard="1/2")
    assert not list(Path("out").rglob("lock"))
    assert_same(merge(READ), whole)


# ---- real processes -----------------------------------------------------------------------------

SUITE = "lambada@*,wikitext2@*,blimp,xsum"


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    place = tmp_path_factory.mktemp("command")
    large = make_checkpoint(place / "tiny", n_layer=4, n_embd=64)
    return ["--model", str(large), "--tasks", SUITE, "--data", "bundled", "--quiet"]


def start(place: Path, *words: str) -> subprocess.Popen[str]:
    place.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-m", "gpt2eval", *words],
        cwd=place,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )


def finish(place: Path, *words: str) -> tuple[int, str]:
    process = start(place, *words)
    _, stderr = process.communicate(timeout=300)
    return process.returncode, stderr


def numbers(place: Path, checkpoint: str = "*") -> dict[str, Any]:
    """All that runs say of their scores, with the digests of their records."""
    found = {}
    for path in sorted(place.glob(f"results/{checkpoint}/*/*/result.json")):
        content = json.loads(path.read_text("utf-8"))
        records = [record.id for record in read_records(path.parent)]
        assert len(set(records)) == len(records) == content["data"]["selected"]
        found[path.parts[-3]] = {key: content[key] for key in ("metrics", "ledger", "baselines")}
        if content["task"]["kind"] == "likelihood":
            found[path.parts[-3]]["records"] = content["digests"]["records.jsonl"]
    return found


def saved(place: Path) -> int:
    return sum(path.stat().st_size for path in place.rglob("records.jsonl"))


def until(condition: Callable[[], Any], process: subprocess.Popen[str]) -> None:
    """Wait for something that a process does."""
    while process.poll() is None and not condition():
        time.sleep(0.005)


@pytest.fixture(scope="module")
def alone(command: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    place = tmp_path_factory.mktemp("alone")
    assert finish(place, "run", *command) == (0, "")
    found = numbers(place)
    assert len(found) > 5
    return found


def test_shards_that_are_killed(command: list[str], alone: dict[str, Any], tmp_path: Path) -> None:
    """One is killed at work; others, of another number of shards, do what it left."""
    place = tmp_path / "run"
    both = [start(place, "run", *command, "--shard", f"{number}/2") for number in (1, 2)]
    until(lambda: saved(place), both[0])
    for process in both:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert -signal.SIGKILL in [process.returncode for process in both]
    code, stderr = finish(place, "merge", *command)
    assert code == 4
    assert "samples are missing; 0 of 2 shards are done, interrupted: 1/2, 2/2" in stderr
    assert finish(place, "run", *command, "--shard", "1/3") == (0, "")
    assert finish(place, "run", *command, "--shard", "1/1") == (0, "")
    assert finish(place, "merge", *command) == (0, "")
    assert numbers(place) == alone


def test_workers_give_what_one_process_gives(
    command: list[str], alone: dict[str, Any], tmp_path: Path
) -> None:
    """Also when one of them is killed: it is begun again."""
    place = tmp_path / "run"
    parent = start(place, "run", *command, "--workers", "2")
    until(lambda: saved(place), parent)
    children = children_of(parent)
    assert len(children) == 2
    os.kill(children[0], signal.SIGKILL)
    _, stderr = parent.communicate(timeout=300)
    assert (parent.returncode, stderr) == (0, "")
    assert numbers(place) == alone
    content = json.loads(next(place.glob("results/*/lambada@openai/*/result.json")).read_text())
    assert content["run"]["command"].endswith("--workers 2")
    assert {item["shard"] for item in content["run"]["processes"]} <= {"1/2", "2/2"}


def children_of(process: subprocess.Popen[str]) -> list[int]:
    """The workers of a process."""
    path = Path(f"/proc/{process.pid}/task")
    if not path.is_dir():
        pytest.skip("needs /proc")
    found = [int(pid) for one in path.glob("*/children") for pid in one.read_text().split()]
    return [
        pid for pid in found if b"gpt2eval.workers" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]


def test_workers_end_with_their_parent(
    command: list[str], alone: dict[str, Any], tmp_path: Path
) -> None:
    place = tmp_path / "run"
    parent = start(place, "run", *command, "--workers", "2")
    until(lambda: saved(place), parent)
    children = children_of(parent)
    assert children
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    end = time.monotonic() + 60
    while any(Path(f"/proc/{pid}").exists() for pid in children):
        assert time.monotonic() < end, "workers outlive their parent"
        time.sleep(0.05)
    assert finish(place, "run", *command) == (0, "")
    assert numbers(place) == alone


def test_errors_of_workers(command: list[str], tmp_path: Path) -> None:
    """They are those of the process: one message, the same exit code."""
    place = tmp_path / "run"
    place.mkdir()
    limit = (
        "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000));"
        "sys.argv[0] = 'gpt2eval'; runpy.run_module('gpt2eval', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", limit, "run", *command, "--workers", "2"],
        cwd=place,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 4, done.stderr
    assert "could not be saved (File too large); make room" in done.stderr
    assert done.stderr.count("\n") == 1
    for workers, device in (("0", "cpu"), ("2", "mps")):
        code, stderr = finish(
            place, "run", *command, "--workers", workers, "--device", device, "--output", "other"
        )
        assert (code, f"--workers {workers}" in stderr) == (2, True)
