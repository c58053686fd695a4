"""`--ray`: units over a cluster of several nodes, which die."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gpt2eval.cluster.units import Unit, plan_units, task_sizes
from gpt2eval.errors import UsageError
from gpt2eval.options import RunOptions, Shard
from gpt2eval.task import discover, select
from gpt2eval.work import load_work
from tests.checkpoints import make_checkpoint
from tests.test_spread import finish, numbers, saved, start, until

pytestmark = [pytest.mark.ray, pytest.mark.xdist_group("ray")]

SUITE = "lambada,wikitext2,blimp,xsum"


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two checkpoints on a few tasks."""
    place = tmp_path_factory.mktemp("command")
    models = [make_checkpoint(place / f"m{n}", n_layer=4, n_embd=64, seed=n) for n in (1, 2)]
    named = [word for path in models for word in ("--model", str(path))]
    return ["run", *named, "--tasks", SUITE, "--data", "bundled", "--quiet"]


@pytest.fixture(scope="module")
def alone(command: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    place = tmp_path_factory.mktemp("alone")
    assert finish(place, *command) == (0, "")
    return by_checkpoint(place)


def by_checkpoint(place: Path) -> dict[str, Any]:
    return {
        name: numbers(place, name)
        for name in sorted(path.name for path in (place / "results").iterdir())
    }


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A head without a core, and two nodes with one each: real processes, as on three machines."""
    pytest.importorskip("ray", reason="the extra gpt2eval[ray] is not installed")
    script = (
        "import sys\n"
        "from ray.cluster_utils import Cluster\n"
        "head = {'num_cpus': 0, 'include_dashboard': False}\n"
        "for left in (2, 1, 0):\n"  # a machine that is busy may take longer than Ray waits
        "    cluster = Cluster(initialize_head=True, head_node_args=head)\n"
        "    try:\n"
        "        nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]\n"
        "        break\n"
        "    except Exception:\n"
        "        cluster.shutdown()\n"
        "        if not left:\n"
        "            raise\n"
        "print('ADDRESS', cluster.address, flush=True)\n"
        "for line in sys.stdin:\n"
        "    if line.strip() == 'kill':\n"
        "        cluster.remove_node(nodes.pop(), allow_graceful=False)\n"
        "        print('KILLED', flush=True)\n"
        "cluster.shutdown()\n"
    )
    errors = tmp_path_factory.mktemp("cluster") / "errors"
    with (
        errors.open("w") as file,
        subprocess.Popen(
            [sys.executable, "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
        ) as process,  # at its end stdin is closed, which ends the cluster
    ):
        yield Nodes(process, errors)


class Nodes:
    def __init__(self, process: Any, errors: Path) -> None:
        self.process, self.errors = process, errors
        self.address = self.told("ADDRESS").split()[1]

    def told(self, word: str) -> str:
        for line in self.process.stdout:
            if line.startswith(word):
                return str(line)
        raise AssertionError(f"no {word} from the cluster: {self.errors.read_text('utf-8')}")

    def kill(self) -> None:
        """End the processes of a node, at once."""
        self.process.stdin.write("kill\n")
        self.process.stdin.flush()
        self.told("KILLED")


def test_units_that_are_left(
    command: list[str], alone: dict[str, Any], cluster: Nodes, tmp_path: Path
) -> None:
    """What was saved before the command was killed is not asked again, by whatever engine."""
    place = tmp_path / "run"
    process = start(place, *command, "--ray", cluster.address)
    until(lambda: saved(place), process)
    process.kill()
    process.communicate()
    kept = {path: path.read_bytes() for path in place.rglob("records.jsonl")}
    assert kept
    begin = time.monotonic()
    while True:  # the cluster lets go of the workers of a command that is gone
        code, stderr = finish(place, *command, "--ray", cluster.address)
        if code == 0 or time.monotonic() - begin > 60:
            break
    assert (code, stderr) == (0, "")
    assert by_checkpoint(place) == alone


def test_a_node_that_dies(
    command: list[str], alone: dict[str, Any], cluster: Nodes, tmp_path: Path
) -> None:
    """Its units are repeated by the other; numbers and records are those of one process."""
    place = tmp_path / "run"
    process = start(place, *command, "--ray", cluster.address)
    until(lambda: saved(place), process)
    assert process.poll() is None, process.communicate()
    cluster.kill()
    _, stderr = process.communicate(timeout=240)
    assert (process.returncode, stderr) == (0, "")
    assert by_checkpoint(place) == alone
    content = json.loads(next(place.glob("results/m1/lambada@openai/*/result.json")).read_text())
    run = content["run"]
    assert run["resumed_samples"] == 0
    assert sum(item["samples"] for item in run["processes"]) == content["data"]["selected"]
    assert run["command"].endswith(f"--ray {cluster.address}")


def test_without_a_cluster(command: list[str], tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="the extra gpt2eval[ray] is not installed")
    for address in ("nonsense://x", "127.0.0.1:9"):
        code, stderr = finish(tmp_path / "run", *command, "--ray", address)
        assert code == 2, stderr
        assert f"--ray '{address}': no cluster answers there" in stderr
        assert "Traceback" not in stderr


def test_units() -> None:
    """All shards of all tasks; more of them where there are many workers."""
    options = RunOptions(tasks="lambada,blimp", data="bundled")
    work = load_work(select(options.tasks, discover()), "bundled", options)
    sizes = task_sizes(work)
    tasks = list(dict.fromkeys(item.task.name for item in work))
    assert tasks == list(sizes)
    units = plan_units([tasks] * 3, sizes, workers=1)
    assert len(set(units)) == len(units)
    assert {(unit.checkpoint, unit.task) for unit in units} == {
        (n, task) for n in range(3) for task in tasks
    }
    for unit in units:
        for number in range(1, unit.shard.of + 1):
            assert Unit(unit.checkpoint, unit.task, Shard(number, unit.shard.of)) in units
    assert len(plan_units([tasks] * 3, sizes, workers=50)) > 3 * len(units)
    left = plan_units([tasks[1:], [], tasks], sizes, workers=1)
    assert {(unit.checkpoint, unit.task) for unit in left} == {
        (0, tasks[1]),
        *((2, task) for task in tasks),
    }


def test_options_of_ray() -> None:
    with pytest.raises(UsageError, match="--shard 1/2 and --ray exclude each other"):
        RunOptions(shard="1/2", ray="auto")
    with pytest.raises(UsageError, match="--ray '': expected the address of a cluster"):
        RunOptions(ray="")
