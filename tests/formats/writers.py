"""A GPT-2 of Hugging Face, written in the formats of other tools, by their published layouts.

nanoGPT: train.py and model.py; llm.c: `write_model` of train_gpt2.py; TensorFlow:
tensor_bundle.proto and LevelDB's table format; GGUF: docs/gguf.md of ggml, names of llama.cpp's
conversion.
"""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from tests.checkpoints import merges_of

Weights = dict[str, torch.Tensor]


def read(original: Path) -> tuple[dict[str, Any], Weights]:
    """config.json and the tensors, without `transformer.`."""
    config = json.loads((original / "config.json").read_text("utf-8"))
    weights = load_file(original / "model.safetensors")
    return config, {name.removeprefix("transformer."): one for name, one in weights.items()}


def copy_tokenizer(original: Path, target: Path, *names: str) -> None:
    for name in names or ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(original / name, target / name)


def is_matrix(name: str) -> bool:
    return name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight"))


# ---- nanoGPT ------------------------------------------------------------------------------------


def write_nanogpt(
    original: Path, path: Path, *, compiled: bool = False, bias: bool = True, rows: int = 0
) -> Path:
    """ckpt.pt with an optimiser that has taken a step. rows: of a padded vocabulary."""
    config, weights = read(original)
    if rows:
        more = 0.08 * torch.randn(rows - config["vocab_size"], config["n_embd"])
        weights["wte.weight"] = torch.cat([weights["wte.weight"], more])
    model: Weights = {}
    for name, tensor in weights.items():
        if bias or not name.endswith(".bias"):
            key = f"{'_orig_mod.' if compiled else ''}transformer.{name}"
            model[key] = tensor.t().contiguous() if is_matrix(name) else tensor
    head = f"{'_orig_mod.' if compiled else ''}lm_head.weight"
    model[head] = model[head.replace("lm_head", "transformer.wte")]  # tied: one storage
    parameters = [torch.nn.Parameter(tensor.clone()) for tensor in model.values()]
    optimizer = torch.optim.AdamW(parameters, lr=6e-4, betas=(0.9, 0.95))
    sum(parameter.sum() for parameter in parameters).backward()  # type: ignore[union-attr]
    optimizer.step()
    arguments = {
        "n_layer": config["n_layer"],
        "n_head": config["n_head"],
        "n_embd": config["n_embd"],
        "block_size": config["n_positions"],
        "bias": bias,
        "vocab_size": rows or config["vocab_size"],
        "dropout": 0.0,
    }
    content = {
        "model": model,
        "optimizer": optimizer.state_dict(),
        "model_args": arguments,
        "iter_num": 2000,
        "best_val_loss": torch.tensor(3.25),
        "config": {"out_dir": "out", "eval_only": False, "learning_rate": 6e-4, "backend": "nccl"},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)
    return path


# ---- llm.c --------------------------------------------------------------------------------------

LLMC_ORDER = (
    *("ln_1.weight", "ln_1.bias", "attn.c_attn.weight", "attn.c_attn.bias"),
    *("attn.c_proj.weight", "attn.c_proj.bias", "ln_2.weight", "ln_2.bias"),
    *("mlp.c_fc.weight", "mlp.c_fc.bias", "mlp.c_proj.weight", "mlp.c_proj.bias"),
)


def write_llmc(original: Path, path: Path, version: int = 3) -> Path:
    """A model of llm.c; the vocabulary is padded to a multiple of 128 rows of zeros."""
    config, weights = read(original)
    vocab, width = weights["wte.weight"].shape
    padded = (vocab + 127) // 128 * 128
    kind = {3: torch.float32, 5: torch.bfloat16}[version]
    header = [20240326, version, config["n_positions"], vocab, config["n_layer"]]
    header += [config["n_head"], width, padded]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(struct.pack("<256i", *header, *[0] * (256 - len(header))))

        def write(tensor: torch.Tensor) -> None:
            file.write(tensor.to(kind).contiguous().view(torch.uint8).numpy().tobytes())

        write(torch.cat([weights["wte.weight"], torch.zeros(padded - vocab, width)]))
        write(weights["wpe.weight"])
        for name in LLMC_ORDER:
            for layer in range(config["n_layer"]):
                tensor = weights[f"h.{layer}.{name}"]
                write(tensor.t() if is_matrix(name) else tensor)
        write(weights["ln_f.weight"])
        write(weights["ln_f.bias"])
    return path


# ---- TensorFlow ---------------------------------------------------------------------------------


def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


CRC = _crc_table()


def crc32c(content: bytes) -> int:
    """Byte by byte."""
    state = 0xFFFFFFFF
    for byte in content:
        state = CRC[(state ^ byte) & 255] ^ state >> 8
    return state ^ 0xFFFFFFFF


def masked(content: bytes) -> int:
    value = crc32c(content)
    return ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def proto(*fields: tuple[int, int | bytes]) -> bytes:
    """A message of varints and byte strings; field 6 is a fixed32."""
    out = b""
    for number, value in fields:
        if isinstance(value, bytes):
            out += varint(number << 3 | 2) + varint(len(value)) + value
        elif number == 6:
            out += varint(number << 3 | 5) + struct.pack("<I", value)
        else:
            out += varint(number << 3) + varint(value)
    return out


def table(entries: Mapping[bytes, bytes], block_size: int = 512, restart: int = 4) -> bytes:
    """A table of LevelDB: data blocks, an empty block of metadata, an index block, a footer.

    TensorFlow has blocks of 262,144 bytes and a restart every 16 entries.
    """
    out, handles = bytearray(), []

    def block(pairs: list[tuple[bytes, bytes]]) -> bytes:
        body, restarts, last = bytearray(), [] if pairs else [0], b""
        for number, (key, value) in enumerate(pairs):
            shared = 0
            if number % restart == 0:
                restarts.append(len(body))
            else:
                while shared < min(len(key), len(last)) and key[shared] == last[shared]:
                    shared += 1
            body += varint(shared) + varint(len(key) - shared) + varint(len(value))
            body += key[shared:] + value
            last = key
        body += struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts))
        begin = len(out)
        out.extend(body + b"\0" + struct.pack("<I", masked(bytes(body) + b"\0")))
        return varint(begin) + varint(len(body))

    pairs: list[tuple[bytes, bytes]] = []
    for key, value in sorted(entries.items()):
        pairs.append((key, value))
        if sum(len(k) + len(v) for k, v in pairs) > block_size:
            handles.append((key, block(pairs)))
            pairs = []
    if pairs:
        behind = bytes([pairs[-1][0][0] + 1])  # the shortest key behind the last
        handles.append((behind, block(pairs)))
    meta, index = block([]), block(handles)
    footer = (meta + index).ljust(40, b"\0")
    return bytes(out) + footer + struct.pack("<Q", 0xDB4775248B80FB57)


def openai_name(name: str) -> str:
    """model/h0/attn/c_attn/w of h.0.attn.c_attn.weight."""
    stem, _, part = name.rpartition(".")
    if stem in ("wte", "wpe"):
        return f"model/{stem}"
    stem = stem.replace("h.", "h", 1) if stem.startswith("h.") else stem
    letter = "b" if part == "bias" else "g" if "ln_" in stem else "w"
    return f"model/{stem.replace('.', '/')}/{letter}"


TF_KINDS = {torch.float32: 1, torch.float64: 2, torch.bfloat16: 14, torch.float16: 19}


def openai_entries(
    original: Path, shards: int = 1, kind: torch.dtype = torch.float32
) -> tuple[dict[bytes, bytes], list[bytes], dict[str, Any]]:
    """The entries of the index, the data files, and hparams."""
    config, weights = read(original)
    named = {openai_name(name): tensor.to(kind) for name, tensor in weights.items()}
    named["model/h0/attn/c_attn/b/Adam"] = torch.zeros(3)  # what fine-tuning leaves behind
    matrices = {name: tensor[None] for name, tensor in named.items() if name.endswith("/w")}
    hparams = {"n_vocab": config["vocab_size"], "n_ctx": config["n_positions"]}
    hparams |= {key: config[key] for key in ("n_embd", "n_head", "n_layer")}
    return *bundle_of({**named, **matrices}, shards), hparams


def bundle_of(
    tensors: Mapping[str, torch.Tensor], shards: int = 1
) -> tuple[dict[bytes, bytes], list[bytes]]:
    """The entries of an index, and the data files."""
    entries = {b"": proto((1, shards), (3, proto((1, 1))))}
    data = [bytearray() for _ in range(shards)]
    for number, (name, tensor) in enumerate(sorted(tensors.items())):
        content = tensor.contiguous().view(torch.uint8).numpy().tobytes()
        shard = data[number % shards]
        shape = proto(*[(2, proto((1, size))) for size in tensor.shape])
        fields: list[tuple[int, int | bytes]] = [(1, TF_KINDS[tensor.dtype]), (2, shape)]
        fields += [(3, number % shards)] if number % shards else []  # proto3 leaves zeros out
        fields += [(4, len(shard))] if shard else []
        entries[name.encode()] = proto(*fields, (5, len(content)), (6, masked(content)))
        shard += content
    return entries, list(map(bytes, data))


def write_openai(
    original: Path, directory: Path, shards: int = 1, kind: torch.dtype = torch.float32
) -> Path:
    """A directory as OpenAI's download_model.py leaves it."""
    directory.mkdir(parents=True, exist_ok=True)
    entries, data, hparams = openai_entries(original, shards, kind)
    (directory / "model.ckpt.index").write_bytes(table(entries))
    for number, content in enumerate(data):
        (directory / f"model.ckpt.data-{number:05}-of-{shards:05}").write_bytes(content)
    (directory / "model.ckpt.meta").write_bytes(b"a graph")
    (directory / "checkpoint").write_text(
        'model_checkpoint_path: "model.ckpt"\nall_model_checkpoint_paths: "model.ckpt"\n'
    )
    (directory / "hparams.json").write_text(json.dumps(hparams))
    shutil.copyfile(original / "vocab.json", directory / "encoder.json")
    shutil.copyfile(original / "merges.txt", directory / "vocab.bpe")
    return directory


# ---- GGUF ---------------------------------------------------------------------------------------

GGUF_NAMES = {"wte": "token_embd", "wpe": "position_embd", "ln_f": "output_norm"}
GGUF_BLOCK = {
    "ln_1": "attn_norm",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "ln_2": "ffn_norm",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
}


def gguf_name(name: str) -> str:
    stem, _, part = name.rpartition(".")
    if stem in GGUF_NAMES:
        return f"{GGUF_NAMES[stem]}.{part}"
    _, layer, inner = stem.split(".", 2)
    return f"blk.{layer}.{GGUF_BLOCK[inner]}.{part}"


def gguf_values(original: Path) -> dict[str, Any]:
    """The metadata: name -> value; texts, whole numbers, floats, and lists of them."""
    config, _ = read(original)
    tokenizer = json.loads((original / "tokenizer.json").read_text("utf-8"))
    vocab = {**tokenizer["model"]["vocab"], "<|endoftext|>": config["eos_token_id"]}
    tokens = sorted(vocab, key=lambda token: vocab[token])
    pairs = merges_of(tokenizer)
    return {
        "general.architecture": "gpt2",
        "general.tags": ["of no use here", "nor this"],
        "general.some_numbers": [1, 2, 3],
        "gpt2.context_length": config["n_positions"],
        "gpt2.embedding_length": config["n_embd"],
        "gpt2.feed_forward_length": 4 * config["n_embd"],
        "gpt2.block_count": config["n_layer"],
        "gpt2.attention.head_count": config["n_head"],
        "gpt2.attention.layer_norm_epsilon": 1e-5,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [3 if t == "<|endoftext|>" else 1 for t in tokens],
        "tokenizer.ggml.merges": [p if isinstance(p, str) else " ".join(p) for p in pairs],
        "tokenizer.ggml.bos_token_id": config["bos_token_id"],
        "tokenizer.ggml.eos_token_id": config["eos_token_id"],
    }


def _gguf_text(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _gguf_value(value: Any, typed: bool = True) -> bytes:
    if isinstance(value, list):
        kind = {str: 8, int: 4}[type(value[0])]
        body = b"".join(_gguf_value(one, typed=False) for one in value)
        return struct.pack("<IIQ", 9, kind, len(value)) + body
    kind, body = {
        str: lambda: (8, _gguf_text(value)),
        float: lambda: (6, struct.pack("<f", value)),
        int: lambda: (4, struct.pack("<I", value)),
    }[type(value)]()
    return (struct.pack("<I", kind) if typed else b"") + body


def write_gguf(original: Path, path: Path, **changes: Any) -> Path:
    """A float32 file, version 3; changes are of the metadata, None removes."""
    _, weights = read(original)
    values = {**gguf_values(original), **{k.replace("__", "."): v for k, v in changes.items()}}
    values = {key: value for key, value in values.items() if value is not None}
    header = b"GGUF" + struct.pack("<IQQ", 3, len(weights), len(values))
    for key, value in values.items():
        header += _gguf_text(key) + _gguf_value(value)
    data = bytearray()
    for name, tensor in weights.items():
        tensor = tensor.t().contiguous() if is_matrix(name) else tensor
        shape = tuple(reversed(tensor.shape))
        header += _gguf_text(gguf_name(name)) + struct.pack("<I", len(shape))
        header += struct.pack(f"<{len(shape)}QIQ", *shape, 0, len(data))
        data += tensor.numpy().tobytes()
        data += bytes(-len(data) % 32)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(header + bytes(-len(header) % 32) + data)
    return path


# ---- an adapter, without peft -------------------------------------------------------------------


def write_adapter(base: Path, directory: Path, **changes: Any) -> Path:
    """Plain LoRA on every c_attn, of rank 2."""
    from safetensors.torch import save_file

    config, _ = read(base)
    directory.mkdir(parents=True, exist_ok=True)
    width = config["n_embd"]
    tensors = {}
    for layer in range(config["n_layer"]):
        stem = f"base_model.model.transformer.h.{layer}.attn.c_attn"
        tensors[f"{stem}.lora_A.weight"] = 0.08 * torch.randn(2, width)
        tensors[f"{stem}.lora_B.weight"] = 0.08 * torch.randn(3 * width, 2)
    save_file(tensors, directory / "adapter_model.safetensors")
    content = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": str(base),
        "r": 2,
        "lora_alpha": 4,
        "target_modules": ["c_attn"],
        "fan_in_fan_out": True,
        "bias": "none",
        **changes,
    }
    (directory / "adapter_config.json").write_text(json.dumps(content))
    return directory
