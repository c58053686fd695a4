"""Requests in, responses out: tokenise, plan windows and batches, score, generate, back off."""

from gpt2eval.runner.answer import Answer, answer

__all__ = ["Answer", "answer"]
