"""What the modules of `evaluate` say of themselves."""

from __future__ import annotations

import datasets
import evaluate


def of_texts(description: str, inputs: str) -> evaluate.MeasurementInfo:
    """Of a module that measures texts, which `evaluate` calls predictions."""
    return evaluate.MeasurementInfo(
        module_type="measurement",
        description=description,
        citation="",
        inputs_description=inputs,
        features=datasets.Features({"predictions": datasets.Value("string")}),
    )
