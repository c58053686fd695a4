"""report.html in a real browser: what a reader sees, does, and must never set off.

Debian's chromium, or the one that GPT2EVAL_CHROMIUM names; without one these tests are skipped.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gpt2eval.report import write_report
from gpt2eval.types import Result
from tests.report.building import compared, estimate, paper, result
from tests.report.running import (
    HOSTILE,
    answer_record,
    choice_record,
    generated,
    run,
    scored,
    text_record,
)

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]
CHROMIUM = os.environ.get("GPT2EVAL_CHROMIUM") or shutil.which("chromium")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM:
        pytest.skip("there is no chromium; install one, or name it in GPT2EVAL_CHROMIUM")
    with api.sync_playwright() as playwright:
        # Root may not use chromium's sandbox; the only page it opens is ours.
        root = hasattr(os, "geteuid") and os.geteuid() == 0
        try:
            browser = playwright.chromium.launch(
                executable_path=CHROMIUM, args=["--no-sandbox"] if root else []
            )
        except api.Error as error:
            if "GPT2EVAL_CHROMIUM" in os.environ:
                raise
            pytest.skip(f"{CHROMIUM} does not start ({str(error).splitlines()[0]})")
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Any) -> Iterator[Callable[..., Any]]:
    """Opens a report from the disk. When the test ends, nothing may have gone wrong or out."""
    wrong: list[str] = []
    contexts = []

    def visit(report: Path, **options: Any) -> Any:
        context = chromium.new_context(
            **{"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce"} | options
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)  # a busy machine is no fault of the page
        page.on("console", lambda message: wrong.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
        page.on("dialog", lambda dialog: wrong.append(f"dialog: {dialog.message}"))
        page.on("request", lambda request: _note(request.url, report, wrong))
        page.goto(report.as_uri())
        return page

    yield visit
    for context in contexts:
        context.close()
    assert wrong == []


def _note(url: str, report: Path, wrong: list[str]) -> None:
    if url.partition("#")[0] != report.as_uri() and not url.startswith("data:image/"):
        wrong.append(f"request: {url[:200]}")


COUNT = 130


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two checkpoints on a task of each kind."""
    root = tmp_path_factory.mktemp("plain")
    runs: list[Result] = []
    for k, name in enumerate(("base", "tuned")):
        choices = [
            choice_record(n, n % 3 == 0 or (k == 1 and n % 10 == 1), gap=1 + n / 100)
            for n in range(COUNT)
        ]
        answers = [
            answer_record(
                n,
                f"Q: question number {n}\nA:",
                f" answer {n} of {name}",
                f"gold {n}",
                responses=[
                    generated(f" answer {n} of {name}", "length" if n < 7 else "eos", 5 * (n == 3))
                ],
            )
            for n in range(COUNT)
        ]
        texts = [
            text_record(n, [0, 1, 6, 7, 2, 3, 4] * 400, [2.0 + k, 0.1, 5, 1, 1, 9, 3] * 400)
            for n in (1, 2)
        ]
        lede = {"lede-3": {"exact_match": estimate(0.25, 0.2, 0.3, "fraction", higher=True)}}
        runs += [
            run(root / name / "a", name, "piqa@lm-eval", choices),
            run(
                root / name / "b",
                name,
                "triviaqa@paper",
                answers,
                kind="generation",
                baselines=lede,
            ),
            run(
                root / name / "c",
                name,
                "wikitext2@lm-eval",
                texts,
                references=paper("token_perplexity", 29.41),
            ),
        ]
    return write_report(runs, root / "report", title="Two checkpoints").parent / "report.html"


def opened(page: Any, section: int) -> Any:
    """The samples of a section, unfolded."""
    place = page.locator(f"#task-{section}")
    place.locator("details.samples > summary").click()
    place.locator("table.list tbody tr").first.wait_for()
    return place


def ids(place: Any) -> list[str]:
    return list(place.locator(".open .id").all_inner_texts())


def settled(place: Any, words: str) -> None:
    """Wait until the line under the list says so."""
    place.locator(".found", has_text=re.compile(words)).first.wait_for()


def shows(place: Any, expected: list[str], words: str) -> None:
    """The list comes to begin with these samples, and the line under it says so."""
    end = time.monotonic() + 60
    while ids(place)[: max(1, len(expected))] != expected and time.monotonic() < end:
        time.sleep(0.05)
    assert ids(place)[: max(1, len(expected))] == expected
    settled(place, words)


def choose(place: Any, label: str, value: str) -> None:
    place.locator(".tools").get_by_label(label, exact=True).select_option(value)


# ---- reading ------------------------------------------------------------------------------------


def test_the_page_opens(report: Path, visit: Callable[..., Any]) -> None:
    page = visit(report)
    assert page.title() == "Two checkpoints"
    assert page.locator("nav li").count() == 5
    assert page.locator("table.summary tbody tr").count() == 3
    pictures = page.locator("figure img")
    assert pictures.count() > 0
    for number in range(pictures.count()):
        pictures.nth(number).scroll_into_view_if_needed()
        page.wait_for_function("image => image.complete", arg=pictures.nth(number).element_handle())
        assert pictures.nth(number).evaluate("image => image.naturalWidth") > 100


def test_tables_are_sorted(report: Path, visit: Callable[..., Any]) -> None:
    page = visit(report)
    table = page.locator("#task-1 table.sortable").first
    names = lambda: [text.split("\n")[0] for text in table.locator("tbody th").all_inner_texts()]  # noqa: E731
    assert names() == ["base", "tuned", "lede-3"]
    button = table.locator("thead th", has_text="exact match").get_by_role("button")
    head = table.locator("thead th", has_text="exact match")
    button.click()
    assert names() == ["lede-3", "base", "tuned"]
    assert head.get_attribute("aria-sort") == "descending"
    button.click()
    assert names()[-1] == "lede-3"
    button.click()
    assert names() == ["base", "tuned", "lede-3"]
    assert head.get_attribute("aria-sort") is None


def test_all_metrics_are_shown_on_request(tmp_path: Path, visit: Callable[..., Any]) -> None:
    metrics = {"word_perplexity": estimate(30.0), "bits_per_byte": estimate(0.9, unit="bits")}
    page = visit(write_report([result(metrics=metrics)], tmp_path / "r").parent / "report.html")
    rows = page.locator("table.summary tbody tr")
    assert [rows.nth(n).is_visible() for n in range(2)] == [True, False]
    page.get_by_label("all metrics").check()
    assert [rows.nth(n).is_visible() for n in range(2)] == [True, True]


# ---- finding samples ----------------------------------------------------------------------------


def test_search(report: Path, visit: Callable[..., Any]) -> None:
    place = opened(visit(report), 1)
    settled(place, f"1–50 of {COUNT} samples")
    search = place.get_by_role("searchbox")
    for words, expected in (
        ("question number 77", ["77"]),  # what was asked
        ("ANSWER 99 OF TUNED", ["99"]),  # what was written
        ("gold 12", ["12", "120", "121", "122", "123", "124", "125", "126", "127", "128", "129"]),
        ("no such words", []),
    ):
        search.fill(words)
        shows(place, expected, f"of {len(expected)} of {COUNT}" if expected else "no sample of")


def test_filters(report: Path, visit: Callable[..., Any]) -> None:
    place = opened(visit(report), 0)
    right = [n for n in range(COUNT) if n % 3 == 0]
    flipped = [n for n in range(COUNT) if n % 10 == 1 and n % 3]
    wanted = {
        "wrong": [n for n in range(COUNT) if n % 3],
        "right": right,
        "flipped": flipped,
        "lost": flipped,
        "won": [],
    }
    for value, expected in wanted.items():
        choose(place, "Show", value)
        found = f"of {len(expected)} of {COUNT}" if expected else "no sample of"
        shows(place, [str(n) for n in expected[:50]], found)
    # Of the other checkpoint the flipped ones are right.
    choose(place, "Show", "wrong")
    choose(place, "Checkpoint", "1")
    settled(place, rf"of {COUNT - len(right) - len(flipped)} of {COUNT} samples")


def test_filters_of_what_happened(report: Path, visit: Callable[..., Any]) -> None:
    place = opened(visit(report), 1)
    choose(place, "Show", "length")
    shows(place, [str(n) for n in range(7)], f"of 7 of {COUNT}")
    choose(place, "Show", "truncated")
    shows(place, ["3"], f"of 1 of {COUNT}")


def test_orders(report: Path, visit: Callable[..., Any]) -> None:
    place = opened(visit(report), 0)
    choose(place, "Order", "gap")
    # Flipped samples differ in loss, the larger the number the more.
    flipped = [n for n in range(COUNT) if n % 10 == 1 and n % 3]
    shows(place, [str(n) for n in reversed(flipped)], f"of {COUNT} samples")
    choose(place, "Order", "loss-down")
    shows(place, ["128", "127", "125"], f"of {COUNT} samples")


def test_pages_of_the_list(report: Path, visit: Callable[..., Any]) -> None:
    place = opened(visit(report), 0)
    later, earlier = (place.get_by_role("button", name=name) for name in ("Next", "Previous"))
    assert earlier.is_disabled()
    later.click()
    settled(place, f"51–100 of {COUNT}")
    later.click()
    settled(place, f"101–{COUNT} of {COUNT}")
    assert later.is_disabled()
    assert ids(place)[-1] == str(COUNT - 1)


# ---- one sample ---------------------------------------------------------------------------------


def test_choices_of_a_sample(report: Path, visit: Callable[..., Any]) -> None:
    place = opened(visit(report), 0)
    place.get_by_role("button", name=re.compile("^1 ")).click()
    sample = place.locator("tr.detail")
    sample.wait_for()
    text = sample.inner_text()
    assert "Question 1: where does the river go?\nAnswer:" in text
    rows = sample.locator(".choices tbody tr")
    assert "right answer" not in rows.nth(0).inner_text()
    assert "right answer" in rows.nth(1).inner_text()
    # The first checkpoint finds the wrong one likelier, the second the right one.
    cells = [rows.nth(n).locator("td").all_inner_texts() for n in range(2)]
    assert [["likeliest" in cell for cell in row] for row in cells] == [
        [True, False],
        [False, True],
    ]
    assert cells[1][0].split()[0] == "−5.01"
    place.get_by_role("button", name=re.compile("^1 ")).click()
    assert sample.count() == 0


def test_the_likeliest_choice_is_the_one_that_was_chosen(
    tmp_path: Path, visit: Callable[..., Any]
) -> None:
    """By sums that differ where hundredths of a nat do not."""
    close = [scored([3, 4], [2.0, 2.0001]), scored([3, 4], [2.0, 2.0])]
    made = run(tmp_path / "x", "m", "piqa@lm-eval", [choice_record(1, True, responses=close)])
    place = opened(visit(write_report([made], tmp_path / "r").parent / "report.html"), 0)
    place.locator(".open").click()
    rows = place.locator(".choices tbody tr")
    rows.first.wait_for()
    assert ["likeliest" in text for text in rows.all_inner_texts()] == [False, True]


def test_generations_stand_beside_the_reference(report: Path, visit: Callable[..., Any]) -> None:
    place = opened(visit(report), 1)
    place.locator(".open").nth(3).click()
    cards = place.locator("tr.detail .card")
    cards.first.wait_for()
    texts = cards.all_inner_texts()
    assert [
        "gold 3" in texts[0],
        "answer 3 of base" in texts[1],
        "answer 3 of tuned" in texts[2],
    ] == [True] * 3
    assert "ended by the length limit; 5 tokens of the prompt were cut off" in texts[1]
    assert len({round(cards.nth(n).bounding_box()["y"]) for n in range(3)}) == 1
    place.get_by_label("colour tokens by loss").check()
    spans = cards.nth(1).locator(".tokens span")
    assert [spans.nth(n).get_attribute("class") for n in range(3)] == ["l1", "l2", "l2"]


def test_loss_of_tokens(report: Path, visit: Callable[..., Any]) -> None:
    page = visit(report)
    place = opened(page, 2)
    place.locator(".open").first.click()
    tokens = place.locator(".tokens")
    tokens.wait_for()
    # 1,200 of 2,800 tokens; two of them are one character.
    spans = tokens.locator("span")
    assert spans.count() < 1200
    assert spans.all_inner_texts()[:7] == ["The", " river", "é", " is", " old", ".", "The"]
    readout = place.locator(".readout")
    spans.nth(4).hover()
    assert (
        "“ old” 9.00 nats · probability 1.2e-4 · not the first choice · 6 tokens before it"
        in readout.inner_text()
    )
    spans.nth(2).hover()
    assert "“é” (2 tokens) 6.00 nats" in readout.inner_text()
    place.get_by_label("Loss of", exact=True).select_option("difference")
    spans.nth(0).hover()
    assert "base 2.00 · tuned 3.00 · difference −1.00 nats" in readout.inner_text()
    assert spans.nth(0).get_attribute("class").split()[0] == "m2"
    place.get_by_role("button", name="later").click()
    assert "tokens 1,201–2,400 of 2,800" in place.locator(".sample .pager").inner_text()


def test_by_keyboard_alone(report: Path, visit: Callable[..., Any]) -> None:
    page = visit(report)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.locator("#task-2 details.samples > summary").focus()
    page.keyboard.press("Enter")
    place = page.locator("#task-2")
    place.locator(".open").first.wait_for()
    reached = []
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate("document.activeElement.className || document.activeElement.type")
        )
        if reached[-1] == "open":
            break
    assert reached[0] == "search"
    assert reached[-1] == "open"
    page.keyboard.press("Enter")
    place.locator(".tokens").wait_for()
    page.keyboard.press("Tab")  # whose loss
    page.keyboard.press("Tab")  # the text
    assert "tokens" in page.evaluate("document.activeElement.className")
    assert "“The”" in place.locator(".readout").inner_text()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert "“é”" in place.locator(".readout").inner_text()
    page.keyboard.press("End")
    page.keyboard.press("Home")
    assert "“The”" in place.locator(".readout").inner_text()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Escape")
    assert place.locator("tr.detail").count() == 0
    assert page.evaluate("document.activeElement.className") == "open"


def test_wide_tables_keep_their_names_in_view_and_their_rows_low(
    tmp_path: Path, visit: Callable[..., Any]
) -> None:
    """A row is as high as a number with its interval; stars stand in one column."""
    tasks = ("wikitext2@lm-eval", "rather_long_name_of_a_task@protocol")
    values = {"run-1-checkpoint-500": (40.25, 30.5), "run-1-checkpoint-1000": (2000.0, 20.5)}
    runs = [
        result(name, task, {"word_perplexity": estimate(value)})
        for name, of in values.items()
        for task, value in zip(tasks, of, strict=True)
    ]
    options = {"metric": "word_perplexity", "unit": "perplexity", "higher": False}
    found = [
        compared("run-1-checkpoint-1000", -1, task, baseline="run-1-checkpoint-500", **options)
        for task in tasks
    ]
    page = visit(write_report(runs, tmp_path, comparisons=found).parent / "report.html")
    edges = "all => all.map(x => Math.round(x.getBoundingClientRect().left))"
    stars = page.locator("table.summary sup").evaluate_all(edges)
    assert len(stars) == 2
    assert len(set(stars)) == 1
    rows = page.locator("#comparisons tbody tr, table.summary tbody tr:not(.minor)")
    heights = rows.evaluate_all("all => all.map(x => x.getBoundingClientRect().height)")
    assert len(heights) == 4
    assert max(heights) < 60
    table = page.locator("#comparisons .scroll")
    name = table.locator("tbody th").first
    before = name.bounding_box()["x"]
    table.evaluate("x => { x.scrollLeft = 300; }")
    assert table.evaluate("x => x.scrollLeft") > 100
    assert name.bounding_box()["x"] == before


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_a_screen_of_any_kind(
    report: Path, visit: Callable[..., Any], scheme: str, width: int
) -> None:
    """No page wider than the window, no rule of accessibility broken, in colours of either kind."""
    page = visit(report, viewport={"width": width, "height": 844}, color_scheme=scheme)
    for section in range(3):
        opened(page, section).locator(".open").first.click()
    page.locator("tr.detail").nth(2).wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", background)[:3])) < 200) == (scheme == "dark")
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    found = axe.run(page).response["violations"]
    assert [(each["id"], [node["html"][:150] for node in each["nodes"]]) for each in found] == []


def test_colours_are_switched_and_kept(report: Path, visit: Callable[..., Any]) -> None:
    page = visit(report, color_scheme="light")
    background = lambda: page.evaluate("getComputedStyle(document.body).backgroundColor")  # noqa: E731
    light = background()
    page.get_by_role("button", name="Switch to dark colours").click()
    dark = background()
    assert dark != light
    page.reload()
    assert background() == dark


def test_print_leaves_out_what_paper_cannot_do(report: Path, visit: Callable[..., Any]) -> None:
    page = visit(report)
    page.emulate_media(media="print")
    assert not page.locator("nav").is_visible()
    assert not page.locator("details.samples").first.is_visible()
    assert page.locator("table.summary").is_visible()


# ---- what others say ----------------------------------------------------------------------------


def test_hostile_text_is_text(tmp_path: Path, visit: Callable[..., Any]) -> None:
    """In names, questions, generations and references alike."""
    records = [
        answer_record(f"{name} {text[:99]}", text, text, text) for name, text in HOSTILE.items()
    ]
    name = f"{HOSTILE['closing']}{HOSTILE['override']}{HOSTILE['handler']}"
    made = run(tmp_path / "x", name, "triviaqa@paper", records, kind="generation")
    page = visit(write_report([made], tmp_path / "r", title=name).parent / "report.html")
    title = page.title()
    assert "owned" in title
    assert title != "owned"
    place = opened(page, 0)
    shown = {}
    for key in HOSTILE:
        button = place.locator(".open", has=page.locator(".id", has_text=re.compile(f"^{key} ")))
        button.click()
        detail = place.locator("tr.detail")
        detail.locator(".card .text").nth(1).wait_for()
        shown[key] = detail.locator(".card .text").all_text_contents()
        button.click()
    for key in (
        "script",
        "closing",
        "comment",
        "handler",
        "entity",
        "template",
        "arabic",
        "joiner",
    ):
        assert shown[key] == [HOSTILE[key]] * 2, key
    assert shown["separators"] == ["one⟨U+2028⟩two⟨U+2029⟩three"] * 2
    assert shown["override"] == ["abc ⟨U+202E⟩dcba⟨U+202C⟩ ⟨U+2066⟩isolated⟨U+2069⟩"] * 2
    assert (
        shown["control"] == ["bell ⟨U+0007⟩ escape ⟨U+001B⟩[31m nul ⟨U+0000⟩ delete ⟨U+007F⟩"] * 2
    )
    assert shown["surrogate"] == ["half ⟨U+D83D⟩ of a pair ⟨U+DC80⟩"] * 2
    assert [len(text) for text in shown["long"]] == [2000] * 2
    assert page.title() == title
    assert page.locator("img[src='x']").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280


def test_a_text_of_a_megabyte_is_unfolded_in_parts(
    tmp_path: Path, visit: Callable[..., Any]
) -> None:
    text = "word " * 200_000
    made = run(
        tmp_path / "x", "m", "t@p", [answer_record("a", text, text, "gold")], kind="generation"
    )
    place = opened(visit(write_report([made], tmp_path / "r").parent / "report.html"), 0)
    place.locator(".open").click()
    block = place.locator(".card .text").nth(1)
    assert len(block.text_content()) == 2000
    place.get_by_role("button", name=re.compile("^more: 998,000 of 1,000,000 characters")).click()
    assert len(block.text_content()) == 22_000


def test_ten_thousand_samples(tmp_path: Path, visit: Callable[..., Any]) -> None:
    """However many there are, the page holds one page of them."""
    count = 10_000
    runs = [
        run(
            tmp_path / name,
            name,
            "hellaswag@lm-eval",
            (choice_record(n, (n + k) % 4 > 0) for n in range(count)),
        )
        for k, name in enumerate(("one", "two"))
    ]
    report = write_report(runs, tmp_path / "r").parent / "report.html"
    assert report.stat().st_size < 5_000_000
    page = visit(report)
    blocks = page.locator('script[type="text/plain"]').count()
    assert 10 < blocks < 200
    before = page.evaluate("document.querySelectorAll('*').length")
    place = opened(page, 0)
    settled(place, "1–50 of 10,000 samples")
    after = page.evaluate("document.querySelectorAll('*').length")
    assert after - before < 1500
    place.get_by_role("searchbox").fill("question 9999:")
    shows(place, ["9999"], "of 1 of 10,000 samples")
    place.get_by_role("searchbox").fill("")
    choose(place, "Show", "flipped")
    settled(place, "1–50 of 5,000 of 10,000 samples")
    assert page.evaluate("document.querySelectorAll('*').length") - before < 1500
