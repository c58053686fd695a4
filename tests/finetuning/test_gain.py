"""Fine-tuning of the bundled checkpoint on real text: a gain that is no chance, on unseen text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gpt2eval.compare import compare
from gpt2eval.evaluation import Silent, run
from gpt2eval.finetuning.options import FinetuneOptions
from gpt2eval.finetuning.training import finetune
from gpt2eval.options import RunOptions
from gpt2eval.overlap import overlap

pytest.importorskip("accelerate")  # gpt2eval[finetune]
SAMPLES = 150


@pytest.mark.shared
@pytest.mark.parametrize("lora", [None, 8])
def test_a_gain_on_real_text(lora: int | None, shared_data: Path, tmp_path: Path) -> None:
    """Passages of LAMBADA's development set learned, with the rates that nobody gave; others
    scored.
    """
    if lora:
        pytest.importorskip("peft")
    lines = (shared_data / "lambada/lambada_development_plain_text.txt").read_text("utf-8")
    train = tmp_path / "novels.jsonl"
    passages = lines.splitlines()[:400]
    train.write_text("".join(json.dumps({"text": line}) + "\n" for line in passages), "utf-8")
    scored = {"tasks": "lambada@standard", "data": str(shared_data), "limit_first": SAMPLES}
    (found,) = overlap([train], RunOptions(**scored)).tasks
    assert found.shares[13].overlapping == 0  # learned and scored are disjoint

    options = FinetuneOptions(
        model="demo-base", train=(str(train),), output=str(tmp_path / "tuned"), lora=lora,
        epochs=1, device="cpu",
    )  # fmt: skip
    said: list[str] = []
    done = finetune(options, Silent(), said.append)
    assert said == []
    losses = [loss for _, loss in done.record["held_out"]["loss"]]
    assert losses[-1] == min(losses) < losses[0]

    base, tuned = run(
        models=["demo-base", done.path], **scored, device="cpu", output=str(tmp_path / "results"),
    )  # fmt: skip
    (gain,) = compare([base, tuned], metrics=["perplexity"])
    assert gain.n == SAMPLES
    assert gain.candidate_value < gain.baseline_value
    assert gain.p_corrected < 0.001
