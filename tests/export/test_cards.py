"""Model cards and entries of leaderboards, read back by huggingface_hub's own classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results

from gpt2eval.errors import DataError, UsageError
from gpt2eval.export import export
from gpt2eval.report.text import SAMPLE_NOTICE
from gpt2eval.results import load_results
from tests.comparing import answers, write_run

CARD = """---
# a comment that must stay
license: mit
language: [en]   # oddly written
model-index:
- name: old-name
  results:
  - task:
      type: text-generation
    dataset:
      name: other
      type: other/set
    metrics:
    - type: accuracy
      value: 0.5
      name: somebody's number
tags:
  - gpt2
---
# A model

    ---
Text with "quotes", trailing spaces\x20\x20
and a last line without an end"""


def read(path: Path) -> tuple[str, list[Any]]:
    """The name and the entries of a file of metadata."""
    return model_index_to_eval_results(yaml.safe_load(path.read_text("utf-8"))["model-index"])


def test_a_card_has_every_number_of_the_whole(benchmarks: Path, tmp_path: Path) -> None:
    paths = export([benchmarks], "model-index", tmp_path).paths
    assert [path.parent.name for path in paths] == ["demo-base", "demo-tuned"]
    for path in paths:
        name, entries = read(path)
        assert name == path.parent.name
        results = [x for x in load_results(benchmarks) if x.checkpoint["name"] == name]
        found = {(e.metric_args["protocol"], e.metric_name.split(" ")[0]): e for e in entries}
        assert len(found) == len(entries) == sum(len(x.metrics) for x in results)
        for result in results:
            for metric, estimate in result.metrics.items():
                entry = found[result.name, metric]
                assert entry.metric_value == estimate.value
                assert entry.metric_args["interval"] == [estimate.low, estimate.high]
                assert entry.metric_args["samples"] == estimate.n
                assert entry.metric_args["gpt2eval"] == result.signature
    assert "subset: random 9 of 65, seed 0" in read(paths[1])[1][0].metric_name


def test_data_sets_have_the_hubs_names(benchmarks: Path, tmp_path: Path) -> None:
    path, _ = export([benchmarks], "model-index", tmp_path).paths
    sets = {(e.dataset_type, e.dataset_config, e.dataset_split) for e in read(path)[1]}
    assert sets == {
        ("EleutherAI/lambada_openai", "default", "test"),
        ("Salesforce/wikitext", "wikitext-2-raw-v1", "test"),
    }
    types = {e.metric_type for e in read(path)[1]}
    assert types == {"accuracy", "perplexity", "bits_per_byte"}


def test_sample_data_are_marked_and_lead_no_board(scored: Path, tmp_path: Path) -> None:
    written = export([scored], "model-index", tmp_path)
    for entry in read(written.paths[0])[1]:
        assert SAMPLE_NOTICE in entry.dataset_name
        assert SAMPLE_NOTICE in entry.metric_name
        assert "/" not in entry.dataset_type
    assert SAMPLE_NOTICE in written.notes[0]
    with pytest.raises(UsageError, match=rf"left out \({SAMPLE_NOTICE}\): blimp@lm-eval"):
        export([scored], "eval-results", tmp_path)


def test_parts_stay_out_of_a_card(scored: Path, tmp_path: Path) -> None:
    (path,) = export([scored], "model-index", tmp_path).paths
    names = [e.metric_name for e in read(path)[1] if "blimp" in e.metric_name]
    assert [name.split(" ")[0] for name in names] == ["accuracy_macro", "accuracy"]


def test_a_card_keeps_every_line_of_its_own(benchmarks: Path, tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_bytes(CARD.encode())
    for _ in range(2):  # the second time numbers are replaced, not added
        export([benchmarks / "demo-base"], "model-index", tmp_path / "out", into=path)
        text = path.read_bytes().decode()
        card = ModelCard(text)
        assert card.data.license == "mit"
        assert card.data.tags == ["gpt2"]
        assert card.data.model_name == "old-name"
        names = [e.metric_name.split(" ")[0] for e in card.data.eval_results]
        assert names.count("somebody's") == 1
        assert len(names) == 6
        kept = [line for line in CARD.split("\n") if not line.startswith((" ", "- name", "model-"))]
        assert [line for line in text.split("\n") if line in kept] == kept
        assert text.endswith(CARD[CARD.index("---\n# A model") :])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["", "# Only text\n", "---\n---\n", "---\nlicense: mit\n---\n"])
def test_a_card_without_numbers_gets_some(benchmarks: Path, tmp_path: Path, text: str) -> None:
    path = tmp_path / "README.md"
    path.write_text(text)
    export([benchmarks / "demo-base"], "model-index", tmp_path, into=path)
    card = ModelCard(path.read_text())
    assert len(card.data.eval_results) == 5
    assert card.data.model_name == "demo-base"
    assert card.text.strip() == ("# Only text" if "Only" in text else "")
    assert ("license" in text) == (card.data.license == "mit" if card.data.license else False)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("---\na: [\n---\n", DataError, "metadata on top are not YAML"),
        ("---\n- a\n---\n", DataError, r"metadata on top are \['a'\]"),
        ("---\nmodel-index: 7\n---\n", UsageError, "not of one model; edit it by hand"),
        ("---\nmodel-index:\n- name: a\n---\n", DataError, "its model-index is not one"),
        (None, UsageError, "does not exist; expected the README.md of a model"),
    ],
)
def test_a_card_that_cannot_be_read_stays_as_it_is(
    benchmarks: Path, tmp_path: Path, text: str | None, error: type[Exception], message: str
) -> None:
    path = tmp_path / "README.md"
    if text is not None:
        path.write_text(text)
    with pytest.raises(error, match=message):
        export([benchmarks / "demo-base"], "model-index", tmp_path, into=path)
    assert (path.read_text() if path.exists() else None) == text


def test_a_card_is_of_one_model(benchmarks: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is the card of one model; the results are of demo-base"):
        export([benchmarks], "model-index", tmp_path, into=tmp_path / "README.md")


def test_a_perplexity_without_end_is_a_text(tmp_path: Path) -> None:
    rows = {"perplexity": [(1e6, 1.0), (1e6, 1.0)]}
    write_run(tmp_path / "results", "ruined", rows)
    (path,) = export([tmp_path / "results"], "model-index", tmp_path).paths
    ((entry,),) = [read(path)[1]]
    assert entry.metric_value == "inf"


def test_entries_of_leaderboards(benchmarks: Path, tmp_path: Path) -> None:
    from huggingface_hub import parse_eval_result_entries

    written = export([benchmarks], "eval-results", tmp_path)
    names = [path.relative_to(tmp_path).as_posix() for path in written.paths]
    assert names == [
        "demo-base/.eval_results/lambada@openai.yaml",
        "demo-base/.eval_results/wikitext2@lm-eval.yaml",
        "demo-tuned/.eval_results/lambada@openai.yaml",
    ]
    assert "check each task_id" in written.notes[-1]
    results = {(x.checkpoint["name"], x.name): x for x in load_results(benchmarks)}
    for path in written.paths:
        (entry,) = parse_eval_result_entries(yaml.safe_load(path.read_text("utf-8")))
        result = results[path.parts[-3], path.stem]
        name, estimate = next(iter(result.metrics.items()))
        assert entry.value == estimate.value
        assert entry.date == result.run["started"]
        assert entry.notes is not None
        assert entry.notes.startswith(f"{result.name}; {name} in {estimate.unit}")
        assert ("random 9" in entry.notes) == (path.parts[-3] == "demo-tuned")
    assert {path.stem for path in written.paths} == {"lambada@openai", "wikitext2@lm-eval"}


def test_results_of_an_unknown_task_have_a_card_and_no_board(tmp_path: Path) -> None:
    write_run(tmp_path / "results", "m", answers(9, 1))
    (path,) = export([tmp_path / "results"], "model-index", tmp_path).paths
    assert {entry.dataset_type for entry in read(path)[1]} == {"made"}
    with pytest.raises(UsageError, match="no task here says what the hub calls its data"):
        export([tmp_path / "results"], "eval-results", tmp_path)
