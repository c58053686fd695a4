"""`run`: from a checkpoint and data to results that survive being killed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers.convert_slow_tokenizer import bytes_to_unicode

import gpt2eval
from gpt2eval import model, runner, stats
from gpt2eval.data import load
from gpt2eval.errors import (
    CheckpointError,
    DataError,
    Gpt2EvalError,
    SampleError,
    StoreError,
    TaskError,
    UsageError,
)
from gpt2eval.results import (
    decode_requests,
    locked,
    read_records,
    read_result,
    read_vocabulary,
)
from gpt2eval.runs import finishing, places
from gpt2eval.stats import estimate
from gpt2eval.task import discover, select
from gpt2eval.types import Rolling
from tests.checkpoints import make_checkpoint
from tests.data.directory import LAMBADA, write_data

pytestmark = pytest.mark.usefixtures("empty_directory")

TASKS = "lambada@*,wikitext2@*,xsum,cnn_dailymail@tldr,multi30k_fr_en"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(
        tmp_path_factory.mktemp("model") / "small", n_positions=160, n_embd=16, n_layer=1
    )


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("toy"))


@pytest.fixture(autouse=True)
def rough_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand resamples of each metric would be most of the time of these tests."""
    monkeypatch.setattr(stats, "bootstrap", partial(stats.bootstrap, resamples=50))


def record_requests(patch: pytest.MonkeyPatch) -> list[Any]:
    """Every request that reaches the runner from now on."""
    found: list[Any] = []
    original = runner.answer

    def answer(loaded: Any, requests: Any, **options: Any) -> Iterator[Any]:
        found.extend(requests[number] for number in sorted(options["wanted"]))
        return original(loaded, requests, **options)

    patch.setattr(runner, "answer", answer)
    return found


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every request of the test that reaches the runner."""
    return record_requests(monkeypatch)


@pytest.fixture(scope="module")
def whole(
    checkpoint: Path, toy: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[Any], set[Any]]:
    """TASKS in one go: the results, and the distinct requests behind them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("whole"))
        patch.setattr(stats, "bootstrap", partial(stats.bootstrap, resamples=50))
        asked = record_requests(patch)
        results = gpt2eval.run(
            models=checkpoint,
            tasks=TASKS,
            data=str(toy),
            output=str(tmp_path_factory.mktemp("out")),
            device="cpu",
        )
        return results, set(asked)


@pytest.fixture
def score(checkpoint: Path, toy: Path, tmp_path: Path) -> Callable[..., list[Any]]:
    def score(tasks: str = "lambada@openai", **options: Any) -> list[Any]:
        settings = {"data": str(toy), "output": str(tmp_path / "out"), "device": "cpu"}
        return gpt2eval.run(models=checkpoint, tasks=tasks, **{**settings, **options})

    return score


def assert_same(results: list[Any], others: list[Any]) -> None:
    """The same numbers up to float error, and all else the same."""
    for one, other in zip(results, others, strict=True):
        assert one.name == other.name
        assert (one.ledger, one.baselines, one.signature) == (
            other.ledger,
            other.baselines,
            other.signature,
        )
        assert list(one.metrics) == list(other.metrics)
        for name, item in one.metrics.items():
            wanted = other.metrics[name]
            for key in ("value", "low", "high"):
                expected = getattr(wanted, key)  # None where there is no interval
                close = expected if expected is None else pytest.approx(expected, rel=1e-4)
                assert getattr(item, key) == close, name
            assert replace(item, value=0, low=0, high=0) == replace(wanted, value=0, low=0, high=0)


# ---- cost ---------------------------------------------------------------------------------------


def test_a_request_of_many_samples_costs_each_run_once(
    score: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The two verdicts of sst2 without a sentence, which every sample asks for."""
    cost = [0, 0.0]
    original = runner.answer

    def answer(*arguments: Any, **options: Any) -> Iterator[Any]:
        for reply in original(*arguments, **options):
            cost[0] += reply.tokens
            cost[1] += reply.seconds
            yield reply

    monkeypatch.setattr(runner, "answer", answer)
    (result,) = score("sst2@lm-eval", data="bundled")
    assert result.run["tokens"] == cost[0]
    assert result.run["seconds"] == pytest.approx(cost[1], abs=1e-3)


# ---- killed and resumed -------------------------------------------------------------------------


class Killed(BaseException):
    """What ends a process is not an error of ours."""


@pytest.mark.parametrize(("after", "batch_size"), [(0, None), (1, 1), (7, None), (30, 1)])
def test_resume(
    score: Callable[..., list[Any]],
    asked: list[Any],
    whole: tuple[list[Any], set[Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    after: int,
    batch_size: int | None,
) -> None:
    """The numbers of a run in one go, from as many new answers as were missing."""
    expected, everything = whole
    with monkeypatch.context() as patch:
        original = runner.answer

        def dying(loaded: Any, requests: Any, **options: Any) -> Iterator[Any]:
            for count, reply in enumerate(original(loaded, requests, **options)):
                if count == after:
                    raise Killed
                yield reply

        patch.setattr(runner, "answer", dying)
        with pytest.raises(Killed):
            score(TASKS, batch_size=batch_size)
    kept = sum(path.read_bytes().count(b"\n") for path in (tmp_path / "out").rglob("records.jsonl"))
    assert kept >= after // 3  # several protocols read one answer, some samples need several
    asked.clear()
    resumed = score(TASKS)
    assert_same(resumed, expected)
    assert set(asked) <= everything
    # Each answer that was given belongs to samples that are not asked again.
    assert len(asked) == len(set(asked)) == len(everything) - after
    for result in resumed:
        ids = [record.id for record in read_records(result.path)]
        assert len(set(ids)) == len(ids) == result.data["selected"]


@pytest.mark.parametrize("tasks", ["blimp,coqa@*", "open_generation"])
def test_resume_with_parts_and_followups(
    tasks: str, score: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records hold what their sample belongs to, and words in any number; both are taken up."""
    options: dict[str, Any] = {"data": "bundled", "limit": 12}
    whole = score(tasks, output="whole", **options)
    with monkeypatch.context() as patch:
        original = runner.answer
        replies = iter(range(16))

        def dying(loaded: Any, requests: Any, **options: Any) -> Iterator[Any]:
            for reply in original(loaded, requests, **options):
                if next(replies, None) is None:
                    raise Killed
                yield reply

        patch.setattr(runner, "answer", dying)
        with pytest.raises(Killed):
            score(tasks, **options)
    resumed = score(tasks, **options)
    assert_same(resumed, whole)
    assert sum(result.run["resumed_samples"] for result in resumed) > 0


@pytest.mark.parametrize(
    ("tasks", "old", "new"),
    [
        ("blimp", '"accuracy/', '"precision/'),
        ("coqa", '"f1/', '"precision/'),
        ("open_generation", '"zipf": [', '"zipf": ["x", '),
        ("open_generation", '"zipf": [', '"zip": ['),
        ("open_generation", '"scorer_perplexity": [', '"scorer_perplexity": [1.0, '),
        ("triviaqa", '"exact_match_top10": [', '"exact_match_top10": [1.0, '),
    ],
)
def test_edited_records_of_parts_and_of_the_corpus_are_refused(
    tasks: str, old: str, new: str, score: Callable[..., list[Any]]
) -> None:
    (result,) = score(tasks, data="bundled", limit=3)
    path = result.path / "records.jsonl"
    lines = path.read_text("utf-8").splitlines(keepends=True)
    assert old in lines[1]
    path.write_text("".join([lines[0], lines[1].replace(old, new, 1), *lines[2:]]), "utf-8")
    (result.path / "result.json").unlink()
    with pytest.raises(StoreError, match=rf"records\.jsonl.*delete {result.path} and run"):
        score(tasks, data="bundled", limit=3)


def test_tasks_without_data_are_told_all_at_once(
    score: Callable[..., list[Any]], tmp_path: Path
) -> None:
    with pytest.raises(DataError) as caught:
        score("gpt2-paper", data="hub", offline=True)
    first, *lines = str(caught.value).split("\n")
    lacking = [line.split(":")[0].strip() for line in lines if line.startswith("  ")][:-1]
    assert {"enwik8", "lm1b"} <= {*lacking}
    assert f"--tasks gpt2-paper: {len(lacking)} of " in first
    assert "on the hub" in first
    assert "  enwik8: enwik8/enwik8 or enwik8/enwik8.zip" in str(caught.value)
    # The line that leaves them out names the others, and runs.
    others = lines[-1].removeprefix("  --tasks ")
    every = [task.name for task, _ in select("gpt2-paper", discover())]
    assert sorted([*others.split(","), *lacking]) == sorted(every)

    with pytest.raises(DataError) as caught:
        score("lambada,sst2,piqa,xsum", num_fewshot=None)
    message = str(caught.value)
    assert "2 of 4 tasks have no data in " in message
    assert "\n  sst2: sst2/dev.tsv" in message
    assert "\n  piqa: piqa/valid.jsonl + piqa/valid-labels.lst" in message
    assert message.endswith("\n  --tasks lambada,xsum")
    assert [result.name for result in score("lambada,xsum")]
    with pytest.raises(DataError) as caught:
        score("sst2,piqa")
    assert "--tasks" not in str(caught.value).split("\n")[-1]
    with pytest.raises(DataError, match="data directory 'nowhere' does not exist"):
        score("sst2,piqa", data="nowhere")


def test_resume_after_a_torn_record(
    score: Callable[..., list[Any]], asked: list[Any], tmp_path: Path
) -> None:
    (result,) = score()
    path = result.path / "records.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:5]) + lines[5][:40])
    (result.path / "result.json").unlink()
    asked.clear()
    assert_same(score(), [result])
    assert len(asked) == len(lines) - 5


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"id": "1"', '"id": "999"'),
        ('"accuracy": [', '"precision": ['),
        ('"accuracy": [', '"accuracy": [1.0, '),
        ('"accuracy": [', '"accuracy": ["x", '),
        ('"accuracy": [0.0', '"accuracy": [NaN'),
        ('"truncated":', '"cut":'),
        ('{"id"', "garbage"),
    ],
)
def test_records_that_were_edited_are_refused(
    old: str, new: str, score: Callable[..., list[Any]]
) -> None:
    """Never counted, and never a traceback: the run says what to delete."""
    (result,) = score()
    path = result.path / "records.jsonl"
    lines = path.read_text("utf-8").splitlines(keepends=True)
    place = next(n for n, line in enumerate(lines) if line.startswith('{"id": "1"'))
    assert old in lines[place]
    lines[place] = lines[place].replace(old, new, 1)
    path.write_text("".join(lines), "utf-8")
    (result.path / "result.json").unlink()
    with pytest.raises(StoreError, match=rf"records\.jsonl.*delete {result.path} and run"):
        score()
    assert not (result.path / "result.json").exists()


@pytest.mark.parametrize("content", ["", "garbage", "{}", '{"format": 2}', '{"format": 1}'])
def test_result_that_was_damaged(content: str, score: Callable[..., list[Any]]) -> None:
    (result,) = score()
    (result.path / "result.json").write_text(content)
    with pytest.raises(StoreError, match=rf"result\.json .*delete {result.path} and run"):
        score()


def test_result_comes_last(score: Callable[..., list[Any]], monkeypatch: Any) -> None:
    """A run that failed leaves records, and no result."""

    def fail(*_arguments: Any) -> None:
        raise RuntimeError("while the result is made")

    monkeypatch.setattr(finishing, "_result", fail)
    with pytest.raises(RuntimeError, match="while the result is made"):
        score()
    assert len(list(Path("out").rglob("records.jsonl"))) == 1
    assert not list(Path("out").rglob("result.json"))


def test_complete_runs_are_read(
    score: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the batch size; the model is not even loaded."""
    before = score("lambada@*")
    contents = [(result.path / "result.json").read_bytes() for result in before]

    def refuse(*_arguments: Any) -> None:
        raise AssertionError("loaded")

    monkeypatch.setattr(model, "load_model", refuse)
    again = score("lambada@*", batch_size=3)
    assert [result.path for result in again] == [result.path for result in before]
    assert [(result.path / "result.json").read_bytes() for result in again] == contents
    with pytest.raises(AssertionError, match="loaded"):
        score("lambada@*,xsum")


@pytest.mark.parametrize("change", [{"seed": 1}, {"dtype": "bfloat16"}, {"limit_first": 3}])
def test_what_changes_the_numbers_is_another_run(
    score: Callable[..., list[Any]], change: dict[str, Any]
) -> None:
    (one,), (other,) = score(), score(**change)
    assert one.path != other.path
    assert read_result(one.path) == one


def test_other_weights_are_another_run(
    score: Callable[..., list[Any]], checkpoint: Path, toy: Path, tmp_path: Path
) -> None:
    """A checkpoint that was trained on, in the same directory."""
    make_checkpoint(tmp_path / "m" / "small", n_positions=160, n_embd=16, n_layer=1, seed=5)
    (one,) = score()
    (other,) = gpt2eval.run(
        models=tmp_path / "m" / "small", tasks="lambada@openai", data=str(toy), output="out"
    )
    assert one.path.parent == other.path.parent.absolute()
    assert one.path.name != other.path.name
    assert one.metrics != other.metrics


def test_two_processes_never_mix(
    score: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second is refused before it loads a model; what the first does meanwhile is read."""
    (result,) = score()
    (result.path / "result.json").unlink()
    with locked(result.path), monkeypatch.context() as patch:
        patch.setattr(model, "load_model", lambda *_: pytest.fail("loaded"))
        with pytest.raises(StoreError, match=r"is being written by process"):
            score()

    def finished_meanwhile(directory: Path) -> Any:
        (directory / "result.json").write_bytes(before)
        return locked(directory)

    assert score()[0].metrics == result.metrics
    before = (result.path / "result.json").read_bytes()
    (result.path / "result.json").unlink()
    monkeypatch.setattr(places, "locked", finished_meanwhile)
    monkeypatch.setattr(model, "load_model", lambda *_: pytest.fail("loaded"))
    assert score() == [read_result(result.path)]


# ---- subsets ------------------------------------------------------------------------------------


def ids(result: Any) -> set[str]:
    return {record.id for record in read_records(result.path)}


@pytest.mark.parametrize("seed", [0, 1])
def test_subsets_are_nested(score: Callable[..., list[Any]], seed: int) -> None:
    found = [score(limit=limit, seed=seed)[0] for limit in (1, 3, 6, 10)]
    for result, limit in zip(found, (1, 3, 6, 10), strict=True):
        assert len(ids(result)) == limit
        assert result.data["subset"] == f"random {limit}, seed {seed}"
        assert (result.data["selected"], result.data["available"]) == (limit, len(LAMBADA))
        assert all(item.n == limit for item in result.metrics.values())
    for smaller, larger in pairwise(found):
        assert ids(smaller) < ids(larger)


def test_seeds_draw_other_subsets(score: Callable[..., list[Any]]) -> None:
    assert len({frozenset(ids(score(limit=4, seed=seed)[0])) for seed in range(4)}) > 1


def test_first_samples(score: Callable[..., list[Any]]) -> None:
    (result,) = score(limit_first=3)
    assert ids(result) == {"1", "2", "3"}
    assert result.data["subset"] == "first 3"


@pytest.mark.parametrize("limit", [{"limit": len(LAMBADA)}, {"limit": 500}, {"limit_first": 500}])
def test_limit_above_the_data_is_all(score: Callable[..., list[Any]], limit: Any) -> None:
    (whole,), (limited,) = score(), score(**limit)
    assert limited.path == whole.path
    assert limited.data["subset"] == "all"


# ---- one pass -----------------------------------------------------------------------------------


def test_protocols_of_one_text_share_a_pass(
    score: Callable[..., list[Any]], asked: list[Any]
) -> None:
    score("lambada@openai*")
    assert len(asked) == len(set(asked)) == len(LAMBADA)


def test_tasks_of_one_text_share_a_pass(score: Callable[..., list[Any]], asked: list[Any]) -> None:
    one, other = score("wikitext2@lm-eval,wikitext103@lm-eval")
    assert len(asked) == len(set(asked)) == one.data["available"]
    assert one.metrics == other.metrics


def test_datasets_with_one_file_are_read_each_in_its_way(
    score: Callable[..., list[Any]], tmp_path: Path
) -> None:
    """A file of two columns, and a task with a protocol for each."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/rows.txt").write_text("a b\nc d\n", "utf-8")
    (tmp_path / "plug").mkdir()
    (tmp_path / "plug/mine.py").write_text(
        """
from gpt2eval import Dataset, Protocol, Sample, Score, Task, data, metrics


def protocol(name, column):
    def read(paths):
        for row in data.read_lines(paths):
            yield {"word": row["text"].split()[column]}

    return Protocol(
        name=name,
        summary="s",
        dataset=Dataset(files=(("rows.txt",),), read=read),
        samples=lambda rows: [Sample(id=row["word"], fields={}) for row in rows],
        requests=lambda sample: [Score("x", " " + sample.id)],
        metrics=(metrics.accuracy(),),
    )


MINE = Task(name="mine", version=1, summary="s",
            protocols=(protocol("left", 0), protocol("right", 1)))
""",
        "utf-8",
    )
    left, right = score("mine@*", data=str(tmp_path / "mine"), tasks_dir=str(tmp_path / "plug"))
    assert (ids(left), ids(right)) == ({"a", "c"}, {"b", "d"})


# ---- what is written ----------------------------------------------------------------------------

SECTIONS = {
    "format": None,
    "checkpoint": "name path revision sha256 tokenizer_sha256 parameters kind",
    "task": "name protocol version options kind summary detail beginning source bibtex story"
    " references",
    "run": None,
    "data": "source files sha256 verdict available selected subset",
    "metrics": None,
    "ledger": "failed contexts_truncated empty_generations stopped_by_length stopped_by_stop"
    " stopped_by_eos",
    "signature": None,
    "baselines": None,
    "digests": "records.jsonl format checkpoint task data run metrics ledger signature baselines",
}
ESTIMATE = "value low high level method n unit denominator higher_is_better signature part"
RUN = {
    "device", "dtype", "batch_policy", "seed", "versions", "git_commit", "command", "started",
    "seconds", "tokens", "tokens_per_second", "peak_memory_bytes",
}  # fmt: skip


def test_result_has_the_sections_of_the_design(whole: tuple[list[Any], set[Any]]) -> None:
    for result in whole[0]:
        content = json.loads((result.path / "result.json").read_text("utf-8"))
        assert set(content) == set(SECTIONS)
        for name, keys in SECTIONS.items():
            if keys:
                assert set(content[name]) == set(keys.split()), name
        assert set(content["run"]) >= RUN
        assert content["format"] == 1
        estimates = [*content["metrics"].values()]
        estimates += [e for system in content["baselines"].values() for e in system.values()]
        assert estimates
        assert all(set(item) - {"note"} == set(ESTIMATE.split()) for item in estimates)
        assert "\n" not in content["signature"]
        digest = content["checkpoint"]["sha256"]
        for part in (f"task:{result.name}", f"ckpt:{digest[:12]}", "seed:0", "dtype:float32"):
            assert part in content["signature"].split("|")
        assert content["run"]["tokens"] > 0
        assert content["run"]["seconds"] > 0
        assert content["run"]["versions"]["torch"]


def test_metrics_come_out_of_the_records(whole: tuple[list[Any], set[Any]]) -> None:
    """records.jsonl and the protocol are all it takes: no model, no data, no order."""
    tasks = discover()
    for result in whole[0]:
        ((_, protocol),) = select(result.name, tasks)
        records = {record.id: record for record in read_records(result.path)}
        for metric in protocol.metrics:
            rows = np.array([records[name].statistics[metric.name] for name in sorted(records)])
            groups = [records[name].group for name in sorted(records)]
            again = estimate(metric, rows, groups, np.random.default_rng(result.run["seed"]))
            assert again == result.metrics[metric.name]


def test_statistics_come_out_of_the_responses(whole: tuple[list[Any], set[Any]], toy: Path) -> None:
    """The responses that are kept are all that the metrics read."""
    from gpt2eval.results import decode_response

    tasks = discover()
    for result in whole[0]:
        ((_, protocol),) = select(result.name, tasks)
        samples = {s.id: s for s in protocol.samples(load(protocol.dataset, toy).rows)}
        for record in read_records(result.path):
            responses = [decode_response(content) for content in record.responses]
            for metric in protocol.metrics:
                found = [float(x) for x in metric.stats(samples[record.id], responses)]
                assert found == record.statistics[metric.name]


def test_records_say_what_was_asked(whole: tuple[list[Any], set[Any]], toy: Path) -> None:
    tasks = discover()
    for result in whole[0]:
        ((_, protocol),) = select(result.name, tasks)
        samples = {s.id: s for s in protocol.samples(load(protocol.dataset, toy).rows)}
        for record in read_records(result.path):
            asked = decode_requests(record.asked, result.task["beginning"])
            for request, content in zip(protocol.requests(samples[record.id]), asked, strict=True):
                if isinstance(request, Rolling):
                    assert content == {}
                for key, value in content.items():
                    told = tuple(value) if key == "stop" else value
                    assert told == getattr(request, key)


def test_tokens_have_their_texts(whole: tuple[list[Any], set[Any]]) -> None:
    """Put together they are the text that was scored or written, byte for byte."""
    alphabet = {letter: byte for byte, letter in bytes_to_unicode().items()}
    compared = 0
    for result in whole[0]:
        texts = read_vocabulary(result.path)["model"]
        for record in read_records(result.path):
            asked = decode_requests(record.asked, result.task["beginning"])
            for response, content in zip(record.responses, asked, strict=True):
                letters = "".join(texts[token] for token in response["tokens"])
                text = bytes(alphabet[letter] for letter in letters).decode(errors="replace")
                if "continuation" in content:
                    # White space at the end of a context belongs to the continuation.
                    whole_text = content["context"] + content["continuation"]
                    assert whole_text.endswith(text)
                    assert text.endswith(content["continuation"].strip())
                elif "prompt" in content and response["stopped"] == "length":
                    assert text == response["text"]
                else:
                    continue
                compared += 1
    assert compared > 20


def test_an_id_that_no_token_has_is_left_out(tiny_model: Any) -> None:
    """An embedding may have more rows than the tokenizer has tokens."""
    assert tiny_model.token_texts({10**6, 0}) == {0: "!"}


def test_choices_and_scorers_are_recorded(score: Callable[..., list[Any]]) -> None:
    (piqa, written) = score(
        "piqa,open_generation", data="bundled", limit=4, num_fewshot=None, scorer="demo-base"
    )
    for record in read_records(piqa.path):
        assert record.references == [record.choices[record.gold]]
    for record in read_records(written.path):
        assert [bool(content.get("scorer")) for content in record.asked] == [False, True]
    assert set(read_vocabulary(written.path)) == {"model", "scorer"}


def test_seeds_are_recorded(score: Callable[..., list[Any]]) -> None:
    (result,) = score("cnn_dailymail@tldr", seed=7)
    assert result.run["seed"] == 7
    assert "seed:7" in result.signature
    assert all("seed 7" in item.method for item in result.metrics.values())
    (other,) = score("cnn_dailymail@tldr", seed=8)  # the texts, not only the intervals
    texts = [
        [record.responses[0]["text"] for record in sorted(read_records(r.path), key=lambda r: r.id)]
        for r in (result, other)
    ]
    assert texts[0] != texts[1]


def test_baselines_of_summaries(score: Callable[..., list[Any]]) -> None:
    cnn, xsum, lambada = score("cnn_dailymail@tldr,xsum,lambada")
    assert set(cnn.baselines) == {"lede-3", "random-3"}
    assert set(xsum.baselines) == {"lede-1", "random-1"}
    assert lambada.baselines == {}
    for system in cnn.baselines.values():
        assert set(system) == set(cnn.metrics)
        assert system["rouge1"].value > 0


def test_baselines_of_choices(score: Callable[..., list[Any]]) -> None:
    """Chance is the mean of one over the choices, exactly; the majority class always says one."""
    (result,) = score("sst2", data="bundled", limit_first=7)
    chance, majority = (result.baselines[name] for name in ("chance", "majority class"))
    assert set(chance) == set(majority) == set(result.metrics)
    assert chance["accuracy"].value == chance["accuracy_pmi"].value == 0.5
    assert majority["accuracy"].value in (3 / 7, 4 / 7)
    assert chance["accuracy"].denominator == "7 sentences"
    (winograd,) = score("winograd", data="bundled")
    assert set(winograd.baselines) == {"chance"}
    assert winograd.baselines["chance"]["accuracy"].value == 0.5


def test_numbers_of_parts(score: Callable[..., list[Any]]) -> None:
    """Each over its own samples; a part without samples has none, and records only their own."""
    (result,) = score("blimp", data="bundled")
    parts = {name: item for name, item in result.metrics.items() if item.part}
    assert len(parts) == 6
    assert all(name == f"accuracy/{item.part}" and item.n == 10 for name, item in parts.items())
    assert list(result.metrics)[:2] == ["accuracy_macro", "accuracy"]
    whole = result.metrics["accuracy"]
    mean = np.mean([item.value for item in parts.values()])
    assert (whole.n, whole.part) == (60, "")
    assert whole.value == pytest.approx(mean)
    assert result.metrics["accuracy_macro"].value == pytest.approx(mean)
    assert result.metrics["accuracy_macro"].denominator == "6 paradigms"
    assert all("Wilson" in item.method for item in parts.values())
    for record in read_records(result.path):
        own = f"accuracy/{record.id.partition('/')[0]}"
        assert set(record.statistics) == {"accuracy_macro", "accuracy", own}
    (few,) = score("blimp", data="bundled", limit_first=3)
    assert [name for name, item in few.metrics.items() if item.part] == [
        "accuracy/anaphor_gender_agreement"
    ]
    assert read_result(result.path) == result


def test_ledger(score: Callable[..., list[Any]]) -> None:
    (result,) = score("cnn_dailymail@tldr")
    records = list(read_records(result.path))
    stopped = [record.responses[0]["stopped"] for record in records]
    for reason in ("length", "stop", "eos"):
        assert result.ledger[f"stopped_by_{reason}"] == stopped.count(reason)
    truncated = sum(record.responses[0]["truncated"] > 0 for record in records)
    assert result.ledger["contexts_truncated"] == truncated > 0


def test_progress_adds_up(score: Callable[..., list[Any]]) -> None:
    class Count:
        planned = done = 0

        def begin(self, text: str) -> None: ...

        def plan(self, tokens: int) -> None:
            self.planned += tokens

        def advance(self, tokens: int) -> None:
            self.done += tokens

    count = Count()
    score("lambada@*", progress=count)
    assert count.planned == count.done > 0


def test_a_name_that_is_not_utf8(toy: Path, checkpoint: Path, tmp_path: Path) -> None:
    """Directories on disk may be called anything; safetensors wants a text, and we say so."""
    odd = tmp_path / "checkpoint-\udcff"
    try:
        shutil.copytree(checkpoint, odd)
    except OSError:
        pytest.skip("this file system wants UTF-8")
    with pytest.raises(CheckpointError, match=r"cannot be loaded .*not valid UTF-8"):
        gpt2eval.run(models=odd, tasks="lambada@openai", data=str(toy), output="out")


# ---- what is wrong ------------------------------------------------------------------------------

BROKEN = """
from gpt2eval import Dataset, Metric, Protocol, Generate, Sample, Score, Task, data, metrics

MINE = Task(name="mine", version=1, summary="s", protocols=(Protocol(
    name="p",
    summary="s",
    dataset=Dataset(files=(("lambada/lambada_test_plain_text.txt",),), read=data.read_lines),
    samples=lambda rows: [Sample(id={id}, fields={{}}) for n, row in enumerate(rows)],
    requests=lambda sample: {requests},
    metrics=({metric},),
),))
"""
OK = {"id": "str(n)", "requests": '[Score("x", " y")]', "metric": "metrics.accuracy()"}
NAN = (
    'Metric("m", lambda s, r: [float("nan")], lambda sums: sums[..., 0], "points", "samples", True)'
)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"id": '"same"'},
            DataError,
            r"mine@p: two samples have the id 'same'; expected ids that differ",
        ),
        ({"requests": "[]"}, TaskError, r"mine@p: sample '0' asks nothing"),
        (
            {"requests": '[Generate("x", 3, stop=["y"])]'},
            TaskError,
            r"mine@p: a request of sample '0' cannot be hashed .* are tuples",
        ),
        (
            {"metric": NAN},
            SampleError,
            r"none of \d+ samples .*metric 'm', sample '\d': statistics \[nan\]; expected",
        ),
        (
            {"metric": "metrics.bleu()"},
            SampleError,
            r"none of \d+ samples .*sample '\d' has 0 references",
        ),
    ],
)
def test_plug_in_that_breaks_the_contract(
    score: Callable[..., list[Any]],
    tmp_path: Path,
    change: dict[str, str],
    error: type[Gpt2EvalError],
    message: str,
) -> None:
    (tmp_path / "tasks").mkdir()
    path = tmp_path / "tasks/mine.py"
    path.write_text(BROKEN.format(**OK), "utf-8")
    assert score("mine", output="ok")
    path.write_text(BROKEN.format(**{**OK, **change}), "utf-8")
    with pytest.raises(error, match=message):
        score("mine")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"tasks": "nope"}, UsageError, "unknown task 'nope'"),
        ({"data": "nowhere"}, DataError, "data directory 'nowhere' does not exist"),
        ({"limit": 0}, UsageError, "--limit 0: expected a whole number of at least 1"),
        ({"limit": 2, "limit_first": 2}, UsageError, "exclude each other"),
        ({"dtype": "int8"}, UsageError, "--dtype 'int8': expected one of float32"),
        ({"batch_size": -1}, UsageError, "--batch-size -1: expected"),
        ({"seed": -1}, UsageError, "--seed -1: expected"),
        ({"device": "abacus"}, UsageError, "device 'abacus' cannot be used"),
    ],
)
def test_bad_options(
    score: Callable[..., list[Any]], options: Any, error: type[Gpt2EvalError], message: str
) -> None:
    with pytest.raises(error, match=message):
        score(**options)


def test_bad_checkpoint_stops_all(checkpoint: Path, toy: Path) -> None:
    """Before anything is computed for the good one."""
    with pytest.raises(CheckpointError, match="does not exist"):
        gpt2eval.run(models=[checkpoint, "./none"], data=str(toy), output="out")
    assert not Path("out").exists()
