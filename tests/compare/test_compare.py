"""Comparisons from results on disk: alignment, refusals, which test for which metric, families."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from gpt2eval.as_json import as_text, comparisons
from gpt2eval.compare import compare
from gpt2eval.compare.remarks import left_out, remarks
from gpt2eval.compare.selection import find, names, of_tasks
from gpt2eval.errors import ComparisonError, Gpt2EvalError, UsageError
from gpt2eval.results import read_records
from gpt2eval.types import Comparison
from tests.comparing import answers, write_run


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A glob is looked for in the working directory first, which may be one with results."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """a and b on 200 samples; b is better."""
    write_run(tmp_path, "a", answers(200, 1))
    write_run(tmp_path, "b", answers(200, 2, right=0.6, loss=2.9))
    return tmp_path


def of(place: Path, *names: str, **options: object) -> dict[str, Comparison]:
    """Metric -> comparison of the named checkpoints."""
    found = compare(find(names, str(place)).results, **options)  # type: ignore[arg-type]
    return {one.metric: one for one in found}


def statistics(place: Path, name: str, metric: str) -> np.ndarray:
    """[samples, k], by id."""
    (directory,) = place.glob(f"{name}/*/*")
    records = sorted(read_records(directory), key=lambda record: record.id)
    return np.array([record.statistics[metric] for record in records])


# ---- which test for which metric ----------------------------------------------------------------


def test_accuracy_is_mcnemars(two: Path) -> None:
    one = of(two, "a", "b")["accuracy"]
    ours, theirs = (statistics(two, name, "accuracy")[:, 0] for name in "ab")
    wins, losses = int((theirs > ours).sum()), int((theirs < ours).sum())
    assert (one.wins, one.ties, one.losses) == (wins, 200 - wins - losses, losses)
    assert one.p == pytest.approx(stats.binomtest(wins, wins + losses).pvalue)
    assert one.difference == pytest.approx(theirs.mean() - ours.mean())
    assert one.effect == pytest.approx(wins / (wins + losses) - 0.5)
    assert one.effect_name == "Cohen's g"
    assert one.test.startswith(f"exact McNemar test over {wins + losses} samples that differ")
    assert one.low is not None
    assert one.high is not None
    assert one.low < one.difference < one.high
    assert (one.n, one.units, one.baseline, one.candidate) == (200, 200, "a", "b")


def test_perplexity_is_tested_on_log_likelihoods(two: Path) -> None:
    one = of(two, "a", "b")["perplexity"]
    gains = (statistics(two, "a", "perplexity") - statistics(two, "b", "perplexity"))[:, 0]
    assert one.effect == pytest.approx(gains.mean() / gains.std(ddof=1))
    assert one.p == 1 / 10_001
    assert stats.ttest_1samp(gains, 0).pvalue < one.p
    assert one.test == (
        "sign-flip permutation test of log-likelihoods over 200 samples, 10000 draws, seed 0;"
        " interval: paired bootstrap, 10000 resamples, seed 0"
    )
    delta = stats.bootstrap((gains,), np.mean, n_resamples=9999, rng=0).confidence_interval
    low, high = (-np.exp(statistics(two, "a", "perplexity")[:, 0].mean()) * g for g in delta[::-1])
    assert (one.low, one.high) == pytest.approx((low, high), rel=0.15)
    assert one.low is not None
    assert one.high is not None
    error = (one.high - one.low) / (2 * 1.96)
    assert one.smallest == pytest.approx(2.8 * error, rel=0.05)
    assert one.significant()


def test_the_interval_does_not_know_who_else_is_compared(two: Path) -> None:
    write_run(two, "c", answers(200, 3))
    alone = [asdict(one) for one in compare(find(("a", "b"), str(two)).results, correction="none")]
    together = compare(find(("a", "b", "c"), str(two)).results, correction="none")
    assert [asdict(one) for one in together if one.candidate == "b"] == alone


def test_groups_are_the_units(tmp_path: Path) -> None:
    groups = [f"d{i // 10}" for i in range(100)]
    for name, seed in (("a", 1), ("b", 2)):
        write_run(tmp_path, name, answers(100, seed), groups=groups)
    found = of(tmp_path, "a", "b")
    assert found["accuracy"].units == found["perplexity"].units == 10
    assert found["accuracy"].test.startswith("exact randomisation test over 10 groups, all")
    assert found["perplexity"].test.startswith("exact sign-flip permutation test")
    assert "10 groups: the interval is rough" in found["perplexity"].note
    gains = (statistics(tmp_path, "b", "perplexity") - statistics(tmp_path, "a", "perplexity"))[
        :, 0
    ]
    names = sorted(f"s{i}" for i in range(100))
    by_group = [
        sum(g for g, name in zip(gains, names, strict=True) if int(name[1:]) // 10 == d)
        for d in range(10)
    ]
    expected = stats.permutation_test((by_group,), np.sum, permutation_type="samples").pvalue
    assert found["perplexity"].p == pytest.approx(expected)


def test_texts_are_swapped(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, right in (("a", 5), ("b", 7)):
        hits = np.minimum(rng.integers(right - 2, right + 3, (80, 4)), 10)
        rows = [[12, 12, *sorted(row)[::-1], 12, 11, 10, 9] for row in hits]
        f1 = [(float(x), 1.0) for x in rng.random(80)]
        write_run(tmp_path, name, {"bleu": rows, "f1": f1})
    found = of(tmp_path, "a", "b")
    assert found["bleu"].test.startswith("approximate randomisation test over 80 samples, 10000")
    assert found["f1"].test.startswith("approximate randomisation test over 80 samples, 10000")
    bleu = found["bleu"]
    assert bleu.p is not None
    assert bleu.p < 0.001
    assert bleu.effect is not None
    assert bleu.effect > 0
    gains = (statistics(tmp_path, "b", "f1") - statistics(tmp_path, "a", "f1"))[:, 0]
    assert found["f1"].p == pytest.approx(stats.ttest_1samp(gains, 0).pvalue, abs=0.02)


# ---- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"task": {"version": 2}}, r"version is 1 in .* and 2 in"),
        ({"task": {"options": {"windows": "sliding"}}}, r"option windows is 'disjoint' in"),
        (
            {"data": {"sha256": "f" * 64}},
            r"data digest is .* and 'ffffffffffff' in .*--allow-inter",
        ),
        ({"data": {"subset": "first 200"}}, r"subset is 'all' in .* and 'first 200' in .*--allow"),
    ],
)
def test_another_question_is_refused(tmp_path: Path, change: dict, words: str) -> None:
    write_run(tmp_path, "a", answers(200, 1))
    write_run(tmp_path, "b", answers(200, 2), **change)
    with pytest.raises(ComparisonError, match=f"made@p: a and b cannot be compared: {words}"):
        of(tmp_path, "a", "b")
    allowed = "data" in change
    if allowed:
        found = of(tmp_path, "a", "b", allow_intersection=True)
        assert "differ" in found["accuracy"].note
    else:
        with pytest.raises(ComparisonError, match=words):
            of(tmp_path, "a", "b", allow_intersection=True)


def test_intersection_compares_what_both_have_and_says_so(tmp_path: Path) -> None:
    rows = answers(100, 1)
    write_run(tmp_path, "a", rows)
    few = {metric: values[40:] for metric, values in answers(100, 2).items()}
    write_run(tmp_path, "b", few, ids=[f"s{i}" for i in range(40, 100)])
    with pytest.raises(ComparisonError, match="--allow-intersection"):
        of(tmp_path, "a", "b")
    one = of(tmp_path, "a", "b", allow_intersection=True)["accuracy"]
    assert one.n == 60
    assert "60 samples that both have, of 100 and 60" in one.note
    assert one.baseline_value == pytest.approx(np.mean([r for r, _ in rows["accuracy"][40:]]))


def test_nothing_in_common(tmp_path: Path) -> None:
    write_run(tmp_path, "a", answers(20, 1))
    write_run(tmp_path, "b", answers(20, 2), ids=[f"t{i}" for i in range(20)])
    with pytest.raises(ComparisonError, match=r"samples differ \('s0' only in a, 't0' only in b\)"):
        of(tmp_path, "a", "b")
    with pytest.raises(ComparisonError, match="no sample in common"):
        of(tmp_path, "a", "b", allow_intersection=True)
    write_run(tmp_path, "c", answers(20, 2), on="other@p")
    with pytest.raises(ComparisonError, match="a and c have no task@protocol in common"):
        of(tmp_path, "a", "c")


def test_a_sample_that_moved_to_another_group_is_refused(tmp_path: Path) -> None:
    write_run(tmp_path, "a", answers(20, 1), groups=["x"] * 10 + ["y"] * 10)
    write_run(tmp_path, "b", answers(20, 2), groups=["x"] * 9 + ["y"] * 11)
    with pytest.raises(ComparisonError, match="sample 's9' has other group"):
        of(tmp_path, "a", "b")


def test_other_signature_is_refused(two: Path) -> None:
    results = find(("a", "b"), str(two)).results
    changed = replace(results[1].metrics["accuracy"], signature="tokens:last")
    results[1] = replace(results[1], metrics={**results[1].metrics, "accuracy": changed})
    with pytest.raises(ComparisonError, match=r"signature of accuracy is '' in .*'tokens:last'"):
        compare(results)


def test_two_runs_of_one_checkpoint(tmp_path: Path) -> None:
    write_run(tmp_path, "a", answers(20, 1))
    write_run(tmp_path, "a", answers(20, 1), run_id="b" * 12, run={"seed": 7})
    write_run(tmp_path, "b", answers(20, 2))
    with pytest.raises(ComparisonError, match=r"two runs of a on made@p: seed 0 and 7\. Name"):
        of(tmp_path, "a", "b")
    one = of(tmp_path, "a/made@p/0123456789ab", "b")["accuracy"]
    assert (one.baseline, one.candidate) == ("a", "b")


def test_the_same_weights_in_two_dtypes_can_be_compared(tmp_path: Path) -> None:
    write_run(tmp_path, "a", answers(20, 1))
    write_run(tmp_path, "a", answers(20, 2), run_id="b" * 12, run={"dtype": "bf16"})
    one = of(tmp_path, "a")["accuracy"]
    assert (one.baseline, one.candidate) == ("a (fp32)", "a (bf16)")
    with pytest.raises(UsageError, match=r"'a' can be any of: a \(fp32\), a \(bf16\)"):
        of(tmp_path, "a", baseline="a")


def test_records_that_do_not_give_the_result_are_refused(two: Path) -> None:
    (path,) = two.glob("b/*/*/records.jsonl")
    path.write_text(path.read_text().replace('"accuracy": [1.0,', '"accuracy": [0.0,', 1))
    with pytest.raises(
        ComparisonError, match=r"do not give the accuracy of .* that result.json has"
    ):
        of(two, "a", "b")


def test_a_metric_that_only_its_plug_in_knows(two: Path) -> None:
    for path in two.glob("*/*/*/result.json"):
        path.write_text(path.read_text().replace('"unit": "fraction"', '"unit": "furlongs"'))
    words = "how accuracy follows from its 2 statistics is known to version 1 of task made alone"
    with pytest.raises(ComparisonError, match=f"{words}, and none is here"):
        of(two, "a", "b")


def test_a_metric_missing_in_one_checkpoint(two: Path) -> None:
    only = {"accuracy": answers(200, 3)["accuracy"]}
    write_run(two, "c", only)
    assert set(of(two, "a", "c")) == {"accuracy"}
    assert left_out(find(("a", "c"), str(two)).results) == ["made@p: c has no perplexity"]
    with pytest.raises(ComparisonError, match="made@p has perplexity for a but not for c"):
        of(two, "a", "c", metrics=("perplexity",))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"baseline": "aa"}, r"--baseline 'aa' is none of the checkpoints: a, b"),
        ({"metrics": ("acuracy",)}, "did you mean 'accuracy'"),
        ({"correction": "bonferroni"}, "expected holm, bh, none"),
        ({"group_by": "(a"}, "is no regular expression"),
        ({"group_by": "(.)(.)"}, "has 2 groups; expected one"),
        ({"group_by": "{variant}-s{seed}"}, "does not match the checkpoint 'a'"),
    ],
)
def test_options_that_cannot_be_used(two: Path, options: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        of(two, "a", "b", **options)


def test_no_results_and_results_of_one_checkpoint(two: Path) -> None:
    with pytest.raises(ComparisonError, match="no results to compare"):
        compare([])
    with pytest.raises(ComparisonError, match="all results are of a; expected those of two"):
        of(two, "a")
    with pytest.raises(
        UsageError, match=r"no results are called 'x', here or in .*; there are a, b"
    ):
        find(["x"], str(two))
    with pytest.raises(UsageError, match="no result is of task 'mode'; did you mean 'made@p'"):
        of_tasks(find(["a"], str(two)).results, "mode")


def test_unfinished_and_foreign_runs(two: Path) -> None:
    (path,) = two.glob("b/*/*/result.json")
    text = path.read_text()
    path.write_text(text.replace('"format": 1', '"format": 99'))
    with pytest.raises(ComparisonError, match="has format 99; this version of gpt2eval reads 1"):
        find(["b"], str(two))
    path.unlink()
    with pytest.raises(UsageError, match=r"holds no finished run, only .*, interrupted"):
        find(["b"], str(two))
    write_run(two, "c", answers(200, 3))
    (two / "c" / "other@p" / "x").mkdir(parents=True)
    (two / "c" / "other@p" / "x" / "records.jsonl").write_text("")
    (line,) = [line for line in remarks(find(["a", "c"], str(two))) if "not finished" in line]
    assert "other@p" in line


def test_find_takes_names_paths_and_globs_in_their_order(two: Path, monkeypatch) -> None:
    def found(*given: str) -> list[str]:
        return [r.checkpoint["name"] for r in find(given, str(two)).results]

    assert found("b", "a") == ["b", "a"]
    assert found("*") == ["a", "b"]
    assert found(str(two / "b"), "a", "b") == ["b", "a"]
    monkeypatch.chdir(two.parent)
    assert found(f"{two.name}/?") == ["a", "b"]
    (two.parent / "a").mkdir(exist_ok=True)  # a checkpoint of that name, no results
    assert found("a") == ["a"]


# ---- no nonsense --------------------------------------------------------------------------------


def test_identical_outputs_have_no_p(tmp_path: Path) -> None:
    for name in "ab":
        write_run(tmp_path, name, answers(50, 1))
    found = of(tmp_path, "a", "b")
    for one in found.values():
        assert (one.p, one.p_corrected, one.effect, one.smallest) == (None,) * 4
        assert one.test.startswith("no test: both")
        assert not one.significant()
        assert one.difference == 0
    assert (found["perplexity"].low, found["perplexity"].high) == (0, 0)


def test_a_single_sample_says_nothing(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 2)):
        write_run(tmp_path, name, answers(1, seed))
    for one in of(tmp_path, "a", "b").values():
        assert (one.p, one.low, one.high, one.effect, one.smallest) == (None,) * 5
        assert one.test == "no test: one sample says nothing about others"


def test_few_samples_that_differ_are_named(tmp_path: Path) -> None:
    rows = [(1.0, 1.0)] * 30
    write_run(tmp_path, "a", {"accuracy": rows})
    write_run(tmp_path, "b", {"accuracy": [(0.0, 1.0)] * 3 + rows[3:]})
    one = of(tmp_path, "a", "b")["accuracy"]
    assert one.p == pytest.approx(0.25)
    assert one.smallest is None
    assert "3 samples differ; fewer than 6 cannot give a p below 0.05" in one.note


@pytest.mark.filterwarnings("error")
def test_a_ruined_checkpoint_still_has_a_p(tmp_path: Path) -> None:
    write_run(tmp_path, "a", {"perplexity": [(3.0 + i / 100, 1.0) for i in range(40)]})
    write_run(tmp_path, "b", {"perplexity": [(1e5 + i, 1.0) for i in range(40)]})
    one = of(tmp_path, "a", "b")["perplexity"]
    assert one.candidate_value == one.difference == np.inf
    assert one.p == 1 / 10_001
    assert one.smallest is None
    assert '"difference": "inf"' in as_text("compare", comparisons([one], []))


# ---- the family ---------------------------------------------------------------------------------


def test_correction_is_over_all_tests_of_the_call(two: Path) -> None:
    write_run(two, "c", answers(200, 3))
    for correction, function in (("holm", None), ("bh", stats.false_discovery_control)):
        found = compare(find(("a", "b", "c"), str(two)).results, correction=correction)
        p = [one.p for one in found]
        assert len(p) == 4
        if function is not None:
            assert [one.p_corrected for one in found] == pytest.approx(list(function(p)))
        least = min(found, key=lambda one: one.p or 1)
        assert least.p is not None
        assert least.p_corrected == pytest.approx(4 * least.p) or correction == "bh"
        assert {one.correction for one in found} == {correction}


def test_the_same_likelihoods_are_one_test(tmp_path: Path) -> None:
    """Word perplexity and bits per byte rise and fall together: correcting for both is wrong."""
    for name, seed in (("a", 1), ("b", 2)):
        rows = answers(100, seed)
        write_run(tmp_path, name, rows)
        write_run(tmp_path, name, {"perplexity": rows["perplexity"]}, on="twice@p")
    found = compare(find(("a", "b"), str(tmp_path)).results)
    assert len(found) == 3  # two tasks: those are two tests
    one = of(tmp_path, "a", "b", metrics=("perplexity",))["perplexity"]
    assert one.p is not None
    assert one.p_corrected == pytest.approx(min(1, 2 * one.p))


# ---- seeds --------------------------------------------------------------------------------------


def seeds(place: Path, variant: str, shift: float, numbers: range) -> None:
    for seed in numbers:
        rows = {"accuracy": [(float(i < 50 + shift + 2 * seed), 1.0) for i in range(100)]}
        write_run(place, f"{variant}-seed{seed}", rows)


def test_seeds_are_the_units_and_paired_where_they_match(tmp_path: Path) -> None:
    seeds(tmp_path, "base", 0, range(5))
    seeds(tmp_path, "new", 3, range(5))
    write = {"accuracy": [(float(i < 56), 1.0) for i in range(100)]}
    write_run(tmp_path, "new-seed0", write, run_id="c" * 12, on="made@q")
    for pattern in ("{variant}-seed{seed}", r"(.+)-seed\d+"):
        (one,) = compare(find(["*"], str(tmp_path)).results, group_by=pattern, baseline="base")
        assert (one.baseline, one.candidate, one.units, one.wins) == ("base", "new", 5, 5)
        assert one.test == "no test: the seeds do not vary"  # + 3 each time
        assert one.baseline_spread == pytest.approx(np.std([0.5, 0.52, 0.54, 0.56, 0.58], ddof=1))


def test_variants_may_be_listed_in_a_file(tmp_path: Path) -> None:
    place = tmp_path / "results"
    seeds(place, "base", 0, range(4))
    seeds(place, "new", 3, range(1, 4))
    results = find(["*"], str(place)).results
    listed = {
        variant: {str(seed): f"{variant}-seed{seed}" for seed in range(4)}
        for variant in ("base", "new", "not here")
    }
    file = tmp_path / "experiment.json"
    file.write_text(json.dumps({"variants": listed}))
    assert compare(results, group_by=str(file)) == compare(results, group_by="{variant}-seed{seed}")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "line 1: not YAML"),
        ("tasks: core", "says nothing of variants"),
        (
            "variants:\n  base: [base-seed0]",
            r"line 2: variants.base: \['base-seed0'\]; expected keys",
        ),
        ("variants: {base: {0: base-seed0}}", "lists the checkpoint 'base-seed1' 0 times"),
        (
            "variants: {x: {0: base-seed0, 1: base-seed1}, y: {0: base-seed1}}",
            "lists the checkpoint 'base-seed1' 2 times",
        ),
    ],
)
def test_a_file_of_variants_that_cannot_be_used(tmp_path: Path, content: str, words: str) -> None:
    place = tmp_path / "results"
    seeds(place, "base", 0, range(2))
    file = tmp_path / "experiment.yaml"
    file.write_text(content)
    with pytest.raises(UsageError, match=words):
        compare(find(["*"], str(place)).results, group_by=str(file))


def test_seeds_that_differ_are_welchs(tmp_path: Path) -> None:
    seeds(tmp_path, "base", 0, range(4))
    seeds(tmp_path, "new", 3, range(1, 4))
    (one,) = compare(find(["*"], str(tmp_path)).results, group_by="{variant}-seed{seed}")
    ours, theirs = [0.5, 0.52, 0.54, 0.56], [0.55, 0.57, 0.59]
    expected = stats.ttest_ind(theirs, ours, equal_var=False)
    assert one.p == pytest.approx(expected.pvalue)
    assert one.p_corrected == one.p
    assert (one.low, one.high) == pytest.approx(tuple(expected.confidence_interval()))
    assert one.test == "Welch's t-test over 4 and 3 seeds"
    assert "exact permutation p 0.114" in one.note
    assert "to show a difference of this size takes about" in one.note
    assert "all 12 pairs of seeds" in one.note


def test_one_seed_has_no_spread(tmp_path: Path) -> None:
    seeds(tmp_path, "base", 0, range(3))
    seeds(tmp_path, "new", 3, range(1))
    (one,) = compare(find(["*"], str(tmp_path)).results, group_by="{variant}-seed{seed}")
    assert one.test.startswith("no test: new has one seed, which has no spread")
    assert (one.p, one.low, one.candidate_spread) == (None, None, None)


def test_json_has_every_number_and_reads_back(two: Path) -> None:
    found = compare(find(("a", "b"), str(two)).results)
    content = json.loads(as_text("compare", comparisons(found, ["a remark"])))
    assert content["remarks"] == ["a remark"]
    assert [Comparison(**entry) for entry in content["comparisons"]] == found


def test_every_refusal_is_bad_input() -> None:
    assert issubclass(ComparisonError, Gpt2EvalError)
    assert ComparisonError.exit_code == UsageError.exit_code == 2


def test_a_difference_that_never_varies_has_no_effect_size(tmp_path: Path) -> None:
    losses = [2.0 + i / 7 for i in range(40)]
    write_run(tmp_path, "a", {"perplexity": [(x, 1.0) for x in losses]})
    write_run(tmp_path, "b", {"perplexity": [(x + 0.1, 1.0) for x in losses]})
    one = of(tmp_path, "a", "b")["perplexity"]
    assert one.effect is None  # not 1e15, as rounding would have it
    assert one.p == 1 / 10_001


@pytest.mark.parametrize(
    ("pattern", "metric", "named"),
    [
        ("f1", "f1", True),
        ("f1*", "f1_best", True),
        ("coqa@paper/f1", "f1", True),
        ("coqa/*", "f1", True),
        ("*", "f1/news", False),  # parts are asked for as such
        ("f1*", "f1/news", False),
        ("f1/news", "f1/news", True),
        ("coqa/f1/*", "f1/news", True),
        ("squad/f1", "f1", False),
    ],
)
def test_patterns_of_metrics(pattern: str, metric: str, named: bool) -> None:
    assert names(pattern, "coqa@paper", metric) == named
