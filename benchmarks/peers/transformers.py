"""transformers: the loop one writes by hand, with full logits and padded batches."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.peers import Job, asked, serve
from benchmarks.streams import Scoring, scorings, total_and_right

BATCH = {"rolling": 1, "last-word": 8, "choice": 8, "generation": 8}


def answer(job: Job) -> dict[str, Any]:
    """Score or write with `GPT2LMHeadModel` as it is."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_grad_enabled(False)
    dtype = getattr(torch, job["dtype"])
    model = AutoModelForCausalLM.from_pretrained(job["checkpoint"], dtype=dtype).eval()
    tokenizer = AutoTokenizer.from_pretrained(job["checkpoint"], padding_side="left")
    tokenizer.pad_token = tokenizer.eos_token
    begin = time.perf_counter()
    if job["workload"] == "generation":
        numbers = {"texts": _write(model, tokenizer, asked(job), job["batch"])}
    else:
        wanted = scorings(job, tokenizer)
        numbers = total_and_right(job, wanted, list(_score(model, wanted, job["batch"])))
    return {"numbers": numbers, "seconds": time.perf_counter() - begin}


def _score(model: Any, wanted: Sequence[Scoring], batch: int) -> Iterator[tuple[float, bool]]:
    """(summed log-probability, whether all were the first choice) of each, in order."""
    import torch

    order = sorted(range(len(wanted)), key=lambda number: -len(wanted[number].tokens))
    found: dict[int, tuple[float, bool]] = {}
    for begin in range(0, len(order), batch):
        numbers = order[begin : begin + batch]
        longest = len(wanted[numbers[0]].tokens) - 1
        ids = torch.zeros(len(numbers), longest, dtype=torch.long)
        for row, number in enumerate(numbers):
            fed = wanted[number].tokens[:-1]
            ids[row, : len(fed)] = torch.tensor(fed)
        # Padding stands on the right, where causal attention does not see it.
        log_probs = model(ids).logits.log_softmax(-1)
        for row, number in enumerate(numbers):
            tokens, count = wanted[number].tokens, wanted[number].scored
            targets = torch.tensor(tokens[-count:])
            rows = log_probs[row, len(tokens) - 1 - count : len(tokens) - 1]
            total = rows.gather(1, targets[:, None]).double().sum()
            found[number] = float(total), bool((rows.argmax(-1) == targets).all())
    yield from (found[number] for number in range(len(wanted)))


def _write(model: Any, tokenizer: Any, content: dict[str, Any], batch: int) -> list[str]:
    prompts, texts = content["prompts"], []
    for begin in range(0, len(prompts), batch):
        inputs = tokenizer(prompts[begin : begin + batch], return_tensors="pt", padding=True)
        out = model.generate(
            **inputs,
            max_new_tokens=content["new"],
            do_sample=False,
            pad_token_id=tokenizer.eos_token_id,
        )
        texts += tokenizer.batch_decode(
            out[:, inputs["input_ids"].shape[1] :],
            skip_special_tokens=True,
            clean_up_tokenization_spaces=False,
        )
    return texts


if __name__ == "__main__":
    serve(answer)
