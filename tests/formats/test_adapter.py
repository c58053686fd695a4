"""Adapters: the logits of PEFT itself, and what is refused by name."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2LMHeadModel

from gpt2eval.checkpoint import open_checkpoint
from gpt2eval.errors import CheckpointError
from tests.checkpoints import make_checkpoint
from tests.formats import writers
from tests.formats.test_formats import expected, logits

LAYERS = ["c_attn", "c_proj", "c_fc"]
PLAIN: dict[str, dict[str, Any]] = {
    "attention": {"target_modules": ["c_attn"]},
    "all": {"target_modules": LAYERS, "r": 3, "lora_alpha": 5},
    "rslora": {"target_modules": LAYERS, "use_rslora": True},
    "patterns": {
        "target_modules": LAYERS,
        "rank_pattern": {"c_fc": 6, "h.1.attn.c_attn": 2},
        "alpha_pattern": {"mlp.c_proj": 1, "c_attn": 32},
    },
    "some layers": {"target_modules": ["c_attn"], "layers_to_transform": [1]},
    "biases": {"target_modules": ["c_attn"], "bias": "all"},
    "biases of lora": {"target_modules": LAYERS, "bias": "lora_only"},
    "norm": {"target_modules": ["c_attn"], "modules_to_save": ["ln_f"]},
    "head": {"target_modules": ["c_attn"], "modules_to_save": ["lm_head"]},
    "embedding": {"target_modules": ["c_attn"], "modules_to_save": ["wte"]},
    "embedding and head": {"target_modules": ["c_attn"], "modules_to_save": ["wte", "lm_head"]},
    "positions": {"target_modules": ["c_fc"], "modules_to_save": ["wpe"]},
    "dora": {"target_modules": LAYERS, "use_dora": True},
    "dora everywhere": {"target_modules": [*LAYERS, "wte", "lm_head"], "use_dora": True},
    "lora on embeddings": {"target_modules": ["wte", "wpe", "c_fc"], "r": 3, "lora_alpha": 5},
    "lora on the head": {"target_modules": ["lm_head"], "alpha_pattern": {"lm_head": 3}},
    "lora on both ends": {"target_modules": ["lm_head", "wte"], "use_rslora": True},
}
MORE: dict[str, tuple[dict[str, Any], str]] = {
    "pissa": ({"target_modules": ["c_attn"], "init_lora_weights": "pissa"}, "changes the base"),
    "tokens": (
        {"target_modules": ["c_attn"], "trainable_token_indices": [1, 2]},
        "more than plain LoRA: trainable_token_indices",
    ),
    "tied": (
        {"target_modules": ["c_attn"], "modules_to_save": ["wte"], "ensure_weight_tying": True},
        "more than plain LoRA: ensure_weight_tying",
    ),
    "bias of B": ({"target_modules": ["c_attn"], "lora_bias": True}, "more than plain LoRA: lora_"),
}


def train(original: Path, directory: Path, options: dict[str, Any], safe: bool = True) -> Any:
    """An adapter of PEFT whose trainable numbers are all random, saved; PEFT's model of it."""
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(
        task_type="CAUSAL_LM", fan_in_fan_out=True, **{"r": 4, "lora_alpha": 8, **options}
    )
    base = GPT2LMHeadModel.from_pretrained(original)
    model = peft.get_peft_model(base, config)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data += 0.05 * torch.randn_like(parameter)
    model.save_pretrained(directory, safe_serialization=safe)
    again = GPT2LMHeadModel.from_pretrained(original)
    return peft.PeftModel.from_pretrained(again, directory).eval()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", PLAIN)
def test_logits_are_those_of_peft(name: str, original: Path, tmp_path: Path) -> None:
    theirs = expected(train(original, tmp_path / "adapter", PLAIN[name]))
    ours = logits(tmp_path / "adapter")
    assert (ours - theirs).abs().max() < 1e-5
    plain = logits(original)
    assert (ours - plain).abs().max() > 0.01, "the adapter changes nothing: nothing was tested"


@pytest.mark.filterwarnings("ignore")
def test_an_adapter_in_a_pickle(original: Path, tmp_path: Path) -> None:
    theirs = expected(train(original, tmp_path / "adapter", PLAIN["all"]))
    path = tmp_path / "adapter/adapter_model.safetensors"
    torch.save(load_file(path), path.with_suffix(".bin"))
    path.unlink()
    assert (logits(tmp_path / "adapter") - theirs).abs().max() < 1e-5


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MORE)
def test_more_than_plain_lora_is_refused(name: str, original: Path, tmp_path: Path) -> None:
    options, message = MORE[name]
    train(original, tmp_path / "adapter", options)
    with pytest.raises(CheckpointError, match=rf"{message}.*[Mm]erge it with peft"):
        open_checkpoint(tmp_path / "adapter")


def test_on_a_base_in_another_format(original: Path, tmp_path: Path) -> None:
    writers.write_adapter(original, tmp_path / "adapter")
    first = logits(tmp_path / "adapter")
    path = writers.write_gguf(original, tmp_path / "base.gguf")
    change(tmp_path / "adapter", base_model_name_or_path=str(path))
    assert (logits(tmp_path / "adapter") - first).abs().max() < 1e-5


def put_in_cache(cache: Path, source: Path, commit: str, branch: str) -> None:
    """As huggingface_hub keeps a repository: snapshots of links to blobs, and refs."""
    home = cache / "models--openai-community--gpt2"
    for directory in ("blobs", "refs", f"snapshots/{commit}"):
        (home / directory).mkdir(parents=True, exist_ok=True)
    (home / "refs" / branch).write_text(commit)
    for file in source.iterdir():
        blob = hashlib.sha256(file.read_bytes()).hexdigest()
        shutil.copyfile(file, home / "blobs" / blob)
        (home / "snapshots" / commit / file.name).symlink_to(f"../../blobs/{blob}")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("revision", [None, "second", "b" * 40])
def test_a_base_on_the_hub(
    revision: str | None, original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The revision that the adapter names, as PEFT's AutoPeftModel takes it."""
    peft = pytest.importorskip("peft")
    other = make_checkpoint(tmp_path / "other", vocab=360, n_embd=128, scale=0.08, seed=9)
    put_in_cache(tmp_path / "cache", original, "a" * 40, "main")
    put_in_cache(tmp_path / "cache", other, "b" * 40, "second")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    place = writers.write_adapter(original, tmp_path / "adapter")
    change(place, base_model_name_or_path="openai-community/gpt2", revision=revision)
    checkpoint = open_checkpoint(place, offline=True)
    assert checkpoint.base is not None
    assert checkpoint.base.revision == ("b" if revision else "a") * 40
    base = peft.PeftConfig.from_pretrained(place).revision
    assert base == revision
    local = peft.PeftModel.from_pretrained(
        GPT2LMHeadModel.from_pretrained(other if base else original), place
    )
    assert (logits(place, offline=True) - expected(local.eval())).abs().max() < 1e-5
    change(place, revision="third")
    with pytest.raises(CheckpointError, match=r"hf download openai.*/gpt2 --revision third"):
        open_checkpoint(place, offline=True)


def test_what_is_recorded_of_an_adapter(original: Path, tmp_path: Path) -> None:
    """Another base, another weight or another alpha is another checkpoint."""
    place = writers.write_adapter(original, tmp_path / "adapter")
    first = open_checkpoint(place)
    assert first.base is not None
    assert (first.kind, first.name, first.base.sha256) == (
        "adapter",
        "adapter",
        open_checkpoint(original).sha256,
    )
    assert first.tokenizer_sha256 == open_checkpoint(original).tokenizer_sha256
    digests = {first.sha256}
    change(place, lora_alpha=5)
    digests.add(open_checkpoint(place).sha256)
    other = make_checkpoint(tmp_path / "other", vocab=360, n_embd=128, seed=1)
    change(place, base_model_name_or_path=str(other))
    digests.add(open_checkpoint(place).sha256)
    assert len(digests) == 3
    assert open_checkpoint(place / "adapter_config.json").sha256 in digests
    assert open_checkpoint(place / "adapter_model.safetensors").name == "adapter"


def change(directory: Path, **values: Any) -> None:
    path = directory / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def tensors(**changes: torch.Tensor) -> Callable[[Path], None]:
    """Other tensors in the place of those of the first layer."""

    def alter(directory: Path) -> None:
        path = directory / "adapter_model.safetensors"
        stem = "base_model.model.transformer.h.0.attn.c_attn."
        content = load_file(path)
        for name, tensor in changes.items():
            content[stem + name.replace("__", ".")] = tensor
        save_file(content, path)

    return alter


def magnitudes(size: int) -> Callable[[Path], None]:
    """DoRA, with so many numbers for each layer."""

    def alter(directory: Path) -> None:
        path = directory / "adapter_model.safetensors"
        content = load_file(path)
        layers = {name.partition(".lora_")[0] for name in content}
        more = {f"{layer}.lora_magnitude_vector": torch.ones(size) for layer in layers}
        save_file({**content, **more}, path)
        change(directory, use_dora=True)

    return alter


def no_matrix(directory: Path) -> None:
    path = directory / "adapter_model.safetensors"
    content = load_file(path)
    del content["base_model.model.transformer.h.0.attn.c_attn.lora_B.weight"]
    save_file(content, path)


def config(**values: Any) -> Callable[[Path], None]:
    return lambda directory: change(directory, **values)


BAD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "ia3": (config(peft_type="IA3"), r"peft_type 'IA3'; expected 'LORA'\. Merge it with peft"),
    "no base": (config(base_model_name_or_path=None), r"names no base_model_name_or_path; write"),
    "base gone": (
        config(base_model_name_or_path="./nowhere"),
        r"base of the adapter .* cannot be had: .*'\./nowhere' does not exist",
    ),
    "itself": (lambda d: change(d, base_model_name_or_path=str(d)), "is an adapter itself; merge"),
    "rank 0": (config(r=0), r"r = 0; expected a number above 0"),
    "alpha a text": (config(lora_alpha="x"), r"lora_alpha = 'x'; expected a number"),
    "pattern a list": (config(alpha_pattern=[1]), r"alpha_pattern = \[1\]; expected names"),
    "pattern endless": (config(alpha_pattern={"(a+)+$": 1}), "expected names with numbers"),
    "replicated": (config(layer_replication=[[0, 2]]), "more than plain LoRA: layer_replication"),
    "weights gone": (
        lambda d: (d / "adapter_model.safetensors").unlink(),
        r"adapter without weights; expected adapter_model\.safetensors or",
    ),
    "one matrix": (no_matrix, r"holds A of 'h\.0\.attn\.c_attn'; expected A, B\. The file is dam"),
    "no magnitudes": (config(use_dora=True), r"holds A, B of '.*'; expected A, B, magnitude\."),
    "few magnitudes": (magnitudes(383), r"magnitudes of .* shape \(383,\); expected \(384,\)"),
    "revision a number": (config(revision=5), r"revision = 5; expected a branch, tag or commit"),
    "revision a path": (config(revision="../x"), r"revision = '\.\./x'; expected a branch"),
    "another base": (
        tensors(lora_A__weight=torch.ones(2, 64)),
        r"have shapes \(2, 64\) and \(384, 2\), which do not make \(128, 384\)",
    ),
    "other ranks": (tensors(lora_A__weight=torch.ones(3, 128)), r"have shapes \(3, 128\) and"),
    "a vector": (tensors(lora_A__weight=torch.ones(128)), r"have shapes \(128,\) and"),
    "magnitudes": (
        tensors(lora_magnitude_vector=torch.ones(384)),
        r"lora_magnitude_vector', which plain LoRA on a GPT-2 has not",
    ),
    "bias of another size": (tensors(bias=torch.ones(3)), r"has shape \(3,\), the base's 'h\.0"),
    "not JSON": (lambda d: (d / "adapter_config.json").write_text("{"), "is not valid JSON"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_adapter(name: str, original: Path, tmp_path: Path) -> None:
    place = writers.write_adapter(original, tmp_path / "adapter")
    damage, message = BAD[name]
    damage(place)
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(place)


def test_a_model_and_an_adapter_in_one_directory(original: Path, tmp_path: Path) -> None:
    place = make_checkpoint(tmp_path / "both", vocab=360, n_embd=128)
    writers.write_adapter(original, place)
    with pytest.raises(CheckpointError, match=r"holds a whole model and an adapter; give the file"):
        open_checkpoint(place)
    assert open_checkpoint(place / "model.safetensors").kind == "safetensors"
    assert open_checkpoint(place / "adapter_config.json").kind == "adapter"
