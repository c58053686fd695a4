"""Makes what is measured: a checkpoint of GPT-2's shape, and the texts of each workload.

`python -m benchmarks.prepare PLAN.json`, a process of its own: the one that measures must stay
small, because a child's peak memory begins with what its parent held.
"""

from __future__ import annotations

import bz2
import csv
import json
import shutil
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

PACKAGES = ("gpt2eval", "torch", "transformers", "tokenizers", "lm-eval", "ctranslate2", "numpy")
TOKENIZER_NAMES = (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"))

Plan = dict[str, Any]


def main() -> None:
    """Fill `prepared` of the plan; what is there from an equal plan stays."""
    plan = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    prepared = Path(plan["prepared"])
    done = prepared / "plan.json"
    if not done.exists() or json.loads(done.read_text("utf-8")) != plan:
        shutil.rmtree(prepared, ignore_errors=True)
        prepared.mkdir(parents=True)
        make_checkpoint(plan, prepared / "gpt2-shaped")
        for workload in plan["workloads"]:
            WRITERS[workload](plan, prepared)
        done.write_text(json.dumps(plan), "utf-8")
    (prepared / "machine.json").write_text(json.dumps(machine()), "utf-8")


# ---- the checkpoint -----------------------------------------------------------------------------


def make_checkpoint(plan: Plan, directory: Path) -> None:
    """Random weights by transformers, seeded; converted for CTranslate2 where that is installed."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    layers, width, heads = plan["shape"]
    directory.mkdir()
    copy_tokenizer(plan["tokenizer"], directory)
    torch.manual_seed(plan["seed"])
    GPT2LMHeadModel(GPT2Config(n_layer=layers, n_embd=width, n_head=heads)).save_pretrained(
        directory
    )
    if find_spec("ctranslate2"):
        from ctranslate2.converters import TransformersConverter

        TransformersConverter(str(directory)).convert(str(directory.parent / "ctranslate2"))


def copy_tokenizer(source: str, directory: Path) -> None:
    """GPT-2's tokenizer from a directory, by either naming of its files, or from the hub."""
    from transformers import GPT2TokenizerFast

    if not Path(source).exists():
        GPT2TokenizerFast.from_pretrained(source).save_pretrained(directory)
        return
    for names in TOKENIZER_NAMES:
        files = [Path(source) / name for name in names]
        if all(file.is_file() for file in files):
            for file, name in zip(files, TOKENIZER_NAMES[0], strict=True):
                shutil.copyfile(file, directory / name)
            config = {"tokenizer_class": "GPT2Tokenizer", "model_max_length": 1024}
            config |= dict.fromkeys(("bos_token", "eos_token", "unk_token"), "<|endoftext|>")
            (directory / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")
            return
    raise SystemExit(f"{source} holds neither vocab.json, merges.txt nor encoder.json, vocab.bpe")


def tokenizer(prepared: Path) -> Any:
    """That of the checkpoint."""
    from transformers import AutoTokenizer

    made = AutoTokenizer.from_pretrained(prepared / "gpt2-shaped")
    if len(made) != 50257:
        raise SystemExit(f"the tokenizer has {len(made)} entries; GPT-2's has 50,257")
    return made


# ---- workloads ----------------------------------------------------------------------------------


def rolling(plan: Plan, prepared: Path) -> None:
    """The first articles of WikiText-2, detokenised as lm-eval does."""
    from tasks.wikitext import lm_eval_detokenize, pages, read_wikitext

    raw = source(plan, "wikitext2/wiki.test.raw").read_bytes().decode()
    target = prepared / "data" / "wikitext2" / "wiki.test.raw"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes("\n".join(islice(pages(raw), plan["articles"])).encode())
    # Of the shorter file the last page is one that ends with a line break: the end of a file.
    chosen = list(pages("".join(row["text"] for row in read_wikitext([target]))))
    texts = [lm_eval_detokenize(page) for page in chosen]
    write_lines(prepared / "lm_eval" / "rolling.jsonl", [{"page": page} for page in chosen])
    tokens = count(prepared, texts)
    # The prefix of each text is read, its last token is not.
    write(prepared, "rolling", tokens, "tokens scored", {"texts": texts, "n_ctx": 1024})


def last_word(plan: Plan, prepared: Path) -> None:
    """The first passages of LAMBADA, cut at the last space."""
    path = source(plan, "lambada/lambada_test.jsonl")
    lines = path.read_bytes().decode().split("\n")[: plan["passages"]]
    rows = [{"text": json.loads(line)["text"]} for line in lines if line]
    write_lines(prepared / "data" / "lambada" / "lambada_test.jsonl", rows)
    write_lines(prepared / "lm_eval" / "last-word.jsonl", rows)
    pairs = [row["text"].rpartition(" ")[::2] for row in rows]
    tokens = count(prepared, [row["text"] for row in rows])
    write(prepared, "last-word", tokens, "tokens of the passages", {"pairs": pairs})


def choice(plan: Plan, prepared: Path) -> None:
    """The first items of HellaSwag's validation set: six lines each, context, label, endings."""
    name = "hellaswag/hellaswag_val_full.txt.bz2"
    path = source(plan, name)
    items: list[dict[str, Any]] = []
    taken = []
    with bz2.open(path, "rt", encoding="utf-8", newline="\n") as file:
        lines = (line.rstrip("\n") for line in file)
        while len(items) < plan["items"] and len(six := list(islice(lines, 6))) == 6:
            taken += six
            items.append({"context": six[0], "label": int(six[1]), "endings": six[2:]})
    target = prepared / "data" / name
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(bz2.compress("".join(f"{line}\n" for line in taken).encode()))
    write_lines(prepared / "lm_eval" / "choice.jsonl", items)
    texts = [item["context"] for item in items]
    texts += [f" {ending}" for item in items for ending in item["endings"]]
    tokens = count(prepared, texts)
    write(prepared, "choice", tokens, "tokens, each context once", {"items": items})


def generation(plan: Plan, prepared: Path) -> None:
    """The beginnings of CNN/DailyMail articles, as long as asked."""
    made = tokenizer(prepared)
    with source(plan, "cnn_dm/test.csv").open(encoding="utf-8", newline="") as file:
        articles = [row["article"] for row in islice(csv.DictReader(file), plan["prompts"])]
    encoded = made(articles)["input_ids"]
    prompts = [made.decode(ids[: plan["prompt_tokens"]]).strip() for ids in encoded]
    rows = [{"prompt": prompt, "new": plan["new_tokens"]} for prompt in prompts]
    write_lines(prepared / "data" / "bench" / "generation.jsonl", rows)
    write_lines(prepared / "lm_eval" / "generation.jsonl", rows)
    content = {"prompts": prompts, "new": plan["new_tokens"]}
    write(prepared, "generation", len(prompts) * plan["new_tokens"], "tokens written", content)


WRITERS = {
    "rolling": rolling,
    "last-word": last_word,
    "choice": choice,
    "generation": generation,
}


def source(plan: Plan, name: str) -> Path:
    """A file of the data directory."""
    path = Path(plan["data"]) / name
    if not path.is_file():
        raise SystemExit(f"{path} is not there; --data names the directory that holds {name}")
    return path


def count(prepared: Path, texts: list[str]) -> int:
    """Tokens of all the texts."""
    return sum(len(ids) for ids in tokenizer(prepared)(texts)["input_ids"])


def write(prepared: Path, workload: str, tokens: int, counted: str, content: Any) -> None:
    """The workload as tools without a data format of their own read it, and what rates count."""
    text = json.dumps({"tokens": tokens, "counted": counted, **content})
    (prepared / f"{workload}.json").write_text(text, "utf-8")


def write_lines(path: Path, rows: Iterable[Any]) -> None:
    """A JSON Lines file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


# ---- the machine --------------------------------------------------------------------------------


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    import os
    import platform

    from gpt2eval.bench import processor

    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": platform.platform(),
        "load_average": os.getloadavg(),
        "versions": versions,
    }


if __name__ == "__main__":
    main()
