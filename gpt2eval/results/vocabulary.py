"""`vocabulary.json`: the texts of the tokens that a run's records hold."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from gpt2eval.errors import StoreError
from gpt2eval.results.files import anew, write_atomically
from gpt2eval.results.layout import VOCABULARY


def write_vocabulary(directory: Path, texts: Mapping[str, Mapping[int, str]]) -> None:
    """Write `vocabulary.json`: the text of each token that the records of the run hold.

    texts  "model", and "scorer" where a protocol's followup was asked -> token id -> its text as
           the tokenizer has it, for GPT-2 in its alphabet of bytes ("Ġthe")
    """
    content = {who: {str(i): text for i, text in sorted(of.items())} for who, of in texts.items()}
    write_atomically(directory / VOCABULARY, json.dumps(content, ensure_ascii=False) + "\n")


def read_vocabulary(directory: Path) -> dict[str, dict[int, str]]:
    """What `write_vocabulary` wrote; empty for runs of versions that wrote none."""
    path = directory / VOCABULARY
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {
            who: {int(token): str(text) for token, text in texts.items()}
            for who, texts in content.items()
        }
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise StoreError(f"{path} cannot be read ({error!r}); {anew(path)}") from error
