"""Small random GPT-2 checkpoints, written to disk as Hugging Face does."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import GPT2Config, GPT2LMHeadModel

END_OF_TEXT = "<|endoftext|>"

PASSAGE = """The lighthouse keeper counted the ships in the evening and wrote the number in a book.
"Three," he said, "and not one of them has a flag." His daughter didn't answer; she was reading.
 = Harbour = \n \n The harbour , built in 1893 , is 4 @.@ 5 metres deep , and well @-@ known . \n
Le gardien du phare compte les navires le soir : il n'y en a que trois, l'été dernier déjà.
Ask me again tomorrow, 24 hours from now, and I'll tell you what’s left of it (if anything).
"""


def train_tokenizer(texts: Iterable[str], vocab: int) -> Tokenizer:
    """A byte-level BPE tokenizer of at most `vocab` entries, `<|endoftext|>` last as in GPT-2."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab - 1,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([END_OF_TEXT])
    return tokenizer


def write_tokenizer(directory: Path, tokenizer: Tokenizer, n_positions: int) -> None:
    """The tokenizer files of a GPT-2 repository: vocab.json, merges.txt and tokenizer.json."""
    content = json.loads(tokenizer.to_str())
    vocab = {**content["model"]["vocab"], END_OF_TEXT: tokenizer.token_to_id(END_OF_TEXT)}
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in merges_of(content)]
    (directory / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False), "utf-8")
    (directory / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), "utf-8")
    (directory / "tokenizer.json").write_text(tokenizer.to_str(), "utf-8")
    write_tokenizer_config(directory, n_positions)


def merges_of(content: dict[str, Any]) -> list[Any]:
    """The merges of a serialised tokenizer, pairs or strings by version of tokenizers."""
    return list(content["model"]["merges"])


def write_tokenizer_config(directory: Path, n_positions: int) -> None:
    """tokenizer_config.json with GPT-2's only special token in its three roles."""
    config = {
        "tokenizer_class": "GPT2Tokenizer",
        "model_max_length": n_positions,
        "add_prefix_space": False,
        "bos_token": END_OF_TEXT,
        "eos_token": END_OF_TEXT,
        "unk_token": END_OF_TEXT,
    }
    (directory / "tokenizer_config.json").write_text(json.dumps(config, indent=2), "utf-8")


def learn_by_heart(model: GPT2LMHeadModel, tokens: torch.Tensor, steps: int, lr: float) -> None:
    """Train on random crops of one token stream, so that the model's output has words in it."""
    length = min(64, model.config.n_positions)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, steps)
    model.train()
    for _ in range(steps):
        starts = torch.randint(0, len(tokens) - length, (16, 1))
        crops = tokens[starts + torch.arange(length)]
        first = torch.randint(0, model.config.n_positions - length + 1, (1,))
        positions = first + torch.arange(length)
        model(crops, labels=crops, position_ids=positions[None]).loss.backward()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    model.eval()


def write_weights(
    directory: Path,
    config: GPT2Config,
    *,
    seed: int,
    tokens: torch.Tensor | None = None,
    steps: int = 0,
    form: Literal["safetensors", "bin"] = "safetensors",
    shards: int = 1,
    prefix: bool = True,
) -> None:
    """Random weights under the names GPT-2 repositories use.

    prefix=False is the form of OpenAI's own upload: no "transformer." and, as a left-over of old
    versions, the causal mask of every layer among the weights. With steps, trained on tokens.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = GPT2LMHeadModel(config)
        for name, parameter in model.named_parameters():
            if name.endswith(".bias"):  # zero by default, which would hide a forgotten bias
                torch.nn.init.normal_(parameter, std=config.initializer_range)
        if tokens is not None and steps:
            learn_by_heart(model, tokens, steps, lr=3e-3)
    weights = {
        name: tensor.detach().clone()
        for name, tensor in model.state_dict().items()
        if name != "lm_head.weight"
    }
    if not prefix:
        weights = {name.removeprefix("transformer."): tensor for name, tensor in weights.items()}
        mask = torch.tril(torch.ones(config.n_positions, config.n_positions))
        for layer in range(config.n_layer):
            weights[f"h.{layer}.attn.bias"] = mask[None, None].clone()
    stem, ending = ("model", "safetensors") if form == "safetensors" else ("pytorch_model", "bin")

    def save(part: dict[str, torch.Tensor], path: Path) -> None:
        if form == "safetensors":
            save_file(part, path, metadata={"format": "pt"})
        else:
            torch.save(part, path)

    if shards == 1:
        save(weights, directory / f"{stem}.{ending}")
        return
    where = {
        name: f"{stem}-{1 + place % shards:05}-of-{shards:05}.{ending}"
        for place, name in enumerate(weights)
    }
    for file in sorted(set(where.values())):
        save({name: weights[name] for name in weights if where[name] == file}, directory / file)
    size = sum(tensor.numel() * tensor.element_size() for tensor in weights.values())
    index = {"metadata": {"total_size": size}, "weight_map": where}
    (directory / f"{stem}.{ending}.index.json").write_text(json.dumps(index, indent=2), "utf-8")


def make_checkpoint(
    directory: Path,
    *,
    vocab: int = 384,
    n_positions: int = 64,
    n_embd: int = 32,
    n_layer: int = 2,
    n_head: int = 2,
    seed: int = 0,
    scale: float = 0.2,
    texts: Iterable[str] = (PASSAGE,),
    form: Literal["safetensors", "bin"] = "safetensors",
    shards: int = 1,
    prefix: bool = True,
    steps: int = 0,
) -> Path:
    """A random GPT-2 with a tokenizer trained on `texts`; vocab is an upper bound.

    With steps, the model is trained on the texts for as many steps (300 take three seconds).

    scale is the spread of the initial weights: at 0.2 instead of GPT-2's 0.02 the logits are far
    enough apart that no greedy decision hangs on the last bits of a float.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    texts = list(texts)
    tokenizer = train_tokenizer(texts, vocab)
    write_tokenizer(directory, tokenizer, n_positions)
    config = gpt2_config(
        tokenizer.get_vocab_size(),
        n_positions=n_positions,
        n_embd=n_embd,
        n_layer=n_layer,
        n_head=n_head,
        scale=scale,
    )
    config.save_pretrained(directory)
    tokens = torch.tensor(tokenizer.encode("\n".join(texts)).ids)
    write_weights(
        directory,
        config,
        seed=seed,
        tokens=tokens,
        steps=steps,
        form=form,
        shards=shards,
        prefix=prefix,
    )
    return directory


def gpt2_tokenizer_checkpoint(
    directory: Path, shared: Path, *, n_embd: int = 16, n_layer: int = 1, seed: int = 0
) -> Path:
    """A tiny random GPT-2 that has GPT-2's own vocabulary and context length.

    shared: directory with gpt2_tokenizer/encoder.json and vocab.bpe, OpenAI's names of the files.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    source = Path(shared) / "gpt2_tokenizer"
    shutil.copyfile(source / "encoder.json", directory / "vocab.json")
    shutil.copyfile(source / "vocab.bpe", directory / "merges.txt")
    write_tokenizer_config(directory, 1024)
    config = gpt2_config(
        50257, n_positions=1024, n_embd=n_embd, n_layer=n_layer, n_head=2, scale=0.2
    )
    config.save_pretrained(directory)
    write_weights(directory, config, seed=seed)
    return directory


def gpt2_config(
    vocab: int, *, n_positions: int, n_embd: int, n_layer: int, n_head: int, scale: float
) -> GPT2Config:
    """The config.json of such a model; the last token is `<|endoftext|>`."""
    return GPT2Config(
        architectures=["GPT2LMHeadModel"],
        vocab_size=vocab,
        n_positions=n_positions,
        n_embd=n_embd,
        n_layer=n_layer,
        n_head=n_head,
        initializer_range=scale,
        bos_token_id=vocab - 1,
        eos_token_id=vocab - 1,
    )
