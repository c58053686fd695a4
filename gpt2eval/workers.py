"""Processes of one machine over the shards of one piece of work: `--workers N`.

A worker is `python -m gpt2eval.workers`. It is given its options on stdin and tells of its progress
on stdout, a JSON value a line; what it scores it saves as a shard. When stdin ends its parent is
gone, and it ends too.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, Any

from gpt2eval import errors
from gpt2eval.beside import cores
from gpt2eval.checkpoint import Checkpoint
from gpt2eval.errors import (
    Gpt2EvalError,
    ModelError,
    StoreError,
    UsageError,
    WorkerError,
    out_of_memory,
)
from gpt2eval.experiment import of_options
from gpt2eval.options import RunOptions
from gpt2eval.preparing import prepare_all
from gpt2eval.results import RESULT, prepare_output
from gpt2eval.runs import directories_of, run_shard
from gpt2eval.scoring import Progress
from gpt2eval.work import Work

TRIES = 2  # of a shard whose worker dies
INTERRUPTED = 3


def spread(
    options: RunOptions, checkpoints: Sequence[Checkpoint], work: Sequence[Work], progress: Progress
) -> None:
    """Score what is missing in `options.workers` processes, a shard each.

    A worker that dies is begun again, once. Raises UsageError for more workers than there are
    GPUs, the error of a worker that has one, and WorkerError for one that died twice; not before
    the others have ended, so that they lose nothing.
    """
    count = options.workers or 1
    environments = _environments(options, count)
    unfinished = [
        directory
        for checkpoint in checkpoints
        for directory in directories_of(checkpoint, work, options)
        if not (directory / RESULT).exists()
    ]
    if not unfinished:
        return
    progress.begin(f"{count} workers")
    lock = threading.Lock()
    workers = [
        _Worker(replace(options, workers=None, shard=f"{n}/{count}"), environment, progress, lock)
        for n, environment in enumerate(environments, 1)
    ]
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    finally:
        for worker in workers:
            worker.end()
    for worker in workers:
        if worker.error:
            raise worker.error


def _environments(options: RunOptions, count: int) -> list[Mapping[str, str]]:
    """What the environment of each worker has beside this one's: its GPU, or its share of cores."""
    gpus = _gpus(options.device)
    if gpus:
        if count > len(gpus):
            raise UsageError(
                f"--workers {count}: this machine has {len(gpus)} GPUs"
                f" ({', '.join(gpus)}); expected a process a GPU, at most {len(gpus)}, or"
                " --device cpu"
            )
        return [{"CUDA_VISIBLE_DEVICES": gpu} for gpu in gpus[:count]]
    if options.device not in ("auto", "cpu"):
        raise UsageError(
            f"--workers {count}: the workers would share {options.device!r}; expected --device auto"
            " or cpu, or cuda where there are GPUs"
        )
    if "OMP_NUM_THREADS" in os.environ:
        return [{}] * count
    return [{"OMP_NUM_THREADS": str(max(1, cores() // count))}] * count


def _gpus(device: str) -> list[str]:
    """The GPUs that workers may have, as CUDA_VISIBLE_DEVICES names them."""
    if device not in ("auto", "cuda"):
        return []
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else [str(n) for n in range(torch.cuda.device_count())]
    return names[: torch.cuda.device_count()]


class _Worker(threading.Thread):
    """A thread that starts the process of a shard, listens to it, and starts it again if it dies.

    error  what became of it, where it did not end well
    """

    def __init__(
        self,
        options: RunOptions,
        environment: Mapping[str, str],
        progress: Progress,
        lock: threading.Lock,
    ) -> None:
        super().__init__(daemon=True)
        self.options = options
        self.environment = environment
        self.progress = progress
        self.lock = lock
        self.process: subprocess.Popen[str] | None = None
        self.error: Gpt2EvalError | None = None
        self.ended = False

    def run(self) -> None:
        """Start the process until it has ended by itself, or died too often."""
        for _ in range(TRIES):
            code = self._attempt()
            if self.ended or self.error or code == 0:
                return
        signs = f"signal {-code}" if code < 0 else f"exit code {code}"
        self.error = WorkerError(
            f"the worker of shard {self.options.shard} died {TRIES} times, at last with {signs}"
            f"{' (out of memory?)' if code == -signal.SIGKILL else ''}; what it and the others have"
            " scored is saved, and the same command goes on with the rest"
        )

    def _attempt(self) -> int:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gpt2eval.workers"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **self.environment},
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps([sys.argv, asdict(self.options)]) + "\n")
            self.process.stdin.flush()
        except OSError:  # it has died already
            return self.process.wait()
        for line in self.process.stdout:
            self._hear(json.loads(line))
        code = self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
        return code

    def _hear(self, message: Mapping[str, Any]) -> None:
        if "error" in message:
            name, words = message["error"]
            kind = getattr(errors, name, WorkerError)
            self.error = (kind if kind.__init__ is Exception.__init__ else WorkerError)(words)
            return
        with self.lock:
            if "plan" in message:
                self.progress.plan(message["plan"])
            else:
                self.progress.advance(message["advance"])

    def end(self) -> None:
        """Make sure that the process is gone."""
        self.ended = True
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


# ---- in the worker ------------------------------------------------------------------------------


class _Told:
    """A Progress that tells the parent."""

    def __init__(self, out: IO[str]) -> None:
        self.out = out

    def tell(self, **message: Any) -> None:
        """Write a line; a parent that is gone ends the process."""
        print(json.dumps(message), file=self.out, flush=True)

    def begin(self, text: str) -> None:
        """The parent has one text for all."""

    def plan(self, tokens: int) -> None:
        """So many tokens more will be fed to the model."""
        self.tell(plan=tokens)

    def advance(self, tokens: int) -> None:
        """So many of them were."""
        self.tell(advance=tokens)


def main() -> int:
    """Score the shard that stdin describes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is told, and ends its workers
    progress = _Told(sys.stdout)
    sys.stdout = sys.stderr  # whatever else is printed
    sys.argv, values = json.loads(sys.stdin.readline())
    threading.Thread(target=_watch_parent, daemon=True).start()
    try:
        _work(RunOptions(**{**values, "models": tuple(values["models"])}), progress)
    except Gpt2EvalError as error:
        progress.tell(error=[type(error).__name__, str(error)])
        return error.exit_code
    except OSError as error:
        progress.tell(error=[StoreError.__name__, f"{error.filename or 'a file'}: {error}"])
        return StoreError.exit_code
    except Exception as error:
        if not out_of_memory(error):
            raise
        words = f"out of memory ({str(error) or type(error).__name__}); allow more, or use fewer"
        progress.tell(error=[ModelError.__name__, f"{words} --workers; what was scored is saved"])
        return ModelError.exit_code
    return 0


def _work(options: RunOptions, progress: Progress) -> None:
    """Score the shard of every checkpoint."""
    models, work = prepare_all(of_options(options))
    prepare_output(Path(options.output))
    for checkpoint, own in models:
        run_shard(checkpoint, work, directories_of(checkpoint, work, own), own, progress)


def _watch_parent() -> None:
    sys.stdin.read()
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    sys.exit(main())
