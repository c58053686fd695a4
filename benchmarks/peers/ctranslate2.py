"""CTranslate2: `score_batch` and `generate_batch` of a converted checkpoint."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.peers import Job, asked, serve
from benchmarks.streams import scorings, total_and_right

BATCH = {"rolling": 1, "last-word": 8, "choice": 8, "generation": 8}


def answer(job: Job) -> dict[str, Any]:
    """Score or write with a Generator; dtypes it would replace by another are skipped."""
    import ctranslate2
    from transformers import AutoTokenizer

    known = ctranslate2.get_supported_compute_types("cpu")
    if job["dtype"] not in known:
        return {"skipped": f"has no {job['dtype']} on this processor"}
    generator = ctranslate2.Generator(
        f"{job['prepared']}/ctranslate2", compute_type=job["dtype"], intra_threads=job["threads"]
    )
    tokenizer = AutoTokenizer.from_pretrained(job["checkpoint"])
    begin = time.perf_counter()
    if job["workload"] == "generation":
        numbers: dict[str, Any] = {"texts": _write(generator, tokenizer, asked(job), job["batch"])}
    else:
        wanted = scorings(job, tokenizer)
        results = generator.score_batch(
            [tokenizer.convert_ids_to_tokens(each.tokens) for each in wanted],
            max_batch_size=job["batch"],
            max_input_length=0,
        )
        found = [
            (sum(result.log_probs[-each.scored :]), False)
            for result, each in zip(results, wanted, strict=True)
        ]
        numbers = total_and_right(job, wanted, found)
        if job["workload"] == "last-word":
            del numbers["right"]  # log-probabilities do not say which token was likeliest
    return {"numbers": numbers, "seconds": time.perf_counter() - begin}


def _write(generator: Any, tokenizer: Any, content: dict[str, Any], batch: int) -> list[str]:
    prompts = tokenizer(content["prompts"])["input_ids"]
    results = generator.generate_batch(
        [tokenizer.convert_ids_to_tokens(ids) for ids in prompts],
        max_batch_size=batch,
        max_length=content["new"],
        include_prompt_in_result=False,
        sampling_topk=1,
    )
    return [
        tokenizer.decode(
            result.sequences_ids[0], skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        for result in results
    ]


if __name__ == "__main__":
    serve(answer)
