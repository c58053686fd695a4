"""Protocols that several benchmarks share.

Summaries after `TL;DR:`, few-shot translation, questions without a text to find the answer in,
dialogue, language modelling of lines and of characters, de-tokenizers that can be undone.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from gpt2eval import metrics
from gpt2eval.data import Dataset, Row, read_lines
from gpt2eval.errors import DataError
from gpt2eval.task import Metric, Protocol
from gpt2eval.types import Generate, Request, Rolling, Sample, Score

# Sizes of the four released checkpoints; the paper's own counts (117M ...) were wrong.
PARAMETERS = {
    "gpt2": 124_439_808,
    "gpt2-medium": 354_823_168,
    "gpt2-large": 774_030_080,
    "gpt2-xl": 1_557_611_200,
}
PAPER = "Radford et al. 2019"


def published(metric: str, source: str, **values: float) -> tuple[Mapping[str, Any], ...]:
    """Published values of one metric, by model with `_` for `-`: `published(..., gpt2_xl=8.63)`."""
    rows = []
    for key, value in values.items():
        model = key.replace("_", "-")
        rows.append(
            {
                "model": model,
                "parameters": PARAMETERS[model],
                "metric": metric,
                "value": value,
                "source": source,
            }
        )
    return tuple(rows)


def paper(
    metric: str, values: Sequence[float], source: str = f"{PAPER}, Table 3"
) -> tuple[Mapping[str, Any], ...]:
    """The GPT-2 paper's values for the four sizes, smallest first."""
    names = (name.replace("-", "_") for name in PARAMETERS)
    return published(metric, source, **dict(zip(names, values, strict=True)))


# ---- summaries ----------------------------------------------------------------------------------


def summarization(
    name: str,
    summary: str,
    dataset: Dataset,
    columns: tuple[str, str],
    *,
    sentences: int,
    top_k: int = 0,
    **more: Any,
) -> Protocol:
    """Article, a new line, `TL;DR:`; 100 tokens; the first sentences of them are the summary.

    columns    names of the article and of the reference in the rows
    sentences  of the generation that are scored, and of the lede and random baselines
    top_k      0: greedy; otherwise sampled from the k likeliest tokens with the run's seed
    """
    document, reference = columns

    def samples(rows: Iterable[Row]) -> Iterable[Sample]:
        for number, row in enumerate(rows, 1):
            yield Sample(
                id=str(row.get("id") or number),
                fields={"article": row[document]},
                references=(row[reference],),
            )

    def requests(sample: Sample) -> list[Request]:
        prompt = f"{sample.fields['article']}\nTL;DR:"
        return [Generate(prompt, 100, temperature=1.0 if top_k else 0.0, top_k=top_k)]

    def lede(sample: Sample, _random: np.random.Generator) -> str:
        return metrics.first_sentences(sample.fields["article"], sentences)

    def at_random(sample: Sample, random: np.random.Generator) -> str:
        found = metrics.split_sentences(sample.fields["article"])
        size = min(sentences, len(found))
        chosen = sorted(random.choice(len(found), size=size, replace=False)) if found else []
        return "\n".join(found[i] for i in chosen)

    return Protocol(
        name=name,
        summary=summary,
        dataset=dataset,
        samples=samples,
        requests=requests,
        metrics=(
            *metrics.rouge(stemmer=False),
            metrics.rouge_average(stemmer=False),
            *metrics.rouge(stemmer=True),
            metrics.rouge_average(stemmer=True),
        ),
        extract=lambda text: metrics.first_sentences(text, sentences),
        baselines={f"lede-{sentences}": lede, f"random-{sentences}": at_random},
        options={
            "prompt": "article\\nTL;DR:",
            "max_new_tokens": 100,
            "decoding": f"top-k {top_k}" if top_k else "greedy",
            "scored": f"first {sentences} sentences" if sentences > 1 else "first sentence",
        },
        **more,
    )


# ---- translation --------------------------------------------------------------------------------


def translation(
    name: str,
    summary: str,
    dataset: Dataset,
    direction: tuple[str, str],
    examples: Path,
    *,
    pairs: int = 5,
    **more: Any,
) -> Protocol:
    """Example pairs `source = target`, a line each, then `source =`; greedy; the first sentence.

    direction  columns of the source and of the target language in the rows
    examples   file of English<TAB>French pairs that are in no test set
    """
    source, target = direction
    shots = _examples(examples, direction, pairs)
    beginning = "".join(f"{one} = {other}\n" for one, other in shots)

    def samples(rows: Iterable[Row]) -> Iterable[Sample]:
        for number, row in enumerate(rows, 1):
            yield Sample(
                id=str(row.get("id") or number),
                fields={"source": row[source]},
                references=(row[target],),
                group=row.get("document", ""),
            )

    def requests(sample: Sample) -> list[Request]:
        return [Generate(f"{beginning}{sample.fields['source']} =", 128, stop=("\n",))]

    return Protocol(
        name=name,
        summary=summary,
        dataset=dataset,
        samples=samples,
        requests=requests,
        metrics=(metrics.bleu(), metrics.chrf()),
        extract=metrics.first_sentence,
        options={
            "prompt": f"{pairs} pairs `{source} sentence = {target} sentence`",
            "examples_sha256": hashlib.sha256(beginning.encode()).hexdigest(),
            "max_new_tokens": 128,
            "decoding": "greedy",
            "scored": "first sentence, up to the first new line",
        },
        **more,
    )


def _examples(path: Path, direction: tuple[str, str], pairs: int) -> list[tuple[str, str]]:
    """The first pairs of an English<TAB>French file, in the direction asked for."""
    found = _pairs(path, pairs, "English<TAB>French")
    if direction == ("en", "fr"):
        return found
    return [(french, english) for english, french in found]


def _pairs(path: Path, pairs: int, form: str) -> list[tuple[str, str]]:
    """The first lines of a file of two columns."""
    lines = [str(row["text"]).split("\t") for row in read_lines([path])][:pairs]
    if len(lines) < pairs or any(len(line) != 2 for line in lines):
        raise DataError(f"{path}: expected at least {pairs} lines of {form}")
    return [(one, other) for one, other in lines]


# ---- questions ----------------------------------------------------------------------------------


def closed_book(
    name: str,
    summary: str,
    dataset: Dataset,
    ask: str,
    scores: tuple[Metric, ...],
    *,
    beginning: str = "",
    examples: Path | None = None,
    pairs: int = 5,
    stop: tuple[str, ...] = ("\n",),
    max_new_tokens: int = 32,
    **more: Any,
) -> Protocol:
    """Questions without a text to find the answer in; greedy; what comes before `stop`.

    Rows have `question` and `answers`, a list, and may have an `id`. The floor beside the model is
    the answer that most other questions with the same first word have: "who", "when", ...

    scores     the metrics
    ask        how a question is put, with `{question}` in it; the answer follows a space
    beginning  text before everything else
    examples   file of question<TAB>answer lines that are in no test set; None: no examples
    """
    shots = _pairs(examples, pairs, "question<TAB>answer") if examples else []
    prompt = beginning + "".join(
        f"{ask.format(question=question)} {answer}\n" for question, answer in shots
    )

    def samples(rows: Iterable[Row]) -> Iterator[Sample]:
        rows = list(rows)
        common = common_answers([(row["question"], row["answers"]) for row in rows])
        for number, (row, floor) in enumerate(zip(rows, common, strict=True), 1):
            yield Sample(
                id=str(row.get("id") or number),
                fields={"question": row["question"], "common": floor},
                references=tuple(row["answers"]),
            )

    def requests(sample: Sample) -> list[Request]:
        asked = ask.format(question=sample.fields["question"])
        return [Generate(prompt + asked, max_new_tokens, stop=stop)]

    def most_common(sample: Sample, _random: np.random.Generator) -> str:
        return str(sample.fields["common"])

    return Protocol(
        name=name,
        summary=summary,
        dataset=dataset,
        samples=samples,
        requests=requests,
        metrics=scores,
        baselines={"most-common-answer": most_common},
        options={
            "prompt": (beginning + ask).replace("\n", "\\n"),
            "examples": len(shots),
            **({"examples_sha256": hashlib.sha256(prompt.encode()).hexdigest()} if shots else {}),
            "max_new_tokens": max_new_tokens,
            "decoding": "greedy",
            "scored": "up to " + " ".join(repr(text) for text in stop),
        },
        **more,
    )


def common_answers(asked: Sequence[tuple[str, Sequence[str]]]) -> list[str]:
    """For each (question, answers): the answer that most others with its first word share.

    A question never counts for itself, so the floor knows nothing of it but its first word. Of
    answers that are equally common the first one in the data is taken. Where no other question
    begins alike, all others are asked.
    """
    normalize = metrics.normalize_answer
    words = [normalize(question).partition(" ")[0] for question, _ in asked]
    golds = [list(dict.fromkeys(map(normalize, answers))) for _, answers in asked]
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for word, answers in zip(words, golds, strict=True):
        counts[word].update(answers)
    ranked = {word: counter.most_common() for word, counter in counts.items()}
    everything = sum(counts.values(), Counter[str]()).most_common()
    return [
        _commonest(ranked[word], own) or _commonest(everything, own) or own[0]
        for word, own in zip(words, golds, strict=True)
    ]


def _commonest(ranked: Iterable[tuple[str, int]], own: Sequence[str]) -> str:
    """The answer most counted once `own` are taken off the counts; empty where none is left."""
    best, most = "", 0
    for answer, count in ranked:
        if count <= most:
            break
        if count - (answer in own) > most:
            best, most = answer, count - (answer in own)
    return best


# ---- dialogue -----------------------------------------------------------------------------------

CANDIDATES = 20


def dialogue(dataset: Dataset) -> tuple[Protocol, ...]:
    """The reply to what was said: its perplexity, whether it is told from others, and a new one.

    Rows have an `id`, a `background` (empty, or text that stands before the conversation), `turns`,
    a list of strings, and `replies`, the numbers of the turns to be predicted. Speakers are `A:`
    and `B:` in turn, a line each.
    """
    detail = (
        "The speakers are A and B, a turn a line, the text as the data have it; a reply follows a"
        " space after its speaker and ends with its line."
    )

    def samples(rows: Iterable[Row]) -> Iterator[Sample]:
        rows = list(rows)
        pool = [(row["id"], row["turns"][turn]) for row in rows for turn in row["replies"]]
        random = np.random.default_rng(0)
        for row in rows:
            for turn in row["replies"]:
                reply = row["turns"][turn]
                candidates, gold = _candidates(pool, row["id"], reply, random)
                yield Sample(
                    id=f"{row['id']}/{turn + 1}",
                    fields={
                        "prompt": _conversation(row, turn),
                        "candidates": candidates,
                        "gold": gold,
                        "words+eos": len(reply.split()) + 1,
                    },
                    references=(reply,),
                    group=row["id"],
                )

    def likelihood(sample: Sample) -> list[Request]:
        return [Score(sample.fields["prompt"], f" {sample.references[0]}\n")]

    def choice(sample: Sample) -> list[Request]:
        prompt = sample.fields["prompt"]
        return [Score(prompt, f" {text}\n") for text in sample.fields["candidates"]]

    def new(sample: Sample) -> list[Request]:
        return [Generate(sample.fields["prompt"], 40, stop=("\n",))]

    def another(sample: Sample, random: np.random.Generator) -> str:
        others = [text for text in sample.fields["candidates"] if text != sample.references[0]]
        return str(others[random.integers(len(others))])

    prompt = {"prompt": "background, then lines `A: turn`, `B: turn`"}
    return (
        Protocol(
            name="perplexity",
            summary="perplexity of the reply, per word and per token",
            detail=f"{detail} Divided by the words between white space plus one line end a reply.",
            dataset=dataset,
            samples=samples,
            requests=likelihood,
            metrics=(
                metrics.perplexity(
                    "word_perplexity", "words and line ends", lambda s: s.fields["words+eos"]
                ),
                metrics.token_perplexity(),
            ),
            options=prompt,
        ),
        Protocol(
            name="hits",
            summary=f"is the reply the likeliest of {CANDIDATES}, by sum and by mean",
            detail=(
                f"{detail} The reply stands among {CANDIDATES - 1} replies of other conversations"
                f" of the set, drawn once for all; chance is {1 / CANDIDATES:.0%}. Short replies"
                " are likely by themselves, so the mean per token is given as well."
            ),
            dataset=dataset,
            samples=samples,
            requests=choice,
            metrics=(metrics.hits_at_1(), metrics.hits_at_1("hits_at_1_mean", mean=True)),
            options={**prompt, "candidates": CANDIDATES, "candidates_seed": 0},
        ),
        Protocol(
            name="greedy",
            summary="a reply of 40 tokens at most, greedily: BLEU, F1 of words, distinct-n",
            detail=(
                f"{detail} F1 is that of SQuAD, as dialogue papers use it. A reply that is as good"
                " as the one in the data shares few words with it: read these beside the floor, a"
                " reply from another conversation."
            ),
            dataset=dataset,
            samples=samples,
            requests=new,
            metrics=(
                metrics.bleu(),
                metrics.answer_f1(per="replies"),
                metrics.distinct(1, "replies"),
                metrics.distinct(2, "replies"),
            ),
            baselines={"other-reply": another},
            options={
                **prompt,
                "max_new_tokens": 40,
                "decoding": "greedy",
                "scored": "first line",
                "candidates_seed": 0,
            },
        ),
    )


def _conversation(row: Row, turn: int) -> str:
    """Everything before a turn, and the name of its speaker."""
    said = "".join(f"{'AB'[n % 2]}: {text}\n" for n, text in enumerate(row["turns"][:turn]))
    return f"{row['background']}{said}{'AB'[turn % 2]}:"


def _candidates(
    pool: Sequence[tuple[str, str]], own: str, reply: str, random: np.random.Generator
) -> tuple[tuple[str, ...], int]:
    """The reply among others from other conversations, all different, and its place."""
    chosen: dict[str, None] = {}
    # A stretch of a long list is shuffled, from a random place: the whole would cost too much.
    start = int(random.integers(len(pool)))
    for step in random.permutation(min(len(pool), 1000)).tolist():
        conversation, text = pool[(start + step) % len(pool)]
        if conversation != own and text != reply:
            chosen[text] = None
        if len(chosen) == CANDIDATES - 1:
            gold = int(random.integers(CANDIDATES))
            others = list(chosen)
            return (*others[:gold], reply, *others[gold:]), gold
    raise DataError(
        f"conversation {own!r}: the others have {len(chosen)} replies besides {reply!r:.60};"
        f" expected {CANDIDATES - 1}, to choose the true one from"
    )


# ---- de-tokenizers that can be undone -----------------------------------------------------------

Rule = Callable[[str], str]


def invertible(*rules: Rule) -> tuple[Rule, Rule]:
    """(detokenize, tokenize) of a text, line by line; the second undoes the first on any text.

    Each rule swaps the two spellings of a boundary wherever either occurs: "word ," <-> "word,". A
    rule applied twice gives its input back, so the whole is undone by the rules in reverse. Where a
    text already has the rare spelling, it gets the other one: the event that is scored stays the
    same, which is what the GPT-2 paper asks of a de-tokenizer.
    """

    def detokenize(text: str) -> str:
        return "\n".join(_apply(line, rules) for line in text.split("\n"))

    def tokenize(text: str) -> str:
        return "\n".join(_apply(line, rules[::-1]) for line in text.split("\n"))

    return detokenize, tokenize


def swap_space(pattern: str) -> Rule:
    """A rule that swaps one space and none wherever `pattern` matches; its group is the space.

    To be undone, the pattern may look around, but never at a space that it swaps elsewhere.
    """
    compiled = re.compile(pattern)
    return lambda line: compiled.sub(lambda match: "" if match[1] else " ", line)


_QUOTES = re.compile(r'"( ?)([^\s"]|[^\s"][^"]*[^\s"])\1"')


def swap_quotes(line: str) -> str:
    """`" word "` <-> `"word"`, in pairs from the left."""

    def swap(match: re.Match[str]) -> str:
        space = "" if match[1] else " "
        return f'"{space}{match[2]}{space}"'

    return _QUOTES.sub(swap, line)


def swap_margins(line: str) -> str:
    """` text ` <-> `text`; a line of one space <-> the empty line."""
    if line in ("", " "):
        return " " if line == "" else ""
    inside = line.strip(" ")
    if inside and line in (inside, f" {inside} "):
        return inside if line != inside else f" {inside} "
    return line


def _apply(line: str, rules: Iterable[Rule]) -> str:
    for rule in rules:
        line = rule(line)
    return line


# ---- language modelling -------------------------------------------------------------------------


def stretches_of_lines(
    rows: Iterable[Row], prepare: Rule, between: str, end: str, size: int = 20
) -> Iterator[Sample]:
    """Lines as stretches of one long text, `size` of them a sample, for intervals.

    prepare   a line of the data -> the line as the model reads it
    between   what stands between two lines
    end       what stands after the last
    `words+eos` counts the words of the data and one line end a line, whatever `prepare` does.
    """
    lines = [str(row["text"]) for row in rows]
    blocks = [lines[at : at + size] for at in range(0, len(lines), size)]
    parts = ["".join(prepare(line) + between for line in block) for block in blocks]
    if parts:
        parts[-1] = parts[-1].removesuffix(between) + end
    stream = "".join(parts)
    start = 0
    for number, (block, part) in enumerate(zip(blocks, parts, strict=True), 1):
        yield Sample(
            id=str(number),
            fields={
                "stream": stream,
                "start": start,
                "end": start + len(part),
                "words+eos": sum(len(line.split()) for line in block) + len(block),
            },
        )
        start += len(part)


def stretch(sample: Sample, windows: Any, stride: int) -> list[Request]:
    """The part of the long text that is a sample's own."""
    fields = sample.fields
    return [Rolling(fields["stream"], fields["start"], fields["end"], windows, stride)]


AROUND = 20_000
"""Characters on both sides of a stretch, more than a window holds, so that all windows are full."""


def characters(
    name: str, summary: str, dataset: Dataset, unit: str, size: int, stride: int, **more: Any
) -> Protocol:
    """The last `size` units of a file as one text, in windows that advance by `stride` tokens.

    unit  "bytes" or "characters": what the log-likelihood is divided by

    The text is cut into 50 stretches of equal length, which intervals resample. Each is a request
    of its own with the text around it: its tokens are those of the whole text, but the tokenizer
    never sees the whole, and an interrupted run goes on at a stretch.
    """

    def samples(rows: Iterable[Row]) -> Iterator[Sample]:
        stream = "".join(row["text"] for row in rows)
        cuts = [round(len(stream) * part / 50) for part in range(51)]
        for number, (start, end) in enumerate(pairwise(cuts), 1):
            if start < end:
                own = stream[start:end]
                begin = max(0, start - AROUND)
                fields = {
                    "stream": stream[begin : end + AROUND],
                    "start": start - begin,
                    "end": end - begin,
                    "count": len(own.encode()) if unit == "bytes" else len(own),
                }
                yield Sample(id=str(number), fields=fields)

    one = unit.removesuffix("s")
    return Protocol(
        name=name,
        summary=summary,
        dataset=dataset,
        samples=samples,
        requests=lambda sample: stretch(sample, "sliding", stride),
        metrics=(metrics.bits(f"bits_per_{one}", unit, lambda sample: sample.fields["count"]),),
        options={
            "text": f"last {size} {unit}, as it is",
            "stride": stride,
            "prefix": "<|endoftext|>",
            "context_characters": AROUND,
        },
        **more,
    )
