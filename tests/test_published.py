"""Published numbers: the file, whose they are, and what is said of them."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gpt2eval import published
from gpt2eval.data import UNKNOWN_FILE
from gpt2eval.published import DIFFERS, MATCH, OTHER, agrees, entries, judge, known_model, rows
from gpt2eval.report.document import report_markdown
from gpt2eval.report.sections import group
from gpt2eval.report.tables import verdicts_markdown
from gpt2eval.terminal.results import show_results
from gpt2eval.types import Result
from tests.report.building import SIZES, estimate, result
from tests.test_task import BUILT_IN, PROTOCOLS

CONTENT = json.loads(
    (Path(published.__file__).parent / "reference_numbers.json").read_text("utf-8")
)
ENTRIES = [entry for task in BUILT_IN for entry in entries(task)]


# ---- the file -----------------------------------------------------------------------------------


def test_every_entry_is_of_a_task_that_is_here() -> None:
    assert len(ENTRIES) == len(CONTENT["numbers"]) > 100
    assert {entry["source"] for entry in CONTENT["numbers"]} == set(CONTENT["sources"])


@pytest.mark.parametrize("entry", ENTRIES, ids=[f"{e['task']}-{e['how']}" for e in ENTRIES])
def test_an_entry_fits_the_metric_it_names(entry: dict[str, Any]) -> None:
    assert entry["how"]
    assert entry["where"]
    assert entry["values"]
    assert ("tolerance" in entry) == bool(entry["protocols"])
    for protocol in entry["protocols"]:
        _, known = PROTOCOLS[f"{entry['task']}@{protocol}"]
        (metric,) = [m for m in known.metrics if m.name == entry["metric"]]
        assert metric.unit == entry["unit"]
    for value in entry["values"].values():
        assert math.isfinite(value)
        assert value > 0
        assert value <= 1 or entry["unit"] != "fraction"
        assert value <= 100


def test_the_checkpoints_have_the_sizes_that_openai_released() -> None:
    assert {name: facts["parameters"] for name, facts in published.models().items()} == SIZES


@pytest.mark.shared
def test_every_value_was_read_in_its_source(shared_data: Path) -> None:
    """The list it was taken from says so of each; its unit is percent where ours is a fraction."""
    path = shared_data.parent / "reference_numbers.json"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    read = {
        (row["model"].split(" ")[0], round(float(row["value"]), 6))
        for row in json.loads(path.read_text("utf-8"))
        if row["status"] == "source-read"
    }
    assert len(read) > 100
    for entry in ENTRIES:
        for model, value in entry["values"].items():
            same = {(model, round(value, 6))}
            if entry["unit"] == "fraction":
                same.add((model, round(100 * value, 6)))
            assert same & read, (entry["task"], entry["how"], model, value)


# ---- whose checkpoint it is ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("checkpoint", "name"),
    [
        ({"path": "gpt2", "revision": "607a30d"}, "gpt2"),
        ({"path": "openai-community/gpt2-xl", "revision": "15ea56d"}, "gpt2-xl"),
        ({"path": "/models/mine", "sha256": CONTENT["models"]["gpt2"]["sha256"][0]}, "gpt2"),
        # A directory of that name may hold anything.
        ({"path": "gpt2", "revision": "", "sha256": "0" * 64}, ""),
        ({"path": "./gpt2", "revision": ""}, ""),
        ({"path": "somebody/gpt2", "revision": "607a30d"}, ""),
        ({}, ""),
    ],
)
def test_known_checkpoints(checkpoint: dict[str, str], name: str) -> None:
    assert known_model(checkpoint) == name


# ---- verdicts -----------------------------------------------------------------------------------

HUB = {"path": "gpt2", "revision": "607a30d783df"}


def lambada(accuracy: float = 0.3256, perplexity: float = 40.06, **changes: Any) -> Result:
    """GPT-2 small on LAMBADA as lm-eval asks it."""
    name = changes.pop("task", "lambada@openai")
    made = result(
        "gpt2",
        name,
        {
            "accuracy": estimate(accuracy, unit="fraction", higher=True),
            "perplexity": estimate(perplexity),
        },
        references=rows(*name.split("@")),
        selected=5153,
        available=5153,
        **changes,
    )
    return replace(made, checkpoint={**made.checkpoint, **HUB})


def verdicts(one: Result) -> dict[tuple[str, str], str]:
    return {(j.row["metric"], j.row["source"]): j.verdict for j in judge(one)}


def test_match_differs_and_not_the_same_protocol() -> None:
    found = verdicts(lambada(accuracy=0.3262, perplexity=40.20))
    assert found["accuracy", "lm-eval, issue 2159"] == MATCH
    assert found["perplexity", "lm-eval, issue 2159"] == DIFFERS
    assert found["accuracy", "Radford et al. 2019, Table 3"] == OTHER
    last = verdicts(lambada(accuracy=0.4667, task="lambada@openai-last-token"))
    assert last["accuracy", "Radford et al. 2019, Table 3"] == MATCH
    assert last["accuracy", "lm-eval, issue 2159"] == OTHER


def test_only_the_checkpoints_own_numbers_are_judged() -> None:
    assert {j.row["model"] for j in judge(lambada())} == {"gpt2"}
    unknown = replace(lambada(), checkpoint={"name": "gpt2", "path": "./gpt2", "revision": ""})
    assert judge(unknown) == []


def test_sample_data_have_no_published_values() -> None:
    assert judge(lambada(source="bundled")) == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"subset": "random 100, seed 0"}, "not judged: a subset"),
        ({"verdict": UNKNOWN_FILE}, "not judged: a file that is not on record"),
    ],
)
def test_what_is_not_the_published_text_is_not_judged(changes: dict[str, str], reason: str) -> None:
    one = lambada()
    found = judge(replace(one, data={**one.data, **changes}))
    assert {j.verdict for j in found} == {reason, OTHER}


def test_a_strangers_numbers_are_judged_if_they_say_how_far() -> None:
    row = {"model": "gpt2", "metric": "accuracy", "value": 0.5, "source": "us"}
    one = lambada(accuracy=0.5)
    bare = replace(one, task={**one.task, "references": [row]})
    told = replace(one, task={**one.task, "references": [{**row, "tolerance": 0.01}]})
    assert [j.verdict for j in judge(bare)] == ["not judged: no tolerance given"]
    assert [j.verdict for j in judge(told)] == [MATCH]


@pytest.mark.parametrize(
    ("found", "expected", "tolerance", "same"),
    [
        (1.02, 1.0, 0.021, True),
        (0.98, 1.0, 0.021, True),
        (1.03, 1.0, 0.021, False),
        (math.inf, 1.0, 0.03, False),
        (math.nan, 1.0, 0.03, False),
    ],
)
def test_agreement(found: float, expected: float, tolerance: float, same: bool) -> None:
    assert agrees(found, expected, tolerance) is same


def test_tolerance_leaves_room_for_openais_own_second_run() -> None:
    """The largest model was scored twice by those who made it."""
    pairs = {}
    for entry in ENTRIES:
        if entry["source"].startswith(("OpenAI's run", "Radford")) and entry["protocols"]:
            value = entry["values"].get("gpt2-xl")
            pairs.setdefault((entry["task"], entry["metric"]), []).append(
                (value, entry["tolerance"])
            )
    twice = [found for found in pairs.values() if len(found) == 2]
    assert len(twice) == 3
    for (first, tolerance), (second, _) in twice:
        assert agrees(second, first, tolerance)


# ---- where they are shown -----------------------------------------------------------------------


def test_the_report_shows_value_protocol_source_and_verdict() -> None:
    text = verdicts_markdown(group([lambada(perplexity=41.0)])[0])
    assert (
        "| gpt2 | accuracy | OpenAI's text, whole word | lm-eval, issue 2159 | 32.56 % | 32.56 % |"
        " match to 0.2 % |" in text
    )
    assert "| 40.06 | 41.00 | differs by more than 0.2 % |" in text
    assert re.search(r"\| 45\.99 % \| - \| not the same protocol \|", text)


def test_the_report_tells_the_story_once_and_never_beside_sample_data() -> None:
    story = {"story": "Why 32.56 % is not 45.99 %."}

    def page(*results: Result) -> str:
        told = [replace(one, task={**one.task, **story}) for one in results]
        return report_markdown("", group(told), [])

    both = page(lambada(), lambada(task="lambada@openai-last-token"))
    assert both.count(story["story"]) == 1
    sample = page(lambada(source="bundled"))
    assert story["story"] not in sample
    assert "45.99" not in sample
    assert "Published values are left out" in sample


def test_other_protocols_are_not_in_the_table_of_scores() -> None:
    (section,) = group([lambada()])
    assert {row["source"] for row in section.references} == {
        "lm-eval, issue 2159",
        "lm-eval, crumb/gpt2023 model card",
        "lm-eval, gpt-neo README",
        "lm-eval, issue 911",
    }


def test_the_terminal_names_verdicts(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    show_results([lambada(perplexity=41.0)], tmp_path)
    shown = " ".join(capsys.readouterr().out.split())
    assert "accuracy: 32.56 %; published 32.56 % (lm-eval, issue 2159): match to 0.2 %" in shown
    assert (
        "perplexity: 41.00; published 40.06 (lm-eval, issue 2159): differs by more than 0.2 %"
        in shown
    )
    assert re.search(r"\d+ more published, not the same protocol", shown)


def test_the_terminal_says_how_many_examples_there_were(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    plain, one = result("a", "sst2@lm-eval"), result("b", "sst2@lm-eval")
    shots = replace(one, task={**one.task, "options": {"num_fewshot": 1}})
    show_results([plain], tmp_path)
    assert "example" not in capsys.readouterr().out
    show_results([plain, shots], tmp_path)
    assert capsys.readouterr().out.count("sst2@lm-eval: 1 example before each question\n") == 1


# ---- explanations -------------------------------------------------------------------------------

STORIES = [name for name, task in BUILT_IN.items() if task.story]


def test_the_questions_most_asked_are_answered() -> None:
    assert set(STORIES) == {"lambada", "wikitext2", "wikitext103", "ptb", "cbt_cn", "cbt_ne"}


@pytest.mark.parametrize("name", STORIES)
def test_numbers_of_a_story_are_published_ones(name: str) -> None:
    """Every number with two decimals is in the file, or follows from two that are."""
    derived = {"53.6", "24.8"}
    family = {"cbt_cn": ["cbt_ne"], "cbt_ne": ["cbt_cn"]}.get(name, [name])
    family += ["wikitext2", "wikitext103"] if name.startswith("wikitext") else [name]
    known = set()
    for task in family:
        for entry in entries(task):
            for value in entry["values"].values():
                known.add(f"{value * (100 if entry['unit'] == 'fraction' else 1):.2f}")
    told = set(re.findall(r"(?<![\d,])\d+\.\d+(?!\d)", BUILT_IN[name].story)) - {"2.5"} - derived
    assert told
    assert told <= known


@pytest.mark.parametrize("name", STORIES)
def test_protocols_of_a_story_exist(name: str) -> None:
    told = set(re.findall(r"@([\w-]+)", BUILT_IN[name].story))
    assert told
    assert told <= {protocol.name for task in BUILT_IN.values() for protocol in task.protocols}


def test_wikitext_has_nine_values_of_the_small_model() -> None:
    values = {
        f"{entry['values']['gpt2']:.2f}"
        for task in ("wikitext2", "wikitext103")
        for entry in entries(task)
        if "gpt2" in entry["values"]
        and entry["metric"] in ("word_perplexity", "token_perplexity")
        and "validation" not in entry["how"]
    }
    assert len(values) == 9
    assert (min(values), max(values)) == ("24.50", "48.40")
    assert "nine published values on this one test text, from 24.50 to 48.40" in (
        BUILT_IN["wikitext2"].story
    )


def test_the_derived_numbers_of_wikitext() -> None:
    """The same log-likelihood over another count of the official file."""
    per_word_and_end = math.exp(math.log(29.94) * 287_644 / 245_569)
    per_token = math.exp(math.log(37.3698) * 241_335 / 272_082)
    assert f"{per_word_and_end:.1f} per word and line end" in BUILT_IN["wikitext2"].story
    assert f"{per_token:.1f} per token" in BUILT_IN["wikitext2"].story
