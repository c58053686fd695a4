"""The loaded model: the only room that imports torch's layers and transformers."""

from gpt2eval.model.gpt2 import Attention, Cache
from gpt2eval.model.loading import Model, load_model, token_texts
from gpt2eval.model.recorded import RecordedStep

__all__ = ["Attention", "Cache", "Model", "RecordedStep", "load_model", "token_texts"]
