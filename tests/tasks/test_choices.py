"""Tasks of choices: their files, their prompts, and what is refused."""

from __future__ import annotations

import bz2
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gpt2eval_tasks import ag_news, blimp, cbt, copa, hellaswag, piqa, sst2, winograd

from gpt2eval.data import Dataset, load
from gpt2eval.errors import DataError
from gpt2eval.task import Protocol, Task
from gpt2eval.types import Sample, Score
from tests.data.directory import write


def protocol(task: Task, name: str) -> Protocol:
    return next(p for p in task.protocols if p.name == name)


def asked(protocol: Protocol, place: Path) -> list[list[tuple[str, str]]]:
    """(context, continuation) of every request of every sample."""
    samples = protocol.samples(load(protocol.dataset, place).rows)
    found = []
    for sample in samples:
        requests = protocol.requests(sample)
        assert all(isinstance(request, Score) for request in requests)
        found.append([(r.context, r.continuation) for r in requests if isinstance(r, Score)])
    return found


def golds(protocol: Protocol, place: Path) -> list[int]:
    rows = load(protocol.dataset, place).rows
    return [sample.fields["gold"] for sample in protocol.samples(rows)]


# ---- HellaSwag ----------------------------------------------------------------------------------

HELLASWAG = {
    "activity_label": "How to  boil an egg",
    "ctx_a": "[header] How to boil an egg [title] Fill a pot [edit] with water.",
    "ctx_b": "then the cook",
    "ctx": "[header] How to boil an egg [title] Fill a pot [edit] with water. then the cook",
    "endings": [" waits. ", "[step] sings.", "sleeps [title] Again", "leaves."],
    "label": "2",
}


def test_hellaswag_text_of_lm_eval_and_of_llm_c(tmp_path: Path) -> None:
    write(tmp_path / "hellaswag/hellaswag_val.jsonl", json.dumps(HELLASWAG) + "\n")
    (lm_eval,) = asked(protocol(hellaswag.HELLASWAG, "lm-eval"), tmp_path)
    context = "How to boil an egg: How to boil an egg. Fill a pot with water. Then the cook"
    assert lm_eval == [
        (context, f" {x}") for x in ("waits.", " sings.", "sleeps. Again", "leaves.")
    ]
    (llm_c,) = asked(protocol(hellaswag.HELLASWAG, "llm.c"), tmp_path)
    assert llm_c == [(HELLASWAG["ctx"], f" {ending}") for ending in HELLASWAG["endings"]]
    assert golds(protocol(hellaswag.HELLASWAG, "llm.c"), tmp_path) == [2]


def test_hellaswag_cleans_as_lm_eval() -> None:
    from lm_eval.tasks.hellaswag.utils import preprocess

    for text in (*HELLASWAG["endings"], HELLASWAG["ctx"], "a [x] [y] b", "  [title] c  d   e "):
        assert hellaswag.clean(str(text)) == preprocess(text)


def test_hellaswag_text_file_is_scored_as_it_stands(tmp_path: Path) -> None:
    text = "A: b [c] he\n1\nsits.\nruns.\njumps.\nsings.\n"
    path = tmp_path / "hellaswag/hellaswag_val_full.txt.bz2"
    path.parent.mkdir()
    path.write_bytes(bz2.compress(text.encode()))
    for each in hellaswag.HELLASWAG.protocols:
        (requests,) = asked(each, tmp_path)
        assert requests == [("A: b [c] he", f" {x}.") for x in ("sits", "runs", "jumps", "sings")]
        assert golds(each, tmp_path) == [1]
    path.write_bytes(bz2.compress(text.encode() + b"more\n"))
    with pytest.raises(DataError, match=r"has 7 lines; expected 6 an item"):
        load(hellaswag.VALIDATION, tmp_path)


# ---- what is refused ----------------------------------------------------------------------------

COPA = (
    '<copa-corpus><item id="1" asks-for="{ask}" most-plausible-alternative="{label}">'
    "<p>It rained.</p><a1>We got wet.</a1><a2>We sang.</a2></item></copa-corpus>"
)
SCHEMA = (
    "<collection><schema><text><txt1>The cup hit the plate, and</txt1><pron>it</pron>"
    "<txt2>{rest}</txt2></text><answers><answer>the cup</answer><answer>the plate</answer>"
    "</answers><correctAnswer>{label}</correctAnswer></schema></collection>"
)
CBT = "".join(f"{number} Line {number} .\n" for number in range(1, 21))
BAD: dict[str, tuple[Dataset, str, str, str]] = {
    "hellaswag": (
        hellaswag.VALIDATION,
        "hellaswag/hellaswag_val.jsonl",
        json.dumps(HELLASWAG | {"label": 4}),
        r"hellaswag_val\.jsonl, row 1: gold label 4; expected a whole number from 0 to 3",
    ),
    "hellaswag unlabelled": (
        hellaswag.VALIDATION,
        "hellaswag/hellaswag_val.jsonl",
        json.dumps(HELLASWAG | {"label": ""}),
        r"row 1: gold label ''; expected",
    ),
    "hellaswag without endings": (
        hellaswag.VALIDATION,
        "hellaswag/hellaswag_val.jsonl",
        json.dumps({key: text for key, text in HELLASWAG.items() if key != "endings"}),
        r"row 1: not in the form that was expected \(KeyError\('endings'\)\); found columns:",
    ),
    "copa": (
        copa.TEST,
        "copa/copa-test.xml",
        COPA.format(ask="effect", label=3),
        r"copa-test\.xml, row 1: gold label '3'; expected a whole number from 1 to 2",
    ),
    "copa without a choice": (
        copa.TEST,
        "copa/copa-test.xml",
        COPA.format(ask="cause", label="1").replace("We sang.", ""),
        r"row 1: \[premise, choice 1, choice 2\] is \['It rained.', 'We got wet.', None\]",
    ),
    "copa with one choice": (
        copa.TEST,
        "copa/copa-test.xml",
        COPA.format(ask="cause", label="1").replace("We sang.", "We got wet."),
        "both choices are 'We got wet.'; expected two that differ",
    ),
    "copa question": (
        copa.TEST,
        "copa/copa-test.xml",
        COPA.format(ask="reason", label=1),
        r"row 1: not in the form that was expected \(KeyError\('reason'\)\)",
    ),
    "winograd": (
        winograd.COLLECTION,
        "winograd/WSCollection.xml",
        SCHEMA.format(rest="broke.", label="C"),
        r"WSCollection\.xml, row 1: correct answer 'C'; expected A or B",
    ),
    "winograd at the end": (
        winograd.COLLECTION,
        "winograd/WSCollection.xml",
        SCHEMA.format(rest=" ", label="A"),
        r"row 1: nothing follows the pronoun in 'The cup hit the plate, and it '; expected",
    ),
    "winograd list": (
        winograd.COLLECTION,
        "winograd/wsc273.txt",
        "The cup hit the plate, and [MASK] broke.\n[MASK]\nthe cup,the plate\nthe fork\n\n",
        r"wsc273\.txt, row 1: .*right 'the fork'; expected one \[MASK\]",
    ),
    "sst2": (sst2.VALIDATION, "sst2/dev.tsv", "2\tgood\n", r"row 1: gold label '2'; expected"),
    "sst2 columns": (sst2.VALIDATION, "sst2/dev.tsv", "1 good\n", r"row 1: 1 columns in '1 good'"),
    "ag_news": (
        ag_news.TEST,
        "agnews/test.csv",
        '"0","T","D"\n',
        r"test\.csv, row 1: gold label '0'; expected a whole number from 1 to 4",
    ),
    "cbt answer": (
        protocol(cbt.CBT_CN, "paper").dataset,
        "cbt/cbtest_CN_valid_2000ex.txt",
        f"{CBT}21 A XXXXX .\tdog\t\tcat|cow\n",
        r"row 1: answer 'dog' is none of the options \['cat', 'cow'\]",
    ),
    "cbt blank": (
        protocol(cbt.CBT_CN, "paper").dataset,
        "cbt/cbtest_CN_valid_2000ex.txt",
        f"{CBT}21 A dog .\tdog\t\tcat|dog\n",
        r"row 1: 20 sentences and the question 'A dog \.'; expected 20, and a question with XXXXX",
    ),
    "cbt lines": (
        protocol(cbt.CBT_CN, "paper").dataset,
        "cbt/cbtest_CN_valid_2000ex.txt",
        CBT,
        r"row 1: 20 lines that begin with 1, 2, 3 \.\.\., the last of 1 columns; expected lines 1",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_rows_are_named_when_the_data_load(case: str, tmp_path: Path) -> None:
    dataset, file, content, message = BAD[case]
    write(tmp_path / file, content)
    with pytest.raises(DataError, match=message):
        load(dataset, tmp_path)


def test_piqa_needs_as_many_labels_as_questions(tmp_path: Path) -> None:
    row = json.dumps({"goal": "g", "sol1": "a", "sol2": "b"}) + "\n"
    write(tmp_path / "piqa/valid.jsonl", row * 2)
    write(tmp_path / "piqa/valid-labels.lst", "1\n")
    with pytest.raises(DataError, match=r"has 2 questions, .*valid-labels\.lst has 1 labels"):
        load(piqa.VALIDATION, tmp_path)


def test_an_unknown_paradigm(tmp_path: Path) -> None:
    (tmp_path / "blimp").mkdir()
    row = {"sentence_good": "a", "sentence_bad": "b", "UID": "wh_atever"}
    with zipfile.ZipFile(tmp_path / "blimp/BLiMP.zip", "w") as archive:
        archive.writestr("data/wh_atever.jsonl", json.dumps(row))
    rows = load(blimp.PAIRS, tmp_path).rows
    with pytest.raises(DataError, match=r"unknown paradigm 'wh_atever'"):
        list(blimp.samples(rows))


# ---- prompts ------------------------------------------------------------------------------------


def test_copa(tmp_path: Path) -> None:
    """lm-eval's two spaces, and PMI's sentences without a premise."""
    write(tmp_path / "copa/copa-test.xml", COPA.format(ask="effect", label=2))
    (two,) = asked(protocol(copa.COPA, "lm-eval"), tmp_path)
    context = "It rained therefore"
    assert two == [(context, "  we got wet."), (context, "  we sang.")]
    (pmi,) = asked(protocol(copa.COPA, "pmi"), tmp_path)
    one = [" we got wet.", " we sang."]
    assert pmi == [*((context, text) for text in one), *(("", text) for text in one)]
    assert golds(protocol(copa.COPA, "pmi"), tmp_path) == [1]


def test_copa_reads_superglue(tmp_path: Path) -> None:
    row = {"premise": "It rained. ", "choice1": "We got wet.", "choice2": "We sang."}
    row |= {"question": "cause", "label": 0, "idx": 0}
    write(tmp_path / "copa/val.jsonl", json.dumps(row))
    ((first, _),) = asked(protocol(copa.COPA, "lm-eval"), tmp_path)
    assert first == ("It rained because", "  we got wet.")


def test_sst2_reads_both_layouts(tmp_path: Path) -> None:
    for folder, content in (("a", "0\tbad film\n1\tgood\n"), ("b", "good \t1\nbad film \t0\n")):
        write(tmp_path / folder / "sst2/dev.tsv", content)
    write(tmp_path / "b/sst2/dev.tsv", "sentence\tlabel\nbad film \t0\ngood \t1\n")
    (plain,) = sst2.SST2.protocols
    for folder, end in (("a", ""), ("b", " ")):
        first, _ = asked(plain, tmp_path / folder)
        prompt = f"bad film{end}\nQuestion: Is this sentence positive or negative?\nAnswer:"
        assert first[:2] == [(prompt, " negative"), (prompt, " positive")]
        assert first[2:] == [("", " negative"), ("", " positive")]
        assert golds(plain, tmp_path / folder) == [0, 1]


def test_ag_news_joins_as_the_hub_does(tmp_path: Path) -> None:
    write(tmp_path / "agnews/test.csv", '"4","Title","A ""quoted"" text"\n')
    (topic,) = ag_news.AG_NEWS.protocols
    (requests,) = asked(topic, tmp_path)
    assert requests[0] == ('Title A "quoted" text\nTopic:', " World")
    assert golds(topic, tmp_path) == [3]


# ---- Winograd -----------------------------------------------------------------------------------

SCHEMAS = """<?xml version="1.0" encoding="ISO-8859-1"?>
<collection>
<schema><text><txt1> The man met the boy.</txt1><pron> He </pron><txt2> was
 old. </txt2></text><answers><answer>The man </answer><answer> The boy</answer></answers>
<correctAnswer> A. </correctAnswer></schema>
<schema><text><txt1>Zo\xeb lost a game to Ann because</txt1><pron>her</pron><txt2>clock, said
the judge, had stopped</txt2></text><answers><answer>Ann</answer><answer>Zo\xeb</answer></answers>
<correctAnswer>B</correctAnswer></schema>
<schema><text><txt1>I put the egg into the cup and broke</txt1><pron>it</pron><txt2>.</txt2></text>
<answers><answer>The egg</answer><answer>The cup</answer></answers>
<correctAnswer>A</correctAnswer></schema>
</collection>
"""


def test_winograd(tmp_path: Path) -> None:
    """A capital only after a full stop, 's for a possessive, no space before a full stop."""
    path = tmp_path / "winograd/WSCollection.xml"
    path.parent.mkdir()
    path.write_bytes(SCHEMAS.encode("latin-1"))
    partial = protocol(winograd.WINOGRAD, "partial")
    assert asked(partial, tmp_path) == [
        [(f"The man met the boy. {x}", " was old.") for x in ("The man", "The boy")],
        [
            (f"Zoë lost a game to Ann because {x}'s", " clock, said the judge, had stopped")
            for x in ("Ann", "Zoë")
        ],
        [(f"I put the egg into the cup and broke {x}", ".") for x in ("the egg", "the cup")],
    ]
    assert golds(partial, tmp_path) == [0, 1, 0]
    full = asked(protocol(winograd.WINOGRAD, "full"), tmp_path)
    assert full[0][1] == ("", "The man met the boy. The boy was old.")
    two_spaces = asked(protocol(winograd.WINOGRAD, "lm-eval"), tmp_path)
    assert two_spaces[0][0] == ("The man met the boy. The man", "  was old.")


@pytest.mark.shared
def test_xml_and_list_of_winograd_agree(shared_data: Path, tmp_path: Path) -> None:
    """But for the possessives, which the list cannot know, and the order of the candidates."""
    (tmp_path / "winograd").mkdir()
    (tmp_path / "winograd/wsc273.txt").write_bytes(
        (shared_data / "winograd/wsc273.txt").read_bytes()
    )
    partial = protocol(winograd.WINOGRAD, "partial")
    pairs = list(zip(asked(partial, shared_data), asked(partial, tmp_path), strict=True))
    differ = [(one, two) for one, two in pairs if sorted(one) != sorted(two)]
    assert len(pairs) == 273
    assert len(differ) == 26
    for one, two in differ:
        assert sorted((c.removesuffix("'s"), rest) for c, rest in one) == sorted(two)
    right = [
        one[gold] == two[other] or (one, two) in differ
        for (one, two), gold, other in zip(
            pairs, golds(partial, shared_data), golds(partial, tmp_path), strict=True
        )
    ]
    assert all(right)
    assert 0 < sum(golds(partial, tmp_path)) < 273


# ---- Children's Book Test -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        ("` What is it ? '", "'What is it?'"),
        ("caught the word ` string ' and knelt", "caught the word 'string' and knelt"),
        ("`` No , '' said Tom , `` I wo n't . ''", '"No," said Tom, "I won\'t."'),
        ('" Come , " he said , " now ! "', '"Come," he said, "now!"'),
        ("The king 's son did n't ; they 'd gone .", "The king's son didn't; they'd gone."),
        ("It was -LRB- so they say -RRB- cold .", "It was (so they say) cold."),
        ("the players ' club cost $ 5 , 3 % more ...", "the players' club cost $5, 3% more..."),
        ("` XXXXX ! ' he cried .", "'XXXXX!' he cried."),
        ("nothing to undo here", "nothing to undo here"),
        ("", ""),
    ],
)  # fmt: skip
def test_detokenizer(tokens: str, text: str) -> None:
    assert cbt.detokenize(tokens) == text


def test_detokenizer_changes_nothing_but_spaces_quotes_and_brackets() -> None:
    for task in (cbt.CBT_CN, cbt.CBT_NE):
        for row in load(protocol(task, "paper").dataset, "bundled").rows:
            for sentence in [*row["sentences"], row["question"]]:
                kept = "".join(cbt.QUOTES.get(token, token) for token in sentence.split())
                assert cbt.detokenize(sentence).replace(" ", "") == kept


def test_cbt_scores_the_word_and_the_rest(tmp_path: Path) -> None:
    question = "21 ` A XXXXX , ' said he .\tdog\t\tcat|dog\n\n"
    write(tmp_path / "cbt/cbtest_NE_valid_2000ex.txt", (CBT + question) * 2)
    lines = " ".join(f"Line {number}." for number in range(1, 21))
    for name, expected in (
        ("paper", (f"{lines} 'A ", "cat,' said he.")),
        ("choice-only", (f"{lines} 'A ", "cat")),
        ("raw", (lines.replace(".", " .") + " ` A ", "cat , ' said he .")),
    ):
        each = protocol(cbt.CBT_NE, name)
        requests = asked(each, tmp_path)
        assert len(requests) == 2
        assert requests[0][0] == expected
        assert golds(each, tmp_path) == [1, 1]


# ---- authentic files ----------------------------------------------------------------------------

COUNTS: dict[str, tuple[Task, int, list[int]]] = {
    "hellaswag": (hellaswag.HELLASWAG, 10_042, [2_515, 2_485, 2_584, 2_458]),
    "piqa": (piqa.PIQA, 1_838, [910, 928]),
    "copa": (copa.COPA, 500, [250, 250]),
    "winograd": (winograd.WINOGRAD, 273, [137, 136]),
    "blimp": (blimp.BLIMP, 67_000, [67_000, 0]),
    "sst2": (sst2.SST2, 872, [428, 444]),
    "ag_news": (ag_news.AG_NEWS, 7_600, [1_900] * 4),
}


@pytest.mark.shared
@pytest.mark.parametrize("name", COUNTS)
def test_authentic_files(name: str, shared_data: Path) -> None:
    task, count, labels = COUNTS[name]
    first = task.protocols[0]
    loaded = load(first.dataset, shared_data)
    samples = list(first.samples(loaded.rows))
    assert len({sample.id for sample in samples}) == len(samples) == count
    found = [sample.fields["gold"] for sample in samples]
    assert [found.count(label) for label in range(len(labels))] == labels
    assert "unknown" not in loaded.provenance["verdict"]


@pytest.mark.shared
def test_paradigms_of_blimp_are_those_of_lm_eval(shared_data: Path) -> None:
    from importlib.resources import files

    import yaml

    group = yaml.safe_load((files("lm_eval") / "tasks/blimp/_blimp.yaml").read_text("utf-8"))
    assert {f"blimp_{name}" for name in blimp.PARADIGMS} == set(group["task"])
    rows = load(blimp.PAIRS, shared_data).rows
    sizes = {name: sum(row["UID"] == name for row in rows) for name in blimp.PARADIGMS}
    assert set(sizes.values()) == {1_000}


# ---- the hub's schema ---------------------------------------------------------------------------

HUB: dict[str, tuple[Dataset, dict[str, Any]]] = {
    "hellaswag": (hellaswag.VALIDATION, HELLASWAG),
    "piqa": (piqa.VALIDATION, {"goal": "g", "sol1": "a", "sol2": "b", "label": 1}),
    "copa": (
        copa.TEST,
        {
            "premise": "It rained.",
            "choice1": "A.",
            "choice2": "B.",
            "question": "cause",
            "label": 0,
        },
    ),
    "winograd": (
        winograd.COLLECTION,
        {"text": "Al hit Bo as he fell.", "pronoun": "he", "pronoun_loc": 13, "label": 1}
        | {"options": ["Al", "Bo"]},
    ),
    "sst2": (sst2.VALIDATION, {"sentence": "good ", "label": 1, "idx": 0}),
    "ag_news": (ag_news.TEST, {"text": "Title text", "label": 3}),
    "cbt": (
        protocol(cbt.CBT_CN, "paper").dataset,
        {"sentences": ["A ."] * 20, "question": "A XXXXX .", "answer": "b", "options": ["a", "b"]},
    ),
}


@pytest.mark.parametrize("name", HUB)
def test_rows_of_the_hub(name: str) -> None:
    dataset, row = HUB[name]
    assert dataset.hub is not None
    (task,) = [t for t in (hellaswag.HELLASWAG, piqa.PIQA, copa.COPA, winograd.WINOGRAD, sst2.SST2,
               ag_news.AG_NEWS, cbt.CBT_CN) if t.protocols[0].dataset is dataset]  # fmt: skip
    for each in task.protocols:
        (sample,) = each.samples([dataset.hub.convert(row)])
        assert len(each.requests(sample)) >= 2
    for key in ("label", "answer"):
        if key in row:
            with pytest.raises(DataError):
                dataset.hub.convert({**row, key: 9})


def test_examples_stand_before_the_question() -> None:
    """In the context, and not before what is scored without one."""
    for task in (hellaswag.HELLASWAG, piqa.PIQA, copa.COPA, sst2.SST2, ag_news.AG_NEWS):
        for each in task.protocols:
            assert each.fewshot is not None
            sample = next(iter(each.samples(load(each.dataset, "bundled").rows)))
            shown: Callable[[Sample], list[Score]] = each.requests  # type: ignore[assignment]
            plain = shown(sample)
            count = len(sample.fields["choices"])
            examples = replace(sample, fields={**sample.fields, "examples": "Example.\n\n"})
            for number, (one, other) in enumerate(zip(shown(examples), plain, strict=True)):
                before = "Example.\n\n" if number < count else ""
                assert one == replace(other, context=before + other.context)
