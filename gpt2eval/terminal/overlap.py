"""How much of the tasks a corpus holds, and what scores are without that."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.progress import Progress as Bar
from rich.table import Table

from gpt2eval.overlap import Matched, Overlap, Share
from gpt2eval.report.text import format_estimate, with_arrow
from gpt2eval.terminal import Text
from gpt2eval.terminal.comparisons import wide_console
from gpt2eval.types import Split

SHOWN = 3  # of the most overlapping samples of a task
WIDTH = 160  # characters of a matched text


@contextmanager
def bytes_bar(total: int, quiet: bool) -> Iterator[Callable[[int], None]]:
    """What `overlap` tells how far it is; silent with `quiet` and where no person is watching."""
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda count: None
        return
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda count: bar.advance(task, count)


def show_overlap(found: Overlap, path: str) -> None:
    """Print a line for each task and size of runs, and the most overlapping samples."""
    console = wide_console()
    table = Table(box=None, pad_edge=False)
    for header in ("", "words", "found", "of runs", "samples with any", "too short"):
        table.add_column(header, justify="right" if header else "left", no_wrap=True)
    for task in found.tasks:
        for number, (size, share) in enumerate(task.shares.items()):
            table.add_row(Text("" if number else task.task), *map(Text, _cells(size, share)))
    console.print(table)
    for task in found.tasks:
        size = max((size for size, most in task.most.items() if most), default=0)
        for one in task.most.get(size, ())[:SHOWN]:
            console.print(Text(_matched(task.task, size, one), style="dim"))
    documents = sum(source.documents for source in found.corpus)
    console.print(
        Text(
            f"{len(found.corpus)} files, {documents:,} documents, {found.words:,} words; chance of"
            f" a run to be taken for found: at most {found.false_positives:.1g}"
        )
    )
    console.print(Text(f"Written: {path}"), soft_wrap=True)


def _cells(size: int, share: Share) -> list[str]:
    part = "" if share.share is None else f"{share.share:.2%}"
    any_of = f"{share.overlapping:,} of {share.samples:,}"
    return [str(size), part, f"{share.runs:,}", any_of, f"{share.too_short:,}"]


def _matched(task: str, size: int, one: Matched) -> str:
    text = one.text if len(one.text) <= WIDTH else f"{one.text[:WIDTH]} ..."
    return f"{task} {one.sample}: {one.found} of {one.runs} runs of {size} words: {text}"


def show_splits(splits: Sequence[Split], rule: str) -> None:
    """Print the scores on all samples, on the clean and on the overlapping ones."""
    console = wide_console()
    console.print(Text(f"Samples overlap where the corpus has {rule}", style="bold"))
    kinds = list(dict.fromkeys(kind for one in splits for kind in one.estimates))
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for kind in kinds:
        table.add_column(kind, justify="right", no_wrap=True)
    seen = ""
    for one in splits:
        heading = f"{one.task}, {one.checkpoint}"
        if heading != seen:
            seen = heading
            table.add_row(Text(heading, style="bold"))
        estimates = [one.estimates.get(kind) for kind in kinds]
        name = with_arrow(f"  {one.metric}", one.estimates["all"].higher_is_better)
        cells = [f"{format_estimate(e)}, n {e.n:,}" if e else "" for e in estimates]
        table.add_row(Text(name), *map(Text, cells))
    console.print(table)
    console.print()
