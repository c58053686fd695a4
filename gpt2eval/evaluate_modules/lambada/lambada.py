"""LAMBADA's accuracy and perplexity of a GPT-2 checkpoint, computed by gpt2eval."""

import evaluate

DESCRIPTION = """
Whether a GPT-2 checkpoint guesses the last word of passages, by one of gpt2eval's protocols of
LAMBADA: "openai" and "standard" ask for the whole word, as lm-evaluation-harness does,
"openai-last-token" for its last token alone, "openai-stopwords" lets no stop word compete.
"""
INPUTS = """
Args:
    predictions: passages; the last word of each, after its last space, is to be guessed.
    model_id: a directory, the hub's id of a GPT-2, or demo-base / demo-tuned.
    protocol: what stands behind the @ of `lambada@openai`.
    device: auto, cpu, cuda, cuda:N or mps.
    dtype: float32, bfloat16 or float16.
    batch_size: most sequences in a batch; None: as many as fit.
Returns:
    accuracy: share of the passages whose word is the model's first choice.
    perplexity: exp of the mean loss of a word, where the protocol has one.
"""


class Lambada(evaluate.Measurement):  # type: ignore[misc]  # evaluate has no types
    """The metrics of a protocol of LAMBADA."""

    def _info(self) -> evaluate.MeasurementInfo:
        from gpt2eval.evaluate_modules.describing import of_texts

        return of_texts(DESCRIPTION, INPUTS)

    def _compute(
        self,
        predictions: list[str],
        model_id: str,
        protocol: str = "openai",
        device: str = "auto",
        dtype: str = "float32",
        batch_size: int | None = None,
    ) -> dict[str, float]:
        import numpy as np

        from gpt2eval.data import bundled_directory
        from gpt2eval.evaluate_modules.scoring import responses
        from gpt2eval.task import discover, select

        # The installed task, whatever the working directory holds.
        ((_, chosen),) = select(f"lambada@{protocol}", discover(bundled_directory()))
        samples = list(chosen.samples({"text": text} for text in predictions))
        requests = [chosen.requests(sample)[0] for sample in samples]
        found = responses(model_id, requests, device=device, dtype=dtype, batch_size=batch_size)
        return {
            metric.name: float(
                metric.value(
                    np.sum(
                        [
                            metric.stats(sample, [response])
                            for sample, response in zip(samples, found, strict=True)
                        ],
                        axis=0,
                    )
                )
            )
            for metric in chosen.metrics
        }
