"""The recipe of the two bundled demo checkpoints.

``demo-base`` is a GPT-2 of 3.4 million parameters trained from scratch on English prose, with its
own byte-level BPE. ``demo-tuned`` is the same model after fine-tuning on translation and on
summaries. The pair is what a first report compares, so the two have to differ where a benchmark
looks, and both have to be small enough to live in the repository.

The whole recipe takes about an hour of one CPU core that nothing else is using::

    python -m gpt2eval.demo.train --shared DIR --output DIR

``--shared`` holds the training text: ``train/*.txt`` (novels), ``train/wiki_split_*.tsv``,
``train/fra-eng.zip``, ``data/multi30k/train.{en,fr}.gz`` and ``data/wikitext2/wiki.valid.raw``. No
test file of a benchmark is opened.
"""

import argparse
import json
import math
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from tokenizers import ByteLevelBPETokenizer
from torch.nn.functional import cross_entropy
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel, GPT2TokenizerFast

from gpt2eval.demo.corpus import SEED, Corpus, Document

END = "<|endoftext|>"
VOCAB_SIZE = 4096
CONTEXT = 512
IGNORED = -100  # the label that cross_entropy leaves out


@dataclass(frozen=True)
class Stage:
    """One training run. Each stage begins with the weights that the one before it saved."""

    checkpoint: str  # the folder, below the output, that it writes
    rows: int  # rows of tokens in a step
    length: int  # tokens in a row
    steps: int
    learning_rate: float  # the highest
    warmup: int
    skip: int = 0  # batches of the shuffled text that the stage before has used up
    shifted: bool = False  # whether a step moves its rows to random positions up to the last


# Short rows are cheaper, and most of what a small model can learn fits into them; the positions
# that they leave out are learned afterwards.
STAGES = {
    "short": Stage("demo-base", 16, 256, 2000, 3e-3, warmup=100),
    "long": Stage("demo-base", 8, CONTEXT, 300, 1e-3, warmup=15, skip=2000),
    "dense": Stage("demo-tuned", 16, 128, 3000, 2e-3, warmup=60, shifted=True),
    "mixed": Stage("demo-tuned", 8, CONTEXT, 900, 1.5e-3, warmup=30),
}


# --- tokens ---------------------------------------------------------------------------------------


def train_tokenizer(documents: list[Document], folder: Path) -> GPT2TokenizerFast:
    """Learn a byte-level BPE and save it as GPT-2 does, with ``<|endoftext|>`` as the last id.

    It learns from the captions too, so that the words of the fine-tuning are not in crumbs.
    """
    bpe = ByteLevelBPETokenizer()
    texts = (text for document in documents for text, _ in document)
    bpe.train_from_iterator(texts, vocab_size=VOCAB_SIZE - 1, show_progress=False)
    folder.mkdir(parents=True, exist_ok=True)
    bpe.save_model(str(folder))
    (folder / "tokenizer.json").unlink(
        missing_ok=True
    )  # of an earlier run: it would be read instead
    vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8")) | {
        END: VOCAB_SIZE - 1
    }
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    tokenizer = GPT2TokenizerFast.from_pretrained(folder, model_max_length=CONTEXT)
    tokenizer.save_pretrained(folder)
    return tokenizer


def encode(
    documents: list[Document], tokenizer: GPT2TokenizerFast
) -> list[tuple[list[int], list[int]]]:
    """Token ids and labels of each document, closed by ``<|endoftext|>``."""
    pieces = [text for document in documents for text, _ in document]
    ids_of_pieces = iter(tokenizer(pieces, verbose=False)["input_ids"])
    encoded = []
    for document in documents:
        ids, labels = [], []
        for _, learned in document:
            piece = next(ids_of_pieces)
            ids += piece
            labels += piece if learned else [IGNORED] * len(piece)
        encoded.append(([*ids, tokenizer.eos_token_id], [*labels, tokenizer.eos_token_id]))
    return encoded


def pack(encoded: list[tuple[list[int], list[int]]], length: int, whole: bool) -> torch.Tensor:
    """Rows of tokens, int64 [rows, 2, length]: ids and labels.

    Plain text is one stream cut anywhere. With ``whole`` every document stays in one piece, so that
    a row starts as a prompt does: it goes into the first of the last fifty rows that has room for
    it, or opens a new one, and only the tail of a document longer than a row is lost.
    """
    if not whole:
        stream = torch.tensor(
            [[token for part in side for token in part] for side in zip(*encoded, strict=True)]
        )
        rows = stream.shape[1] // length
        return stream[:, : rows * length].view(2, rows, length).transpose(0, 1)
    filled: list[tuple[list[int], list[int]]] = []
    for ids, labels in encoded:
        row = next((row for row in filled[-50:] if len(row[0]) + len(ids) <= length), None)
        if row is None:
            row = ([], [])
            filled.append(row)
        row[0].extend(ids[:length])
        row[1].extend(labels[:length])
    end = encoded[0][0][-1]
    padded = [
        (ids + [end] * (length - len(ids)), labels + [IGNORED] * (length - len(ids)))
        for ids, labels in filled
    ]
    return torch.tensor(padded)


def batches(
    encoded: list[tuple[list[int], list[int]]], stage: Stage, whole: bool
) -> Iterator[torch.Tensor]:
    """Batches [rows, 2, length] for ever; each pass shuffles the documents and packs them anew."""
    shuffler = random.Random(SEED)
    while True:
        shuffler.shuffle(encoded)
        rows = pack(encoded, stage.length if whole else CONTEXT, whole)
        size = stage.rows * stage.length // rows.shape[2]
        order = list(range(len(rows)))
        shuffler.shuffle(order)
        for start in range(0, len(order) - size + 1, size):
            batch = rows[order[start : start + size]]
            yield batch.unflatten(2, (-1, stage.length)).transpose(1, 2).flatten(0, 1)


# --- training -------------------------------------------------------------------------------------


def new_model(end: int) -> GPT2LMHeadModel:
    """An untrained model; no dropout, since two passes over the text cannot overfit it."""
    torch.manual_seed(SEED)
    config = GPT2Config(
        vocab_size=VOCAB_SIZE,
        n_positions=CONTEXT,
        n_embd=224,
        n_layer=4,
        n_head=7,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=end,
        eos_token_id=end,
    )
    return GPT2LMHeadModel(config)


def fuse_activation(model: GPT2LMHeadModel) -> None:
    """Compute gelu_new in one pass over memory instead of seven; the function is the same."""
    for block in model.transformer.h:
        block.mlp.act = torch.nn.GELU(approximate="tanh")


def loss_of(model: GPT2LMHeadModel, batch: torch.Tensor, shift: int = 0) -> torch.Tensor:
    """Mean negative log-likelihood, in nats, of the learned tokens of a batch [rows, 2, length].

    The rows begin at position ``shift``.
    """
    ids, labels = batch.unbind(1)
    positions = torch.arange(shift, shift + ids.shape[1])[None]
    # bfloat16 is twice as fast as float32 on a processor that multiplies in it
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(input_ids=ids, position_ids=positions, use_cache=False).logits
    return cross_entropy(
        logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten(), ignore_index=IGNORED
    )


def learning_rate_at(step: int, stage: Stage) -> float:
    """Linear warm-up, then half a cosine down to a twentieth of the peak."""
    if step < stage.warmup:
        return stage.learning_rate * (step + 1) / stage.warmup
    progress = (step - stage.warmup) / (stage.steps - stage.warmup)
    return stage.learning_rate * (0.05 + 0.95 * (1 + math.cos(math.pi * progress)) / 2)


def save(model: GPT2LMHeadModel, tokenizer: GPT2TokenizerFast, folder: Path) -> None:
    """Write the checkpoint in half precision, with its tokenizer."""
    half = GPT2LMHeadModel(model.config).half()
    half.load_state_dict(model.state_dict())
    half.generation_config.update(
        bos_token_id=tokenizer.eos_token_id, eos_token_id=tokenizer.eos_token_id
    )
    half.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    tokenizer.backend_tokenizer.model.save(str(folder))  # vocab.json and merges.txt


def train(model: GPT2LMHeadModel, corpus: Corpus, name: str, output: Path) -> None:
    """Run the stage of that name; leave its checkpoint in the output folder and its log beside it.

    The checkpoint is rewritten every 100 steps, so that a run that is stopped leaves its last
    state.
    """
    stage = STAGES[name]
    fuse_activation(model)
    folder = output / stage.checkpoint
    tokenizer = AutoTokenizer.from_pretrained(output / "demo-base")
    mixtures = {"dense": corpus.dense, "mixed": corpus.mixed}
    documents = mixtures.get(name, corpus.plain)()
    shifter = random.Random(SEED)
    held_out = {
        name: pack(encode(texts, tokenizer), CONTEXT, False)[:16]
        for name, texts in corpus.held_out.items()
    }
    matrices = [weight for weight in model.parameters() if weight.dim() == 2]
    vectors = [weight for weight in model.parameters() if weight.dim() == 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=stage.learning_rate, betas=(0.9, 0.95), fused=True)
    stream = islice(
        batches(encode(documents, tokenizer), stage, name in mixtures), stage.skip, None
    )
    started = time.monotonic()
    with (output / f"{name}.jsonl").open("w", encoding="utf-8") as log:
        for step in range(stage.steps):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate_at(step, stage)
            shift = shifter.randint(0, CONTEXT - stage.length) if stage.shifted else 0
            loss = loss_of(model, next(stream), shift)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            done = step + 1
            if done % 100 == 0 or done == stage.steps:
                row = {
                    "step": done,
                    "seconds": round(time.monotonic() - started),
                    "loss": round(loss.item(), 4),
                }
                with torch.no_grad():
                    row |= {
                        name: round(loss_of(model, rows).item(), 4)
                        for name, rows in held_out.items()
                    }
                print(json.dumps(row), file=log, flush=True)
            if done % 100 == 0 or done == stage.steps:
                save(model, tokenizer, folder)


def main() -> None:
    """Run one of the stages or all."""
    parser = argparse.ArgumentParser(description="Train the bundled demo checkpoints.")
    parser.add_argument("--shared", type=Path, required=True, help="folder with the training text")
    parser.add_argument(
        "--output", type=Path, required=True, help="where demo-base and demo-tuned are written"
    )
    parser.add_argument("--stage", choices=STAGES, help="only this stage, from what lies in OUTPUT")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # sums in one order, so that a second run gives the same weights
    corpus = Corpus(arguments.shared)
    base = arguments.output / "demo-base"
    for name in [arguments.stage] if arguments.stage else STAGES:
        if name == "short":
            texts = corpus.plain() + corpus.translations(corpus.captions, 12)
            model = new_model(train_tokenizer(texts, base).eos_token_id)
        else:
            start = arguments.output / ("demo-tuned" if name == "mixed" else "demo-base")
            model = GPT2LMHeadModel.from_pretrained(start, dtype=torch.float32)
        train(model, corpus, name, arguments.output)


if __name__ == "__main__":
    main()
