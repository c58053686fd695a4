"""Results of ours in the form of other tools: nothing is computed again, and no model is needed."""

from gpt2eval.export.exporting import FORMATS, export

__all__ = ["FORMATS", "export"]
