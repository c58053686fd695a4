"""Write `answers.json`, for `gpt2eval selfcheck`: what transformers says of the checkpoints here.

::

    python -m gpt2eval.demo.answers

Nothing here is gpt2eval's own engine: the model is that of transformers in float64, the windows are
cut and the losses added up in this file, and texts are written by `generate`. Run it again when the
checkpoints change; the questions are the beginnings of bundled sample texts, and are written down
with the answers, so that a change of those texts changes nothing.
"""

import hashlib
import json
from importlib.metadata import version
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy
from transformers import AutoTokenizer, GPT2LMHeadModel

HERE = Path(__file__).parent
SAMPLES = HERE.parent / "samples"
CHECKPOINTS = ("demo-base", "demo-tuned")
PASSAGES = 8
WORDS = 6  # that are asked for at the end of a passage
CHARACTERS = 4000  # of the long text: more than two windows
STRIDE = 128
NEW_TOKENS = 24


def questions() -> dict:
    """Passages with their last words, and one long text."""
    lines = (SAMPLES / "lambada" / "lambada_test.jsonl").read_text("utf-8").splitlines()[:PASSAGES]
    continuations = []
    for line in lines:
        words = json.loads(line)["text"].split(" ")
        context, end = " ".join(words[:-WORDS]), " ".join(words[-WORDS:])
        continuations.append({"context": context, "continuation": f" {end}"})
    long = (SAMPLES / "wikitext2" / "wiki.test.raw").read_text("utf-8")[:CHARACTERS]
    return {
        "continuations": continuations,
        "long": long,
        "stride": STRIDE,
        "new_tokens": NEW_TOKENS,
    }


def losses(model: GPT2LMHeadModel, tokens: list[int], count: int) -> torch.Tensor:
    """Nats of each of the last `count` tokens, given those before it in one window."""
    window = torch.tensor(tokens)
    logits = model(window[None, :-1], use_cache=False).logits[0, -count:]
    return cross_entropy(logits, window[-count:], reduction="none")


def continuation(model: GPT2LMHeadModel, tokenizer, context: str, text: str) -> list[float]:
    """Nats of each token of the text after the context."""
    before = tokenizer(context)["input_ids"]
    whole = tokenizer(context + text)["input_ids"]
    assert whole[: len(before)] == before
    return losses(model, whole, len(whole) - len(before)).tolist()


def rolling(model: GPT2LMHeadModel, tokens: list[int], end: int, step: int) -> float:
    """Nats per token of a text that begins after `end`, in windows that bring `step` new tokens.

    Every window but the first is as full as the model allows.
    """
    size = model.config.n_positions
    stream, total, done = [end, *tokens], 0.0, 0
    while done < len(tokens):
        new = min(step if done else size, len(tokens) - done)
        window = stream[: done + new + 1][-size - 1 :]
        total += losses(model, window, new).sum().item()
        done += new
    return total / len(tokens)


def guide(model: GPT2LMHeadModel, tokens: list[int], stride: int) -> float:
    """The mean loss of the perplexity guide of transformers, by the model's own `loss`."""
    size, covered, total, weights = model.config.n_positions, 0, 0.0, 0
    for begin in range(0, len(tokens), stride):
        stop = min(begin + size, len(tokens))
        inputs = torch.tensor([tokens[begin:stop]])
        labels = inputs.clone()
        labels[:, : -(stop - covered)] = -100
        counted = int((labels != -100).sum()) - 1
        total += model(inputs, labels=labels).loss.item() * counted
        weights += counted
        covered = stop
        if stop == len(tokens):
            break
    return total / weights


def greedy(model: GPT2LMHeadModel, tokens: list[int], count: int) -> tuple[list[int], list[float]]:
    """What `generate` writes, and by how many nats each token was ahead of the next best."""
    prompt = torch.tensor([tokens])
    written = model.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        do_sample=False,
        max_new_tokens=count,
        pad_token_id=0,
    )[0, len(tokens) :]
    logits = model(torch.cat([prompt[0], written])[None]).logits[0, len(tokens) - 1 : -1]
    best = logits.topk(2).values
    return written.tolist(), (best[:, 0] - best[:, 1]).tolist()


def answers(directory: Path, asked: dict) -> dict:
    """What one checkpoint answers."""
    tokenizer = AutoTokenizer.from_pretrained(directory)
    model = GPT2LMHeadModel.from_pretrained(directory, dtype=torch.float64).eval()
    end = tokenizer.eos_token_id
    long = tokenizer(asked["long"], verbose=False)["input_ids"]
    size = model.config.n_positions
    assert len(long) > 2 * size
    prompts = [tokenizer(one["context"])["input_ids"] for one in asked["continuations"]]
    written = [greedy(model, prompt, asked["new_tokens"]) for prompt in prompts]
    assert not any(end in tokens for tokens, _ in written)
    return {
        "sha256": hashlib.sha256((directory / "model.safetensors").read_bytes()).hexdigest(),
        "continuations": [
            [
                round(loss, 7)
                for loss in continuation(model, tokenizer, one["context"], one["continuation"])
            ]
            for one in asked["continuations"]
        ],
        "disjoint": rolling(model, long, end, size),
        "sliding": rolling(model, long, end, asked["stride"]),
        "hf-docs": guide(model, long, asked["stride"]),
        "written": [tokens for tokens, _ in written],
        "margins": [[round(margin, 4) for margin in margins] for _, margins in written],
    }


def main() -> None:
    """Write the file."""
    torch.set_num_threads(1)
    asked = questions()
    with torch.inference_mode():
        found = {name: answers(HERE / name, asked) for name in CHECKPOINTS}
    content = {
        "about": "Made by python -m gpt2eval.demo.answers, with transformers in float64.",
        "versions": {name: version(name).partition("+")[0] for name in ("torch", "transformers")},
        "questions": asked,
        "answers": found,
    }
    text = json.dumps(content, ensure_ascii=False, indent=1)
    (HERE / "answers.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
