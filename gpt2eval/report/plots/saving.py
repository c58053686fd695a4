"""A figure as files: equal figures are equal bytes."""

from __future__ import annotations

import io
from typing import Any

from matplotlib.figure import Figure


def save(figure: Figure) -> dict[str, bytes]:
    """The figure as png, svg and pdf, without dates: equal figures are equal bytes."""
    # Hidden dates would make every report differ from the one before.
    metadata: dict[str, dict[str, Any]] = {
        "png": {"Software": None},
        "svg": {"Date": None, "Creator": None},
        "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    }
    # The layout is solved once; it is the slow part, and so the three agree.
    files = {}
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for ending, fields in metadata.items():
        out = io.BytesIO()
        figure.savefig(out, format=ending, metadata=fields)
        files[ending] = out.getvalue()
    return files
