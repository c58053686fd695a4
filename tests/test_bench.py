"""The bench command: what is asked, what it takes, what is kept. Never how long it took."""

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from gpt2eval import bench as benching
from gpt2eval.cli import app
from gpt2eval.errors import UsageError
from gpt2eval.options import RunOptions
from gpt2eval.results import load_results
from gpt2eval.runner import answer
from gpt2eval.scoring import Silent
from gpt2eval.types import Generate, Rolling

METRICS = ["tokens_per_second", "latency", "gemm_fraction", "peak_memory"]
NAMES = ["rolling", "last-word", "choice", "generation", "single-stream"]


@pytest.fixture(scope="module")
def finished(tiny_checkpoint, tmp_path_factory):
    """The command's output, and the directory it ran in."""
    place = tmp_path_factory.mktemp("bench")
    arguments = ["bench", "--model", str(tiny_checkpoint), "--repeats", "2", "--device", "cpu"]
    arguments += ["--output", str(place / "results"), "--report", str(place / "report")]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output, place


def test_a_result_a_workload(finished):
    _, place = finished
    results = load_results(place / "results")
    assert sorted(result.name for result in results) == sorted(f"bench@{name}" for name in NAMES)
    for result in results:
        assert list(result.metrics) == METRICS
        assert result.task["options"]["repeats"] == 2
        assert result.path == place / "results" / "tiny" / result.name / result.path.name


def test_values_lie_inside_their_ranges_and_say_which_way_is_better(finished):
    _, place = finished
    for result in load_results(place / "results"):
        for name, better in zip(METRICS, (True, False, True, False), strict=True):
            estimate = result.metrics[name]
            assert estimate.higher_is_better is better
            assert estimate.value > 0
            if name != "peak_memory":
                assert estimate.low <= estimate.value <= estimate.high
                assert estimate.method == "median and range of 2 repeats"


def test_rate_and_latency_are_two_views_of_one_time(finished):
    """The median of two is their mean, of which that does not hold; of the bounds it does."""
    _, place = finished
    for result in load_results(place / "results"):
        rate, latency = result.metrics["tokens_per_second"], result.metrics["latency"]
        tokens = int(rate.denominator.split()[0])
        items = int(latency.denominator.split()[0])
        assert tokens / rate.high == pytest.approx(latency.low / 1000 * items)
        assert tokens / rate.low == pytest.approx(latency.high / 1000 * items)


def test_table_and_report_show_them(finished):
    output, place = finished
    page = (place / "report" / "report.md").read_text(encoding="utf-8")
    for name in NAMES:
        assert f"bench@{name}" in output
        assert f"## bench@{name}" in page
    assert "sample data" not in output + page


def test_a_second_call_measures_again(tiny_checkpoint, tmp_path):
    options = RunOptions(models=(str(tiny_checkpoint),), output=str(tmp_path), device="cpu")
    for expected in (5, 10):
        results = benching.bench(options, 1, Silent())
        assert len(results) == 5
        assert len(load_results(tmp_path)) == expected
    assert results[0].metrics["latency"].low is None
    assert results[0].metrics["latency"].method == "no interval: measured once"


def test_no_repeats_are_refused():
    with pytest.raises(UsageError, match=r"--repeats 0: expected a whole number of at least 1"):
        benching.bench(RunOptions(models=("demo-base",)), 0, Silent())


def test_workloads_have_the_sizes_they_say(tiny_model):
    found = {workload.name: workload for workload in benching.workloads(tiny_model)}
    assert list(found) == NAMES
    for name, pieces in (("last-word", 48), ("choice", 4 * 16), ("generation", 16)):
        assert len(found[name].requests) == pieces
    (rolling,) = found["rolling"].requests
    tokens = len(tiny_model.encode([rolling.text])[0])
    # Four windows: more than three, and a last word that does not fit is left out.
    assert 3 * tiny_model.n_ctx < tokens <= 4 * tiny_model.n_ctx
    assert isinstance(rolling, Rolling)
    assert len(set(found["last-word"].requests)) == 48
    # Nothing of a passage is cut because the model is short.
    for reply in answer(tiny_model, found["last-word"].requests):
        assert reply.response.truncated == 0


def test_the_engine_reads_no_more_than_must_be_read(tiny_model):
    """Rows of short texts are neither padded nor cut, so what was fed is what the count says."""
    (rolling, passages, *_) = benching.workloads(tiny_model)
    for workload in (rolling, passages):
        replies = sorted(answer(tiny_model, workload.requests), key=lambda reply: reply.number)
        responses = [reply.response for reply in replies]
        cost = benching.least_cost(
            tiny_model, list(benching._readings(tiny_model, workload, responses))
        )
        fed = sum(reply.tokens for reply in replies)
        shared = fed - cost.read  # beginnings that happen to be alike
        assert 0 <= shared < 0.1 * fed
        assert cost.predicted <= sum(len(response.tokens) for response in responses)


def test_generations_are_as_long_as_asked(tiny_model):
    """The end of text does not end them."""
    model = replace(tiny_model, eos_id=-1)
    for workload in benching.workloads(model)[3:]:
        for reply in answer(model, workload.requests):
            request = workload.requests[reply.number]
            assert isinstance(request, Generate)
            assert len(reply.response.tokens) == request.max_new_tokens


def test_operations_against_a_count_by_hand(tiny_model):
    """Two layers of width 32 with an MLP of 128, and a vocabulary of so many rows."""
    vocabulary = tiny_model.head.shape[0]
    keys_values = 2 * 32 * 64  # 4,096 operations a token
    others = 2 * 32 * 32 + 2 * 32 * 32 + 2 * 32 * 128 + 2 * 128 * 32  # 20,480
    # Three tokens see 1 + 2 + 3 tokens; a seen one is a product of 32 numbers for the score and
    # 32 more for the mixture: 128 operations.
    first = 3 * (keys_values + others) + 6 * 128
    head = 2 * 32 * vocabulary

    def count(*readings: tuple[list[int], int]) -> int:
        return benching.least_cost(tiny_model, readings).operations

    assert count(([5, 6, 7], 3)) == 2 * first + 3 * head
    last = 3 * keys_values + others + 3 * 128
    assert count(([5, 6, 7], 1)) == first + last + head
    # A second text adds what is its own: one token that sees three.
    added = 2 * (keys_values + others) + 2 * 3 * 128 + head
    assert count(([5, 6, 7], 1), ([5, 6, 8], 1)) == first + last + head + added
    # Asked twice at one place is asked once.
    assert count(([5, 6, 7], 1), ([5, 6, 7], 1)) == first + last + head


def test_operations_of_gpt2_small_are_those_of_its_weights(tmp_path, tiny_model):
    """At full length, twice the weights that multiply, and attention: the rule of the papers."""
    config = {"n_layer": 12, "n_embd": 768, "n_inner": None}
    checkpoint = replace(tiny_model.checkpoint, config=config)
    model = replace(tiny_model, checkpoint=checkpoint, head=tiny_model.head.new_zeros(50257, 1))
    tokens = list(range(1024))
    weights = 12 * 12 * 768 * 768 + 50257 * 768
    attention = 12 * 4 * 768 * (1024 * 1025 // 2)
    cost = benching.least_cost(model, [(tokens, 1024)])
    assert (cost.read, cost.predicted) == (1024, 1024)
    assert cost.operations == 2 * weights * 1024 + attention


def test_the_result_says_what_machine_it_was(finished):
    _, place = finished
    for path in place.glob("results/*/*/*/result.json"):
        content = json.loads(path.read_text(encoding="utf-8"))
        assert content["task"]["options"]["threads"] >= 1
        assert content["task"]["options"]["processor"]
        assert content["run"]["tokens"] > 0
