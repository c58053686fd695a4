"""Conversations: the reply to what was said."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from gpt2eval import metrics
from gpt2eval.data import Dataset, Row
from gpt2eval.errors import DataError
from gpt2eval.recipes.choices import chance
from gpt2eval.task import Protocol
from gpt2eval.types import Generate, Request, Sample, Score

CANDIDATES = 20


def dialogue(dataset: Dataset) -> tuple[Protocol, ...]:
    """The reply to what was said: its perplexity, whether it is told from others, and a new one.

    Rows have an `id`, a `background` (empty, or text that stands before the conversation), `turns`,
    a list of strings, and `replies`, the numbers of the turns to be predicted. Speakers are `A:`
    and `B:` in turn, a line each.
    """
    return _perplexity(dataset), _hits(dataset), _greedy(dataset)


# ---- protocols ----------------------------------------------------------------------------------

_DETAIL = (
    "The speakers are A and B, a turn a line, the text as the data have it; a reply follows a"
    " space after its speaker and ends with its line."
)
_PROMPT = {"prompt": "background, then lines `A: turn`, `B: turn`"}


def _perplexity(dataset: Dataset) -> Protocol:
    return Protocol(
        name="perplexity",
        summary="perplexity of the reply, per word and per token",
        detail=f"{_DETAIL} Divided by the words between white space plus one line end a reply.",
        dataset=dataset,
        samples=_samples,
        requests=_ask_reply,
        metrics=(
            metrics.perplexity(
                "word_perplexity", "words and line ends", lambda s: s.fields["words+eos"]
            ),
            metrics.token_perplexity(),
        ),
        options=_PROMPT,
    )


def _hits(dataset: Dataset) -> Protocol:
    return Protocol(
        name="hits",
        summary=f"is the reply the likeliest of {CANDIDATES}, by sum and by mean",
        detail=(
            f"{_DETAIL} The reply stands among {CANDIDATES - 1} replies of other conversations"
            f" of the set, drawn once for all; chance is {1 / CANDIDATES:.0%}. Short replies"
            " are likely by themselves, so the mean per token is given as well."
        ),
        dataset=dataset,
        samples=_samples,
        requests=_ask_candidates,
        metrics=(
            metrics.choice_accuracy("sum", "replies", "hits_at_1"),
            metrics.choice_accuracy("tokens", "replies", "hits_at_1_mean"),
        ),
        baselines={"chance": chance},
        options={**_PROMPT, "candidates": CANDIDATES, "candidates_seed": 0},
    )


def _greedy(dataset: Dataset) -> Protocol:
    return Protocol(
        name="greedy",
        summary="a reply of 40 tokens at most, greedily: BLEU, F1 of words, distinct-n",
        detail=(
            f"{_DETAIL} F1 is that of SQuAD, as dialogue papers use it. A reply that is as good"
            " as the one in the data shares few words with it: read these beside the floor, a"
            " reply from another conversation."
        ),
        dataset=dataset,
        samples=_samples,
        requests=_ask_new,
        metrics=(
            metrics.bleu(),
            metrics.answer_f1(per="replies"),
            metrics.distinct(1, "replies"),
            metrics.distinct(2, "replies"),
        ),
        baselines={"other-reply": _another},
        options={
            **_PROMPT,
            "max_new_tokens": 40,
            "decoding": "greedy",
            "scored": "first line",
            "candidates_seed": 0,
        },
    )


# ---- what is asked ------------------------------------------------------------------------------


def _ask_reply(sample: Sample) -> list[Request]:
    return [Score(sample.fields["prompt"], f" {sample.references[0]}\n")]


def _ask_candidates(sample: Sample) -> list[Request]:
    prompt = sample.fields["prompt"]
    return [Score(prompt, f" {text}\n") for text in sample.fields["choices"]]


def _ask_new(sample: Sample) -> list[Request]:
    return [Generate(sample.fields["prompt"], 40, stop=("\n",))]


def _another(sample: Sample, random: np.random.Generator) -> str:
    """A reply of another conversation: what a model scores that does not listen."""
    others = [text for text in sample.fields["choices"] if text != sample.references[0]]
    return str(others[random.integers(len(others))])


# ---- samples ------------------------------------------------------------------------------------


def _samples(rows: Iterable[Row]) -> Iterator[Sample]:
    """A sample a reply, with the candidates it stands among; one generator draws them all."""
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
                    "choices": candidates,
                    "gold": gold,
                    "words+eos": len(reply.split()) + 1,
                },
                references=(reply,),
                group=row["id"],
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
