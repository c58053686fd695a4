"""What an audit finds, as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["rounding only", "within the interval", "changes the score", "a fault"]

ORDER: tuple[Verdict, ...] = (
    "rounding only",
    "within the interval",
    "changes the score",
    "a fault",
)
"""From the best to the worst."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a token stands.

    request  number of the request among those of the sample
    token    number of the token among those that the request has scored or written
    text     the token's own text
    """

    sample: str
    request: int
    token: int
    text: str


@dataclass(frozen=True, slots=True)
class Nats:
    """How far log-probabilities of the same tokens lie apart, in nats.

    mean      of the absolute differences
    bias      mean of the differences: above zero where the setting finds the tokens likelier
    largest   absolute; of the token at `place`, to which the reference gives `expected` and the
              setting `found`
    """

    tokens: int
    mean: float
    bias: float
    largest: float
    place: Place | None = None
    expected: float = 0.0
    found: float = 0.0


@dataclass(frozen=True, slots=True)
class Flip:
    """An answer that is another one.

    kind      "choice": another of the answers to choose from is the likeliest
              "greedy": all tokens of a continuation are the model's first choice, or no more
              "text": another text was written; `place` is the first token that differs
    expected  what the reference answers, `found` what the setting does
    margin    nats by which the reference preferred its own answer there; None: a drawn token
    """

    kind: Literal["choice", "greedy", "text"]
    place: Place
    expected: str
    found: str
    margin: float | None


@dataclass(frozen=True, slots=True)
class Moved:
    """A metric under the reference and under the setting, on the same samples.

    low, high            interval of the reference's value; None where it has none
    shift                found - expected
    shift_low, shift_high  interval of the shift, paired by sample; None where nothing is resampled
    share                size of the shift, of the part of the interval that lies on its side; None
                         without an interval
    share_of_all         the same with the interval that all samples of the task would have
    changed              samples whose statistics differ
    """

    metric: str
    unit: str
    expected: float
    found: float
    low: float | None
    high: float | None
    shift: float
    shift_low: float | None
    shift_high: float | None
    share: float | None
    share_of_all: float | None
    n: int
    changed: int
    part: str = ""


@dataclass(frozen=True, slots=True)
class Allowed:
    """What rounding may do, in nats a token; `source` says how that is known."""

    largest: float
    mean: float
    source: str


@dataclass(frozen=True, slots=True)
class Setting:
    """What is held against the reference."""

    dtype: str
    batch_size: int | None

    def __str__(self) -> str:
        size = "auto batches" if self.batch_size is None else f"batches of {self.batch_size}"
        return f"{self.dtype}, {size}"


@dataclass(frozen=True, slots=True)
class TaskAudit:
    """One task@protocol under one setting.

    samples    that both could score, of `available` ones that the task has
    failed     samples that one of the two could not score, and why
    allowed    what rounding may do
    explained  whether rounding does account for what was found
    cause      where a difference that it does not account for comes from
    words      the verdict in a sentence
    """

    task: str
    setting: Setting
    samples: int
    available: int
    subset: str
    failed: Mapping[str, str]
    nats: Nats
    flips: Sequence[Flip]
    metrics: Sequence[Moved]
    allowed: Allowed
    explained: bool
    cause: str
    verdict: Verdict
    words: str

    def count(self, kind: str) -> int:
        """How many answers of a kind flipped."""
        return sum(flip.kind == kind for flip in self.flips)


@dataclass(frozen=True, slots=True)
class ModelAudit:
    """One checkpoint under all settings.

    reference, engine  what computed either side, in words
    """

    checkpoint: str
    sha256: str
    device: str
    reference: str
    engine: Mapping[str, str]
    tasks: Sequence[TaskAudit]

    @property
    def verdict(self) -> Verdict:
        """The worst of all tasks and settings."""
        return max((one.verdict for one in self.tasks), key=ORDER.index)
