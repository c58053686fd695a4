"""The loaded model: the only room that imports torch's layers and transformers."""

from gpt2eval.model.gpt2 import Attention, Cache
from gpt2eval.model.loading import Model, load_model, token_texts
from gpt2eval.model.recorded import RecordedStep
from gpt2eval.model.reference import Reference, load_reference

__all__ = [
    "Attention",
    "Cache",
    "Model",
    "RecordedStep",
    "Reference",
    "load_model",
    "load_reference",
    "token_texts",
]
