"""From a checkpoint on disk to a model that answers: weights, tokenizer, device, dtype."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from gpt2eval.checkpoint import Checkpoint
from gpt2eval.errors import CheckpointError, UsageError
from gpt2eval.model.gpt2 import Cache, Transformer

HEAD_ROWS = 128  # positions per pass of the LM head: more fall out of the processor's cache


@dataclass(frozen=True, slots=True)
class Model:
    """A checkpoint in memory: token ids in, hidden states and log-probabilities out."""

    checkpoint: Checkpoint
    transformer: Transformer
    head: Tensor  # [vocabulary, width], float32 whatever the dtype
    tokenizer: Any
    device: torch.device
    dtype: torch.dtype
    n_ctx: int
    prefix_id: int  # what stands before the first token of a text
    eos_id: int
    parameters: int

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, without special tokens."""
        if not texts:
            return []
        return list(self.tokenizer(list(texts), add_special_tokens=False)["input_ids"])

    def encode_with_starts(self, text: str) -> tuple[list[int], list[int]]:
        """Token ids of a text, and the character at which each token starts."""
        encoded = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        return encoded["input_ids"], [start for start, _ in encoded["offset_mapping"]]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids, byte for byte."""
        text = self.tokenizer.decode(
            list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        return str(text)

    def hidden(self, rows: Sequence[Sequence[int]], cache: Cache | None = None) -> Tensor:
        """Hidden states [rows, longest, width] of token rows, padded on the right.

        Rows start at position `cache.length` (0 without a cache). States of padding are
        meaningless; real tokens never see them.
        """
        longest = max(len(row) for row in rows)
        ids = torch.zeros((len(rows), longest), dtype=torch.long)
        for number, row in enumerate(rows):
            ids[number, : len(row)] = torch.tensor(row)
        begin = cache.length if cache is not None else 0
        positions = torch.arange(begin, begin + longest, device=self.device)[None]
        return self.transformer.forward(ids.to(self.device), positions, cache)

    def log_probs(
        self, hidden: Tensor, targets: Tensor, excluded: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The language-model head on chosen positions only.

        hidden [n, width], targets [n]; excluded [vocabulary] bool: tokens out of the competition.
        -> log-probability float32 [n], greedy bool [n], greedy without the excluded bool [n], all
        on the CPU.
        """
        log_probs = torch.empty(len(targets), device=self.device)
        greedy = torch.empty(len(targets), dtype=torch.bool, device=self.device)
        greedy_excluding = greedy.clone()
        for begin in range(0, len(targets), HEAD_ROWS):
            part = slice(begin, begin + HEAD_ROWS)
            logits = self.logits(hidden[part])
            wanted = targets[part]
            log_probs[part] = logits.gather(1, wanted[:, None])[:, 0] - logits.logsumexp(1)
            greedy[part] = logits.argmax(1) == wanted
            if excluded is None:
                greedy_excluding[part] = greedy[part]
            else:
                logits.masked_fill_(excluded, -torch.inf)
                greedy_excluding[part] = logits.argmax(1) == wanted
        return log_probs.cpu(), greedy.cpu(), greedy_excluding.cpu()

    def logits(self, hidden: Tensor) -> Tensor:
        """float32 [n, vocabulary] of hidden states [n, width]."""
        return F.linear(hidden.float(), self.head)


def load_model(checkpoint: Checkpoint, device: str = "auto", dtype: str = "float32") -> Model:
    """Load a checkpoint for evaluation.

    Raises CheckpointError where the weights are damaged, incomplete or not finite, or where the
    tokenizer does not fit them; UsageError for a device that is not there.
    """
    place, kind = choose_device(device), getattr(torch, dtype)
    config, tensors = _load_weights(checkpoint)
    parameters = sum(tensor.numel() for tensor in tensors.values())
    _check_finite(checkpoint, tensors)
    tokenizer = _load_tokenizer(checkpoint)
    vocabulary = tensors["wte.weight"].shape[0]
    _check_tokenizer(checkpoint, tokenizer, vocabulary)
    head = tensors.pop("lm_head.weight", tensors["wte.weight"]).to(place, torch.float32)
    tensors = {name: tensor.to(place, kind).contiguous() for name, tensor in tensors.items()}
    eos_id = _special_id(checkpoint, tokenizer, "eos_token_id")
    return Model(
        checkpoint=checkpoint,
        transformer=Transformer(config, tensors, _activation(config.activation_function)),
        head=head,
        tokenizer=tokenizer,
        device=place,
        dtype=kind,
        n_ctx=config.n_positions,
        prefix_id=tokenizer.bos_token_id if tokenizer.bos_token_id is not None else eos_id,
        eos_id=eos_id,
        parameters=parameters,
    )


def choose_device(device: str) -> torch.device:
    """`auto` is CUDA, else MPS, else CPU; anything else must exist."""
    if device == "auto":
        mps = torch.backends.mps.is_available()
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if mps else "cpu")
    try:
        place = torch.device(device)
        torch.empty(1, device=place)
    except Exception as error:  # each backend raises its own class
        reason = str(error).splitlines()[0]
        raise UsageError(
            f"device {device!r} cannot be used ({reason}); expected auto, cpu, cuda, cuda:N or mps"
        ) from error
    return place


def _load_weights(checkpoint: Checkpoint) -> tuple[Any, dict[str, Tensor]]:
    """GPT2Config and float32 tensors, by transformers' own loader: safetensors or weights_only."""
    from transformers import GPT2Config, GPT2LMHeadModel

    try:
        config = GPT2Config.from_dict(dict(checkpoint.config))
    except Exception as error:  # transformers and huggingface_hub have classes of their own
        raise CheckpointError(
            f"{checkpoint.path / 'config.json'} is not the config of a GPT-2:"
            f" {' '.join(str(error).split())}"
        ) from error
    try:
        with _silence("transformers"):
            loaded: Any = GPT2LMHeadModel.from_pretrained(
                checkpoint.path,
                config=config,
                dtype=torch.float32,
                local_files_only=True,
                use_safetensors=checkpoint.kind == "safetensors",
                output_loading_info=True,
            )
    except Exception as error:  # pickle, zip, safetensors and shape errors have no common class
        reason = str(error).strip().splitlines()
        raise CheckpointError(
            f"the weights of {checkpoint.path} cannot be loaded ({type(error).__name__}:"
            f" {reason[0] if reason else 'no reason given'}); expected a complete GPT-2 checkpoint"
        ) from error
    model, info = loaded
    problems = [*info["missing_keys"], *(str(item) for item in info["mismatched_keys"])]
    if problems:
        raise CheckpointError(
            f"the weights of {checkpoint.path} do not fit config.json: missing or of another shape:"
            f" {', '.join(sorted(map(str, problems))[:4])} ({len(problems)} in all)"
        )
    tensors = {
        name.removeprefix("transformer."): parameter.detach()
        for name, parameter in model.named_parameters(remove_duplicate=False)
    }
    if config.tie_word_embeddings:
        tensors.pop("lm_head.weight", None)
    return config, tensors


def _check_finite(checkpoint: Checkpoint, tensors: dict[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            bad = int((~torch.isfinite(tensor)).sum())
            raise CheckpointError(
                f"{checkpoint.path}: tensor {name!r} holds {bad} values that are NaN or infinite;"
                " the training run that wrote it diverged, or the file is damaged"
            )


def _load_tokenizer(checkpoint: Checkpoint) -> Any:
    from transformers import AutoTokenizer

    try:
        with _silence("transformers"):
            tokenizer = AutoTokenizer.from_pretrained(
                checkpoint.path, local_files_only=True, trust_remote_code=False, use_fast=True
            )
    except Exception as error:  # tokenizers and transformers raise bare Exceptions
        reason = str(error).strip().splitlines()
        raise CheckpointError(
            f"the tokenizer of {checkpoint.path} cannot be loaded ({type(error).__name__}:"
            f" {reason[0] if reason else 'no reason given'})"
        ) from error
    # Long texts are cut into windows by the runner; the tokenizer must not warn about them.
    tokenizer.model_max_length = int(1e30)
    return tokenizer


def _check_tokenizer(checkpoint: Checkpoint, tokenizer: Any, rows: int) -> None:
    largest = max(tokenizer.get_vocab().values(), default=-1)
    if largest < 0:
        raise CheckpointError(f"the tokenizer of {checkpoint.path} has an empty vocabulary")
    if largest >= rows:
        raise CheckpointError(
            f"the tokenizer of {checkpoint.path} has token ids up to {largest}, but the embedding"
            f" has {rows} rows; the tokenizer belongs to another checkpoint, or"
            " resize_token_embeddings was forgotten"
        )


def _special_id(checkpoint: Checkpoint, tokenizer: Any, name: str) -> int:
    value = getattr(tokenizer, name)
    if value is None:
        value = checkpoint.config.get(name)
    if not isinstance(value, int):
        raise CheckpointError(
            f"neither the tokenizer nor config.json of {checkpoint.path} names an {name};"
            " GPT-2's is the id of <|endoftext|>"
        )
    return value


def _activation(name: str) -> Callable[..., Tensor]:
    if name in ("gelu_new", "gelu_pytorch_tanh"):
        # The same function as transformers' gelu_new, in one pass over memory instead of seven.
        return lambda x: F.gelu(x, approximate="tanh")
    from transformers.activations import ACT2FN

    if name not in ACT2FN:
        raise CheckpointError(f"config.json names the activation {name!r}, which is unknown")
    function: Callable[..., Tensor] = ACT2FN[name]
    return function


@contextmanager
def _silence(logger: str) -> Iterator[None]:
    """Hold back a library's warnings and bars: what matters in them is raised as an error here."""
    reporting: Any = import_module("transformers.utils.logging")
    log, bars = logging.getLogger(logger), reporting.is_progress_bar_enabled()
    level = log.level
    log.setLevel(logging.ERROR)
    reporting.disable_progress_bar()
    try:
        yield
    finally:
        log.setLevel(level)
        if bars:
            reporting.enable_progress_bar()
