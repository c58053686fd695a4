"""Fine-tuning of the bundled checkpoint on real text: a gain that is no chance, on unseen text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gpt2eval.compare import compare
from gpt2eval.evaluation import run
from gpt2eval.finetuning.options import FinetuneOptions
from gpt2eval.finetuning.training import Finetuned, finetune
from gpt2eval.options import RunOptions
from gpt2eval.overlap import overlap
from gpt2eval.scoring import Silent

pytest.importorskip("accelerate")  # gpt2eval[finetune]
LEARNED, SCORED = 400, 600  # passages


def novels(shared_data: Path, place: Path, count: int) -> Path:
    """The first passages of LAMBADA's development set, a document each."""
    text = (shared_data / "lambada/lambada_development_plain_text.txt").read_text("utf-8")
    path = place / "novels.jsonl"
    lines = [json.dumps({"text": line}) + "\n" for line in text.splitlines()[:count]]
    path.write_text("".join(lines), "utf-8")
    return path


def losses(done: Finetuned) -> list[float]:
    return [loss for _, loss in done.record["held_out"]["loss"]]


@pytest.mark.shared
def test_a_gain_on_real_text(shared_data: Path, tmp_path: Path) -> None:
    """Passages of some novels are learned, the last words of others scored; all by default."""
    train = novels(shared_data, tmp_path, LEARNED)
    scored = {"tasks": "lambada@standard", "data": str(shared_data), "limit_first": SCORED}
    (found,) = overlap([train], RunOptions(**scored)).tasks
    assert found.shares[13].overlapping == 0  # learned and scored are disjoint

    options = FinetuneOptions(
        model="demo-base", train=(str(train),), output=str(tmp_path / "tuned"), epochs=1,
        device="cpu",
    )  # fmt: skip
    said: list[str] = []
    done = finetune(options, Silent(), said.append)
    assert said == []
    assert losses(done)[-1] == min(losses(done)) < losses(done)[0] - 0.3

    base, tuned = run(
        models=["demo-base", done.path], **scored, device="cpu", output=str(tmp_path / "results")
    )
    (gain,) = compare([base, tuned], metrics=["perplexity"])
    assert gain.n == SCORED
    assert gain.candidate_value < gain.baseline_value
    assert gain.p_corrected < 0.01, gain


@pytest.mark.shared
def test_a_gain_of_adapters_on_real_text(shared_data: Path, tmp_path: Path) -> None:
    """Rows that were not learned, by adapters with the rate that nobody gave."""
    pytest.importorskip("peft")
    train = novels(shared_data, tmp_path, LEARNED // 2)
    options = FinetuneOptions(
        model="demo-base", train=(str(train),), output=str(tmp_path / "tuned"), epochs=1, lora=8,
        device="cpu",
    )  # fmt: skip
    done = finetune(options, Silent())
    assert losses(done)[-1] == min(losses(done)) < losses(done)[0] - 0.05
