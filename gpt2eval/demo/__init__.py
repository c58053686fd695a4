"""The bundled demo checkpoints: a small GPT-2 language model and a fine-tuned copy of it.

They exist so that a first run needs no download and its report has something to tell apart.
``train.py`` is the recipe that made them, ``measure.py`` checks them against a unigram model.
"""
