"""What papers and others published, for the side of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

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
