"""The audit of numerics: what is clean, and faults that are put in, found and named."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from gpt2eval import audit as auditing
from gpt2eval.audit import Setting, audit, verdicts
from gpt2eval.audit.types import Allowed, Moved, Nats, TaskAudit
from gpt2eval.checkpoint import open_checkpoint
from gpt2eval.cli import app
from gpt2eval.evaluation import run
from gpt2eval.model import Model, load_model, load_reference
from gpt2eval.model.gpt2 import Transformer
from gpt2eval.options import RunOptions
from gpt2eval.runner import sharing
from gpt2eval.runner.reference import answer_alone
from gpt2eval.scoring import Silent
from gpt2eval.selfcheck import TOLERANCES
from gpt2eval.types import Generate, Rolling, Score

pytestmark = pytest.mark.usefixtures("empty_directory")

TASKS = "wikitext2,lambada@openai,hellaswag,wmt14_fr_en"
CHOICES = "hellaswag"


def tasks(
    *settings: Setting, names: str = TASKS, model: str = "demo-base", limit: int = 6
) -> list[TaskAudit]:
    options = RunOptions(models=(model,), tasks=names, device="cpu", limit=limit)
    (one,) = audit(options, settings or [Setting("float32", None)], Silent())
    return list(one.tasks)


# ---- the reference ------------------------------------------------------------------------------


@pytest.mark.oracle
def test_the_reference_is_what_from_pretrained_gives(tmp_path: Path) -> None:
    """Weights, configuration and head, for a checkpoint whose layers are scaled in odd ways too."""
    from transformers import GPT2LMHeadModel

    place = open_checkpoint("demo-base").path
    odd = shutil.copytree(place, tmp_path / "odd")
    config = json.loads((odd / "config.json").read_text())
    config["scale_attn_by_inverse_layer_idx"] = True
    (odd / "config.json").write_text(json.dumps(config))
    ids = torch.arange(50, 90)
    for path in (place, odd):
        reference = load_reference(open_checkpoint(path), "cpu")
        oracle = GPT2LMHeadModel.from_pretrained(path, dtype=torch.float64).eval()
        with torch.inference_mode():
            expected = oracle(ids[None]).logits[0].log_softmax(-1)
        found = reference.log_probs(ids.tolist(), len(ids))
        assert float((found - expected).abs().max()) < 1e-4
        after = reference.writer(ids[:-1].tolist())
        after(None)
        assert float((after(int(ids[-1])) - expected[-1]).abs().max()) < 1e-4


def test_the_reference_answers_all_kinds_of_requests_as_selfcheck_has_them() -> None:
    """Answers on record were made by a script that shares no code with either."""
    content = json.loads(
        (Path(auditing.__file__).parents[1] / "demo" / "answers.json").read_text("utf-8")
    )
    asked, known = content["questions"], content["answers"]["demo-base"]
    checkpoint = open_checkpoint("demo-base")
    model, reference = load_model(checkpoint, "cpu"), load_reference(checkpoint, "cpu")
    stride = asked["stride"]
    requests = [
        *(Score(one["context"], one["continuation"]) for one in asked["continuations"]),
        Rolling(asked["long"]),
        Rolling(asked["long"], windows="sliding", stride=stride),
        Rolling(asked["long"], windows="hf-docs", stride=stride),
        *(Generate(one["context"], asked["new_tokens"]) for one in asked["continuations"]),
    ]
    found = {
        told.number: told
        for told in answer_alone(
            reference, model, requests, on_plan=lambda _: None, on_failed=pytest.fail
        )
    }
    many = len(asked["continuations"])
    for number, expected in enumerate(known["continuations"]):
        assert -found[number].response.logprobs == pytest.approx(expected, abs=2e-5)
    for number, name in enumerate(("disjoint", "sliding", "hf-docs"), many):
        response = found[number].response
        mean = float(response.weights @ -response.logprobs / response.weights.sum())
        assert mean == pytest.approx(known[name], abs=1e-5), name
    for number, (text, margins) in enumerate(
        zip(known["written"], known["margins"], strict=True), many + 3
    ):
        assert found[number].response.tokens.tolist() == text
        assert found[number].margins == pytest.approx(margins, abs=2e-4)


# ---- what is clean ------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_a_clean_engine_is_rounding_only(dtype: str) -> None:
    found = tasks(Setting(dtype, None), Setting(dtype, 1))
    assert {one.task.partition("@")[0] for one in found} == {
        name.partition("@")[0] for name in TASKS.split(",")
    }
    for one in found:
        assert one.explained, one.words
        assert one.verdict in ("rounding only", "within the interval")
        assert one.cause == ""
        assert 0 < one.nats.mean <= one.nats.largest < TOLERANCES[dtype].token
        assert one.nats.mean < verdicts.MEANS[dtype]


def test_limits_are_no_wider_than_a_dtype_needs() -> None:
    """The finer dtype's limits would not do for the coarser one, and a tenth of its own neither."""
    worst = {dtype: tasks(Setting(dtype, None), names="wikitext2")[0].nats for dtype in TOLERANCES}
    for dtype, finer in (("float16", "float32"), ("bfloat16", "float16")):
        assert worst[dtype].mean > verdicts.MEANS[finer]
        assert worst[dtype].mean > verdicts.MEANS[dtype] / 10
    assert worst["float32"].mean > verdicts.MEANS["float32"] / 50


def test_bfloat16_on_what_it_writes_says_where_texts_part() -> None:
    (one,) = tasks(Setting("bfloat16", None), names="cnn_dailymail@tldr-greedy", limit=10)
    assert one.count("text") > 0
    for flip in one.flips:
        assert flip.margin is not None
        assert 0 <= flip.margin <= 2 * TOLERANCES["bfloat16"].token
        assert flip.expected != flip.found
    assert one.explained


def test_nothing_is_stored(tmp_path: Path) -> None:
    tasks(names="lambada@openai")
    assert list(tmp_path.iterdir()) == []


def test_metrics_of_the_setting_are_those_of_a_run() -> None:
    """The same sample, dtype and seed: what `run` says is what the audit shows."""
    (result,) = run(models="demo-base", tasks=CHOICES, limit=6, dtype="bfloat16", device="cpu")
    (one,) = tasks(Setting("bfloat16", None), names=CHOICES)
    assert {each.metric: each.found for each in one.metrics} == pytest.approx(
        {name: estimate.value for name, estimate in result.metrics.items()}
    )


# ---- faults -------------------------------------------------------------------------------------


def spoil(monkeypatch: pytest.MonkeyPatch, change: Callable[[Model], Model]) -> None:
    """An engine whose models are not what they should be."""

    def load(*arguments: Any) -> Model:
        return change(load_model(*arguments))

    monkeypatch.setattr(auditing, "load_model", load)


def test_noise_in_one_layer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def noisy(model: Model) -> Model:
        weight = model.transformer.linears["h.2.mlp.c_proj"].bias
        weight += 0.05 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
        return model

    spoil(monkeypatch, noisy)
    for one in tasks():
        assert one.verdict == "a fault"
        assert "first in the output of h.2.mlp" in one.cause
        assert one.nats.place is not None
        assert one.nats.largest == pytest.approx(abs(one.nats.found - one.nats.expected))


def test_noise_is_found_in_bfloat16_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def noisy(model: Model) -> Model:
        weight = model.transformer.linears["h.1.attn.c_proj"].bias
        weight += torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)).to(
            weight.dtype
        )
        return model

    spoil(monkeypatch, noisy)
    (one,) = tasks(Setting("bfloat16", None), names="lambada@openai")
    assert one.verdict == "a fault"
    assert "h.1.attn" in one.cause


def test_a_wrong_position_of_every_row_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def shifted(model: Model) -> Model:
        table = model.transformer.tensors["wpe.weight"]
        table.copy_(table.roll(1, 0))
        return model

    spoil(monkeypatch, shifted)
    (one,) = tasks(names="lambada@openai")
    assert one.verdict == "a fault"
    assert "first in the output of the embedding" in one.cause


def test_a_head_that_is_off_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(monkeypatch, lambda model: replace(model, head=model.head * 1.01))
    (one,) = tasks(names="lambada@openai")
    assert one.verdict == "a fault"
    assert "in the head" in one.cause


def test_attention_that_sees_the_future_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a mask: the first layer's attention is what is wrong."""

    def blind(self: Transformer, mask: Any = None) -> Any:
        def attend(layer: int, query: Any, key: Any, value: Any) -> Any:
            return torch.nn.functional.scaled_dot_product_attention(
                query, key, value, scale=self.scales[layer]
            )

        return attend

    monkeypatch.setattr(Transformer, "causal", blind)
    (one,) = tasks(names=CHOICES)
    assert one.verdict == "a fault"
    assert "first in the output of h.0.attn" in one.cause


def test_a_wrong_mask_of_shared_contexts_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Endings that see each other: a text alone is right."""

    def open_mask(self: Any, width: int) -> Any:
        return np.tril(np.ones((width, width), dtype=bool))

    monkeypatch.setattr(sharing.Bundle, "mask", open_mask)
    (one,) = tasks(names=CHOICES)
    assert one.verdict == "a fault"
    assert "share a context" in one.cause


def test_wrong_positions_of_shared_contexts_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Endings that are placed one behind the other."""
    original = Model.hidden

    def hidden(self: Model, rows: Any, *arguments: Any, **options: Any) -> Any:
        if options.get("positions") is not None:
            options["positions"] = [list(range(len(row))) for row in rows]
        return original(self, rows, *arguments, **options)

    monkeypatch.setattr(Model, "hidden", hidden)
    (one,) = tasks(names=CHOICES)
    assert one.verdict == "a fault"
    assert "share a context" in one.cause


def test_a_fault_of_full_batches_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last row of a batch gets the positions of another: one row at a time all is well."""
    original = Model.hidden

    def hidden(self: Model, rows: Any, *arguments: Any, **options: Any) -> Any:
        positions = options.get("positions")
        if positions is not None and len(rows) > 1:
            options["positions"] = [*positions[:-1], [p + 3 for p in positions[-1]]]
        return original(self, rows, *arguments, **options)

    monkeypatch.setattr(Model, "hidden", hidden)
    single, many = tasks(Setting("float32", 1), Setting("float32", None), names="lambada@openai")
    assert single.verdict == "rounding only"
    assert many.verdict == "a fault"
    assert "only in a batch with others" in many.cause


def test_a_cache_that_is_off_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts are written one position too far on: the model as such is right."""
    from gpt2eval.runner import generate

    def step(model: Model, cache: Any) -> Any:
        def read(tokens: Sequence[int], lengths: Sequence[int]) -> Any:
            attention = cache.step(torch.tensor(lengths), max(lengths))
            places = [[length + 1] for length in lengths]
            return model.hidden([[token] for token in tokens], attention, positions=places)

        return read

    monkeypatch.setattr(generate, "_plain_step", step)
    (one,) = tasks(names="cnn_dailymail@tldr-greedy")
    assert one.verdict == "a fault"
    assert "the cache of what is written" in one.cause
    assert one.count("text") > 0


def test_a_setting_that_cannot_score_a_sample_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """NaN under one dtype: such samples are counted, and not in the differences."""
    original = Model.log_probs

    def log_probs(self: Model, hidden: Any, targets: Any, excluded: Any = None) -> Any:
        found = original(self, hidden, targets, excluded)
        if len(targets) < 3:
            found[0][:] = math.nan
        return found

    monkeypatch.setattr(Model, "log_probs", log_probs)
    (one,) = tasks(Setting("float32", 1), names="lambada@openai", limit=12)
    assert one.failed
    assert len(one.failed) + one.samples == 12
    assert all("not finite" in reason for reason in one.failed.values())


# ---- verdicts -----------------------------------------------------------------------------------


def shift(share: float | None, of_all: float | None, low: float, high: float) -> Moved:
    return Moved("accuracy", "fraction", 0.5, 0.5, 0.4, 0.6, 0.0, low, high, share, of_all, 10, 1)


@pytest.mark.parametrize(
    ("metric", "verdict"),
    [
        (shift(0.0, 0.0, 0, 0), "rounding only"),
        (shift(0.1, 0.9, -1, 1), "rounding only"),
        (shift(0.11, 0.9, 1, 2), "within the interval"),
        (shift(0.5, 5.0, -1, 1), "within the interval"),  # the luck of a few samples
        (shift(0.5, 5.0, 1, 2), "changes the score"),
        (shift(1.1, 1.1, -1, 1), "changes the score"),
        (shift(None, None, 1, 2), "rounding only"),
    ],
)
def test_a_verdict_follows_from_the_metric_that_moved_most(metric: Moved, verdict: str) -> None:
    calm = shift(0.0, 0.0, 0, 0)
    assert verdicts.judge([calm, metric], explained=True) == verdict
    assert verdicts.judge([calm, metric], explained=False) == "a fault"
    assert verdicts.judge([calm, replace(metric, part="a part")], explained=True) == "rounding only"


def test_rounding_that_matters_changes_the_score(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dtype as coarse as this is allowed what it does, and what it does moves the metric."""

    def coarse(model: Model) -> Model:
        model.transformer.tensors["ln_f.weight"].mul_(0.3)
        return model

    spoil(monkeypatch, coarse)
    generous = Allowed(1e9, 1e9, "anything goes")
    monkeypatch.setattr(auditing, "usual", lambda _dtype: generous)
    (one,) = tasks(names="wikitext2", limit=40)
    assert one.verdict == "changes the score"
    (metric,) = [each for each in one.metrics if each.metric == "word_perplexity"]
    assert metric.shift == pytest.approx(metric.found - metric.expected)
    assert metric.shift_low is not None
    assert metric.shift_high is not None
    assert metric.shift_low <= metric.shift <= metric.shift_high
    room = metric.high - metric.expected if metric.shift > 0 else metric.expected - metric.low
    assert metric.share == pytest.approx(abs(metric.shift) / room)


def test_what_is_no_number_is_never_explained() -> None:
    off = Nats(1, math.nan, math.nan, math.nan)
    assert not verdicts.explains(Allowed(1e9, 1e9, ""), off, [])


# ---- the command --------------------------------------------------------------------------------


def command(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["audit", "--device", "cpu", *arguments], catch_exceptions=False)
    return done.exit_code, done.output


def test_the_command_prints_writes_and_exits(tmp_path: Path) -> None:
    code, shown = command(
        *("--model", "demo-base", "--tasks", "lambada@openai", "--limit", "4"),
        *("--dtype", "fp32,bf16", "--batch-size", "1,auto", "--output", "audit.md"),
    )
    assert code == 0, shown
    for text in ("demo-base: float32, batches of 1", "bfloat16, auto batches", "rounding only"):
        assert text in shown
    page = (tmp_path / "audit.md").read_text("utf-8")
    assert page.count("\n## ") == 4
    assert "| accuracy |" in page


def test_json_has_what_the_table_has_and_a_fault_is_exit_code_1(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spoil(monkeypatch, lambda model: replace(model, head=model.head * 1.01))
    code, shown = command("--model", "demo-base", "--tasks", "lambada@openai", "--json")
    content = json.loads(shown)
    assert code == 1
    (model,) = content["models"]
    assert (content["command"], model["verdict"]) == ("audit", "a fault")
    (one,) = model["tasks"]
    assert one["task"] == "lambada@openai"
    assert one["nats"]["place"]["sample"]
    assert one["setting"] == {"dtype": "float32", "batch_size": None}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dtype", "float32,int8"], "--dtype 'int8': expected one of float32"),
        (["--batch-size", "1,many"], "expected whole numbers or auto, with commas"),
        (["--batch-size", "0"], "--batch-size 0: expected a whole number of at least 1"),
        (["--output", "no/where.md"], "expected a file in a directory that is there"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_loaded(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    import sys

    from gpt2eval.cli import main

    monkeypatch.setattr(sys, "argv", ["gpt2eval", "audit", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
