"""Every format gives the logits, the tokens and the digests of the model that was written."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel

from gpt2eval import formats
from gpt2eval.checkpoint import open_checkpoint, open_checkpoints
from gpt2eval.errors import CheckpointError
from gpt2eval.formats import gguf as gguf_format
from gpt2eval.formats.crc32c import crc32c, masked_crc32c
from gpt2eval.formats.opened import Stored
from gpt2eval.model import load_model
from gpt2eval.model.stored import read_stored
from gpt2eval.model.weights import read_weights
from tests.checkpoints import PASSAGE
from tests.formats import writers

IDS = torch.arange(2 * 48).view(2, 48) * 7 % 300


def logits(path: Path | str, **options: Any) -> torch.Tensor:
    """Of IDS, as the engine has them."""
    model = load_model(open_checkpoint(path, **options), "cpu")
    return model.logits(model.hidden(IDS.tolist())).view(*IDS.shape, -1)


@torch.inference_mode()
def expected(model: Any) -> torch.Tensor:
    return model(IDS).logits


def single(original: Path, place: Path) -> Path:
    place.mkdir()
    shutil.copyfile(original / "model.safetensors", place / "step-9.safetensors")
    writers.copy_tokenizer(original, place)
    return place / "step-9.safetensors"


def nanogpt(original: Path, place: Path) -> Path:
    path = writers.write_nanogpt(original, place / "ckpt.pt", compiled=True)
    writers.copy_tokenizer(original, place)
    return path


def llmc(original: Path, place: Path) -> Path:
    path = writers.write_llmc(original, place / "model_00019560.bin")
    writers.copy_tokenizer(original, place, "vocab.json", "merges.txt")
    return path


def openai(original: Path, place: Path) -> Path:
    return writers.write_openai(original, place)


def gguf(original: Path, place: Path) -> Path:
    return writers.write_gguf(original, place / "tiny-f32.gguf")


WRITERS: dict[str, Callable[[Path, Path], Path]] = {
    "safetensors": single,
    "nanogpt": nanogpt,
    "llm.c": llmc,
    "tensorflow": openai,
    "gguf": gguf,
}


def original_with(original: Path, **changes: Any) -> Any:
    """The original as transformers has it, with another config."""
    config = GPT2Config.from_pretrained(original)
    for key, value in changes.items():
        setattr(config, key, value)
    return GPT2LMHeadModel.from_pretrained(original, config=config).eval()


@pytest.mark.parametrize("kind", WRITERS)
def test_logits_and_tokens_are_those_of_the_original(
    kind: str, original: Path, original_model: Any, tmp_path: Path
) -> None:
    path = WRITERS[kind](original, tmp_path / "there")
    checkpoint = open_checkpoint(path)
    assert checkpoint.kind == kind
    model = load_model(checkpoint, "cpu")
    theirs = original_model
    if kind == "nanogpt":  # nn.GELU() of its model.py
        theirs = original_with(original, activation_function="gelu")
    ours = model.logits(model.hidden(IDS.tolist())).view(*IDS.shape, -1)
    assert (ours - expected(theirs)).abs().max() < 1e-5
    first = load_model(open_checkpoint(original), "cpu")
    texts = [PASSAGE, "l'été <|endoftext|> ok", "", " \n\n  x"]
    assert model.encode(texts) == first.encode(texts)
    assert model.decode(model.encode(texts)[1]) == texts[1]
    assert (model.eos_id, model.prefix_id, model.n_ctx) == (first.eos_id, first.prefix_id, 64)
    assert model.parameters == first.parameters


@pytest.mark.parametrize("kind", WRITERS)
def test_what_is_recorded(kind: str, original: Path, tmp_path: Path) -> None:
    """The digest is of the files as they are; a directory with one checkpoint is that."""
    path = WRITERS[kind](original, tmp_path / "there")
    checkpoint = open_checkpoint(path)
    if kind == "tensorflow":
        names = ("model.ckpt.data-00000-of-00001", "model.ckpt.index")
        lines = "".join(
            f"{hashlib.sha256((path / name).read_bytes()).hexdigest()}  {name}\n" for name in names
        )
        assert checkpoint.sha256 == hashlib.sha256(lines.encode()).hexdigest()
        assert open_checkpoint(path / "model.ckpt").sha256 == checkpoint.sha256
        assert open_checkpoint(path / "model.ckpt.index").name == "there"
    else:
        assert checkpoint.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        assert open_checkpoint(path.parent).sha256 == checkpoint.sha256
    assert checkpoint.source == str(path)


def test_headers_are_read_without_torch(original: Path, tmp_path: Path) -> None:
    paths = [make(original, tmp_path / kind) for kind, make in WRITERS.items()]
    paths.append(writers.write_adapter(original, tmp_path / "adapter"))
    code = (
        "import sys\nfrom gpt2eval.checkpoint import open_checkpoint\n"
        "print(*[open_checkpoint(path).kind for path in sys.argv[1:]])\n"
        "assert not {'torch', 'transformers', 'gguf', 'peft'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, paths)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [*WRITERS, "adapter"]


# ---- Hugging Face -------------------------------------------------------------------------------


@pytest.mark.parametrize("wrapped", ["_orig_mod.", "module.", "module._orig_mod."])
@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "ckpt.pt"])
def test_names_of_a_model_that_torch_wrapped(
    name: str, wrapped: str, original: Path, tmp_path: Path
) -> None:
    """A state_dict of DistributedDataParallel, of torch.compile, or of both."""
    writers.copy_tokenizer(original, tmp_path)
    if name == "ckpt.pt":
        path = writers.write_nanogpt(original, tmp_path / name)
        alter(path, lambda c: c.update(model={wrapped + k: v for k, v in c["model"].items()}))
        theirs = original_with(original, activation_function="gelu")
    else:
        shutil.copyfile(original / "config.json", tmp_path / "config.json")
        theirs = original_with(original)
        weights = {wrapped + k: v.clone() for k, v in theirs.state_dict().items()}
        (save_file if name.endswith("s") else torch.save)(weights, tmp_path / name)
    assert (logits(tmp_path) - expected(theirs)).abs().max() < 1e-5


def test_a_tensor_under_two_names(original: Path, tmp_path: Path) -> None:
    path = single(original, tmp_path / "there")
    weights = load_file(path)
    save_file({**weights, "module.transformer.wpe.weight": torch.ones(64, 128)}, path)
    checkpoint = open_checkpoint(path)
    with pytest.raises(
        CheckpointError, match=r"hold 'wpe\.weight' twice; expected every tensor once"
    ):
        load_model(checkpoint, "cpu")


# ---- single safetensors -------------------------------------------------------------------------


def test_what_is_assumed_of_a_file_without_a_config(original: Path, tmp_path: Path) -> None:
    checkpoint = open_checkpoint(single(original, tmp_path / "there"))
    assert "2 attention heads, each 64 wide as in OpenAI's four sizes" in checkpoint.assumed
    assert checkpoint.name == "step-9"
    shutil.copyfile(original / "config.json", tmp_path / "there/config.json")
    with_config = open_checkpoint(tmp_path / "there/step-9.safetensors")
    assert with_config.assumed == ()
    assert with_config.config["n_head"] == 2
    assert open_checkpoint(original / "model.safetensors").name == "original"


def test_a_head_of_its_own(original: Path, tmp_path: Path) -> None:
    path = single(original, tmp_path / "there")
    weights = load_file(path)
    weights["lm_head.weight"] = 0.08 * torch.randn(360, 128)
    save_file(weights, path)
    model = original_with(original, tie_word_embeddings=False)
    model.lm_head.weight = torch.nn.Parameter(weights["lm_head.weight"])
    assert (logits(path) - expected(model)).abs().max() < 1e-5


def test_heads_that_cannot_be_guessed(tiny_checkpoint: Path, tmp_path: Path) -> None:
    shutil.copyfile(tiny_checkpoint / "model.safetensors", tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match=r"how many attention heads .* width 32 is no mult"):
        open_checkpoint(tmp_path / "a.safetensors")


# ---- nanoGPT ------------------------------------------------------------------------------------


class Block(torch.nn.Module):
    """A block of a nanoGPT, written from its description: Linear layers, exact GELU."""

    def __init__(self, width: int, heads: int, bias: bool) -> None:
        super().__init__()
        self.heads = heads
        self.ln_1 = torch.nn.LayerNorm(width, bias=bias)
        self.ln_2 = torch.nn.LayerNorm(width, bias=bias)
        self.attn = torch.nn.ModuleDict(
            {
                "c_attn": torch.nn.Linear(width, 3 * width, bias=bias),
                "c_proj": torch.nn.Linear(width, width, bias=bias),
            }
        )
        self.mlp = torch.nn.ModuleDict(
            {
                "c_fc": torch.nn.Linear(width, 4 * width, bias=bias),
                "c_proj": torch.nn.Linear(4 * width, width, bias=bias),
            }
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, time, width = x.shape
        parts = self.attn["c_attn"](self.ln_1(x)).split(width, dim=2)
        query, key, value = (p.view(batch, time, self.heads, -1).transpose(1, 2) for p in parts)
        weights = query @ key.transpose(-2, -1) * (width // self.heads) ** -0.5
        future = torch.ones(time, time).triu(1).bool()
        mixed = weights.masked_fill(future, -torch.inf).softmax(-1) @ value
        x = x + self.attn["c_proj"](mixed.transpose(1, 2).reshape(batch, time, width))
        hidden = torch.nn.functional.gelu(self.mlp["c_fc"](self.ln_2(x)))
        return x + self.mlp["c_proj"](hidden)


@torch.inference_mode()
def nanogpt_logits(path: Path) -> torch.Tensor:
    content = torch.load(path, weights_only=True)
    state = {
        name.removeprefix("_orig_mod.").removeprefix("transformer."): tensor
        for name, tensor in content["model"].items()
    }
    sizes = content["model_args"]
    x = state["wte.weight"][IDS] + state["wpe.weight"][: IDS.shape[1]]
    for layer in range(sizes["n_layer"]):
        block = Block(sizes["n_embd"], sizes["n_head"], sizes["bias"])
        stem = f"h.{layer}."
        block.load_state_dict(
            {k.removeprefix(stem): v for k, v in state.items() if k.startswith(stem)}
        )
        x = block(x)
    x = torch.nn.functional.layer_norm(
        x, x.shape[-1:], state["ln_f.weight"], state.get("ln_f.bias")
    )
    return x @ state["lm_head.weight"].t()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [0, 384])
def test_nanogpt_against_its_own_arithmetic(
    bias: bool, rows: int, original: Path, tmp_path: Path
) -> None:
    """Padded tokens stay in the softmax, as they are in nanoGPT's loss."""
    path = writers.write_nanogpt(original, tmp_path / "out/ckpt.pt", bias=bias, rows=rows)
    theirs = nanogpt_logits(path)
    ours = logits(path, tokenizer=str(original))
    assert ours.shape == theirs.shape == (2, 48, rows or 360)
    assert (ours - theirs).abs().max() < 1e-5
    model = load_model(open_checkpoint(path, tokenizer=str(original)), "cpu")
    content = torch.load(path, weights_only=True)["model"]
    assert model.parameters == sum(
        tensor.numel() for name, tensor in content.items() if name != "lm_head.weight"
    )


def test_the_optimiser_is_not_read(original: Path, tmp_path: Path) -> None:
    """Names come from the directory; what train.py keeps beside the model does not matter."""
    path = writers.write_nanogpt(original, tmp_path / "out-owt/ckpt.pt")
    checkpoint = open_checkpoint(path, tokenizer=str(original))
    assert checkpoint.name == "out-owt"
    assert checkpoint.config["activation_function"] == "gelu"
    assert any("GELU" in sentence for sentence in checkpoint.assumed)


def alter(path: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)
    return path


def test_nanogpt_reads_what_torch_reads(original: Path, tmp_path: Path) -> None:
    """Places in the file, against torch.load: every dtype, a part of a storage, old masks."""
    path = writers.write_nanogpt(original, tmp_path / "ckpt.pt")
    content = torch.load(path, weights_only=True)
    model = content["model"]
    kinds = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
    for number, name in enumerate(
        n for n in model if not n.endswith(("wte.weight", "lm_head.weight"))
    ):
        model[name] = model[name].to(kinds[number % 4])
    part = "transformer.h.1.mlp.c_fc.bias"
    model[part] = torch.cat([torch.zeros(7, dtype=model[part].dtype), model[part]])[7:]
    model["transformer.h.0.attn.bias"] = torch.ones(1, 1, 48, 48).tril()
    torch.save(content, path)
    found = dict(read_weights(open_checkpoint(path, tokenizer=str(original))))
    expected = {
        name.removeprefix("transformer."): tensor.t() if writers.is_matrix(name) else tensor
        for name, tensor in model.items()
        if name not in ("lm_head.weight", "transformer.h.0.attn.bias")  # tied, and a mask
    }
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor), name


BAD_NANOGPT: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "a fork": (
        lambda c: c["model_args"].update(use_relu=True),
        r"have besides use_relu; expected .* A fork",
    ),
    "no sizes": (lambda c: c["model_args"].pop("n_head"), r"model_args lack n_head"),
    "other tensors": (
        lambda c: c["model"].update({"transformer.h.0.ln_1.gain": torch.ones(128)}),
        r"tensors that nanoGPT's model has not: h\.0\.ln_1\.gain",
    ),
    "no model": (lambda c: c.pop("model"), r"holds best_val_loss, .*expected the ckpt\.pt of nano"),
    "other sizes": (
        lambda c: c["model_args"].update(n_embd=64),
        r"'wte\.weight' has shape \(360, 128\); model_args promises \(360, 64\)",
    ),
    "ten thousand layers": (
        lambda c: c["model_args"].update(n_layer=10_000, bias=False),
        r"lack 'h\.2\.ln_1\.weight', which model_args promises",
    ),
    "a million layers": (
        lambda c: c["model_args"].update(n_layer=10**6),
        r"n_layer = 1000000; expected at most 10000",
    ),
    "negative": (lambda c: c["model_args"].update(n_embd=-1), r"n_embd = -1; expected a positive"),
    "a list": (lambda c: c.update(model=[1]), r"model and model_args are no dictionaries"),
    "not in rows": (
        lambda c: c["model"].update({"transformer.wpe.weight": torch.ones(128, 48).t()}),
        r"'wpe\.weight' is not stored in one piece.*make its tensors \.contiguous\(\)",
    ),
    "whole numbers": (
        lambda c: c["model"].update({"transformer.ln_f.bias": torch.ones(128).long()}),
        r"'ln_f\.bias' of the model is no tensor of floating point",
    ),
}


@pytest.mark.parametrize("name", BAD_NANOGPT)
def test_bad_nanogpt(name: str, original: Path, tmp_path: Path) -> None:
    change, message = BAD_NANOGPT[name]
    path = alter(writers.write_nanogpt(original, tmp_path / "ckpt.pt"), change)
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(path, tokenizer=str(original))


# ---- llm.c --------------------------------------------------------------------------------------


def test_llmc_in_bfloat16(original: Path, tmp_path: Path) -> None:
    """As the original rounded to bfloat16; padded rows are no tokens."""
    path = writers.write_llmc(original, tmp_path / "a_bf16.bin", version=5)
    rounded = GPT2LMHeadModel.from_pretrained(original).bfloat16().float().eval()
    ours = logits(path, tokenizer=str(original))
    assert ours.shape[-1] == 360
    assert (ours - expected(rounded)).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (0, 20240327, "is a training state of llm.c"),
        (0, 20240328, "is a tokenizer of llm.c"),
        (1, 1, r"version 1 .*expected 3 \(float32\) or 5 .*train_gpt2\.py"),
        (1, 2, r"version 2 of llm\.c's format \(float32 without a padded"),
        (1, 4, r"version 4 of llm\.c's format \(bfloat16 with layer norms in float32\)"),
        (1, 99, r"version 99 of llm\.c's format \(unknown\)"),
        (7, 0, r"version 3 .*did not pad the vocabulary yet"),
        (7, 10, "360 tokens are padded to 10"),
        (7, 2**31 - 1, "360 tokens are padded to 2147483647"),
        (4, 10**6, "n_layer = 1000000; expected at most 10000"),
        (4, 10_000, r"its header announces \d+\. The file is truncated"),
        (3, -1, "vocab_size = -1; expected a positive integer"),
        (6, 130, r"bytes; its header announces"),
        (5, 3, "n_embd = 128, which n_head = 3 does not divide"),
    ],
)
def test_bad_llmc(place: int, value: int, message: str, original: Path, tmp_path: Path) -> None:
    path = writers.write_llmc(original, tmp_path / "model.bin")
    content = bytearray(path.read_bytes())
    content[4 * place : 4 * place + 4] = value.to_bytes(4, "little", signed=True)
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(path, tokenizer=str(original))


@pytest.mark.parametrize("size", [4, 1023, 1024, 5000])
def test_truncated_llmc(size: int, original: Path, tmp_path: Path) -> None:
    path = writers.write_llmc(original, tmp_path / "model.bin")
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(CheckpointError, match="The file is truncated"):
        open_checkpoint(path, tokenizer=str(original))


# ---- TensorFlow ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 9, 511, 512, 513, 4096, 70_001])
def test_crc32c(size: int) -> None:
    """Against the table, byte by byte; and the vectors of RFC 3720."""
    content = np.random.default_rng(size).integers(0, 256, size, dtype=np.uint8)
    assert crc32c(content) == writers.crc32c(content.tobytes())
    assert masked_crc32c(content) == writers.masked(content.tobytes())
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(b"123456789") == 0xE3069283


# What `tf.compat.v1.train.Saver` of TensorFlow 2.21 wrote of the tensors of `bundled`, with one
# device and with three and sharded=True, under this digest of the data files and the index.
TENSORFLOW = {
    ("float32", 1): "968293e4c41f9bfcf98d137dbba7fe010bc02da50c764ed589ee93cc96f019ba",
    ("float32", 3): "84536a24cd3d5d8fcfa22cc0694d9bec01a7358560ab9c8b047fb89cefc1baf9",
    ("float16", 1): "66924503605421685b68bb24cebbc5836892335df59dfbe51c26cbbfa81e5982",
    ("float16", 3): "b336c5226fa2d6d52b857313e3fc279b990f99b3fad351b9a7b10c05230d471c",
    ("bfloat16", 1): "a36b2565a43043ccb2a030bc7cbfc29fd7e03fc1169f0214ad15e61d9c457962",
    ("bfloat16", 3): "0f5fcb6cfc41054aa66a8011f90ee909ffd38ff44d12d62c56ba102913a9c6be",
    ("float64", 1): "a7d4b97e3ec658211ea5e8acca9c7f4840083504e7dbfa8be07ab2f113d31f4b",
    ("float64", 3): "67e6b962c870c1c6b20942b4c716a6fd55d7dfa53e9b8474d41c41ffa7bfff48",
}


@pytest.mark.parametrize(("dtype", "shards"), TENSORFLOW)
def test_our_writer_writes_what_tensorflow_writes(dtype: str, shards: int) -> None:
    """Byte for byte, so that what is read here was written as if by TensorFlow."""
    shapes: dict[str, tuple[int, ...]] = {"model/wte": (6, 4), "model/wpe": (3, 4)}
    shapes |= {"model/ln_f/g": (4,), "model/ln_f/b": (4,)}
    for layer in range(2):
        stem = f"model/h{layer}/attn/c_attn"
        shapes |= {f"{stem}/w": (1, 4, 12), f"{stem}/b": (12,)}
    tensors = {
        name: (torch.arange(prod(shapes[name])) + place)
        .view(shapes[name])
        .to(getattr(torch, dtype))
        for place, name in enumerate(sorted(shapes))
    }
    entries, data = writers.bundle_of(tensors, shards)
    index = writers.table(entries, block_size=262_144, restart=16)
    assert hashlib.sha256(b"".join([*data, index])).hexdigest() == TENSORFLOW[dtype, shards]


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_tensorflow_in_other_types(kind: torch.dtype, original: Path, tmp_path: Path) -> None:
    path = writers.write_openai(original, tmp_path / "run1", kind=kind)
    rounded = GPT2LMHeadModel.from_pretrained(original).to(kind).float().eval()
    assert (logits(path) - expected(rounded)).abs().max() < 1e-5


def test_a_partitioned_tensor_of_tensorflow(original: Path, tmp_path: Path) -> None:
    """The key of a slice is no text; this one was written by TensorFlow."""
    path = writers.write_openai(original, tmp_path / "124M")
    slice_of_wte = b"\0model/wte\0\1\1\2\x80\xc0\xb4\x80\xc0\x80"
    shape = entry((360, 128), 0, 0)

    def partition(entries: dict[bytes, bytes]) -> None:
        entries[slice_of_wte] = entries[b"model/wte"]
        entries[b"model/wte"] = shape + writers.proto((7, b""))

    rewrite(path, partition, original)
    with pytest.raises(
        CheckpointError, match=r"'model/wte' is partitioned; expected whole tensors"
    ):
        open_checkpoint(path)
    # Of an optimiser's tensors it does not matter.
    rewrite(path, lambda e: e.update({b"model/wte/Adam": writers.proto((7, b""))}), original)
    assert open_checkpoint(path).kind == "tensorflow"


def test_tensorflow_in_several_files(original: Path, original_model: Any, tmp_path: Path) -> None:
    path = writers.write_openai(original, tmp_path / "run1", shards=3)
    assert (logits(path) - expected(original_model)).abs().max() < 1e-5


def test_tensorflow_of_a_fine_tuning(original: Path, tmp_path: Path) -> None:
    """model-1000.index and model-2000.index, of which `checkpoint` names the last."""
    path = writers.write_openai(original, tmp_path / "run1")
    for step in (1000, 2000):
        for file in ("index", "data-00000-of-00001"):
            shutil.copyfile(path / f"model.ckpt.{file}", path / f"model-{step}.{file}")
    for file in path.glob("model.ckpt*"):
        file.unlink()
    (path / "checkpoint").write_text('model_checkpoint_path: "model-1000"\n')
    assert open_checkpoint(path).path.name == "model-1000.index"
    assert open_checkpoint(path / "model-2000").name == "model-2000"
    (path / "checkpoint").unlink()
    with pytest.raises(
        CheckpointError, match=r"several TensorFlow checkpoints .*model-2000\.index"
    ):
        open_checkpoint(path)


def test_tensorflow_without_sizes(original: Path, tmp_path: Path) -> None:
    path = writers.write_openai(original, tmp_path / "run1")
    (path / "hparams.json").unlink()
    checkpoint = open_checkpoint(path)
    assert checkpoint.size("n_head") == 2
    assert checkpoint.assumed


def rewrite(path: Path, change: Callable[[dict[bytes, bytes]], Any], original: Path) -> None:
    entries, _, _ = writers.openai_entries(original)
    change(entries)
    (path / "model.ckpt.index").write_bytes(writers.table(entries))


def entry(shape: tuple[int, ...], begin: int, size: int, kind: int = 1, shard: int = 0) -> bytes:
    sizes = writers.proto(*[(2, writers.proto((1, one))) for one in shape])
    return writers.proto((1, kind), (2, sizes), (3, shard), (4, begin), (5, size), (6, 0))


WPE = b"model/wpe"
BAD_ENTRIES: dict[str, tuple[Callable[[dict[bytes, bytes]], Any], str]] = {
    "beyond the end": (lambda e: e.update({WPE: entry((64, 128), 10**9, 32768)}), "do not fit"),
    "huge": (lambda e: e.update({WPE: entry((2**40, 2**20), 0, 2**62)}), "do not fit or are not"),
    "other length": (lambda e: e.update({WPE: entry((64, 128), 0, 100)}), "do not fit or are not"),
    "other file": (lambda e: e.update({WPE: entry((64, 128), 0, 32768, shard=7)}), "of file 7"),
    "strings": (lambda e: e.update({WPE: entry((64, 128), 0, 32768, kind=7)}), "no floating point"),
    "gone": (lambda e: e.pop(WPE), r"lack 'wpe\.weight'"),
    "other shape": (lambda e: e.update({WPE: entry((32, 256), 0, 32768)}), r"shape \(32, 256\)"),
    "many dimensions": (lambda e: e.update({WPE: entry((1,) * 99, 0, 4)}), "more than 8 dimensio"),
    "negative": (lambda e: e.update({WPE: entry((64, 128), 2**64 - 8, 8)}), "number is negative"),
    "big-endian": (lambda e: e.update({b"": writers.proto((1, 1), (2, 1))}), "big-endian"),
    "no files": (lambda e: e.update({b"": b""}), "said to have 0 files"),
    "a million files": (lambda e: e.update({b"": writers.proto((1, 10**6))}), "1000000 files"),
    "two files": (
        lambda e: e.update({b"": writers.proto((1, 2))}),
        r"no model.ckpt.data-00000-of-",
    ),
}


@pytest.mark.parametrize("name", BAD_ENTRIES)
def test_bad_entries_of_a_bundle(name: str, original: Path, tmp_path: Path) -> None:
    path = writers.write_openai(original, tmp_path / "124M")
    change, message = BAD_ENTRIES[name]
    rewrite(path, change, original)
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(path)


def test_wrong_checksums(original: Path, tmp_path: Path) -> None:
    """A flipped bit is found, in the index when it is opened, in the numbers when they are read."""
    path = writers.write_openai(original, tmp_path / "124M")
    data = path / "model.ckpt.data-00000-of-00001"
    content = bytearray(data.read_bytes())
    content[12345] ^= 4
    data.write_bytes(content)
    checkpoint = open_checkpoint(path)
    with pytest.raises(CheckpointError, match=r"checksum of bytes \d+ to \d+ is wrong"):
        load_model(checkpoint, "cpu")
    index = path / "model.ckpt.index"
    content = bytearray(index.read_bytes())
    content[20] ^= 4
    index.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"checksum of the block at 0 is wrong"):
        open_checkpoint(path)


# ---- GGUF ---------------------------------------------------------------------------------------


def write_with_gguf(original: Path, path: Path, kind: str) -> dict[str, np.ndarray[Any, Any]]:
    """By the package of llama.cpp itself; the numbers that it says it wrote, by our names."""
    gguf = pytest.importorskip("gguf")
    config, weights = writers.read(original)
    writer = gguf.GGUFWriter(path, "gpt2")
    writer.add_block_count(config["n_layer"])
    writer.add_context_length(config["n_positions"])
    writer.add_embedding_length(config["n_embd"])
    writer.add_feed_forward_length(4 * config["n_embd"])
    writer.add_head_count(config["n_head"])
    writer.add_layer_norm_eps(config["layer_norm_epsilon"])
    values = writers.gguf_values(original)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(values["tokenizer.ggml.tokens"])
    writer.add_token_types(values["tokenizer.ggml.token_type"])
    writer.add_token_merges(values["tokenizer.ggml.merges"])
    writer.add_eos_token_id(config["eos_token_id"])
    said = {}
    quantised = gguf.GGMLQuantizationType[kind]
    for name, tensor in weights.items():
        array = (tensor.t() if writers.is_matrix(name) else tensor).contiguous().numpy()
        if array.ndim == 1 or name == "wpe.weight" or kind == "F32":
            writer.add_tensor(writers.gguf_name(name), array)
        else:
            packed = gguf.quantize(array, quantised)
            writer.add_tensor(writers.gguf_name(name), packed, raw_dtype=quantised)
            array = np.asarray(gguf.dequantize(packed, quantised))
        said[name] = array.T if writers.is_matrix(name) else array
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return said


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"])
def test_gguf_of_the_package_itself(kind: str, original: Path, tmp_path: Path) -> None:
    said = write_with_gguf(original, tmp_path / "a.gguf", kind)
    model = GPT2LMHeadModel.from_pretrained(original).eval()
    state = model.state_dict()
    for name, array in said.items():
        state[f"transformer.{name}"].copy_(torch.from_numpy(array.copy()))
    assert (logits(tmp_path / "a.gguf") - expected(model)).abs().max() < 1e-5


# Of every type that the package reads: a block of sin(n * n), n = 0, 1, ..., that llama.cpp's
# `ggml_quantize_chunk` wrote (September 2026, every number equally important), and how far it is
# off, as a share of the numbers' root mean square.
BLOCKS = json.loads((Path(__file__).parent / "llama_cpp_blocks.json").read_text("utf-8"))


@pytest.mark.parametrize("kind", BLOCKS)
def test_blocks_that_llama_cpp_packed(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("gguf")
    numbers, size = gguf_format.BLOCKS[kind]
    content = base64.b64decode(BLOCKS[kind]["block"])
    (tmp_path / "a.gguf").write_bytes(b"before" + 2 * content)
    stored = Stored(tmp_path / "a.gguf", 6, kind, (2, numbers), size=2 * size)
    original = np.sin(np.arange(numbers) ** 2)
    for row in read_stored(stored).numpy():
        off = np.sqrt(np.mean((row - original) ** 2) / np.mean(original**2))
        assert off < BLOCKS[kind]["error"]


@pytest.mark.parametrize("kind", [name for name in gguf_format.BLOCKS if name not in BLOCKS])
def test_a_type_that_the_package_does_not_read(kind: str, tmp_path: Path) -> None:
    numbers, size = gguf_format.BLOCKS[kind]
    (tmp_path / "a.gguf").write_bytes(bytes(size))
    with pytest.raises(CheckpointError, match=rf"quantised as {kind}, which the installed gguf"):
        read_stored(Stored(tmp_path / "a.gguf", 0, kind, (1, numbers), size=size))


def test_types_are_those_of_the_package() -> None:
    gguf = pytest.importorskip("gguf")
    known = {
        int(kind): (kind.name, *sizes) for kind, sizes in gguf.constants.GGML_QUANT_SIZES.items()
    }
    ours = gguf_format.QUANTISED
    assert {kind: ours[kind] for kind in ours if kind in known}.items() <= known.items()
    assert {kind for kind in known if kind < 39 and known[kind][1] > 1} - ours.keys() == {9, 15}


def test_gguf_without_the_package(
    original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_with_gguf(original, tmp_path / "a.gguf", "Q8_0")
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(
        CheckpointError, match=r"quantised \(Q8_0\).*pip install 'gpt2eval\[gguf\]'"
    ):
        load_model(open_checkpoint(tmp_path / "a.gguf"), "cpu")


BAD_GGUF: dict[str, tuple[dict[str, Any], str]] = {
    "llama": ({"general__architecture": "llama"}, r"architecture 'llama'; gpt2eval scores 'gpt2'"),
    "none": ({"general__architecture": None}, r"architecture None"),
    "no heads": (
        {"gpt2__attention__head_count": None},
        r"does not say gpt2\.attention\.head_count",
    ),
    "text for a size": ({"gpt2__block_count": "x"}, r"n_layer = 'x'; expected a positive integer"),
    "a million layers": ({"gpt2__block_count": 10**6}, r"n_layer = 1000000; expected at most"),
    "epsilon": ({"gpt2__attention__layer_norm_epsilon": 7.5}, r"epsilon = 7\.5; expected about"),
    "alignment": ({"general__alignment": "x"}, r"general\.alignment is 'x'"),
    "other tokens": ({"tokenizer__ggml__model": "llama"}, r"no tokenizer of GPT-2's.*--tokenizer"),
    "other words": ({"tokenizer__ggml__pre": "qwen2"}, r"pre 'qwen2'.*--tokenizer DIR"),
    "no merges": ({"tokenizer__ggml__merges": None}, r"0 merges\); name one: --tokenizer"),
    "kinds": ({"tokenizer__ggml__token_type": [1]}, r"360 tokens and 1 kinds of them"),
    "twice": ({"tokenizer__ggml__tokens": ["a"] * 360}, r"with a token twice"),
}


@pytest.mark.parametrize("name", BAD_GGUF)
def test_bad_gguf(name: str, original: Path, tmp_path: Path) -> None:
    changes, message = BAD_GGUF[name]
    path = writers.write_gguf(original, tmp_path / "a.gguf", **changes)
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(path)


def test_gguf_with_another_tokenizer(original: Path, original_model: Any, tmp_path: Path) -> None:
    path = writers.write_gguf(original, tmp_path / "a.gguf", tokenizer__ggml__model="none")
    ours = logits(path, tokenizer=str(original))
    assert (ours - expected(original_model)).abs().max() < 1e-5


# ---- what is asked of the user ------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["safetensors", "nanogpt", "llm.c", "tensorflow"])
def test_a_checkpoint_without_a_tokenizer(kind: str, original: Path, tmp_path: Path) -> None:
    path = WRITERS[kind](original, tmp_path / "there")
    for name in ("tokenizer.json", "vocab.json", "merges.txt", "encoder.json"):
        (tmp_path / "there" / name).unlink(missing_ok=True)
    with pytest.raises(CheckpointError, match=r"brings no tokenizer.*--tokenizer DIR or a hub id"):
        open_checkpoint(path)
    first = open_checkpoint(path, tokenizer=str(original))
    assert first.tokenizer_sha256 == open_checkpoint(original).tokenizer_sha256
    with pytest.raises(CheckpointError, match=r"--tokenizer '.*' is no directory with a tokenizer"):
        open_checkpoint(path, tokenizer=str(tmp_path))
    with pytest.raises(CheckpointError, match="does not exist"):
        open_checkpoint(path, tokenizer=str(tmp_path / "nowhere"))


def test_a_tokenizer_of_another_model(original: Path, tiny_checkpoint: Path) -> None:
    checkpoint = open_checkpoint(original, tokenizer=str(tiny_checkpoint))
    with pytest.raises(CheckpointError, match=r"ids up to 383, but the embedding has 360 rows"):
        load_model(checkpoint, "cpu")


def test_several_in_one_directory(original: Path, tmp_path: Path) -> None:
    for name in ("a.gguf", "b.gguf"):
        writers.write_gguf(original, tmp_path / name)
    with pytest.raises(
        CheckpointError, match=r"several checkpoints \(a\.gguf, b\.gguf\); give one"
    ):
        open_checkpoint(tmp_path)
    names = [c.name for c in open_checkpoints([tmp_path / "a.gguf", tmp_path / "b.gguf"])]
    assert names == ["a", "b"]


def test_the_state_beside_a_model_of_llmc(original: Path, tmp_path: Path) -> None:
    """log124M/ holds model_00019560.bin and state_00019560_00000.bin."""
    writers.write_llmc(original, tmp_path / "model_00019560.bin")
    (tmp_path / "state_00019560_00000.bin").write_bytes((20240527).to_bytes(4, "little") * 300)
    (tmp_path / "gpt2_124M_debug_state.bin").write_bytes((20240327).to_bytes(4, "little") * 300)
    opened = open_checkpoint(tmp_path, tokenizer=str(original))
    assert opened.path.name == "model_00019560.bin"


def test_each_format_says_what_it_accepts() -> None:
    assert len({form.ACCEPTS for form in formats.FORMATS}) == len(formats.FORMATS) == 7
    page = (Path(__file__).parents[2] / "docs/checkpoints.md").read_text("utf-8")
    for kind in (*WRITERS, "adapter", "pytorch"):
        assert f"`{kind}`" in page, f"docs/checkpoints.md does not name {kind}"


@pytest.mark.parametrize("kind", [*WRITERS, "adapter"])
def test_command_line(kind: str, original: Path, tmp_path: Path) -> None:
    """The same scores as the original, to 1e-5 of their size."""
    if kind == "adapter":
        path = writers.write_adapter(original, tmp_path / "there")
        theirs = merged_by_hand(original, path, tmp_path / "merged")
    else:
        path = WRITERS[kind](original, tmp_path / "there")
        theirs = original
        if kind == "nanogpt":
            theirs = Path(shutil.copytree(original, tmp_path / "exact"))
            config = json.loads((theirs / "config.json").read_text("utf-8"))
            config["activation_function"] = "gelu"
            (theirs / "config.json").write_text(json.dumps(config), "utf-8")
    command = [sys.executable, "-m", "gpt2eval", "run", "--quiet", "--tasks", "lambada,wikitext2"]
    command += ["--data", "bundled", "--limit", "3", "--device", "cpu"]
    command += ["--output", str(tmp_path / "results"), "--report", str(tmp_path / "report")]
    done = subprocess.run(
        [*command, "--model", str(path), "--model", str(theirs)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, float]] = {}
    for file in (tmp_path / "results").glob("*/*/*/result.json"):
        result = json.loads(file.read_text("utf-8"))
        values = {name: one["value"] for name, one in result["metrics"].items()}
        found.setdefault(result["checkpoint"]["kind"], {}).update(
            {f"{result['task']['name']}/{name}": value for name, value in values.items()}
        )
        if result["checkpoint"]["kind"] == "adapter":
            assert result["checkpoint"]["base"]["path"] == str(original)
    if kind == "safetensors":  # both are
        return
    assert len(found["safetensors"]) > 3
    assert found[kind] == pytest.approx(found["safetensors"], rel=1e-5)


def merged_by_hand(base: Path, adapter: Path, target: Path) -> Path:
    """A + B of every c_attn added to the base, alpha 4 over rank 2."""
    shutil.copytree(base, target)
    weights = load_file(base / "model.safetensors")
    parts = load_file(adapter / "adapter_model.safetensors")
    for name, a in parts.items():
        if name.endswith("lora_A.weight"):
            stem = name.removesuffix(".lora_A.weight")
            key = stem.removeprefix("base_model.model.") + ".weight"
            weights[key] += 2 * (parts[f"{stem}.lora_B.weight"] @ a).t()
    save_file(weights, target / "model.safetensors", metadata={"format": "pt"})
    return target
