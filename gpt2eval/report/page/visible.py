"""Characters that nobody sees, or that move others, made visible."""

from __future__ import annotations

import re

# Control characters but tab and line feed; marks and overrides of direction; spaces of no width;
# separators of lines; halves of surrogate pairs; what is not a character. Joiners stay: scripts
# and emoji are written with them.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff\U000e0000-\U000e0fff]"
)


def visible(text: str) -> str:
    """The text with each such character as its code point: "⟨U+202E⟩"."""
    return _HIDDEN.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", text.replace("\r\n", "\n"))
