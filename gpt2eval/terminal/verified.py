"""What `gpt2eval verify` found."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from gpt2eval.verify import Verified


def show_verified(verified: Sequence[Verified]) -> None:
    """Print what does not hold together, run by run, and how many runs do."""
    console = Console()
    for one in verified:
        for finding in one.findings:
            console.print(Text(f"{one.path}: {finding}", style="red"), soft_wrap=True)
        if one.note:
            console.print(Text(f"{one.path}: {one.note}", style="yellow"), soft_wrap=True)
    done = sum(not one.findings for one in verified)
    whole = sum(not one.findings and one.source == "responses" for one in verified)
    console.print(
        f"{done} of {len(verified)} results are what their runs made; {whole} of them down to the"
        " responses of the model."
    )
