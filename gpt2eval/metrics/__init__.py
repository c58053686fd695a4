"""The metrics: statistics of a sample, and a function of their sum.

Every name here makes a `gpt2eval.task.Metric` (or a tuple of them) or prepares the text that one
reads. numpy is all that is loaded until a metric from another library is asked for.
"""

from gpt2eval.metrics.answer import answer_f1, confident_match, exact_match, normalize_answer
from gpt2eval.metrics.bleu import bleu, chrf
from gpt2eval.metrics.choice import calibration_error, choice_accuracy, f1_macro
from gpt2eval.metrics.diversity import degenerate, distinct, repetition, self_bleu, zipf
from gpt2eval.metrics.evaluated import evaluated
from gpt2eval.metrics.likelihood import (
    accuracy,
    bits,
    perplexity,
    sample_perplexity,
    scorer_perplexity,
    token_perplexity,
    written_perplexity,
)
from gpt2eval.metrics.mauve import mauve
from gpt2eval.metrics.part import macro, part
from gpt2eval.metrics.rouge import rouge, rouge_average
from gpt2eval.metrics.text import first_sentence, first_sentences, split_sentences, text_of

__all__ = [
    "accuracy",
    "answer_f1",
    "bits",
    "bleu",
    "calibration_error",
    "choice_accuracy",
    "chrf",
    "confident_match",
    "degenerate",
    "distinct",
    "evaluated",
    "exact_match",
    "f1_macro",
    "first_sentence",
    "first_sentences",
    "macro",
    "mauve",
    "normalize_answer",
    "part",
    "perplexity",
    "repetition",
    "rouge",
    "rouge_average",
    "sample_perplexity",
    "scorer_perplexity",
    "self_bleu",
    "split_sentences",
    "text_of",
    "token_perplexity",
    "written_perplexity",
    "zipf",
]
