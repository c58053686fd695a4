"""Confidence against accuracy, from the statistics that records keep."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from gpt2eval.metrics import calibration_error
from gpt2eval.report.figures import draw_samples
from gpt2eval.report.reliability import reliability
from gpt2eval.report.sections import group
from gpt2eval.report.significance import Significance
from gpt2eval.types import Record
from tests.metrics.answers import sample, scored
from tests.report.building import estimate, result


def record(confidence: float, right: bool) -> Record:
    item = sample(choices=("x", "y"), gold=0 if right else 1)
    answers = [scored([float(np.log(p))]) for p in (confidence, 1 - confidence)]
    return Record("s", "", {"ece": calibration_error().stats(item, answers)})


RECORDS = [record(0.95, True), record(0.97, False), record(0.96, True), record(0.55, False)]


def test_bins_have_means_and_intervals() -> None:
    low, high = reliability(RECORDS)
    assert (low.samples, low.accuracy, high.samples) == (1, 0.0, 3)
    assert low.confidence == pytest.approx(0.55)
    assert high.confidence == pytest.approx(0.96)
    assert high.accuracy == pytest.approx(2 / 3)
    assert high.low < high.accuracy < high.high


def test_records_without_calibration_have_no_bins() -> None:
    assert reliability([Record("s", "", {"accuracy": [1.0, 1.0]})]) == []


def test_picture_of_a_section(tmp_path: Path) -> None:
    rows = [
        {"id": str(n), "group": "", "statistics": r.statistics, "responses": [], "references": []}
        | {"error": ""}
        for n, r in enumerate(RECORDS)
    ]
    (tmp_path / "records.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    metrics = {
        "accuracy": estimate(0.5, unit="fraction", higher=True),
        "ece": estimate(0.4, unit="fraction"),
    }
    sections = group([result("one", "sst2@lm-eval", metrics, path=tmp_path)])
    picture = next(
        p for p in draw_samples(sections, Significance(), "") if p.stem.startswith("reliability")
    )
    assert picture.stem == "reliability-sst2@lm-eval"
    assert set(picture.files) == {"png", "svg", "pdf"}
    header, drawn = picture.data
    assert header[:4] == ["checkpoint", "samples", "confidence", "accuracy"]
    assert [row[:2] for row in drawn] == [["one", 1], ["one", 3]]
