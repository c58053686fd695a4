"""report.html as a text: what is in it, what is not, and how large it is.

What a browser makes of it is in test_browser.py.
"""

from __future__ import annotations

import base64
import hashlib
import json
import random
import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpt2eval.report import report_files, write_report
from gpt2eval.report.figures import draw_samples, draw_scores
from gpt2eval.report.page import report_html
from gpt2eval.report.page.samples import FAILED, LENGTH, SIDE, TRUNCATED, Tokens, browsers
from gpt2eval.report.page.visible import visible
from gpt2eval.report.sections import group
from gpt2eval.report.significance import Significance
from gpt2eval.results import RECORDS, VOCABULARY, encode_requests
from gpt2eval.types import Comparison, Result, Score
from tests.report.building import estimate, paper, result
from tests.report.running import (
    HOSTILE,
    WORDS,
    answer_record,
    choice_record,
    generated,
    run,
    scored,
    text_record,
)


def page_of(results: Sequence[Result], **more: Any) -> str:
    sections = group(results)
    pictures = draw_scores(sections, Significance(), "", None)
    pictures += draw_samples(sections, Significance(), "")
    return report_html("A page", sections, pictures, **more).decode()


def blocks(page: str, kind: str, section: int = 0) -> list[Any]:
    """What the blocks of one kind hold, put together: "i" index, "t" texts, "d" details."""
    found = re.findall(
        rf'<script type="text/plain" id="b{section}-{kind}\d*">([^<]*)</script>', page
    )
    return [json.loads(zlib.decompress(base64.b64decode(block))) for block in found]


def index_of(page: str, section: int = 0) -> dict[str, Any]:
    (index,) = blocks(page, "i", section)
    return dict(index)


def items(page: str, kind: str, section: int = 0) -> list[Any]:
    return [item for block in blocks(page, kind, section) for item in block]


@pytest.fixture
def two(tmp_path: Path) -> Callable[..., list[Result]]:
    """Two checkpoints with the records that a function makes: (checkpoint number) -> records."""

    def two(make: Callable[[int], Any], task: str = "piqa@lm-eval", **more: Any) -> list[Result]:
        return [
            run(tmp_path / f"{number}", name, task, make(number), **more)
            for number, name in enumerate(("one", "two"))
        ]

    return two


def test_checkpoints_stand_side_by_side(two: Callable[..., list[Result]]) -> None:
    page = page_of(two(lambda k: [choice_record(n, (n + k) % 2 == 0) for n in range(4)]))
    index = index_of(page)
    assert index["labels"] == ["one", "two"]
    assert index["ids"] == ["0", "1", "2", "3"]
    assert index["metrics"] == [
        {"name": "accuracy", "higher": True, "unit": "fraction", "binary": True}
    ]
    assert index["values"] == [[[1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 1.0]]]
    # The loss is that of the right choice, per token.
    assert index["loss"] == [[2.0, 2.5, 2.0, 2.5], [2.5, 2.0, 2.5, 2.0]]
    text, detail = items(page, "t")[1], items(page, "d")[1]
    assert text["q"] == "Question 1: where does the river go?\nAnswer:"
    assert (text["c"], text["gold"]) == (["to the hills", "to the sea"], 1)
    first, second = detail["s"]
    assert [answer["l"] for answer in first] == [[200, 200], [300, 200]]
    assert [answer["s"] for answer in first] == [-4.0, -5.0]
    # Tokens that the checkpoints share are in the page once.
    assert ["t" in answer for answer in (*first, *second)] == [True, True, False, False]
    assert [index["tokens"][number] for number in first[0]["t"]] == [WORDS[3], WORDS[4]]


def test_generations_stand_beside_their_references(two: Callable[..., list[Result]]) -> None:
    def make(k: int) -> Any:
        yield answer_record("a", "Q: who?", f" checkpoint {k}", "nobody")
        cut = generated(" long " * 9, "length", truncated=12)
        yield answer_record("b", "Q: why?", "", "because", responses=[cut])

    page = page_of(two(make, kind="generation"))
    text = items(page, "t")[0]
    assert (text["q"], text["r"], text["a"]) == (
        "Q: who?",
        ["nobody"],
        [[" checkpoint 0"], [" checkpoint 1"]],
    )
    assert index_of(page)["flags"] == [[0, LENGTH | TRUNCATED]] * 2
    assert items(page, "d")[1]["s"][0][0] == {
        "t": [0, 1, 2],
        "l": [50, 150, 250],
        "e": "length",
        "u": 12,
    }


def test_a_prediction_is_shown_where_it_differs(two: Callable[..., list[Result]]) -> None:
    answer = {**generated("Paris. Next"), "prediction": "Paris"}
    page = page_of(two(lambda _: [answer_record("a", "Q:", "", "Paris", responses=[answer])]))
    assert items(page, "t")[0]["a"] == [[["Paris. Next", "Paris"]]] * 2


def test_contexts_that_differ_are_told(two: Callable[..., list[Result]]) -> None:
    """Partial scoring: the choices are part of the contexts."""
    contexts = [
        "The trophy does not fit in the case since the trophy",
        "The trophy does not fit in the case since the tree",
    ]
    asked = encode_requests([Score(context, " is big.") for context in contexts])
    page = page_of(two(lambda _: [choice_record(1, True, asked=asked)]))
    assert items(page, "t")[0]["q"] == "The trophy does not fit in the case since the "
    assert items(page, "d")[0]["tails"] == ["trophy", "tree"]


def test_examples_are_shown_once(tmp_path: Path) -> None:
    beginning = "".join(f"Q: {n} + {n}?\nA: {2 * n}\n\n" for n in range(9)) + "Q: 7"
    records = [
        answer_record(
            n, "", "8", "8", asked=encode_requests([Score(f"{beginning}{n} + 1?", " 8")], beginning)
        )
        for n in range(3)
    ]
    (only,) = [run(tmp_path / "x", "one", "sums@few", records)]
    only = replace(only, task={**only.task, "beginning": beginning})
    page = page_of([only])
    assert [text["q"] for text in items(page, "t")] == ["Q: 70 + 1?", "Q: 71 + 1?", "Q: 72 + 1?"]
    assert page.count("Q: 3 + 3?") == 1


def test_texts_have_an_excerpt(two: Callable[..., list[Result]]) -> None:
    page = page_of(
        two(lambda k: [text_record(1, [0, 1, 6, 7, 5], [1, 2, 3, 4, k])], "enwik8@paper")
    )
    assert items(page, "t")[0]["x"] == "The riveré\n"
    index = index_of(page)
    assert index["loss"] == [[2.0], [2.2]]
    (column,) = index["values"]
    assert column == [
        [pytest.approx(np.exp(2.0), rel=1e-4)],
        [pytest.approx(np.exp(2.2), rel=1e-4)],
    ]


def test_ids_are_in_natural_order_whatever_that_of_the_records(tmp_path: Path) -> None:
    """Records come as they are computed: with another batch size, in another order."""
    records = [choice_record(n, n % 3 == 0) for n in range(30)]
    shuffled = random.Random(1).sample(records, len(records))
    runs = [run(tmp_path / "x", "one", "t@p", shuffled), run(tmp_path / "y", "two", "t@p", records)]
    page = page_of(runs)
    assert index_of(page)["ids"] == [str(n) for n in range(30)]
    (column,) = index_of(page)["values"]
    assert column[0] == column[1] == [float(n % 3 == 0) for n in range(30)]


def test_samples_that_one_checkpoint_lacks(tmp_path: Path) -> None:
    """Runs of another version of the samples: what is there is shown."""
    runs = [
        run(tmp_path / "x", "one", "t@p", [choice_record(n, True) for n in (0, 1)]),
        run(tmp_path / "y", "two", "t@p", [choice_record(n, False) for n in (1, 2)]),
    ]
    runs = [replace(each, data={**each.data, "selected": 2}) for each in runs]
    page = page_of(runs)
    assert index_of(page)["values"] == [[[1.0, 1.0, None], [None, 0.0, 0.0]]]
    assert [[answer is None for answer in item["s"]] for item in items(page, "d")] == [
        [False, True],
        [False, False],
        [True, False],
    ]
    assert items(page, "d")[2]["s"][1][0]["t"]  # nothing to share them with


def test_samples_that_failed_in_one_checkpoint(two: Callable[..., list[Result]]) -> None:
    """What was asked is known from the other one."""

    def make(k: int) -> Any:
        yield choice_record(1, True)
        failed = {"error": "out of memory", "responses": [], "asked": [], "statistics": {}}
        yield choice_record(2, True, **(failed if k == 0 else {}))

    page = page_of(two(make))
    index, (_, text), (_, detail) = index_of(page), items(page, "t"), items(page, "d")
    assert index["flags"] == [[0, FAILED], [0, 0]]
    assert index["values"] == [[[1.0, None], [1.0, 1.0]]]
    assert text["q"].startswith("Question 2")
    assert detail["error"] == ["out of memory", ""]
    assert detail["s"][0] == []
    assert len(detail["s"][1]) == 2


def test_values_of_samples_only_where_they_make_the_number(tmp_path: Path) -> None:
    """A metric that is no ratio of sums (BLEU, an F1 of classes) has no value of one sample."""
    records = [choice_record(n, n % 2 == 0) for n in range(6)]
    made = run(tmp_path / "x", "one", "t@p", records)
    for value, shown in ((0.5, 1), (0.5001, 0)):
        changed = replace(made, metrics={"accuracy": estimate(value, unit="fraction", higher=True)})
        assert len(index_of(page_of([changed]))["metrics"]) == shown


def test_runs_of_earlier_versions(tmp_path: Path) -> None:
    made = run(tmp_path / "x", "one", "t@p", [choice_record(n, True) for n in range(3)])
    assert made.path
    old = [
        {
            key: value
            for key, value in json.loads(line).items()
            if key not in ("asked", "choices", "gold")
        }
        for line in (made.path / RECORDS).read_text("utf-8").splitlines()
    ]
    (made.path / RECORDS).write_text("".join(json.dumps(each) + "\n" for each in old), "utf-8")
    (made.path / VOCABULARY).unlink()
    page = page_of([made])
    assert "whose records lack what was asked and the texts of tokens" in page
    assert index_of(page)["tokens"] == [3, 4]
    assert items(page, "t")[0] == {"q": "", "r": ["to the sea"], "a": [[]]}


def test_results_without_records_make_a_page() -> None:
    page = page_of([result("gpt2"), result("gpt2-medium")])
    assert "there are no samples to show" in page
    assert 'type="text/plain"' not in page


# ---- numbers ------------------------------------------------------------------------------------


def rows(page: str, table: str) -> list[list[str]]:
    """The text of each cell of the table with that caption."""
    (body,) = re.findall(rf"<caption>{table}</caption>.*?<tbody>(.*?)</tbody>", page, re.DOTALL)
    return [
        [
            " ".join(unescape(re.sub(r"<[^>]+>", "", cell)).replace("\u2007", "").split())
            for cell in re.findall(r"<t[hd].*?>(.*?)</t[hd]>", row, re.DOTALL)
        ]
        for row in re.findall(r"<tr.*?>(.*?)</tr>", body, re.DOTALL)
    ]


def test_numbers_are_those_of_the_tables() -> None:
    lede = {"lede-3": {"rouge1": estimate(40.4, 40.0, 40.8, "points", higher=True)}}
    runs = [
        result("gpt2", references=paper("word_perplexity", 29.41, 22.76)),
        result("gpt2-medium", metrics={"word_perplexity": estimate(1234.5, 1200.0, 1300.0)}),
        result(
            "gpt2",
            "cnndm@paper",
            {"rouge1": estimate(21.5, 21.0, 22.0, "points", higher=True)},
            baselines=lede,
        ),
    ]
    page = page_of(runs)
    assert rows(page, "Scores of all checkpoints") == [
        [
            "wikitext2@lm-eval word perplexity ↓",
            "word perplexity ↓",
            "37.37 [36.50, 38.30]",
            "1,234 [1,200, 1,300]",
        ],
        ["cnndm@paper rouge1 ↑", "rouge1 ↑", "21.50 [21.00, 22.00]", "-"],
    ]
    assert rows(page, "Scores on wikitext2@lm-eval")[2:] == [
        ["gpt2 published: Radford et al. 2019, GPT-2 paper Table 3", "-", "29.41"],
        ["gpt2-medium published: Radford et al. 2019, GPT-2 paper Table 3", "-", "22.76"],
    ]
    assert rows(page, "Scores on cnndm@paper")[1] == [
        "lede-3 no model",
        "62",
        "40.40 [40.00, 40.80]",
    ]
    assert page.count('class="num best"') == 2  # in the summary and in its section


def comparison(candidate: str, p: float | None, difference: float = -2.0) -> Comparison:
    return Comparison(
        task="wikitext2@lm-eval", metric="word_perplexity", baseline="a", candidate=candidate,
        unit="perplexity", higher_is_better=False, baseline_value=37.0,
        candidate_value=37.0 + difference, difference=difference, low=difference - 1,
        high=difference + 1, level=0.95, test="paired bootstrap", p=p, p_corrected=p,
        correction="holm", effect=None, effect_name="", smallest=0.5, n=62, units=62, wins=40,
        ties=0, losses=22,
    )  # fmt: skip


def test_significance_is_marked_against_the_baseline() -> None:
    runs = [result(name) for name in "abcd"]
    found = [comparison("b", 0.0004), comparison("c", 0.03, 1.5), comparison("d", None)]
    page = page_of(runs, comparisons=found)
    ((_, _, one, two, three, four),) = rows(page, "Scores of all checkpoints")
    assert [cell.count("*") for cell in (one, two, three, four)] == [0, 3, 1, 0]
    assert "significantly better than a, p &lt; 0.001" in page
    assert "significantly worse than a, p = 0.030" in page
    levels = ", ".join(f"{'*' * n} p &lt; {p}" for n, p in enumerate((0.05, 0.01, 0.001), 1))
    unbroken = re.sub(r"(?<=[*p;]) (?=[p&0])", "\u00a0", levels)
    assert f"differs from a: {unbroken} (corrected by Holm&#39;s method)" in page
    table = rows(page, "Comparisons with a")
    assert table[0][3] == "−2.00*** [−3.00, −1.00]"
    assert table[2][4:6] == ["-", "-"]
    assert "Comparisons" not in page_of(runs)


def test_marks_of_the_data_come_first(tmp_path: Path) -> None:
    runs = [
        result("a", source="bundled"),
        result("a", "lambada@openai", subset="random 62, seed 0", available=900),
    ]
    page = page_of(runs)
    notice = page.index('class="notice" role="note"')
    assert notice < page.index("Sample data, not a benchmark score") < page.index('id="summary"')
    assert notice < page.index("ubset: random 62 of 900, seed 0") < page.index('id="summary"')


# ---- one file, and nothing runs in it but ours ---------------------------------------------------


def hostile_runs(root: Path) -> list[Result]:
    """Everything that data, models and users can say is hostile."""
    runs = []
    for number, (name, text) in enumerate(HOSTILE.items()):
        if name == "long":
            continue
        records = [
            answer_record(f"{key} {value[:200]}", value, value, value, group=text)
            for key, value in HOSTILE.items()
        ]
        runs.append(
            run(root / str(number), text, f"{text}@{text}", records, kind="generation", sha256="5a")
        )
    return [
        replace(
            each,
            signature=each.checkpoint["name"],
            task={
                **each.task,
                "summary": each.checkpoint["name"],
                "detail": each.checkpoint["name"],
                "source": "x http" + each.checkpoint["name"],
            },
            run={**each.run, "command": each.checkpoint["name"], "device": each.checkpoint["name"]},
        )
        for each in runs[:3] + runs[7:10]
    ]


def test_hostile_text_is_escaped(tmp_path: Path) -> None:
    page = page_of(hostile_runs(tmp_path))
    assert (
        len(re.findall("<script", page))
        == len(re.findall('<script type="text/plain" id="b', page)) + 1
    )
    assert "owned'</script>" not in page
    assert "<!-- <" not in page
    assert not re.search(
        "[\u2028\u2029\u202a-\u202e\u2066-\u2069\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]", page
    )


def test_policy_names_the_texts_that_stand_there(two: Callable[..., list[Result]]) -> None:
    page = page_of(two(lambda _: [choice_record(1, True)]))
    policy = unescape(re.findall('Content-Security-Policy" content="([^"]+)"', page)[0])
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in policy
    for name in ("style", "script"):
        (text,) = re.findall(f"<{name}>(.*?)</{name}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in policy


def test_nothing_is_loaded(two: Callable[..., list[Result]]) -> None:
    page = page_of(two(lambda _: [text_record(1, [0, 1], [1.0, 2.0])]))
    addresses = re.findall(r'(?:src|href|action|data|poster)="([^"]*)"', page)
    assert addresses
    assert [each for each in addresses if not each.startswith(("#", "data:image/"))] == []
    (style,) = re.findall("<style>(.*?)</style>", page, re.DOTALL)
    assert "url(" not in style
    assert "@import" not in style
    assert not re.search(r'\sstyle="| on[a-z]+="', page)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\n\ttext é 模型", "plain\n\ttext é 模型"),
        ("a\u202eb", "a⟨U+202E⟩b"),
        ("\ud83d", "⟨U+D83D⟩"),
        ("\x00\r\n\x1b", "⟨U+0000⟩\n⟨U+001B⟩"),
        ("\u2028", "⟨U+2028⟩"),
        (HOSTILE["joiner"], HOSTILE["joiner"]),
    ],
)
def test_what_nobody_sees_is_shown(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_tokens_are_read_as_the_tokenizer_writes_them() -> None:
    """Held against the alphabet of transformers, every byte of it."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    tokens = Tokens({})
    tokens.texts = [
        "".join(bytes_to_unicode()[byte] for byte in "é\n模 \x00\xad".encode()),
        "[A b]",
    ]
    assert tokens.text([0, 1]) == "é\n模 \x00\xad[A b]"
    everything = bytes(range(256))
    tokens.texts = ["".join(bytes_to_unicode()[byte] for byte in everything)]
    assert tokens.text([0]) == everything.decode(errors="replace")


# ---- size and sameness ---------------------------------------------------------------------------


def test_the_most_telling_samples_stay(tmp_path: Path) -> None:
    rng = random.Random(0)
    letters = [rng.choices("abcdefghijklmnopqrstuvwxyz ", k=600) for _ in range(400)]

    def records(k: int) -> Any:
        for n, prompt in enumerate(letters):
            right = n < 380 or k == 1  # the last twenty are flipped
            yield answer_record(n, "".join(prompt), "yes" if right else "no", "yes")

    runs = [run(tmp_path / f"{k}", f"m{k}", "qa@p", records(k), kind="generation") for k in (0, 1)]
    whole = page_of(runs)
    assert len(index_of(whole)["ids"]) == 400
    assert "of the 400 samples" not in whole
    budget = 60_000
    page = page_of(runs, budget=budget)
    found = re.findall(r'<script type="text/plain" id="b[^>]*>([^<]*)<', page)
    assert 0.5 * budget < sum(map(len, found)) <= budget
    ids = [int(each) for each in index_of(page)["ids"]]
    assert ids == sorted(ids)
    assert set(range(380, 400)) <= set(ids)
    assert len(ids) > 60
    assert f"room for {len(ids)} of the 400 samples; {400 - len(ids)} are left out" in page
    # What is shown of a sample is the same, however many there are.
    place = index_of(whole)["ids"].index(str(ids[3]))
    assert items(page, "t")[3] == items(whole, "t")[place]


def test_of_many_checkpoints_the_first_stand_side_by_side_and_the_baseline(tmp_path: Path) -> None:
    runs = [
        run(tmp_path / f"{n}", f"m{n}", "a@p", [choice_record(i, True) for i in range(3)])
        for n in range(SIDE + 3)
    ]
    (section,) = group(runs)
    (browser,) = browsers([section], 10**6, f"m{SIDE + 1}")
    assert browser is not None
    assert (browser.side, browser.runs) == (SIDE, SIDE + 3)
    labels = json.loads(zlib.decompress(base64.b64decode(browser.index)))["labels"]
    assert labels == [*(f"m{n}" for n in range(SIDE - 1)), f"m{SIDE + 1}"]
    words = f"as {SIDE} of the {SIDE + 3} checkpoints answered them"
    assert words in page_of(runs)
    assert "checkpoints answered them" not in page_of(runs[:2])


def test_sections_share_the_budget(tmp_path: Path) -> None:
    """A small task keeps all its samples beside a large one."""
    rng = random.Random(0)

    def records(count: int) -> Any:
        return [
            answer_record(n, "".join(rng.choices("abcdefghij ", k=500)), "a", "a")
            for n in range(count)
        ]

    runs = [
        run(tmp_path / "small", "m", "small@p", records(20)),
        run(tmp_path / "large", "m", "large@p", records(500)),
    ]
    page = page_of(runs, budget=80_000)
    assert len(index_of(page, 0)["ids"]) == 20
    assert 50 < len(index_of(page, 1)["ids"]) < 500


def test_a_text_longer_than_the_page_holds(tmp_path: Path) -> None:
    count = 70_000
    page = page_of(
        [run(tmp_path / "x", "m", "enwik8@paper", [text_record(1, [1] * count, [2.0] * count)])]
    )
    (answer,) = items(page, "d")[0]["s"][0]
    assert (len(answer["t"]), len(answer["l"]), len(answer["g"]), answer["n"]) == (65_536,) * 3 + (
        count,
    )


def test_equal_results_make_an_equal_page(two: Callable[..., list[Result]]) -> None:
    runs = two(lambda k: [choice_record(n, (n * k) % 3 == 0) for n in range(50)])
    assert page_of(runs) == page_of(runs)


def test_the_page_is_part_of_the_report(two: Callable[..., list[Result]], tmp_path: Path) -> None:
    runs = two(lambda _: [choice_record(1, True)])
    report = write_report(runs, tmp_path / "report").parent
    assert (report / "report.html").read_bytes() == report_files(runs)["report.html"]
    sources = json.loads((report / "sources.json").read_text("utf-8"))
    assert "report.html" in sources["files"]
    assert "vocabulary.json" in sources["results"][0]["files"]


def test_scored_and_written_answers_have_the_form_of_records() -> None:
    """The hand-made responses above are what the engine writes."""
    from gpt2eval.results import decode_response, encode_response

    for content in (scored([1, 2], [0.5, 1.5]), generated("text")):
        assert encode_response(decode_response(content)) == content
    assert set(asdict(choice_record(1, True))) >= {"asked", "choices", "gold"}
