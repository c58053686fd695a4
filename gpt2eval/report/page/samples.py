"""What the sample browser shows: records of all checkpoints of a section, side by side.

Two passes over the records, so that memory stays small: the first takes a few numbers of each
sample and remembers where its line is, the second reads the lines of the samples that the page has
room for. What the page gets is JSON in blocks, each compressed and in base64; the script unpacks a
block when somebody looks at it.
"""

from __future__ import annotations

import base64
import json
import math
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpt2eval.alphabet import text_of_letters
from gpt2eval.report.sections import Section
from gpt2eval.results import (
    RECORDS,
    common_beginning,
    decode_requests,
    locate_records,
    own_responses,
    read_vocabulary,
    records_at,
    records_size,
    trusting,
)
from gpt2eval.types import Estimate, Record, Result

TOKENS = 65_536  # tokens of one response that the page shows
EXCERPT = 400  # characters by which the list shows a text that only its tokens tell
SIDE = 12  # checkpoints side by side; of more, nobody finds the two that matter
BLOCK = 200_000  # characters of JSON in a block
RATIO = 0.15  # bytes in the page for a byte of records.jsonl, guessed before any is packed
PROBE = 0.2  # of what that guess allows is packed first, to know better
ROUNDS = 5  # of packing, until the page is full
LEVEL = 6  # of compression; the highest takes four times as long for 2 % less
FAILED, TRUNCATED, LENGTH, EMPTY = 1, 2, 4, 8

# How metrics make a value of summed statistics (s, n); which one a metric uses is found by trying.
FORMS: tuple[Callable[[float], float], ...] = (
    lambda ratio: ratio,
    lambda ratio: 100 * ratio,
    lambda ratio: math.exp(min(ratio, 700.0)),
    lambda ratio: ratio / math.log(2),
)


@dataclass(frozen=True, slots=True)
class Browser:
    """The samples of a section, as the page holds them.

    index    numbers of every sample that is shown, one block
    texts    questions, references and generations, in blocks
    details  tokens and their losses, in blocks
    shown    samples in the page
    total    samples in the records
    lacks    what the records of an earlier version do not have, in words; empty: nothing
    side     checkpoints whose samples are shown, and `runs`, how many there are
    """

    index: str
    texts: Sequence[str]
    details: Sequence[str]
    shown: int
    total: int
    lacks: str
    side: int = 0
    runs: int = 0

    @property
    def size(self) -> int:
        """Bytes in the page."""
        return sum(map(len, (self.index, *self.texts, *self.details)))


@dataclass(slots=True)
class Facts:
    """What is known of one checkpoint's samples after the first pass, by the sample's number.

    place   the bytes of records.jsonl that hold it
    values  metric -> its two statistics for every sample, NaN where there are none
    loss    mean loss of its tokens, nats
    flags   FAILED, TRUNCATED, LENGTH, EMPTY, together
    """

    place: dict[int, range] = field(default_factory=dict)
    values: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    loss: dict[int, float] = field(default_factory=dict)
    flags: dict[int, int] = field(default_factory=dict)


def browsers(sections: Sequence[Section], budget: int, baseline: str = "") -> list[Browser | None]:
    """A browser for each section; None where no records are left to show.

    Of many checkpoints the first stand side by side, and the baseline with them. Small sections
    take what they need, large ones share equally what is left.
    """
    found: dict[int, Browser | None] = {}
    chosen = [_side_by_side(_runs(section), baseline) for section in sections]
    order = sorted(range(len(sections)), key=lambda number: records_size(chosen[number].values()))
    for done, number in enumerate(order):
        with trusting(sections[number].title):
            browser = _browser(sections[number], chosen[number], budget // (len(order) - done))
        everyone = len(_runs(sections[number]))
        found[number] = browser and replace(browser, side=len(chosen[number]), runs=everyone)
        budget -= browser.size if browser else 0
    return [found[number] for number in range(len(sections))]


def _side_by_side(runs: Mapping[str, Result], baseline: str) -> dict[str, Result]:
    """The runs that the browser shows."""
    labels = list(runs)[:SIDE]
    if baseline in runs and baseline not in labels:
        labels[-1] = baseline
    return {label: runs[label] for label in labels}


def _runs(section: Section) -> dict[str, Result]:
    """The results of a section whose records are there."""
    return {
        label: result
        for label, result in section.results.items()
        if result.path and (result.path / RECORDS).is_file()
    }


def _browser(section: Section, runs: Mapping[str, Result], share: int) -> Browser | None:
    """As many samples as fit: how small records become is seen only when they are packed."""
    if not runs:
        return None
    ids, facts = _facts(runs)
    values = _values(section, runs, facts)
    order = _telling(ids, facts, values)
    best = None
    size = PROBE * share / RATIO
    for _ in range(ROUNDS):
        kept, bytes_ = _kept(order, facts, size)
        browser = _pack(runs, ids, kept, facts, values)
        if browser.size <= share and (best is None or browser.shown > best.shown):
            best = browser
        if browser.size <= share and (browser.size > 0.85 * share or len(kept) == len(ids)):
            break
        size = share * bytes_ / max(browser.size, 1) / 1.05
    return best or _pack(runs, ids, [], facts, values)


# ---- first pass: numbers of all samples ---------------------------------------------------------


def _facts(runs: Mapping[str, Result]) -> tuple[list[str], dict[str, Facts]]:
    """The ids of all samples in their natural order, and what is known of each."""
    number: dict[str, int] = {}
    found: dict[str, Facts] = {}
    columns: dict[str, dict[str, dict[int, tuple[float, float]]]] = {label: {} for label in runs}
    for label, result in runs.items():
        facts = found[label] = Facts()
        assert result.path
        for place, record in locate_records(result.path):
            index = number.setdefault(record.id, len(number))
            facts.place[index] = place
            facts.flags[index] = _flags(record)
            if (loss := _loss(record)) is not None:
                facts.loss[index] = loss
            for metric, statistics in record.statistics.items():
                if len(statistics) == 2 and metric in result.metrics:
                    pair = float(statistics[0]), float(statistics[1])
                    columns[label].setdefault(metric, {})[index] = pair
    # Records come in the order in which they were computed, which is no order to read.
    ids = list(number)
    sequence = sorted(range(len(ids)), key=lambda index: _natural(ids[index]))
    rank = {old: new for new, old in enumerate(sequence)}
    nothing = math.nan, math.nan
    for label, facts in found.items():
        facts.place = {rank[old]: place for old, place in facts.place.items()}
        facts.flags = {rank[old]: flags for old, flags in facts.flags.items()}
        facts.loss = {rank[old]: loss for old, loss in facts.loss.items()}
        for metric, column in columns[label].items():
            facts.values[metric] = [column.get(old, nothing) for old in sequence]
    return [ids[old] for old in sequence], found


def _natural(text: str) -> list[tuple[int, int, str]]:
    """A key by which "doc-2" comes before "doc-10"."""
    parts = re.split(r"([0-9]{1,18})", text)
    return [(1, int(x), x) if x.isascii() and x.isdigit() else (0, 0, x) for x in parts]


def _flags(record: Record) -> int:
    """What happened to a sample besides being scored."""
    flags = FAILED if record.error else 0
    for response in record.responses:
        flags |= TRUNCATED if response.get("truncated") else 0
        if response["type"] == "generated":
            flags |= LENGTH if response.get("stopped") == "length" else 0
            flags |= 0 if response.get("prediction") else EMPTY
    return flags


def _loss(record: Record) -> float | None:
    """Mean loss (nats) of a token of what was scored; of choices, of the right one."""
    scored = own_responses(record)
    if any(response["type"] == "generated" for response in scored):
        return None
    if record.choices or len(scored) > 1:
        if record.gold is None or record.gold >= len(scored):
            return None
        scored = [scored[record.gold]]
    losses = [x for response in scored for x in response.get("logprobs", ())]
    return -math.fsum(losses) / len(losses) if losses else None


def _values(
    section: Section, runs: Mapping[str, Result], facts: Mapping[str, Facts]
) -> dict[str, NDArray[np.float64]]:
    """Metric -> value of each sample by itself, [checkpoints, samples], NaN where there is none.

    Only for metrics that make their value of a ratio of sums in one of the ways of FORMS: what
    that way makes of all samples must be the very value of each result.
    """
    found = {}
    for metric in section.metrics:
        if not all(metric in facts[label].values for label in runs):
            continue
        sums = {label: np.array(facts[label].values[metric]) for label in runs}
        for form in FORMS:
            if all(_makes(form, sums[x], run.metrics[metric]) for x, run in runs.items()):
                found[metric] = np.array([_each(form, sums[label]) for label in runs])
                break
    return found


def _makes(
    form: Callable[[float], float], statistics: NDArray[np.float64], estimate: Estimate
) -> bool:
    """Whether the value of a metric comes out of its statistics this way."""
    top, bottom = np.nansum(statistics, axis=0).tolist()
    return bottom > 0 and math.isclose(form(top / bottom), estimate.value, rel_tol=1e-6)


def _each(form: Callable[[float], float], statistics: NDArray[np.float64]) -> list[float]:
    return [
        form(top / bottom) if bottom > 0 and math.isfinite(top) else math.nan
        for top, bottom in statistics.tolist()
    ]


# ---- which samples stay -------------------------------------------------------------------------


def _telling(
    ids: Sequence[str], facts: Mapping[str, Facts], values: Mapping[str, NDArray[np.float64]]
) -> list[int]:
    """All samples, those first that should stay where not all can.

    By turns one of those that say most, and one by chance, so that the ordinary is seen too.
    """
    most = sorted(range(len(ids)), key=lambda index: _says(index, facts, values), reverse=True)
    any_ = np.random.default_rng(0).permutation(len(ids)).tolist()
    return list(dict.fromkeys(chain.from_iterable(zip(most, any_, strict=True))))


def _says(
    index: int, facts: Mapping[str, Facts], values: Mapping[str, NDArray[np.float64]]
) -> tuple[float, ...]:
    """How far checkpoints differ on a sample, in the main metric and in loss; then the loss."""
    spread = 0.0
    if values:
        main = next(iter(values.values()))[:, index]
        main = main[np.isfinite(main)]
        spread = float(np.ptp(main)) if len(main) else 0.0
    losses = [each.loss[index] for each in facts.values() if index in each.loss]
    flagged = any(each.flags.get(index, 0) & (FAILED | TRUNCATED) for each in facts.values())
    apart = max(losses) - min(losses) if losses else 0.0
    return spread, apart, float(flagged), max(losses, default=0.0)


def _kept(order: Sequence[int], facts: Mapping[str, Facts], size: float) -> tuple[list[int], int]:
    """The first of the order whose records have so many bytes together, and how many they have."""
    kept, taken = [], 0
    for index in order:
        cost = sum(len(each.place[index]) for each in facts.values() if index in each.place)
        if taken + cost <= size:
            kept.append(index)
            taken += cost
    return sorted(kept), taken


# ---- second pass: what is shown -----------------------------------------------------------------


def _pack(
    runs: Mapping[str, Result],
    ids: Sequence[str],
    kept: Sequence[int],
    facts: Mapping[str, Facts],
    values: Mapping[str, NDArray[np.float64]],
) -> Browser:
    """The blocks of the samples that are kept."""
    tokens = Tokens({label: result for label, result in runs.items() if result.path})
    texts, details, lacks = [], [], False
    for records in _aligned(runs, kept, facts):
        lacks |= any(record is not None and not record.asked for record in records.values())
        text, detail = _shown(records, runs, tokens)
        texts.append(text)
        details.append(detail)
    text_blocks, text_starts = _blocks(texts)
    detail_blocks, detail_starts = _blocks(details)
    index = {
        "labels": list(runs),
        "metrics": [
            {"name": name, "higher": _estimate(runs, name).higher_is_better}
            | {"unit": _estimate(runs, name).unit, "binary": bool(_binary(column))}
            for name, column in values.items()
        ],
        "ids": [ids[index] for index in kept],
        "values": [
            [[_short(x) for x in row] for row in column[:, kept]] for column in values.values()
        ],
        "loss": [[_short(each.loss.get(i, math.nan)) for i in kept] for each in facts.values()],
        "flags": [[each.flags.get(index) for index in kept] for each in facts.values()],
        "tokens": tokens.texts,
        "texts": text_starts,
        "details": detail_starts,
    }
    missing = ["what was asked"] if lacks else []
    missing += ["the texts of tokens"] if tokens.lacking else []
    return Browser(
        _compress(json.dumps(index, separators=(",", ":"))),
        text_blocks,
        detail_blocks,
        len(kept),
        len(ids),
        " and ".join(missing),
    )


def _estimate(runs: Mapping[str, Result], metric: str) -> Estimate:
    return next(run.metrics[metric] for run in runs.values() if metric in run.metrics)


def _binary(column: NDArray[np.float64]) -> bool:
    """Whether a sample is either right or wrong."""
    known = column[np.isfinite(column)]
    return bool(len(known) and np.isin(known, (0.0, 1.0)).all())


def _short(value: float) -> float | None:
    """Five digits of a number: enough to read and to sort by."""
    return float(f"{value:.5g}") if math.isfinite(value) else None


def _aligned(
    runs: Mapping[str, Result], kept: Sequence[int], facts: Mapping[str, Facts]
) -> Iterator[dict[str, Record | None]]:
    """The records of each sample, by checkpoint; None where one does not have the sample."""
    readers = {}
    for label, result in runs.items():
        assert result.path
        places = [facts[label].place[i] for i in kept if i in facts[label].place]
        readers[label] = records_at(result.path, places)
    for index in kept:
        yield {
            label: next(readers[label]) if index in facts[label].place else None for label in runs
        }


class Tokens:
    """The texts of tokens of all checkpoints of a section, each text once.

    texts    what the page holds: the text in GPT-2's alphabet of bytes, or the id of a token
             whose text no file says
    lacking  whether there is such an id
    """

    def __init__(self, runs: Mapping[str, Result]) -> None:
        self.texts: list[str | int] = []
        self.lacking = False
        self._number: dict[str | int, int] = {}
        self._known = {label: read_vocabulary(x.path) for label, x in runs.items() if x.path}
        self._place: dict[str, dict[int, int]] = {label: {} for label in self._known}

    def numbers(self, label: str, ids: Sequence[int]) -> list[int]:
        """The place in `texts` of each token of a checkpoint."""
        place = self._place[label]
        for token in ids:
            if token not in place:
                place[token] = self._enter(self._known[label].get("model", {}).get(token, token))
        return [place[token] for token in ids]

    def _enter(self, text: str | int) -> int:
        """The place of a text, or of the id of a token without one."""
        self.lacking |= isinstance(text, int)
        if text not in self._number:
            self._number[text] = len(self.texts)
            self.texts.append(text)
        return self._number[text]

    def text(self, numbers: Iterable[int]) -> str:
        """The text of tokens; empty where it is not known."""
        letters = [self.texts[number] for number in numbers]
        if any(isinstance(letter, int) for letter in letters):
            return ""
        return text_of_letters("".join(map(str, letters)))


def _shown(
    records: Mapping[str, Record | None], runs: Mapping[str, Result], tokens: Tokens
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the page says of a sample: texts to search in, and tokens to look at."""
    there = [(label, record) for label, record in records.items() if record is not None]
    label, first = next((pair for pair in there if pair[1].responses), there[0])
    asked = _asked(first, runs[label])
    choices = list(first.choices)
    contexts = [x["context"] for x in asked if "context" in x and "scorer" not in x]
    compared = contexts[: len(choices)] if choices else contexts[:1]
    question = common_beginning(compared)
    if len({*compared}) > 1:  # whole words only
        question = question[: question.rfind(" ") + 1]
    prompts = [x["prompt"] for x in asked if "prompt" in x]
    if prompts:
        question = "\n".join(prompts)
    text: dict[str, Any] = {"q": question, "r": list(first.references)}
    if choices:
        text |= {"c": choices, "gold": first.gold}
    text["a"] = [None if record is None else _written(record) for record in records.values()]
    answers = [
        None if record is None else _answers(record, tokens, label)
        for label, record in records.items()
    ]
    if not question and not choices and not prompts:
        of_first = answers[list(records).index(label)] or []
        start = chain.from_iterable(answer["t"][:EXCERPT] for answer in of_first)
        text |= {"x": excerpt} if (excerpt := tokens.text(start)[:EXCERPT]) else {}
    _drop_repeated(answers)
    detail: dict[str, Any] = {"s": answers}
    tails = [context[len(question) :] for context in compared]
    if any(tails):
        detail["tails"] = tails
    errors = [None if record is None else record.error for record in records.values()]
    if any(errors):
        detail["error"] = errors
    return text, detail


def _asked(record: Record, result: Result) -> list[dict[str, Any]]:
    """What was asked, without the lines that all samples begin with: the page shows those once."""
    beginning = str(result.task.get("beginning", ""))
    whole = beginning[: len(shared_lines(result))]
    asked = decode_requests(record.asked, beginning)
    for content in asked:
        for key in ("context", "prompt"):
            if key in content:
                content[key] = content[key].removeprefix(whole)
    return asked


def shared_lines(result: Result) -> str:
    """The whole lines that every context or prompt of a run begins with: its examples."""
    beginning = str(result.task.get("beginning", ""))
    return beginning[: beginning.rfind("\n") + 1] if result.data.get("selected") != 1 else ""


def _written(record: Record) -> list[Any]:
    """Each generation: the text, or [text, the part that is scored] where the two differ."""
    found = []
    for response in record.responses:
        if response["type"] == "generated":
            text = response["text"]
            prediction = response.get("prediction", text)
            found.append(text if text.strip() == prediction.strip() else [text, prediction])
    return found


def _answers(record: Record, tokens: Tokens, label: str) -> list[dict[str, Any]]:
    """Each response: tokens, losses in hundredths of a nat, and what else there is to say.

    The sum of the log-probabilities is there besides, since a choice may win by less than that.
    """
    answers = []
    for response in own_responses(record):
        if response["type"] == "summed":  # imported: nobody told what its tokens were
            answers.append({"t": [], "l": [], "g": "", "x": [], "s": round(response["logprob"], 4)})
            continue
        answer: dict[str, Any] = {
            "t": tokens.numbers(label, response.get("tokens", [])[:TOKENS]),
            "l": [round(-100 * x) for x in response.get("logprobs", [])[:TOKENS]],
        }
        if response["type"] == "scored":
            answer["g"] = response["greedy"][:TOKENS]
            answer["x"] = _first_contexts(response["context"])
            answer["s"] = round(math.fsum(response["logprobs"]), 4)
        else:
            answer["e"] = response.get("stopped", "")
        if len(response.get("tokens", [])) > TOKENS:
            answer["n"] = len(response["tokens"])
        if response.get("truncated"):
            answer["u"] = response["truncated"]
        answers.append(answer)
    return answers


def _first_contexts(runs: Sequence[Sequence[int]]) -> list[Sequence[int]]:
    """The stretches of context lengths that the tokens in the page belong to."""
    kept, seen = [], 0
    for run in runs:
        if seen < TOKENS:
            kept.append(run)
            seen += run[1]
    return kept


def _drop_repeated(answers: Sequence[list[dict[str, Any]] | None]) -> None:
    """Tokens and contexts that are those of the first checkpoint are left out: they say "=" ."""
    first = next((answer for answer in answers if answer is not None), [])
    for answer in answers:
        if answer is None or answer is first:
            continue
        for one, other in zip(first, answer, strict=False):
            for key in ("t", "x"):
                if key in other and other[key] == one.get(key):
                    del other[key]


def _blocks(items: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[int]]:
    """JSON arrays of items in order, and the number of the first item of each."""
    blocks: list[str] = []
    starts: list[int] = []
    lines: list[str] = []
    size = 0
    for number, item in enumerate(items):
        if not lines:
            starts.append(number)
        lines.append(json.dumps(item, separators=(",", ":")))
        size += len(lines[-1])
        if size >= BLOCK or number == len(items) - 1:
            blocks.append(_compress(f"[{','.join(lines)}]"))
            lines, size = [], 0
    return blocks, starts


def _compress(text: str) -> str:
    return base64.b64encode(zlib.compress(text.encode(), LEVEL)).decode()
