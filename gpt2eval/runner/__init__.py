"""Requests in, responses out: tokenise, plan windows and batches, score, generate, back off."""

from gpt2eval.runner.answer import Answer, answer
from gpt2eval.runner.stretches import stretches

__all__ = ["Answer", "answer", "stretches"]
