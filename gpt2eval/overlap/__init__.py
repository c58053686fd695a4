"""How much of a test set is in a training corpus: shares of runs of 8 and of 13 words.

What is looked for, the runs of words of the test samples, is held in memory as 64-bit numbers; the
corpus goes by as a stream of any length. A run of words that is not in the corpus is taken for one
that is with a probability of (words of the corpus) / 2^64, some 10^-9 for ten billion words.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gpt2eval.errors import DataError, UsageError
from gpt2eval.options import RunOptions
from gpt2eval.overlap.corpus import Source, scan
from gpt2eval.overlap.ngrams import NORMALISATION, SIZES, Wanted, runs_of, words_of
from gpt2eval.results import common_beginning, write_atomically
from gpt2eval.task import discover, select
from gpt2eval.types import Embed, Generate, Request, Rolling, Sample
from gpt2eval.work import Work, load_work

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMAT = 1
SHOWN = 10  # samples of a task whose matched text is kept
TEXT = 600  # characters of it


@dataclass(frozen=True, slots=True)
class Share:
    """Runs of one size in the samples of a task; each run counts once a sample.

    found, runs    of all samples together
    samples        that are as long as a run, `overlapping` of them with one that was found
    too_short      samples that are not
    """

    found: int
    runs: int
    samples: int
    overlapping: int
    too_short: int

    @property
    def share(self) -> float | None:
        """Of all runs, those that were found."""
        return self.found / self.runs if self.runs else None


@dataclass(frozen=True, slots=True)
class Matched:
    """One of the most overlapping samples, and the longest text in it that the corpus has."""

    sample: str
    found: int
    runs: int
    text: str


@dataclass(frozen=True, slots=True)
class TaskOverlap:
    """One task@protocol.

    data     digest and subset of the samples, as in a result
    shares   size of the runs -> of the whole task
    samples  size -> sample id -> (found, runs)
    most     size -> the samples with the largest shares
    """

    task: str
    version: int
    data: Mapping[str, Any]
    shares: Mapping[int, Share]
    samples: Mapping[int, Mapping[str, tuple[int, int]]]
    most: Mapping[int, Sequence[Matched]]


@dataclass(frozen=True, slots=True)
class Overlap:
    """What `overlap.json` holds."""

    corpus: Sequence[Source]
    tasks: Sequence[TaskOverlap]

    @property
    def words(self) -> int:
        """Of the corpus."""
        return sum(source.words for source in self.corpus)

    @property
    def false_positives(self) -> float:
        """Most probable share of runs that are taken for found and are not in the corpus."""
        return self.words / 2**64


def overlap(
    files: Sequence[str | Path],
    options: RunOptions,
    *,
    on_bytes: Callable[[int], None] = lambda count: None,
) -> Overlap:
    """Look for the samples of `options.tasks` in files of a training corpus.

    Raises DataError for files and test data that cannot be read, UsageError for unknown tasks.
    """
    chosen = select(options.tasks, discover(options.tasks_dir))
    works = load_work(chosen, options.data or "hub", options)
    tests = [_Test(work) for work in works]
    wanted = {
        size: Wanted(_joined(runs[size] for test in tests for runs in test.runs.values()))
        for size in SIZES
    }
    corpus = scan(files, wanted, on_bytes)
    return Overlap(corpus, [test.outcome(wanted) for test in tests])


class _Test:
    """The samples of a task@protocol: their texts, and the distinct runs of words in each."""

    def __init__(self, work: Work) -> None:
        self.work = work
        asked = zip(work.samples, work.requests, strict=True)
        beginning = _beginning(work.requests)
        self.texts = {sample.id: texts(sample, requests, beginning) for sample, requests in asked}
        self.runs = {name: _distinct(found) for name, found in self.texts.items()}

    def outcome(self, wanted: Mapping[int, Wanted]) -> TaskOverlap:
        """What was seen of it."""
        samples = {
            size: {
                name: (int(wanted[size].found(runs[size]).sum()), len(runs[size]))
                for name, runs in self.runs.items()
            }
            for size in SIZES
        }
        return TaskOverlap(
            task=self.work.name,
            version=self.work.task.version,
            data={key: self.work.provenance[key] for key in ("source", "sha256", "subset")},
            shares={size: _share(counts.values()) for size, counts in samples.items()},
            samples=samples,
            most={size: self._most(size, samples[size], wanted[size]) for size in SIZES},
        )

    def _most(
        self, size: int, counts: Mapping[str, tuple[int, int]], wanted: Wanted
    ) -> list[Matched]:
        """Samples by their share of found runs, then by how many those are."""
        found = [(name, *pair) for name, pair in counts.items() if pair[0]]
        found.sort(key=lambda each: (-each[1] / each[2], -each[1]))
        return [
            Matched(name, hits, runs, _longest(self.texts[name], size, wanted))
            for name, hits, runs in found[:SHOWN]
        ]


def texts(sample: Sample, requests: Sequence[Request], beginning: str = "") -> list[str]:
    """The texts of a sample: all that it asks, and its references.

    beginning  what all samples of the task begin with (examples, instructions), which is no part
               of any
    """
    found = []
    for request in requests:
        if isinstance(request, Rolling):
            text = request.text[request.start : request.end]
        elif isinstance(request, Generate):
            text = request.prompt
        elif isinstance(request, Embed):
            text = request.text
        else:
            text = request.context + request.continuation
        found.append(text.removeprefix(beginning))
    return [*dict.fromkeys(found), *sample.references]


def _beginning(requests: Sequence[Sequence[Request]]) -> str:
    """What all samples begin with, up to the end of a word; of a single sample nothing."""
    firsts = [asked[0] for asked in requests if asked]
    if len(firsts) < 2 or any(isinstance(one, Rolling) for one in firsts):
        return ""
    shared = common_beginning(
        [one.prompt if isinstance(one, Generate) else getattr(one, "context", "") for one in firsts]
    )
    while shared and not shared[-1].isspace():
        shared = shared[:-1]
    return shared


def _distinct(found: Iterable[str]) -> dict[int, NDArray[np.uint64]]:
    """Size -> the distinct runs in these texts; none crosses from one to the next."""
    of_texts = [runs_of(text, SIZES) for text in found]
    return {
        size: np.unique(_joined(runs[number] for runs in of_texts))
        for number, size in enumerate(SIZES)
    }


def _joined(arrays: Iterable[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    return np.concatenate([np.empty(0, np.uint64), *arrays])


def _share(counts: Iterable[tuple[int, int]]) -> Share:
    pairs = list(counts)
    long = [(found, runs) for found, runs in pairs if runs]
    return Share(
        found=sum(found for found, _ in long),
        runs=sum(runs for _, runs in long),
        samples=len(long),
        overlapping=sum(found > 0 for found, _ in long),
        too_short=len(pairs) - len(long),
    )


def _longest(found: Sequence[str], size: int, wanted: Wanted) -> str:
    """The longest stretch of words all of whose runs were found, as it is compared."""
    best: list[str] = []
    for text in found:
        (runs,) = runs_of(text, (size,))
        hits = wanted.found(runs)
        edges = np.flatnonzero(np.diff(np.concatenate([[0], hits.astype(np.int8), [0]])))
        stretches = list(zip(edges[::2], edges[1::2], strict=True))
        if stretches:
            start, end = max(stretches, key=lambda each: int(each[1] - each[0]))
            if end - start + size - 1 > len(best):
                best = words_of(text)[start : end + size - 1]
    text = " ".join(best)
    return text if len(text) <= TEXT else f"{text[:TEXT]} ..."


# ---- the file ------------------------------------------------------------------------------------


def write_overlap(found: Overlap, path: str | Path) -> None:
    """Write `overlap.json`."""
    content = {
        "format": FORMAT,
        "normalisation": NORMALISATION,
        "false_positives": found.false_positives,
        "words": found.words,
        **asdict(found),
    }
    path = Path(path)
    if not path.parent.is_dir():
        raise UsageError(f"--output {str(path)!r}: there is no directory {str(path.parent)!r}")
    write_atomically(path, json.dumps(content, ensure_ascii=False, indent=1) + "\n")


def read_overlap(path: str | Path) -> Overlap:
    """What `write_overlap` wrote; DataError for anything else."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise ValueError(f"expected format {FORMAT}")
        tasks = [
            TaskOverlap(
                task=str(item["task"]),
                version=item["version"],
                data=dict(item["data"]),
                shares={int(size): Share(**share) for size, share in item["shares"].items()},
                samples={
                    int(size): {name: (int(found), int(runs)) for name, (found, runs) in of.items()}
                    for size, of in item["samples"].items()
                },
                most={
                    int(size): [Matched(**one) for one in most]
                    for size, most in item["most"].items()
                },
            )
            for item in content["tasks"]
        ]
        return Overlap([Source(**source) for source in content["corpus"]], tasks)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(
            f"{str(path)!r} cannot be read as an overlap ({error}); expected the file that"
            " `gpt2eval overlap` wrote"
        ) from error
