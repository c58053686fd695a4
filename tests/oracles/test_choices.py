"""Choices against lm-evaluation-harness itself, on the same files and checkpoint."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gpt2eval.data import bundled_directory
from tests.oracles import lm_eval_choices
from tests.oracles.conftest import Run
from tests.oracles.lm_eval_choices import CASES, Case
from tests.oracles.lm_eval_oracle import LmEvalResult

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.filterwarnings("ignore"),  # those of lm-eval and its dependencies
]

PAIRS = 40  # of each paradigm of BLiMP, in the test of authentic ones
BUNDLED_PARADIGMS = ("blimp-anaphor_gender_agreement", "blimp-wh_vs_that_with_gap")
BUNDLED = [
    name
    for name, case in CASES.items()
    if name != "hellaswag-text" and (case.task != "blimp" or name in BUNDLED_PARADIGMS)
]
# The first items of the authentic files; Winograd's reach a possessive pronoun only at the 209th.
AUTHENTIC = {
    "hellaswag-text": 60,
    "piqa": 60,
    "copa": 100,
    "copa-pmi": 100,
    "wsc273": 273,
    "wsc273-one-space": 273,
    "sst2": 100,
}


def sums(run: Run, case: Case) -> list[list[float]]:
    """Log-probabilities of the choices of each sample that the case is about."""
    (part,) = case.metrics if case.task == "blimp" else ("",)
    return [
        [sum(response["logprobs"]) for response in record["responses"]]
        for record in run.records
        if not part or part in record["statistics"]
    ]


def assert_same(run: Run, oracle: LmEvalResult, case: Case) -> None:
    """Every choice of every sample, and every metric exactly."""
    ours = sums(run, case)
    assert len(ours) == len(oracle.choices) > 0
    for mine, theirs in zip(ours, oracle.choices, strict=True):
        # lm-eval leaves the requests without context out of what it logs, or has them all.
        assert mine[: len(theirs)] == pytest.approx(theirs, abs=1e-4, rel=1e-6)
    for mine, theirs in case.metrics.items():
        assert run.value(mine) == pytest.approx(oracle.metrics[theirs], abs=1e-12), mine


@pytest.mark.parametrize("name", BUNDLED)
def test_same_as_lm_eval(
    name: str, checkpoint_of: Callable[[str], Path], evaluate: Callable[..., Run], tmp_path: Path
) -> None:
    """All bundled samples, on a checkpoint that has learnt to write."""
    case, checkpoint = CASES[name], checkpoint_of("demo-base")
    run = evaluate(checkpoint, case.ours, bundled_directory(), batch_size=8)
    assert_same(run, lm_eval_choices.run(case, checkpoint, bundled_directory(), tmp_path), case)


@pytest.mark.shared
@pytest.mark.parametrize("name", AUTHENTIC)
def test_same_on_authentic_files(
    name: str,
    gpt2_checkpoint: Path,
    shared_data: Path,
    evaluate: Callable[..., Run],
    tmp_path: Path,
) -> None:
    """With GPT-2's vocabulary."""
    case, limit = CASES[name], AUTHENTIC[name]
    run = evaluate(gpt2_checkpoint, case.ours, shared_data, batch_size=8, limit_first=limit)
    oracle = lm_eval_choices.run(case, gpt2_checkpoint, shared_data, tmp_path, limit)
    assert_same(run, oracle, case)


@pytest.fixture(scope="session")
def authentic_blimp(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some pairs of several paradigms of the published archive, so that one run has them all."""
    return lm_eval_choices.write_blimp(shared_data, tmp_path_factory.mktemp("blimp"), PAIRS)


@pytest.mark.shared
@pytest.mark.parametrize("paradigm", lm_eval_choices.PARADIGMS)
def test_same_on_authentic_paradigms(
    paradigm: str,
    gpt2_checkpoint: Path,
    authentic_blimp: Path,
    evaluate: Callable[..., Run],
    tmp_path: Path,
) -> None:
    case = CASES[f"blimp-{paradigm}"]
    run = evaluate(gpt2_checkpoint, case.ours, authentic_blimp, batch_size=8)
    oracle = lm_eval_choices.run(case, gpt2_checkpoint, authentic_blimp, tmp_path)
    assert len(oracle.choices) == PAIRS
    assert_same(run, oracle, case)


@pytest.mark.parametrize("name", ["copa", "sst2"])
def test_examples_stand_as_in_lm_eval(
    name: str, checkpoint_of: Callable[[str], Path], evaluate: Callable[..., Run], tmp_path: Path
) -> None:
    """The examples that a seed draws, given to lm-eval one by one."""
    case, checkpoint, data = CASES[name], checkpoint_of("demo-base"), bundled_directory()
    run = evaluate(checkpoint, case.ours, data, batch_size=8, num_fewshot=3)
    pool = (
        lm_eval_choices.copa(data, "copa-dev.xml")
        if name == "copa"
        else lm_eval_choices.sst2(data, "train.tsv")
    )
    chosen = np.random.default_rng(0).choice(len(pool), 3, replace=False)
    examples = [pool[i] for i in chosen]
    oracle = lm_eval_choices.run_fewshot(case, checkpoint, data, tmp_path, examples)
    assert_same(run, oracle, case)
    assert run.result.task["options"]["num_fewshot"] == 3


def test_llm_c(checkpoint_of: Callable[[str], Path], evaluate: Callable[..., Run]) -> None:
    """llm.c's arithmetic with transformers: context and ending tokenised apart, mean loss."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    checkpoint, data = checkpoint_of("demo-base"), bundled_directory()
    run = evaluate(checkpoint, "hellaswag@llm.c", data, batch_size=8)
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    lines = (data / "hellaswag/hellaswag_val.jsonl").read_text("utf-8").splitlines()
    right = {"accuracy": 0, "accuracy_tokens": 0}
    for row, record in zip(map(json.loads, lines), run.records, strict=True):
        losses = []
        for ending in row["endings"]:
            context = tokenizer.encode(row["ctx"])
            tokens = torch.tensor([context + tokenizer.encode(f" {ending}")])
            with torch.no_grad():
                logprobs = model(tokens).logits.log_softmax(-1)[0, :-1]
            picked = logprobs.gather(1, tokens[0, 1:, None])[len(context) - 1 :, 0]
            losses.append((-picked.sum().item(), -picked.mean().item()))
        total, mean = np.array(losses).T
        mine = [-sum(response["logprobs"]) for response in record["responses"]]
        assert mine == pytest.approx(total.tolist(), abs=1e-4)
        right["accuracy"] += int(total.argmin() == row["label"])
        right["accuracy_tokens"] += int(mean.argmin() == row["label"])
    for metric, count in right.items():
        assert run.value(metric) == count / len(lines)
