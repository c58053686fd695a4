"""Which results stand together, and what their columns are called."""

from __future__ import annotations

from gpt2eval.report.sections import checkpoint_labels, data_mark, distinguish, file_stems, group
from tests.report.building import estimate, paper, result


def test_different_data_are_different_sections() -> None:
    whole = result("a", "lambada@lm-eval", selected=5153, available=5153)
    part = result("b", "lambada@lm-eval", subset="random 100, seed 0", selected=100, available=5153)
    titles = [section.title for section in group([whole, part])]
    assert titles == [
        "lambada@lm-eval (all 5,153)",
        "lambada@lm-eval (subset: random 100 of 5153, seed 0)",
    ]


def test_equal_questions_share_a_section() -> None:
    (section,) = group([result("a"), result("b")])
    assert list(section.results) == ["a", "b"]
    assert (section.title, section.stem) == ("wikitext2@lm-eval", "wikitext2@lm-eval")


def test_one_name_for_two_checkpoints_is_told_apart() -> None:
    labels = checkpoint_labels([result("a", sha256="1" * 64), result("a", sha256="2" * 64)])
    assert labels == ["a (11111111)", "a (22222222)"]


def test_dtypes_and_repeats_are_told_apart() -> None:
    assert checkpoint_labels([result("a"), result("a", dtype="bf16")]) == ["a (fp32)", "a (bf16)"]
    assert checkpoint_labels([result("a"), result("a")]) == ["a (run 1)", "a (run 2)"]


def test_one_checkpoint_on_two_tasks_is_one_column() -> None:
    assert checkpoint_labels([result("a"), result("a", "lambada@paper")]) == ["a", "a"]


def test_distinguish_adds_no_more_than_needed() -> None:
    assert distinguish(["a", "b", "a"], ["x", "y", "z"]) == ["a (x)", "b", "a (z)"]
    assert distinguish(["a", "a"], ["x", "x"]) == ["a (1)", "a (2)"]


def test_file_names_differ_beyond_case() -> None:
    assert file_stems(["A", "a", "summary"], taken=["summary"]) == ["A", "a-2", "summary-2"]


def test_marks_of_the_data() -> None:
    sample = result(source="bundled", subset="random 10, seed 0", selected=10, available=40)
    assert data_mark(result()) == ""
    assert (
        data_mark(sample) == "sample data, not a benchmark score; subset: random 10 of 40, seed 0"
    )


def test_a_subset_names_its_size_once() -> None:
    def mark(subset: str) -> str:
        return data_mark(result(subset=subset, selected=100, available=5153))

    assert mark("first 100") == "subset: first 100 of 5153"
    assert mark("hand-picked") == "subset: 100 of 5153, hand-picked"


def test_published_values_are_not_for_sample_data() -> None:
    references = paper("word_perplexity", 29.41)
    (whole,) = group([result(references=references)])
    (sample,) = group([result(references=references, source="bundled")])
    assert [row["value"] for row in whole.references] == [29.41]
    assert sample.references == []


def test_a_baseline_scored_twice_appears_once() -> None:
    lede, other = estimate(40.4, unit="points"), estimate(28.8, unit="points")
    runs = [
        result(name, "cnndm@paper", baselines={"lede-3": {"rouge1": lede}, "random-3": random})
        for name, random in (("a", {"rouge1": other}), ("b", {"rouge1": lede}))
    ]
    (section,) = group(runs)
    assert list(section.baselines) == ["lede-3", "random-3", "random-3 (run of b)"]
