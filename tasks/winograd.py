"""Winograd schemas: which of two people or things a pronoun stands for.

Levesque et al. 2012; collection of Davis, Morgenstern and Ortiz,
https://cs.nyu.edu/~davise/papers/WinogradSchemas/WS.html; its first 273 schemas are WSC273.

The GPT-2 paper scores it as Trinh and Le 2018 (https://arxiv.org/abs/1806.02847) do, who put each
candidate in the place of the pronoun and compare either whole sentences ("full") or what follows
the candidate ("partial"). It does not say which of the two its 70.70 % is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from gpt2eval import (
    DataError,
    Dataset,
    Hub,
    Protocol,
    Request,
    Sample,
    Score,
    Task,
    data,
    metrics,
    recipes,
)

BIBTEX = """
@inproceedings{levesque2012,
  author = {Levesque, Hector J. and Davis, Ernest and Morgenstern, Leora},
  title = {The {W}inograd Schema Challenge},
  booktitle = {Proceedings of KR 2012},
  year = {2012},
  url = {https://cs.nyu.edu/~davise/papers/WinogradSchemas/WS.html},
}
"""

SCHEMAS = 273
MASK = "[MASK]"
POSSESSIVE = ("my", "his", "her", "our", "their")
# Words that lm-evaluation-harness writes small inside a sentence.
SMALL = ("A", "An", "The", "She", "He", "It", "They", "My", "His", "Her", "Their")


def convert(row: data.Row) -> data.Row:
    """A row of the hub, which says where in the text the pronoun is."""
    text = row["text"].replace("  ", " ")
    start, pronoun = row["pronoun_loc"], row["pronoun"]
    end = start + len(pronoun)
    if text[start:end] != pronoun:
        raise DataError(f"pronoun {pronoun!r} is not at character {start} of {text!r}")
    return in_place(text[:start], pronoun, text[end:], row["options"], row["label"])


def in_place(
    before: str, pronoun: str, after: str, options: Sequence[str], label: object
) -> data.Row:
    """A schema in pieces that add up to its text -> what may stand between the outer two."""
    text = before + pronoun + after
    if not after.strip():
        raise DataError(f"nothing follows the pronoun in {text!r}; expected the rest of a sentence")
    opens = text[len(before) - 2] == "."  # as lm-eval asks it, of the beginning of the text too
    texts = [" ".join(option.split()) for option in options]
    return {
        "before": before,
        "after": after,
        "choices": [candidate(option, pronoun, opens) for option in texts],
        "gold": data.gold(label, len(texts)),
    }


def candidate(option: str, pronoun: str, opens_sentence: bool) -> str:
    """An option as it stands in the sentence, by the rules of lm-evaluation-harness."""
    if pronoun.lower() in POSSESSIVE:
        option += "'s"
    first = option.split()[0]
    if first in SMALL and not opens_sentence:
        return option.replace(first, first.lower())
    return option


def read(paths: Sequence[Path]) -> Iterator[data.Row]:
    """The XML of the collection, of which the first 273 schemas count, or Kocijan's list of 273."""
    (path,) = paths
    if path.suffix == ".xml":
        schemas = list(data.read_xml(path).iter("schema"))[:SCHEMAS]
        yield from data.convert_rows(({"schema": s} for s in schemas), from_xml, path)
        return
    lines = [row["text"] for row in data.read_lines(paths)]
    items = ({"lines": lines[start : start + 4]} for start in range(0, len(lines), 5))
    yield from data.convert_rows(items, from_list, path)


def from_xml(row: data.Row) -> data.Row:
    """A schema of the XML."""
    schema = row["schema"]
    left, pronoun, right = (
        " ".join(schema.find("text").find(tag).text.split()) for tag in ("txt1", "pron", "txt2")
    )
    letter = schema.find("correctAnswer").text.strip().rstrip(".")
    if letter not in ("A", "B"):
        raise DataError(f"correct answer {letter!r}; expected A or B")
    before, after = spaced(left, right)
    options = [answer.text for answer in schema.iter("answer")]
    return in_place(before, pronoun, after, options, "AB".index(letter))


def from_list(row: data.Row) -> data.Row:
    """Four lines of the list: sentence with a mask, mask, candidates, the right one of them.

    The list puts the right candidate first and does not say which pronoun it was, so that the
    candidates are sorted and a possessive stays without its 's.
    """
    sentence, _, candidates, right = row["lines"]
    options = sorted((part.strip() for part in candidates.split(",")), key=str.casefold)
    parts = [" ".join(part.split()) for part in sentence.split(MASK)]
    if len(parts) != 2 or len(options) != 2 or right.strip() not in options:
        raise DataError(
            f"{sentence!r}, candidates {candidates!r}, right {right!r}; expected one {MASK} in the"
            " sentence and two candidates, one of which is right"
        )
    before, after = spaced(*parts)
    return in_place(before, "", after, options, options.index(right.strip()))


def spaced(left: str, right: str) -> tuple[str, str]:
    """Both sides of the pronoun with the spaces that a text has there."""
    return f"{left} " if left else "", right if right[:1] in tuple(".,;:!?'") else f" {right}"


def samples(rows: Iterable[data.Row]) -> Iterator[Sample]:
    """One sample a schema; the two of a pair stand next to each other."""
    for number, row in enumerate(rows, 1):
        yield recipes.choice_sample(
            str(number), row["choices"], row["gold"], before=row["before"], after=row["after"]
        )


def requests(sample: Sample, scored: Literal["full", "partial"], space: str = "") -> list[Request]:
    """The sentence with each candidate, from its beginning or from behind the candidate."""
    before, after = sample.fields["before"], sample.fields["after"]
    texts = [before + choice for choice in sample.fields["choices"]]
    if scored == "full":
        return [Score("", text + after) for text in texts]
    return [Score(text, space + after) for text in texts]


COLLECTION = Dataset(
    files=(("winograd/WSCollection.xml",), ("winograd/wsc273.txt",)),
    read=read,
    hub=Hub("lighteval/winograd_wsc", "wsc273", convert=convert),
    known={
        "29939d96035c7459c4a663f70649fbdf7701617292c7eef43549e9cd42f1f360": (
            "the collection as of 2017, of which the first 273 schemas are used"
        ),
        "43103428d77df28b1bb37156eaf3c43a954a02b5dc7ff72453f5c54abf394bad": (
            "WSC273 as Kocijan et al. 2019 distribute it, without the pronouns"
        ),
    },
)


def protocol(
    name: str,
    summary: str,
    detail: str,
    scored: Literal["full", "partial"],
    space: str = "",
    lm_eval: str = "",
) -> Protocol:
    """One way to score a schema."""
    by_length = (metrics.choice_accuracy("tokens", per="schemas"),) if scored == "full" else ()
    return Protocol(
        name=name,
        summary=summary,
        detail=detail,
        dataset=COLLECTION,
        samples=samples,
        requests=partial(requests, scored=scored, space=space),
        metrics=(metrics.choice_accuracy(per="schemas"), *by_length),
        baselines={"chance": recipes.chance},
        options={"scored": scored, "spaces": 1 + len(space)},
        lm_eval=lm_eval,
    )


WINOGRAD = Task(
    name="winograd",
    version=1,
    summary="what a pronoun stands for",
    source="Levesque et al. 2012; https://cs.nyu.edu/~davise/papers/WinogradSchemas/WS.html",
    bibtex=BIBTEX,
    groups=("gpt2-paper", "understanding"),
    protocols=(
        protocol(
            "partial",
            "GPT-2 paper: log-probability of what follows the candidate",
            "Each candidate takes the place of the pronoun; the one after which the rest of the"
            " sentence is likelier wins (Trinh and Le's partial scoring). Candidates get a small"
            " article inside a sentence and 's for a possessive pronoun, as in lm-eval. The list"
            " of 273 does not say the pronoun, so from it 26 schemas lack that 's; the XML has it.",
            "partial",
        ),
        protocol(
            "full",
            "GPT-2 paper: log-probability of the whole sentence",
            "As @partial, with the log-probability of the whole sentence, candidate included"
            " (Trinh and Le's full scoring): a candidate that is likelier by itself has an"
            " advantage. accuracy_tokens takes the mean over the sentence's tokens.",
            "full",
        ),
        protocol(
            "lm-eval",
            "as lm-eval's wsc273: partial, with two spaces after the candidate",
            "As @partial, with the space that lm-eval's engine puts before the rest of the"
            " sentence besides the one that stands there.",
            "partial",
            space=" ",
            lm_eval="wsc273",
        ),
    ),
)
