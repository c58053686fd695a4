"""Does a task of ours ask exactly what lm-eval asked?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from gpt2eval.errors import DataError
from gpt2eval.options import RunOptions
from gpt2eval.peers.lm_eval import Document, Run
from gpt2eval.task import Protocol, Task
from gpt2eval.types import Embed, Request, Rolling, Score
from gpt2eval.work import Work, load_work

MAX_NEW_TOKENS = 256  # what lm-eval lets a model write where the task does not say


def match_ours(
    run: Run, documents: list[Document], twin: tuple[Task, Protocol] | None, data: str | None
) -> tuple[Work | None, list[Document], str]:
    """Our work that asks exactly what lm-eval asked; None, and why not, where there is none.

    The documents come back with their number among our samples.
    """
    if twin is None or data is None:
        return None, documents, ""
    name = f"{twin[0].name}@{twin[1].name}"
    if not documents:
        return None, documents, f"not {name}: without samples nobody can tell"
    try:
        (work,) = load_work([twin], data, RunOptions())
    except DataError as error:
        return None, documents, f"not {name}: {error}"
    numbered = _numbered(documents, work) if run.exported else documents
    for document in numbered:
        if not 0 <= document.id < len(work.samples):
            words = f"the data have {len(work.samples)} samples, not these"
            return None, documents, f"not {name}: {words}"
        if not _same(work.requests[document.id], document.asked):
            return None, documents, f"not {name}: document {document.id} asks something else"
    return work, numbered, f"the same requests as {name}, all {len(documents):,} documents"


def _numbered(documents: Sequence[Document], work: Work) -> list[Document]:
    """Documents of our own export, which says what our samples are called."""
    place = {sample.id: number for number, sample in enumerate(work.samples)}
    return [
        replace(document, id=place.get(str(document.doc.get("id")), -1)) for document in documents
    ]


def _same(ours: Sequence[Request], theirs: Sequence[tuple[Any, ...]]) -> bool:
    """Whether lm-eval asked what we ask first; for `accuracy_pmi` we ask more than it may have."""
    return 0 < len(theirs) <= len(ours) and all(
        _alike(request, arguments) for request, arguments in zip(ours, theirs, strict=False)
    )


def _alike(request: Request, arguments: tuple[Any, ...]) -> bool:
    if isinstance(request, Score):
        return arguments == (request.context, request.continuation)
    if isinstance(request, Rolling):
        plain = request.windows == "disjoint" and (request.start, request.end) == (0, None)
        return plain and arguments == (request.text,)
    if isinstance(request, Embed):  # lm-eval has no such thing
        return False
    if len(arguments) != 2 or not isinstance(arguments[1], Mapping):
        return False
    prompt, settings = arguments
    greedy = not settings.get("do_sample") and not settings.get("temperature")
    return (
        prompt == request.prompt
        and tuple(settings.get("until", ())) == request.stop
        and settings.get("max_gen_toks", MAX_NEW_TOKENS) == request.max_new_tokens
        and greedy
        and request.temperature == 0
    )
