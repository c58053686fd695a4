"""Perplexity of texts under a GPT-2 checkpoint, computed by gpt2eval."""

from typing import Any, cast

import evaluate
import numpy as np

DESCRIPTION = """
Perplexity of texts under a GPT-2 checkpoint. Every token of a text is scored, the first after
<|endoftext|>; texts longer than the model are read in disjoint windows, as lm-evaluation-harness
reads them. The mean of perplexities, which `evaluate`'s own module gives, hangs on the worst of the
texts; the perplexity of all texts together is given beside it, per token and per word.
"""
INPUTS = """
Args:
    predictions: texts, none of them empty.
    model_id: a directory, the hub's id of a GPT-2, or demo-base / demo-tuned.
    device: auto, cpu, cuda, cuda:N or mps.
    dtype: float32, bfloat16 or float16.
    batch_size: most sequences in a batch; None: as many as fit.
Returns:
    perplexities: of each text, per token.
    mean_perplexity: their mean.
    token_perplexity: of all texts together, per token.
    word_perplexity: the same per word, which are what white space divides.
    bits_per_byte: the same sum in bits, over the bytes of the texts.
"""


class Perplexity(evaluate.Measurement):  # type: ignore[misc]  # evaluate has no types
    """Perplexity of each text and of all of them."""

    def _info(self) -> evaluate.MeasurementInfo:
        from gpt2eval.evaluate_modules.describing import of_texts

        return of_texts(DESCRIPTION, INPUTS)

    def _compute(
        self,
        predictions: list[str],
        model_id: str,
        device: str = "auto",
        dtype: str = "float32",
        batch_size: int | None = None,
    ) -> dict[str, Any]:
        from gpt2eval.errors import DataError
        from gpt2eval.evaluate_modules.scoring import responses
        from gpt2eval.types import Rolling, Scored

        empty = [number for number, text in enumerate(predictions) if not text]
        if empty or not predictions:
            where = f"text {empty[0]} is empty" if empty else "there are no texts"
            raise DataError(f"{where}; expected texts with something to score")
        found = responses(
            model_id,
            [Rolling(text) for text in predictions],
            device=device,
            dtype=dtype,
            batch_size=batch_size,
        )
        logprobs = [cast(Scored, one).logprobs for one in found]  # what a Rolling gets
        nats = np.array([-one.sum(dtype=np.float64) for one in logprobs])
        tokens = np.array([len(one) for one in logprobs])
        words = sum(len(text.split()) for text in predictions)
        with np.errstate(over="ignore", divide="ignore"):
            each = np.exp(nats / tokens)
            return {
                "perplexities": each.tolist(),
                "mean_perplexity": float(each.mean()),
                "token_perplexity": float(np.exp(nats.sum() / tokens.sum())),
                "word_perplexity": float(np.exp(nats.sum() / np.float64(words))),
                "bits_per_byte": float(
                    nats.sum() / sum(len(text.encode()) for text in predictions) / np.log(2)
                ),
            }
