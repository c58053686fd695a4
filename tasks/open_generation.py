"""Open-ended generation: how a model goes on when anything may follow.

The measures are those of Holtzman et al. 2020, https://arxiv.org/abs/1904.09751, and Welleck et al.
2020, https://arxiv.org/abs/1908.04319. None of them says that a text is good. Each is to be read
beside its value for what people wrote after the same prompts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gpt2eval import (
    DataError,
    Dataset,
    Embed,
    Generate,
    Generated,
    Protocol,
    Request,
    Response,
    Sample,
    Score,
    Task,
    data,
    metrics,
)

BIBTEX = """
@inproceedings{holtzman2020,
  author = {Holtzman, Ari and Buys, Jan and Du, Li and Forbes, Maxwell and Choi, Yejin},
  title = {The Curious Case of Neural Text Degeneration},
  booktitle = {Proceedings of ICLR 2020},
  year = {2020},
  url = {https://arxiv.org/abs/1904.09751},
}
@inproceedings{pillutla2021,
  author = {Pillutla, Krishna and Swayamdipta, Swabha and Zellers, Rowan and Thickstun, John and
    Welleck, Sean and Choi, Yejin and Harchaoui, Zaid},
  title = {{MAUVE}: Measuring the Gap Between Neural Text and Human Text using Divergence
    Frontiers},
  booktitle = {Advances in Neural Information Processing Systems},
  volume = {34},
  year = {2021},
  url = {https://arxiv.org/abs/2102.01454},
}
"""

PROMPT_WORDS, CONTINUATION_WORDS = 32, 96
MAX_NEW_TOKENS = 128


def read(paths: Sequence[Path]) -> Iterator[data.Row]:
    """Rows {"prompt", "continuation"}: as they are, or cut from the paragraphs of a text file.

    A paragraph ends at a blank line or at the end of a line; the first 32 words of one are a
    prompt and up to 96 more its continuation. Shorter ones than 64 words are passed over.
    """
    if paths[0].suffix == ".jsonl":
        yield from data.read_jsonl(paths, "prompt", "continuation")
        return
    found = 0
    for row in data.read_lines(paths):
        words = row["text"].split()
        if len(words) >= 2 * PROMPT_WORDS:
            found += 1
            end = PROMPT_WORDS + CONTINUATION_WORDS
            yield {
                "prompt": " ".join(words[:PROMPT_WORDS]),
                "continuation": " ".join(words[PROMPT_WORDS:end]),
            }
    if not found:
        raise DataError(
            f"{paths[0]} has no paragraph of {2 * PROMPT_WORDS} words on one line; expected text to"
            " cut prompts from"
        )


def samples(rows: Iterable[data.Row]) -> Iterator[Sample]:
    """A sample a prompt; what a person wrote is the reference."""
    for number, row in enumerate(rows, 1):
        prompt, continuation = row["prompt"].strip(), row["continuation"].strip()
        if not prompt or not continuation:
            raise DataError(f"prompt {number}: the prompt or its continuation is empty")
        yield Sample(id=str(number), fields={"prompt": prompt}, references=(continuation,))


PROMPTS = Dataset(
    files=(("open_generation/prompts.jsonl",), ("open_generation/corpus.txt",)), read=read
)


def human(sample: Sample, _random: np.random.Generator) -> str:
    """What a person wrote after the same prompt."""
    return str(sample.references[0])


def ask_scorer(sample: Sample, responses: Sequence[Response]) -> list[Request]:
    """The text that was written, after its prompt; nothing about an empty one."""
    (written,) = responses
    assert isinstance(written, Generated)
    text = written.text.strip()
    return [Score(sample.fields["prompt"], f" {text}")] if text else []


def ask_vectors(sample: Sample, responses: Sequence[Response]) -> list[Request]:
    """The prompt with what was written, and the prompt with what a person wrote.

    What was written is cut to as many words: where a text ends is what its vector says most about.
    """
    (written,) = responses
    assert isinstance(written, Generated)
    (human,) = sample.references
    words = len(human.split())
    cut = re.match(rf"(?:\s*\S+){{0,{words}}}", written.text.strip())
    assert cut is not None  # no word at all is a match
    return [Embed(f"{sample.fields['prompt']} {text}".rstrip()) for text in (cut[0], human)]


def generation(name: str, summary: str, decoding: str, **how: Any) -> Protocol:
    """128 tokens after each prompt, by one way of decoding."""

    def requests(sample: Sample) -> list[Request]:
        return [Generate(sample.fields["prompt"], MAX_NEW_TOKENS, **how)]

    return Protocol(
        name=name,
        summary=summary,
        detail=(
            f"{MAX_NEW_TOKENS} tokens, {decoding}, or less where the model ends the text."
            " `written_perplexity` is that of the model itself, at temperature 1, whatever the"
            " decoding; `scorer_perplexity` that of the checkpoint which --scorer names, of the"
            " stripped text. Compare them with open_generation@human of the same checkpoint. The"
            " other measures are over words"
            " between white space, and so are those of the human continuations beside them, which"
            " may differ in length: `distinct` and `self_bleu` depend on the number and the length"
            " of the texts. What depends on the set of texts has no interval."
        ),
        dataset=PROMPTS,
        samples=samples,
        requests=requests,
        metrics=(
            metrics.written_perplexity(),
            metrics.scorer_perplexity(),
            metrics.repetition(4),
            metrics.degenerate(),
            metrics.distinct(1),
            metrics.distinct(2),
            metrics.distinct(3),
            metrics.self_bleu(),
            metrics.zipf(),
        ),
        baselines={"human": human},
        options={
            "prompt": "as it is",
            "max_new_tokens": MAX_NEW_TOKENS,
            "decoding": decoding,
            "scored": "all that was written",
        },
        followup=ask_scorer,
    )


def mauve() -> Protocol:
    """How near the texts lie to those of people, by the vectors of the scorer."""
    return Protocol(
        name="mauve",
        summary="MAUVE of texts sampled from the nucleus of 95 % against the human continuations",
        detail=(
            f"{MAX_NEW_TOKENS} tokens, sampled as in open_generation@top-p-95. Each prompt with"
            " what was written after it, cut to as many words as a person wrote, and the same"
            " prompt with what the person wrote, become vectors: the last hidden state at the last"
            " token. They are those of the checkpoint which --scorer names, else of the model"
            " itself; the paper's are of GPT-2 large. Values under different scorers, of different"
            " numbers of texts or of other prompts cannot be compared. mauve-text puts the vectors"
            " into a tenth as many clusters as there are samples; the value is the mean over five"
            " seeds of the clustering, whose standard deviation stands where others have an"
            " interval. It needs gpt2eval[mauve]."
        ),
        dataset=PROMPTS,
        samples=samples,
        requests=lambda s: [
            Generate(s.fields["prompt"], MAX_NEW_TOKENS, temperature=1.0, top_p=0.95)
        ],
        metrics=(metrics.mauve(),),
        options={
            "prompt": "as it is",
            "max_new_tokens": MAX_NEW_TOKENS,
            "decoding": "top-p 0.95",
            "embedded": "prompt and text, cut to as many words as a person wrote",
            "embedding": "last hidden state of the scorer at the last token",
        },
        followup=ask_vectors,
    )


OPEN_GENERATION = Task(
    name="open_generation",
    version=1,
    summary="what a model writes after a prompt: perplexity, repetition, variety",
    source="Holtzman et al. 2020, https://arxiv.org/abs/1904.09751",
    bibtex=BIBTEX,
    groups=("generation",),
    protocols=(
        generation(
            "top-k-40",
            "sampled from the 40 likeliest tokens, as OpenAI's published samples",
            "top-k 40",
            temperature=1.0,
            top_k=40,
        ),
        generation(
            "top-p-95",
            "sampled from the nucleus of 95 %, as Holtzman et al.",
            "top-p 0.95",
            temperature=1.0,
            top_p=0.95,
        ),
        generation("sampled", "sampled from all tokens", "temperature 1", temperature=1.0),
        generation("greedy", "the likeliest token each time", "greedy"),
        Protocol(
            name="human",
            summary="perplexity of the continuation that is given with each prompt",
            detail=(
                "The continuation is scored after its prompt, per token. On what people wrote this"
                " is the value that the perplexity of what a model writes should come near."
            ),
            dataset=PROMPTS,
            samples=samples,
            requests=lambda s: [Score(s.fields["prompt"], f" {s.references[0]}")],
            metrics=(metrics.token_perplexity(),),
            options={"prompt": "as it is"},
        ),
        mauve(),
    ),
)
