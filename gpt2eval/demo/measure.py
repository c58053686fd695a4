"""Measure demo checkpoints on a text file, beside a unigram model of the same tokens.

::

    python -m gpt2eval.demo.measure --shared DIR --file wiki.test.raw CHECKPOINT [CHECKPOINT ...]

The number to beat is that of a model that knows only how often each token comes in the training
text. Both score every token of the file, so both are codes for the same bytes, and bits per byte
compares them with any other model whatever its vocabulary. The file is taken as it stands and cut
into disjoint windows of 511 tokens behind an ``<|endoftext|>``: no token sees more than its own
window.
"""

import argparse
import math
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy
from transformers import AutoTokenizer, GPT2LMHeadModel

from gpt2eval.demo.corpus import Corpus
from gpt2eval.demo.train import CONTEXT


def model_bits(model: GPT2LMHeadModel, ids: torch.Tensor, end: int) -> float:
    """Bits that the model needs for all the ids [tokens], in windows that begin with ``end``."""
    nats = 0.0
    with torch.inference_mode():
        for window in ids.split(CONTEXT - 1):
            logits = model(torch.cat([torch.tensor([end]), window])[None], use_cache=False).logits[
                0, :-1
            ]
            nats += cross_entropy(logits.double(), window, reduction="sum").item()
    return nats / math.log(2)


def unigram_bits(counts: torch.Tensor, ids: torch.Tensor) -> float:
    """Bits that a unigram model needs for the ids, its counts [vocabulary] each plus one."""
    smoothed = counts.double() + 1
    return -(smoothed / smoothed.sum()).log2()[ids].sum().item()


def main() -> None:
    """Print one line for each checkpoint and one for the unigram model of its tokens."""
    parser = argparse.ArgumentParser(
        description="Bits per byte of checkpoints and of a unigram model."
    )
    parser.add_argument(
        "--shared", type=Path, required=True, help="folder with the training text, for the unigram"
    )
    parser.add_argument("--file", type=Path, required=True, help="the text to score")
    parser.add_argument("checkpoints", type=Path, nargs="+")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    text = arguments.file.read_bytes()
    training_texts = [
        piece for document in Corpus(arguments.shared).plain() for piece, _ in document
    ]
    print(f"{'model':<24} {'bits/byte':>9} {'perplexity/token':>17} {'tokens':>9} {'bytes':>9}")
    for folder in arguments.checkpoints:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model = GPT2LMHeadModel.from_pretrained(folder, dtype=torch.float32).eval()
        ids = torch.tensor(tokenizer(text.decode("utf-8"), verbose=False)["input_ids"])
        training_ids = [
            index for row in tokenizer(training_texts, verbose=False)["input_ids"] for index in row
        ]
        counts = torch.bincount(torch.tensor(training_ids), minlength=model.config.vocab_size)
        for name, bits in (
            (folder.name, model_bits(model, ids, tokenizer.eos_token_id)),
            (f"unigram of {folder.name}", unigram_bits(counts, ids)),
        ):
            rates = f"{bits / len(text):>9.4f} {2 ** (bits / len(ids)):>17.2f}"
            print(f"{name:<24} {rates} {len(ids):>9} {len(text):>9}")


if __name__ == "__main__":
    main()
