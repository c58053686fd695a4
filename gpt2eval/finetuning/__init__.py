"""Fine-tuning on transformers' Trainer, and gpt2eval's tasks inside anybody's training.

A room of its own: the command line and the public names lead here, nothing else does.
"""
