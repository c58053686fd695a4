"""A second process beside this one: `python -m gpt2eval.beside`, for work that needs no model.

It gets a function and its arguments by pickle on stdin, and gives what that returns or raises on
stdout. Not `multiprocessing`, which runs the main script anew: one that calls `write_report`
without a guard would begin itself again. When stdin ends its parent is gone, and it ends too.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from gpt2eval.errors import WorkerError

LARGE = 64 << 20  # bytes of records from which on a second process, a second to begin, is worth it
INTERRUPTED = 3

T = TypeVar("T")
Job = TypeVar("Job")


@contextmanager
def meanwhile(
    function: Callable[..., T], *arguments: Any, shared: bool
) -> Iterator[Callable[[], T]]:
    """`beside`; or, where work is not `shared`, the same call when its result is waited for."""
    if not shared:
        yield lambda: function(*arguments)
        return
    with beside(function, *arguments) as answer:
        yield answer


@contextmanager
def beside(function: Callable[..., T], *arguments: Any) -> Iterator[Callable[[], T]]:
    """Call a function in another process meanwhile; what is given waits for what it returns.

    What the function raises is raised by the wait; WorkerError where the process died. Leaving
    ends it, whatever it does.
    """
    threads = os.environ.get("OMP_NUM_THREADS", "1")
    with subprocess.Popen(
        [sys.executable, "-m", "gpt2eval.beside"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": threads},
    ) as process:
        try:
            assert process.stdin
            try:
                pickle.dump(sys.path, process.stdin)
                pickle.dump((function, arguments), process.stdin)
                process.stdin.flush()
            except BrokenPipeError:  # it has died already, which `_received` says
                pass
            yield lambda: _received(process)
        finally:
            process.kill()


def _received(process: subprocess.Popen[bytes]) -> Any:
    assert process.stdout
    try:
        returned, value = pickle.load(process.stdout)
    except (EOFError, pickle.UnpicklingError) as error:
        process.stdout.close()  # or it may wait to be read, as this waits for its end
        code = process.wait()
        signs = f"signal {-code}" if code < 0 else f"exit code {code}"
        raise WorkerError(
            f"the second process died with {signs}"
            f"{' (out of memory?)' if code == -signal.SIGKILL else ''}; run the same command again"
            " with more memory, or on one core (`taskset -c 0`), which takes no second process"
        ) from error
    if not returned:
        raise value
    return value


def in_halves(function: Callable[[Job], T], jobs: Sequence[Job], sizes: Sequence[int]) -> list[T]:
    """[function(job) for job in jobs], about half of it in a second process if there is much.

    sizes  bytes of records that each job reads
    """
    if len(jobs) < 2 or sum(sizes) < LARGE or cores() < 2:
        return [function(job) for job in jobs]
    halves: tuple[list[int], list[int]] = ([], [])
    for number in sorted(range(len(jobs)), key=lambda n: -sizes[n]):
        min(halves, key=lambda half: sum(sizes[n] for n in half)).append(number)
    ours, theirs = halves
    with beside(_each, function, [jobs[number] for number in theirs]) as answers:
        found = {number: function(jobs[number]) for number in ours}
        found |= zip(theirs, answers(), strict=True)
    return [found[number] for number in range(len(jobs))]


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _each(function: Callable[[Job], T], jobs: Sequence[Job]) -> list[T]:
    return [function(job) for job in jobs]


# ---- in the second process ----------------------------------------------------------------------


def main() -> None:
    """Call what stdin says."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is told, and ends this
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever else is printed
    sys.path[:] = pickle.load(sys.stdin.buffer)
    function, arguments = pickle.load(sys.stdin.buffer)
    threading.Thread(target=_watch_parent, daemon=True).start()
    try:
        answer = True, function(*arguments)
    except Exception as error:
        if type(error).__module__ != "gpt2eval.errors":
            # What add_note does, which Python 3.10 does not have.
            error.__notes__ = [f"In the second process:\n{traceback.format_exc()}"]
        answer = False, error
    pickle.dump(answer, out)
    out.close()


def _watch_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    main()
