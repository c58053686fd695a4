"""The sliding-window perplexity of the transformers guide, on transformers' own model and loss.

https://huggingface.co/docs/transformers/perplexity. Its weighting is kept: the mean loss of a
window counts as often as the window has labels, minus one. In the first window that is the number
of scored tokens; in later ones, where the label before the first is masked, it is one too few.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from transformers import PreTrainedModel

IGNORED = -100


def joined_rows(raw: Path) -> str:
    """The guide's text of a WikiText file: the rows of the Hub data set joined by blank lines.

    A row is a line with its line break, except that a blank line is an empty row.
    """
    lines = raw.read_bytes().decode().removesuffix("\n").split("\n")
    return "\n\n".join(f"{line}\n" if line.strip() else "" for line in lines)


@torch.inference_mode()
def perplexity(model: PreTrainedModel, tokens: list[int], stride: int) -> float:
    """Perplexity of a token stream in windows of the model's length, one every `stride` tokens."""
    size = model.config.n_positions
    ids = torch.tensor([tokens])
    loss_sum, counted, covered = 0.0, 0, 0
    for begin in range(0, len(tokens), stride):
        end = min(begin + size, len(tokens))
        window = ids[:, begin:end]
        labels = window.clone()
        labels[:, : window.shape[1] - (end - covered)] = IGNORED
        weight = int((labels != IGNORED).sum()) - len(labels)
        if weight:  # a window with one label has weight 0, and no loss if that label is its first
            loss_sum += float(model(window, labels=labels).loss) * weight
        counted += weight
        covered = end
        if end == len(tokens):
            break
    return math.exp(loss_sum / counted)
