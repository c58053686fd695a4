"""Results -> the `model-index` of a model card: numbers in the YAML on top of a README.md.

https://huggingface.co/docs/hub/model-cards. Written by the classes of huggingface_hub, which the
hub reads it with; nothing is pushed. `model-index.yaml` is a block to paste; `--into README.md`
puts it in its place and touches no other line of the card.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpt2eval.errors import DataError, UsageError
from gpt2eval.export.order import Order, Written, whole
from gpt2eval.labels import is_bundled
from gpt2eval.naming import safe_name
from gpt2eval.report.sections import data_mark
from gpt2eval.report.text import SAMPLE_NOTICE
from gpt2eval.results import write_atomically
from gpt2eval.types import Estimate, Result

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

    from gpt2eval.data import Hub

NAME = "model-index.yaml"
# The hub's names of metrics; what is not here keeps ours.
TYPES = {"accuracy": "accuracy", "bleu": "bleu", "chrf": "chrf", "rouge": "rouge", "f1": "f1"}
TYPES |= {"exact_match": "exact_match", "perplexity": "perplexity"}
# The metadata of a card, between its first two lines of dashes.
CARD = re.compile(r"\A(---[ \t]*\r?\n)(.*?)(^---[ \t]*(?:\r?\n|\Z))", re.DOTALL | re.MULTILINE)
# A key of the outermost level with all that belongs to it.
KEY = re.compile(r"^model-index:.*\n(?:(?:[ \t-].*)?\r?\n)*", re.MULTILINE)


def write(order: Order) -> Written:
    """Write `<checkpoint>/model-index.yaml` for each checkpoint, or into the card that is named."""
    groups = order.by_checkpoint()
    if order.into is not None:
        if len(groups) > 1:
            raise UsageError(
                f"--into {str(order.into)!r} is the card of one model; the results are of"
                f" {', '.join(groups)}. Name those of one checkpoint"
            )
        ((label, results),) = groups.items()
        _merge(order.into, label, entries(order, results))
        return Written([order.into], _notes(order.results))
    paths = []
    for label, results in groups.items():
        path = order.output / safe_name(label) / NAME
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, to_yaml(label, entries(order, results)))
        paths.append(path)
    return Written(paths, _notes(order.results))


def _notes(results: Sequence[Result]) -> list[str]:
    bundled = sorted({result.name for result in results if is_bundled(result)})
    return [f"marked as {SAMPLE_NOTICE}: {', '.join(bundled)}"] if bundled else []


def to_yaml(name: str, found: Sequence[EvalResult]) -> str:
    """The metadata of a card with these numbers, as YAML without the lines of dashes."""
    from huggingface_hub import ModelCardData

    card = ModelCardData(model_name=name, eval_results=list(found))
    return f"{card.to_yaml()}\n"


def entries(order: Order, results: Sequence[Result]) -> list[EvalResult]:
    """One entry for each metric over all samples."""
    return [
        _entry(order, result, name, estimate)
        for result in results
        for name, estimate in whole(result).items()
    ]


def hub_of(order: Order, result: Result) -> Hub | None:
    """Where the hub has the data of a result, as far as the task that is installed says."""
    task = order.tasks.get(result.task["name"])
    for protocol in task.protocols if task else ():
        if protocol.name == result.task["protocol"]:
            return protocol.dataset.hub
    return None


def _entry(order: Order, result: Result, name: str, estimate: Estimate) -> EvalResult:
    from huggingface_hub import EvalResult

    hub, data = hub_of(order, result), result.data
    told, bundled = str(result.task["name"]), is_bundled(result)
    config = hub.config if hub and isinstance(hub.config, str) else None
    known = hub is not None and not bundled
    return EvalResult(
        task_type="text-generation",
        task_name="Text Generation",
        dataset_type=hub.id if hub and not bundled else told,
        dataset_name=f"{told} ({SAMPLE_NOTICE})" if bundled else told,
        dataset_config=config if known else None,
        dataset_split=hub.split if hub and known else None,
        dataset_revision=data.get("revision") if known else None,
        metric_type=_type(name),
        metric_name=f"{name} ({_described(result)})",
        metric_value=value_of(estimate),
        metric_args={
            "protocol": result.name,
            "protocol_version": result.task.get("version"),
            "unit": estimate.unit,
            "denominator": estimate.denominator,
            "samples": estimate.n,
            "interval": [_number(estimate.low), _number(estimate.high)],
            "interval_method": estimate.method,
            "data_sha256": data.get("sha256") or None,
            "gpt2eval": result.signature,
        },
    )


def _described(result: Result) -> str:
    """The protocol, and what else keeps the number from being that of the whole benchmark."""
    return ", ".join(filter(None, [result.name, data_mark(result)]))


def _type(name: str) -> str:
    return next((theirs for ours, theirs in TYPES.items() if ours in name), name)


def value_of(estimate: Estimate) -> float | str:
    """The value as measured; a perplexity without end as a text, which YAML and JSON can hold."""
    return estimate.value if math.isfinite(estimate.value) else str(estimate.value)


def _number(bound: float | None) -> float | str | None:
    return str(bound) if bound is not None and not math.isfinite(bound) else bound


# ---- an existing card ---------------------------------------------------------------------------


def _merge(path: Path, name: str, found: Sequence[EvalResult]) -> None:
    """Put the numbers into a card; those of the same metrics are replaced, all else stays."""
    from huggingface_hub.repocard_data import model_index_to_eval_results

    text = _read(path)
    card = CARD.match(text)
    if card is None:
        write_atomically(path, f"---\n{to_yaml(name, found)}---\n{text}")
        return
    metadata = _metadata(path, card[2])
    index = metadata.get("model-index")
    kept: list[EvalResult] = []
    if index:
        if not isinstance(index, list) or len(index) != 1:
            raise UsageError(f"{path}: its model-index is not of one model; edit it by hand")
        try:
            name, kept = model_index_to_eval_results(index)
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"{path}: its model-index is not one ({error!r}); correct it, or remove it"
            ) from error
    ours = {(one.dataset_type, one.metric_name) for one in found}
    kept = [one for one in kept if (one.dataset_type, one.metric_name) not in ours]
    block = to_yaml(name, [*kept, *found])
    # The metadata end with a line break here, so a key at their end is found too.
    lines = KEY.sub("", card[2])
    write_atomically(path, f"{card[1]}{lines}{block}{card[3]}{text[card.end() :]}")


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except FileNotFoundError as error:
        raise UsageError(
            f"--into {str(path)!r} does not exist; expected the README.md of a model"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"--into {str(path)!r} cannot be read: {error}") from error


def _metadata(path: Path, text: str) -> dict[str, Any]:
    import yaml

    try:
        metadata = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise DataError(
            f"{path}: the metadata on top are not YAML ({error}); correct it"
        ) from error
    if metadata is not None and not isinstance(metadata, dict):
        raise DataError(f"{path}: the metadata on top are {metadata!r:.60}; expected keys")
    return metadata or {}
