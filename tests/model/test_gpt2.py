"""Our forward pass against transformers' own, for every form of GPT-2 that its config knows."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from gpt2eval.checkpoint import open_checkpoint
from gpt2eval.errors import CheckpointError, UsageError
from gpt2eval.model import Cache, Model, load_model

VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "unscaled": {"scale_attn_weights": False},
    "by-layer": {"scale_attn_by_inverse_layer_idx": True},
    "by-layer-unscaled": {
        "scale_attn_by_inverse_layer_idx": True,
        "scale_attn_weights": False,
        "n_layer": 3,
    },
    "upcast": {"reorder_and_upcast_attn": True, "scale_attn_by_inverse_layer_idx": True},
    "narrow": {"n_inner": 24},
    "relu": {"activation_function": "relu"},
    "gelu": {"activation_function": "gelu"},
    "gelu-tanh": {"activation_function": "gelu_pytorch_tanh"},
    "silu": {"activation_function": "silu"},
    "epsilon": {"layer_norm_epsilon": 0.1},
    "one-head": {"n_head": 1},
    "untied": {"tie_word_embeddings": False},
    "padded-rows": {"vocab_size": 400},
}


def write(source: Path, directory: Path, changes: dict[str, Any]) -> GPT2LMHeadModel:
    """A random checkpoint with the tokenizer of `source`, as `save_pretrained` writes it."""
    shutil.copytree(source, directory, ignore=shutil.ignore_patterns("*.safetensors"))
    config = GPT2Config.from_pretrained(source, **changes)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = GPT2LMHeadModel(config).eval()
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(directory)
    return model


@pytest.fixture(scope="module", params=VARIANTS)
def pair(
    request: pytest.FixtureRequest, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[GPT2LMHeadModel, Model]:
    """The same checkpoint in transformers and in ours."""
    directory = tmp_path_factory.mktemp("variants") / request.param
    theirs = write(tiny_checkpoint, directory, VARIANTS[request.param])
    return theirs, load_model(open_checkpoint(directory), "cpu")


def some_tokens(rows: int, length: int) -> torch.Tensor:
    return torch.randint(0, 380, (rows, length), generator=torch.Generator().manual_seed(2))


@torch.inference_mode()
def test_logits_are_those_of_transformers(pair: tuple[GPT2LMHeadModel, Model]) -> None:
    theirs, ours = pair
    ids = some_tokens(3, 64)
    expected = theirs(ids).logits
    found = ours.logits(ours.hidden(ids.tolist())).view_as(expected)
    assert (found - expected).abs().max() < 1e-4
    assert expected.std() > 0.1  # no test of anything otherwise


@torch.inference_mode()
def test_step_by_step_is_the_whole(pair: tuple[GPT2LMHeadModel, Model]) -> None:
    """A cache filled in pieces of any size gives the states of one pass."""
    _, model = pair
    ids = some_tokens(2, 40)
    whole = model.hidden(ids.tolist()).view(2, 40, -1)
    cache = Cache(model.transformer, 2, 64)
    rows = torch.arange(2)
    parts, begin = [], 0
    for size in (10, 1, 1, 7, 1, 20):
        piece = ids[:, begin : begin + size].tolist()
        if size == 1:
            attention = cache.step(torch.tensor([begin, begin]), begin)
        else:
            attention = cache.read(rows, begin, size)
        parts.append(model.hidden(piece, attention, begin=begin).view(2, size, -1))
        begin += size
    assert (torch.cat(parts, 1) - whole).abs().max() < 1e-4


def test_parameters_are_counted_once(pair: tuple[GPT2LMHeadModel, Model]) -> None:
    theirs, ours = pair
    assert ours.parameters == sum(parameter.numel() for parameter in theirs.parameters())


@torch.inference_mode()
def test_padding_is_never_seen(tiny_model: Model) -> None:
    rows = [some_tokens(1, length)[0].tolist() for length in (1, 5, 30, 64)]
    together = tiny_model.hidden(rows).view(4, 64, -1)
    for row, states in zip(rows, together, strict=True):
        assert (states[: len(row)] - tiny_model.hidden([row])).abs().max() < 1e-4


@torch.inference_mode()
def test_rows_of_a_cache_have_ages_of_their_own(tiny_model: Model) -> None:
    """Read at different times, moved, and stepped together."""
    ids = some_tokens(3, 12)
    whole = tiny_model.hidden(ids.tolist()).view(3, 12, -1)
    cache = Cache(tiny_model.transformer, 3, 20)
    for row, length in ((0, 11), (1, 4), (2, 7)):
        tiny_model.hidden([ids[row, :length].tolist()], cache.read(torch.tensor([row]), 0, length))
    cache.move(2, 0)
    attention = cache.step(torch.tensor([7, 4]), 7)
    found = tiny_model.hidden([[ids[2, 7]], [ids[1, 4]]], attention, positions=[[7], [4]])
    assert (found[0] - whole[2, 7]).abs().max() < 1e-4
    assert (found[1] - whole[1, 4]).abs().max() < 1e-4


@torch.inference_mode()
def test_a_shared_beginning(tiny_model: Model) -> None:
    ids = some_tokens(1, 30)[0].tolist()
    single, cache = Cache(tiny_model.transformer, 1, 20), Cache(tiny_model.transformer, 2, 30)
    tiny_model.hidden([ids[:20]], single.read(torch.tensor([0]), 0, 20))
    cache.share(single, 20)
    found = tiny_model.hidden([ids[20:]], cache.read(torch.tensor([1]), 20, 10), begin=20)
    assert (found - tiny_model.hidden([ids])[20:]).abs().max() < 1e-4


@torch.inference_mode()
def test_only_the_states_that_are_kept(pair: tuple[GPT2LMHeadModel, Model]) -> None:
    _, model = pair
    rows = some_tokens(2, 20).tolist()
    keep = torch.tensor([3, 39, 20, 3])
    assert (model.hidden(rows, keep=keep) - model.hidden(rows)[keep]).abs().max() < 1e-5


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@torch.inference_mode()
def test_half_precision_stays_near(tiny_checkpoint: Path, tiny_model: Model, dtype: str) -> None:
    half = load_model(open_checkpoint(tiny_checkpoint), "cpu", dtype)
    assert half.dtype == getattr(torch, dtype)
    ids = some_tokens(2, 64)
    hidden = half.hidden(ids.tolist())
    assert hidden.dtype == half.dtype
    found = half.logits(hidden)
    expected = tiny_model.logits(tiny_model.hidden(ids.tolist()))
    assert found.dtype == torch.float32
    difference = (found.log_softmax(-1) - expected.log_softmax(-1)).abs()
    assert 0 < difference.mean() < 0.1 * expected.std()


@torch.inference_mode()
def test_log_probs_in_pieces(tiny_model: Model) -> None:
    """More positions than the head takes at once."""
    ids = some_tokens(6, 50)
    hidden = tiny_model.hidden(ids.tolist())
    targets = some_tokens(6, 50).flatten().flip(0)
    log_probs, greedy, excluding = tiny_model.log_probs(hidden, targets)
    logits = tiny_model.logits(hidden)
    expected = logits.log_softmax(-1).gather(1, targets[:, None])[:, 0]
    assert len(log_probs) == 300
    assert (log_probs - expected).abs().max() < 1e-4
    assert (greedy == (logits.argmax(1) == targets)).all()
    assert (excluding == greedy).all()


def test_encode_and_decode(tiny_model: Model) -> None:
    texts = ["", "a", "The ships", "日本 🙂", " \n\t", "<|endoftext|>"]
    assert [tiny_model.decode(ids) for ids in tiny_model.encode(texts)] == texts
    assert tiny_model.encode([]) == []
    ids, starts = tiny_model.encode_with_starts("The 日本 ships")
    assert [ids] == tiny_model.encode(["The 日本 ships"])
    assert starts == sorted(starts)
    assert starts[0] == 0


# ---- loading ------------------------------------------------------------------------------------


def test_unknown_device(tiny_checkpoint: Path) -> None:
    with pytest.raises(UsageError, match=r"device 'tpu'.*expected auto, cpu"):
        load_model(open_checkpoint(tiny_checkpoint), "tpu")


def test_tied_embeddings_stay_tied(tmp_path: Path, tiny_checkpoint: Path) -> None:
    theirs = write(tiny_checkpoint, tmp_path / "tied", {})
    ours = load_model(open_checkpoint(tmp_path / "tied"), "cpu")
    assert ours.head.tolist() == theirs.transformer.wte.weight.tolist()
    assert ours.head is ours.transformer.tensors["wte.weight"]


def test_untied_embeddings_stay_apart(tmp_path: Path, tiny_checkpoint: Path) -> None:
    theirs = write(tiny_checkpoint, tmp_path / "untied", {"tie_word_embeddings": False})
    ours = load_model(open_checkpoint(tmp_path / "untied"), "cpu")
    assert ours.head.tolist() == theirs.lm_head.weight.tolist()
    assert ours.head.tolist() != theirs.transformer.wte.weight.tolist()


@pytest.mark.parametrize(
    "change",
    [
        {"activation_function": "no-such-function"},
        {"activation_function": 3},
        {"layer_norm_epsilon": "small"},
        {"scale_attn_weights": "yes"},
        {"initializer_range": [1]},
    ],
)
def test_config_that_makes_no_model(
    tmp_path: Path, tiny_checkpoint: Path, change: dict[str, Any]
) -> None:
    import json

    directory = tmp_path / "bad"
    shutil.copytree(tiny_checkpoint, directory)
    config = json.loads((directory / "config.json").read_text("utf-8"))
    (directory / "config.json").write_text(json.dumps({**config, **change}), "utf-8")
    with pytest.raises(CheckpointError, match="config"):
        load_model(open_checkpoint(directory), "cpu")
