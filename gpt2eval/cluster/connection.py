"""Ray, connected to a cluster, and the workers that it has room for."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from gpt2eval.errors import UsageError
from gpt2eval.options import RunOptions

ANSWER = 10  # seconds in which a cluster must answer


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Ray, connected to a cluster."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # of a cluster that we begin
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # what it would warn of
    try:
        ray: Any = import_module("ray")
    except ImportError as error:
        raise UsageError(
            f"--ray {address!r} needs Ray, which is not installed: pip install 'gpt2eval[ray]'"
        ) from error
    more = {"include_dashboard": False} if address == "local" else {}
    try:
        _knock(address)
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **more)
    except (OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(
            f"--ray {address!r}: no cluster answers there ({reason:.200}); expected its address as"
            " `ray start` shows it, auto on a machine that is in one, or local"
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """OSError where nobody listens at HOST:PORT; Ray itself would wait for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=ANSWER).close()


def room_for(ray: Any, options: RunOptions) -> tuple[int, dict[str, int]]:
    """How many workers, and what each asks of the cluster."""
    nodes = [
        node["Resources"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")
    ]
    gpus = sum(int(node.get("GPU", 0)) for node in nodes)
    cpus = sum(int(node["CPU"]) for node in nodes)
    if gpus and options.device.startswith(("auto", "cuda")):
        count, most, what = options.workers or gpus, gpus, "GPUs"
        resources = {"num_gpus": 1, "num_cpus": 1}
    else:
        count, most, what = options.workers or len(nodes), cpus, "CPUs"
        smallest = min((int(node["CPU"]) for node in nodes), default=0)
        resources = {"num_gpus": 0, "num_cpus": max(1, min(smallest, cpus // max(count, 1)))}
    if not 1 <= count <= most:
        raise UsageError(
            f"--workers {count}: the cluster has {most} {what} on {len(nodes)} nodes; expected at"
            " most as many workers"
        )
    return count, resources
