"""The methods text says what is true of these runs, and cites what they used."""

from __future__ import annotations

import re

import pytest

from gpt2eval.report.bibliography import Bibliography, entries_of
from gpt2eval.report.methods import Methods, methods_of
from gpt2eval.report.sections import group
from gpt2eval.report.significance import Significance, significance
from gpt2eval.task import discover
from gpt2eval.types import Comparison, Result
from tests.report.building import compared, estimate, result

LAMBADA_BIBTEX = """
@inproceedings{paperno2016,
  author = {Paperno, Denis},
  title = {The {LAMBADA} dataset},
  year = {2016},
}
"""


def methods(*results: Result, comparisons: list[Comparison] | None = None) -> Methods:
    return methods_of(group(results), significance(comparisons or []))


def cited(text: Methods) -> set[str]:
    """The keys of methods.tex; both forms cite the same, and the file has those and no others."""
    keys = {key for keys in re.findall(r"\\cite\{([^}]*)\}", text.latex) for key in keys.split(",")}
    in_markdown = re.findall(r"\[(@[^\]]*)\]", text.markdown)
    assert keys == {key.lstrip("@") for keys in in_markdown for key in keys.split("; ")}
    assert keys == set(re.findall(r"^@\w+\{([^,]+),", text.bibliography, re.MULTILINE))
    return keys


def lambada(name: str = "gpt2", **changes: object) -> Result:
    metrics = {
        "accuracy": estimate(
            0.3256,
            0.31,
            0.34,
            "fraction",
            higher=True,
            method="95% Wilson score interval over 5153 samples",
            denominator="5153 passages",
        )
    }
    run = result(name, "lambada@openai", metrics, selected=5153, available=5153)
    run.task.update(source="Paperno et al. 2016", bibtex=LAMBADA_BIBTEX)  # type: ignore[attr-defined]
    run.run.update(changes)  # type: ignore[attr-defined]
    return run


def test_everything_that_makes_the_number_is_said() -> None:
    text = methods(lambada()).markdown.replace("\\", "")
    for words in (
        "1 checkpoint: **gpt2** (124M parameters, weights SHA-256 677074320000)",
        "PyTorch 2.13.0 [@paszke2019]",
        "transformers 5.1.0 [@wolf2020]",
        "weights in fp32",
        "seed 0",
        "**lambada@openai** [@paperno2016] (version 1)",
        "windows disjoint; detokenizer lm-eval",
        "lambada.test.txt, SHA-256 d790b833ef8c",
        "all 5,153 samples",
        "**accuracy**: over 5153 passages",
        "nothing failed, no context truncated",
        "95% Wilson score interval [@wilson1927]: all metrics",
    ):
        assert words in text, words


def test_what_differs_between_checkpoints_is_said_of_each() -> None:
    runs = []
    for name, tokens in (("gpt2", 287_644), ("other-tokenizer", 301_122)):
        metrics = {"token_perplexity": estimate(29.9, denominator=f"{tokens} tokens")}
        runs.append(result(name, metrics=metrics, dtype="bf16" if tokens > 3e5 else "fp32"))
    runs[1].run.update(n_ctx=1024, scorer={"name": "judge", "sha256": "ab" * 32})  # type: ignore[attr-defined]
    words = methods(*runs).markdown.replace("\\", "")
    assert "**token_perplexity**: over 287644 tokens and 301122 tokens." in words
    assert "weights in fp32 and bf16" in words
    assert "with a context of 1024 tokens" in words
    assert "What was written was scored by **judge** (weights SHA-256 abababababab)." in words


def test_what_was_not_used_is_not_named() -> None:
    text = methods(lambada())
    assert cited(text) == {"gpt2eval", "radford2019", "paszke2019", "wolf2020"} | {
        "paperno2016",
        "wilson1927",
    }
    for word in ("bootstrap", "Comparisons", "Holm", "sample data", "lm-eval 0.4"):
        assert word not in text.markdown.replace("detokenizer lm-eval", "")


def test_metrics_are_cited_where_their_signature_shows_them() -> None:
    sacrebleu = "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:2.6.0"
    metrics = {
        "bleu": estimate(11.5, unit="points", higher=True, signature=sacrebleu),
        "rouge1": estimate(21.5, unit="points", higher=True, signature="rouge-score:0.1.2|stem:no"),
    }
    assert {"papineni2002", "post2018", "lin2004", "efron1979"} <= cited(
        methods(result(task="wmt@paper", metrics=metrics))
    )
    # Somebody else's "bleu", with a counter of its own.
    own = {"bleu": estimate(11.5, unit="points", higher=True, signature="mine:1")}
    assert "post2018" not in cited(methods(result(task="wmt@paper", metrics=own)))


def test_tests_and_corrections_are_those_of_the_comparisons() -> None:
    pair = [lambada("gpt2"), lambada("mine")]
    text = methods(*pair, comparisons=[compared("mine", 0.05)])
    assert {"mcnemar1947", "holm1979"} <= cited(text)
    words = text.markdown.replace("\\", "")
    assert "1 test against **gpt2**" in words
    assert "Exact McNemar test [@mcnemar1947]: **lambada@openai** (accuracy; n = 600)." in words
    flipped = compared("mine", 0.05, test="paired sign-flip permutation test")
    assert "mcnemar1947" not in cited(methods(*pair, comparisons=[flipped]))
    assert (
        "Comparisons" not in methods(*pair, comparisons=[compared("mine", 0.05, p=None)]).markdown
    )


def test_imported_results_are_said_to_be() -> None:
    theirs = lambada("theirs", tool="lm-eval", versions={"lm-eval": "0.4.13"})
    theirs.checkpoint.update(sha256="")  # type: ignore[attr-defined]
    theirs.ledger.clear()  # type: ignore[attr-defined]
    text = methods(lambada(), theirs)
    assert "gao2024" in cited(text)
    words = text.markdown.replace("\\", "")
    assert "computed with lm-eval 0.4.13 [@gao2024] and imported" in words
    assert "digest of the weights unknown" in words
    assert "**theirs**: failures and truncation unknown." in words


def test_imports_alone_claim_nothing_of_gpt2eval() -> None:
    theirs = lambada("theirs", tool="lm-eval", versions={"lm-eval": "0.4.13"})
    assert cited(methods(theirs)) == {"gao2024", "paperno2016", "wilson1927"}


def test_sample_data_are_said_to_be() -> None:
    assert "cannot be compared with published" in methods(result(source="bundled")).markdown


def test_a_plug_in_without_entries_is_cited_by_its_source() -> None:
    run = lambada()
    run.task.update(name="cap_it", source="Us & them 2026, 100% {ours}", bibtex="")  # type: ignore[attr-defined]
    text = methods(run)
    assert "cap_it" in cited(text)
    assert r"Us \& them 2026, 100\% \textbraceleft{}ours\textbraceright{}" in text.bibliography


@pytest.mark.parametrize(
    "hostile",
    [
        "@misc{a, title = {x}",
        "@misc{a, title = {\\input{/etc/passwd}}}",
        "@misc{a, title = {^^5cinput{x}}}",
        '@preamble{"\\newcommand{x}{y}"}',
        "@string{a = {b}}",
        "not an entry",
        "@misc{a, title = {x}}} @misc{b, title = {y}}",
        "@misc{a b, title = {x}}",
    ],
)
def test_entries_that_do_more_than_print_are_refused(hostile: str) -> None:
    assert entries_of(hostile) == {}
    run = lambada()
    run.task.update(bibtex=hostile)  # type: ignore[attr-defined]
    assert "lambada" in cited(methods(run))


def test_one_key_for_two_entries_becomes_two() -> None:
    cited_ = Bibliography()
    first = cited_.benchmark(lambada())
    again = cited_.benchmark(lambada("other"))
    other = lambada()
    other.task.update(
        bibtex=LAMBADA_BIBTEX.replace("LAMBADA", "OTHER").replace("paperno", "Paperno")
    )  # type: ignore[attr-defined]
    assert (first, again) == (("paperno2016",), ("paperno2016",))
    assert cited_.benchmark(other) == ("paperno2016x",)
    assert cited_.text().count("@inproceedings") == 2


def test_every_built_in_task_brings_entries() -> None:
    tasks = discover()
    assert len(tasks) > 20
    missing = [name for name, task in tasks.items() if not entries_of(task.bibtex)]
    assert missing == []
    # Two tasks may share an entry; then it is the same to the letter.
    found: dict[str, str] = {}
    for task in tasks.values():
        for key, entry in entries_of(task.bibtex).items():
            assert found.setdefault(key, entry) == entry
            fields = dict(re.findall(r"^\s+(\w+) = \{(.*)", entry, re.MULTILINE))
            assert {"author", "title", "year", "url"} <= fields.keys()
            assert re.search(rf"{fields['year'].rstrip('},')}$", key)


def test_the_text_is_deterministic_and_ascii_in_latex() -> None:
    one, other = (methods(lambada(), lambada("é模")) for _ in range(2))
    assert one == other
    assert one.latex.isascii()
    assert one.bibliography.isascii()


def test_nothing_to_say_is_no_error() -> None:
    bare = result(metrics={})
    for section in (bare.run, bare.data, bare.task):
        for key in [k for k in section if k not in ("name", "protocol")]:
            del section[key]  # type: ignore[attr-defined]
    text = methods_of(group([bare]), Significance())
    assert "**wikitext2@lm-eval**" in text.markdown


LINEAGE = {
    "base": {"name": "gpt2", "sha256": "b" * 64},
    "step": 1,
    "tokens_seen": 12_345,
    "seed": 3,
}


def tuned(**changes: object) -> str:
    """The methods of a checkpoint with a record of its fine-tuning."""
    run = lambada("tuned")
    weights = run.checkpoint["sha256"]
    record = {**LINEAGE, "weights_sha256": weights, **changes}
    run.checkpoint.update(finetuned=record)  # type: ignore[attr-defined]
    return methods(run).markdown.replace("\\", "")


def test_how_a_checkpoint_was_fine_tuned_is_said() -> None:
    told = "fine-tuned from gpt2 with weights SHA-256 bbbbbbbbbbbb in 1 step over 12,345 tokens"
    assert f"{told}, seed 3)" in tuned()


@pytest.mark.parametrize(
    "changes",
    [{"weights_sha256": "c" * 64}, {"base": "gpt2"}, {"step": "many"}, {"tokens_seen": None}],
)
def test_a_record_of_other_weights_or_in_another_form_is_not(changes: dict[str, object]) -> None:
    assert "fine-tuned" not in tuned(**changes)
