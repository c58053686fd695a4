"""Protocols that several benchmarks share, by kind; tasks take them from here."""

from gpt2eval.recipes.choices import chance, choice_sample, multiple_choice
from gpt2eval.recipes.detokenizers import invertible, swap_margins, swap_quotes, swap_space
from gpt2eval.recipes.dialogues import CANDIDATES, dialogue
from gpt2eval.recipes.floors import UNIGRAM, unigram, unigram_nats
from gpt2eval.recipes.language_modelling import characters, stretch, stretches_of_lines
from gpt2eval.recipes.questions import closed_book, common_answers
from gpt2eval.recipes.summaries import summarization
from gpt2eval.recipes.translations import translation

__all__ = [
    "CANDIDATES",
    "UNIGRAM",
    "chance",
    "characters",
    "choice_sample",
    "closed_book",
    "common_answers",
    "dialogue",
    "invertible",
    "multiple_choice",
    "stretch",
    "stretches_of_lines",
    "summarization",
    "swap_margins",
    "swap_quotes",
    "swap_space",
    "translation",
    "unigram",
    "unigram_nats",
]
