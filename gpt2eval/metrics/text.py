"""Generated text: which part is scored, and where its sentences end.

nltk's punkt would split sentences too, but it needs a download, and its rules are learnt weights
that a reader cannot check. The rules here are few, and written down in `split_sentences`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from gpt2eval.errors import TaskError
from gpt2eval.types import Generated, Response

_CLOSERS = "\"'\u201d\u2019»)]"
_OPENERS = "\"'\u201c\u2018«(["

# A run of stops and what closes right behind it; French sets a space, often a hard one, before ».
_STOP = re.compile(rf"[.!?…]+(?:[ \u00a0\u202f]»|[{re.escape(_CLOSERS)}])*(?=\s(?!»))")
_LETTERS_WITH_DOTS = re.compile(r"(?:[^\W\d]{1,2}\.)+[^\W\d]{1,2}")
_LAST_WORD = re.compile(r"(?<![^\W\d_.])(?:[^\W\d_]|\.)*$")  # "U.S" in "(CNN)U.S", "" in "3.5"
_PLAIN_WORD = re.compile(r"[^\W\d]+(?![\w.])")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_TITLES = _words(
    """approx brig capt cdr cf cmdr col cpl dr e.g gen gov hon i.e lt maj messrs mr mrs ms prof rep
    reps rev sen sens sgt supt viz vs"""
)
_NUMBERED = _words("apr aug ch dec feb fig jan no nos nov oct op p pp sec sep sept vol")
_SHORT_FORMS = _words("al ave blvd bros co corp dept est etc inc jr ltd mt rd sr st")
_STARTERS = _words(
    """a after all although an and another as at because before but by during each even every for
    from he her here his how however i if in it its just last many meanwhile more most my no not now
    on one our she since so some still that the their then there these they this those though to
    under until we what when where while who why with you your"""
)


def text_of(responses: Sequence[Response]) -> str:
    """The scored part of a sample's only generation, whatever the scorer said about it."""
    written = [response for response in responses if isinstance(response, Generated)]
    if len(written) != 1:
        kinds = [type(response).__name__ for response in responses]
        raise TaskError(f"a text metric needs one Generate request a sample; it got {kinds}")
    return written[0].prediction


def split_sentences(text: str) -> list[str]:
    """The sentences of a text, stripped, without empty ones.

    A line break always ends a sentence. A run of `.` `!` `?` `…`, with the quotes and brackets that
    close right behind it, ends one where white space follows, unless the next word begins with a
    lower-case letter ("Yahoo! said", "Well... no"). A single full stop does not end one

    - after a number with nothing before it, as in a list ("1. Open the door");
    - after a title ("Dr. No", "e.g. France");
    - after "No.", "vol.", "Jan." and their like, if a number follows;
    - after a single letter ("J. Doe"), letters with dots ("U.S.", "p.m.") or a short form ("Inc.",
      "Jr."), unless the next is a common word to begin with ("in the U.S. The other").

    Decimals, addresses and "end.Next" have no white space after the stop and stay whole.
    """
    return [sentence for line in text.splitlines() for sentence in _split_line(line) if sentence]


def first_sentences(text: str, n: int) -> str:
    """The first n sentences, one a line, which is the form that `rougeLsum` reads."""
    return "\n".join(split_sentences(text)[:n])


def first_sentence(text: str) -> str:
    """What stands before the first line break or the first sentence end, stripped.

    A text that begins with a line break has an empty first sentence: a model that was asked to
    complete a line and ended it at once gave an empty answer, and the next line answers nothing.
    """
    return next(_split_line((text.splitlines() or [""])[0]))


def _split_line(line: str) -> Iterator[str]:
    begin = 0
    for stop in _STOP.finditer(line):
        if _ends_sentence(line[begin : stop.start()], stop.group(), line[stop.end() :]):
            yield line[begin : stop.end()].strip()
            begin = stop.end()
    yield line[begin:].strip()


def _ends_sentence(before: str, stop: str, after: str) -> bool:
    """Whether `stop` ends the sentence that reads `before`; `after` is the rest of the line."""
    next_word = "".join(after.split(maxsplit=1)[:1]).lstrip(_OPENERS)
    if next_word[:1].islower():
        return False
    if stop != "." or not before.strip():
        return True
    word = _LAST_WORD.findall(before)[0].lower()
    if before.strip().isdigit() or word in _TITLES:
        return False
    if word in _NUMBERED and next_word[:1].isdigit():
        return False
    letter = len(word) == 1 and word.isalpha()
    if letter or word in _SHORT_FORMS or _LETTERS_WITH_DOTS.fullmatch(word):
        start = _PLAIN_WORD.match(next_word)
        return start is not None and start.group().lower() in _STARTERS
    return True
