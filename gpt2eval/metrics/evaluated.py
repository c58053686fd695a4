"""Metrics of Hugging Face `evaluate`, by the hub's id or a local path.

https://huggingface.co/docs/evaluate. A metric of `evaluate` is a Python program, and loading one
runs it: from the hub if it is named by an id. So it is named by whoever writes the task, as any
other code that the task imports, and never by a data file or a result.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gpt2eval.errors import DataError, TaskError, UsageError
from gpt2eval.metrics.text import text_of
from gpt2eval.task import Metric
from gpt2eval.types import Response, Sample

if TYPE_CHECKING:
    from numpy.typing import NDArray


def evaluated(
    metric: str | Path,
    *,
    higher_is_better: bool | None,
    key: str = "",
    name: str = "",
    unit: str = "fraction",
    per: str = "samples",
    each: bool = False,
    many: bool = False,
    interval: str = "bootstrap",
    revision: str | None = None,
    **settings: Any,
) -> Metric:
    """A metric of Hugging Face `evaluate` over the texts that the model wrote.

    Without `each` it is computed of all samples at once, as `compute` is meant to be, and a
    thousand times more for the interval: "none" as `interval` saves that. With `each` it is
    computed sample by sample and the mean is taken, which is the same only for metrics that are
    such a mean; in return comparisons can test it.

    Args:
        metric: the hub's id ("exact_match", "owner/name"), or the path of a script or of a
            directory with one. It is a program that runs when the first sample is scored.
        higher_is_better: which direction is better; None for neither. `evaluate` does not say.
        key: which number of what `compute` returns; needed where there are several.
        name: what the metric is called; the key, or the module, unless given.
        unit: of the value: "fraction" promises that it lies from 0 to 1.
        per: what the samples are called.
        each: computed of each sample alone, and averaged.
        many: references are given as a list for each sample, as metrics of several want it.
        interval: "bootstrap", or "none".
        revision: of a metric on the hub.
        settings: passed to `compute` (`ignore_case=True`).

    Raises UsageError where the extra is not installed and TaskError for a metric that cannot be
    loaded or used, both when the first sample is scored.
    """
    place = str(metric)
    local = _script(Path(place))
    asked = _Asked(place, revision, key, name or key or Path(place).stem, many, settings)
    share = "share" if unit == "fraction" else "bootstrap"
    return Metric(
        asked.label,
        asked.alone if each else asked.texts,
        _mean if each else asked.together,
        unit,
        per,
        higher_is_better=higher_is_better,
        interval="none" if interval == "none" else share if each else interval,
        signature=_signature(asked, local) + ("|mean over samples" if each else ""),
        corpus=not each,
    )


def _signature(asked: _Asked, local: Path | None) -> str:
    """The module, its code, and what it is given."""
    if local:
        code = f"sha256 {sha256(local.read_bytes()).hexdigest()[:12]}"
    else:
        code = asked.revision or "latest"
    told = {
        "module": local.name if local else asked.place,
        "code": code,
        "key": asked.key,
        **asked.settings,
    }
    return "evaluate|" + "|".join(f"{name}:{value}" for name, value in told.items() if value != "")


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """What a module of `evaluate` is asked for, as `evaluated` has it."""

    place: str
    revision: str | None
    key: str
    label: str
    many: bool
    settings: Mapping[str, Any]

    def alone(self, sample: Sample, responses: Sequence[Response]) -> list[float]:
        """The value of one sample, and its weight in a mean."""
        return [self._compute([text_of(responses)], [self._golds(sample)]), 1.0]

    def texts(self, sample: Sample, responses: Sequence[Response]) -> list[float]:
        """The texts of one sample, for `together`."""
        return encode_texts([text_of(responses), *self._golds(sample)])

    def together(self, rows: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        """The value of all samples at once."""
        decoded = [_decoded(row.tobytes()) for row in rows]
        texts, golds = [own for own, *_ in decoded], [golds for _, *golds in decoded]
        return np.asarray(self._compute(texts, golds))

    def _golds(self, sample: Sample) -> tuple[str, ...]:
        if not sample.references or (len(sample.references) > 1 and not self.many):
            raise DataError(
                f"sample {sample.id!r} has {len(sample.references)} references; {self.label} takes"
                " one, or several with evaluated(..., many=True)"
            )
        return sample.references

    def _compute(self, texts: Sequence[str], golds: Sequence[Sequence[str]]) -> float:
        references = [list(gold) for gold in golds] if self.many else [gold[0] for gold in golds]
        module = _module(self.place, self.revision)
        try:
            found = module.compute(predictions=texts, references=references, **self.settings)
        except Exception as error:  # a stranger's program may raise anything
            raise TaskError(f"metric {self.place!r} of evaluate failed: {error!r:.300}") from error
        return _number(found or {}, self.place, self.key)


def _mean(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(sums[..., 0] / sums[..., 1])


# ---- texts as numbers ---------------------------------------------------------------------------


def encode_texts(texts: Sequence[str]) -> list[float]:
    """Texts as the statistics of a sample: the length of each before its code points."""
    return [float(n) for text in texts for n in (len(text), *map(ord, text))]


def decode_texts(row: Sequence[float]) -> list[str]:
    """The inverse of `encode_texts`."""
    numbers, texts, at = [int(number) for number in row], [], 0
    while at < len(numbers):
        end = at + 1 + numbers[at]
        texts.append("".join(map(chr, numbers[at + 1 : end])))
        at = end
    return texts


@lru_cache(maxsize=1 << 16)
def _decoded(row: bytes) -> list[str]:
    return decode_texts(np.frombuffer(row).tolist())


# ---- the module ---------------------------------------------------------------------------------


def _script(path: Path) -> Path | None:
    """The script of a local metric; None for the id of one on the hub."""
    if path.is_dir():
        path = path / f"{path.name}.py"
    return path if path.suffix == ".py" and path.is_file() else None


@lru_cache(maxsize=32)
def _module(place: str, revision: str | None) -> Any:
    try:
        import evaluate
    except ImportError as error:
        raise UsageError(
            f"metric {place!r} needs the package evaluate ({error}); install it: pip install"
            " 'gpt2eval[evaluate]'"
        ) from error
    try:
        return evaluate.load(place, revision=revision, keep_in_memory=True)
    except Exception as error:  # a stranger's program may raise anything
        raise TaskError(
            f"metric {place!r} of evaluate cannot be loaded: {error}. Expected the hub's id of a"
            " metric, with a network or in the cache, or the path of its script"
        ) from error


def _number(found: Mapping[str, Any], place: str, key: str) -> float:
    """The number that was asked for, of those that a module gave."""
    names = list(found)
    if key not in names and (key or len(names) != 1):
        raise TaskError(
            f"metric {place!r} of evaluate gives {', '.join(names) or 'nothing'}; expected"
            f" {key or 'one number'}. Say which by evaluated(..., key=...)"
        )
    number = found[key or names[0]]
    if not isinstance(number, (int, float, np.number)) or not math.isfinite(number):
        raise TaskError(
            f"metric {place!r} of evaluate gives {number!r:.80} for {key or names[0]}; expected a"
            " finite number"
        )
    return float(number)
