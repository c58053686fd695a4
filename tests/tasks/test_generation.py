"""Prompts of summaries and translations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from gpt2eval_tasks import cnn_dailymail, multi30k, wmt14, xsum
from hypothesis import given
from hypothesis import strategies as st

from gpt2eval.data import bundled_directory, load
from gpt2eval.errors import DataError
from gpt2eval.recipes import translation
from gpt2eval.task import Protocol, Task, discover
from gpt2eval.types import Generate

TRANSLATIONS = (
    wmt14.WMT14_FR_EN,
    wmt14.WMT14_EN_FR,
    multi30k.MULTI30K_FR_EN,
    multi30k.MULTI30K_EN_FR,
)


def asked(protocol: Protocol, row: dict[str, str]) -> Generate:
    (sample,) = protocol.samples([row])
    (request,) = protocol.requests(sample)
    assert isinstance(request, Generate)
    return request


@pytest.mark.parametrize(
    ("task", "columns"),
    [
        (cnn_dailymail.CNN_DAILYMAIL, ("article", "highlights")),
        (xsum.XSUM, ("document", "summary")),
    ],
)
@given(text=st.text())
def test_summary_prompt(task: Task, columns: tuple[str, str], text: str) -> None:
    """The article as it is, white space included."""
    for protocol in task.protocols:
        request = asked(protocol, {columns[0]: text, columns[1]: "gold"})
        assert request.prompt == f"{text}\nTL;DR:"
        assert request.max_new_tokens == 100
        assert request.stop == ()
        sampled = protocol.name == "tldr"
        assert (request.temperature, request.top_k) == ((1.0, 2) if sampled else (0.0, 0))


@pytest.mark.parametrize("task", TRANSLATIONS, ids=lambda task: task.name)
def test_translation_prompt(task: Task) -> None:
    """Five pairs in the direction of the task, none of them in the test set."""
    protocol = task.protocols[0]
    source, target = task.name[-5:].split("_")
    request = asked(protocol, {source: "Bonjour.", target: "Hello.", "id": "1"})
    *shots, last = request.prompt.split("\n")
    assert last == "Bonjour. ="
    assert len(shots) == 5
    assert all(shot.count(" = ") == 1 for shot in shots)
    assert request.stop == ("\n",)
    assert request.temperature == 0
    english = [shot.split(" = ")[0 if source == "en" else 1] for shot in shots]
    assert all(text.isascii() for text in english)
    rows = load(protocol.dataset, "bundled").rows
    sentences = {row[language] for row in rows for language in (source, target)}
    assert sentences.isdisjoint(part for shot in shots for part in shot.split(" = "))


@pytest.mark.parametrize("task", TRANSLATIONS, ids=lambda task: task.name)
def test_the_two_directions_mirror_each_other(task: Task) -> None:
    protocol = task.protocols[0]
    source, target = task.name[-5:].split("_")
    other = next(
        t for t in TRANSLATIONS if t.name == f"{task.name[:-5]}{target}_{source}"
    ).protocols[0]
    ours = list(protocol.samples(load(protocol.dataset, "bundled").rows))
    theirs = list(other.samples(load(other.dataset, "bundled").rows))
    assert [sample.references[0] for sample in ours] == [s.fields["source"] for s in theirs]
    assert [sample.id for sample in ours] == [sample.id for sample in theirs]


def test_rows_keep_their_ids() -> None:
    """Numbers from 0 as much as digests; a row without one is known by its place."""
    rows = [{"document": "a", "summary": "b", "id": own} for own in (0, 1, "f00", "", None)]
    samples = xsum.XSUM.protocols[0].samples(rows)
    assert [sample.id for sample in samples] == ["0", "1", "f00", "4", "5"]
    pairs = [{"fr": "a", "en": "b", "id": own} for own in (0, 1)]
    samples = wmt14.WMT14_FR_EN.protocols[0].samples(pairs)
    assert [sample.id for sample in samples] == ["0", "1"]


@pytest.mark.parametrize("content", ["", "a\tb\n" * 4, "a b\n" * 5, "a\tb\tc\n" * 5])
def test_bad_example_pairs(tmp_path: Path, content: str) -> None:
    path = tmp_path / "examples.tsv"
    path.write_text(content, "utf-8")
    dataset: Any = None
    with pytest.raises(DataError, match=r"examples\.tsv: expected at least 5 lines of English"):
        translation("p", "s", dataset, ("en", "fr"), path)


@pytest.mark.shared
def test_counts_of_authentic_files(shared_data: Path) -> None:
    for task, count in (
        (wmt14.WMT14_FR_EN, 3_003),
        (wmt14.WMT14_EN_FR, 3_003),
        (multi30k.MULTI30K_FR_EN, 1_000),
        (cnn_dailymail.CNN_DAILYMAIL, 500),
        (xsum.XSUM, 1_000),
    ):
        protocol = task.protocols[0]
        loaded = load(protocol.dataset, shared_data)
        samples = list(protocol.samples(loaded.rows))
        assert len(samples) == len({sample.id for sample in samples}) == count, task.name
        assert not loaded.provenance["verdict"].startswith("unknown"), task.name


@pytest.mark.shared
def test_samples_are_of_the_authentic_files_or_our_own() -> None:
    """Where bundled files come from is written beside them."""
    text = (bundled_directory() / "PROVENANCE.md").read_text("utf-8")
    for folder in sorted(path.name for path in bundled_directory().iterdir() if path.is_dir()):
        assert folder in text, folder


@pytest.mark.parametrize(
    ("name", "prompt"),
    [
        ("wmt14_fr_en", "French phrase: {fr}\nEnglish phrase:"),
        ("wmt14_en_fr", "English phrase: {en}\nFrench phrase:"),
    ],
)
def test_lm_evals_translation_names_the_languages(name: str, prompt: str) -> None:
    """Its files in `lm_eval/tasks/translation`; the texts are held against it in `oracles`."""
    (protocol,) = (p for p in discover()[name].protocols if p.name == "lm-eval")
    rows = [{"id": "d/1", "document": "d", "fr": "Le chat dort.", "en": "The cat sleeps."}]
    (sample,) = protocol.samples(rows)
    assert sample.references == (rows[0][name[-2:]],)
    assert (sample.id, sample.group) == ("d/1", "d")
    asked = prompt.format(**rows[0])
    assert list(protocol.requests(sample)) == [Generate(asked, 256, stop=("\n",))]
