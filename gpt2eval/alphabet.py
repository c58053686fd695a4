"""GPT-2's alphabet of bytes, in which its tokenizer spells tokens: "Ġthe" is " the"."""

from __future__ import annotations


def text_of_letters(letters: str) -> str:
    """The text that tokens spell, put together; bytes that are no UTF-8 become U+FFFD."""
    joined = b"".join(
        bytes([_BYTES[letter]]) if letter in _BYTES else letter.encode(errors="replace")
        for letter in letters
    )
    return joined.decode(errors="replace")


def _alphabet() -> dict[str, int]:
    """GPT-2's letters for bytes: printable ones stand for themselves, others for 256 and up."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + n): x for n, x in enumerate(others)}


_BYTES = _alphabet()
