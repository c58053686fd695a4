"""The house's style, then the reader's; what neither may change."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any

import matplotlib as mpl

from gpt2eval.errors import UsageError

SINGLE, DOUBLE = 3.3, 6.9  # inches: one and two columns of a paper
# What a reader's style may not change: equal results make equal files, publishers refuse the Type 3
# fonts that are the default, and a checkpoint may be called "$x$".
FIXED: dict[Any, Any] = {
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "svg.hashsalt": "gpt2eval",
    "text.parse_math": False,
    "text.usetex": False,
}
_HOUSE = files("gpt2eval") / "report" / "gpt2eval.mplstyle"


@contextmanager
def style(name: str = "") -> Iterator[None]:
    """A context in which figures are built and saved: the house's style, then the reader's.

    name  a style of matplotlib, or a .mplstyle file; UsageError for one that is neither

    The reader's own matplotlibrc has no say, or reports would differ between machines.
    """
    defaults: dict[Any, Any] = dict(mpl.rcParamsDefault)
    settings = {key: value for key, value in defaults.items() if not key.startswith("backend")}
    house = mpl.rc_params_from_file(str(_HOUSE), use_default_template=False)
    with mpl.rc_context({**settings, **house, **_reader(name), **FIXED}), warnings.catch_warnings():
        # A name in a script that the font lacks shows as boxes; tables have it in full.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def _reader(name: str) -> dict[Any, Any]:
    """The settings of the style that a reader asked for."""
    if not name:
        return {}
    from matplotlib import style as styles

    known = {key: value for key, value in styles.library.items() if not key.startswith("_")}
    if name in known:
        return dict(known[name])
    path = Path(name).expanduser()
    if not path.is_file():
        near = get_close_matches(name, known, n=1, cutoff=0.5)
        meant = f"; did you mean {near[0]!r}?" if near else ""
        raise UsageError(
            f"--style {name!r} is neither a style of matplotlib nor a file{meant}; expected a"
            f" .mplstyle file, or one of {', '.join(known)}"
        )
    # matplotlib warns of a bad line and goes on; whoever wrote the line wants to know.
    with warnings.catch_warnings(), _matplotlib_speaks() as said:
        warnings.simplefilter("error")
        try:
            found = mpl.rc_params_from_file(str(path), use_default_template=False)
        except (OSError, UnicodeDecodeError, ValueError, Warning) as error:
            raise UsageError(
                f"--style {name!r} cannot be read as a style ({error}); expected lines"
                " `key: value` with the keys of matplotlibrc"
            ) from error
    if said:
        raise UsageError(
            f"--style {name!r} cannot be read as a style ({' '.join(said[0].split())}); expected"
            " lines `key: value` with the keys of matplotlibrc"
        )
    return {key: value for key, value in found.items() if not key.startswith("backend")}


@contextmanager
def _matplotlib_speaks() -> Iterator[list[str]]:
    """Collects what matplotlib logs, and keeps it from the terminal."""
    said: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    logger, listener = logging.getLogger("matplotlib"), Listener(logging.WARNING)
    propagates = logger.propagate
    logger.addHandler(listener)
    logger.propagate = False
    try:
        yield said
    finally:
        logger.removeHandler(listener)
        logger.propagate = propagates
