"""Checkpoints and data that the oracle tests share."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

import gpt2eval
from tests.checkpoints import gpt2_tokenizer_checkpoint, make_checkpoint
from tests.conftest import ROOT
from tests.data.directory import training_text, write_data

CHECKPOINTS = ("random", "trained", "demo-base")


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker, so that the tests also run without the project's settings."""
    config.addinivalue_line("markers", "oracle: holds our numbers against another implementation")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Small matrices only lose by threads, and lose by far where other work runs beside."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def toy_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every data file, with our own few sentences in it."""
    return write_data(tmp_path_factory.mktemp("toy_data"))


@pytest.fixture(scope="session")
def long_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, with a WikiText file of several windows of a thousand tokens."""
    return write_data(tmp_path_factory.mktemp("long_data"), long=True)


@pytest.fixture(scope="session")
def checkpoint_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Name -> directory of a checkpoint that is made once.

    random   64 positions, so that most texts are longer than the model
    trained  256 positions, has learnt the toy sentences, so that some answers are right
    long     1,024 positions, random
    """
    directory = tmp_path_factory.mktemp("checkpoints")
    texts = training_text()
    made: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name == "random":
            return make_checkpoint(directory / name)
        if name == "trained":
            return make_checkpoint(
                directory / name,
                texts=texts,
                vocab=640,
                n_positions=256,
                n_embd=64,
                scale=0.1,
                steps=250,
            )
        if name == "long":
            return make_checkpoint(directory / name, vocab=384, n_positions=1024)
        bundled = ROOT / "gpt2eval" / "demo" / name
        if not (bundled / "config.json").is_file():
            pytest.skip(f"{name} is not bundled")
        return bundled

    def get(name: str) -> Path:
        if name not in made:
            made[name] = make(name)
        return made[name]

    return get


@pytest.fixture(params=CHECKPOINTS)
def checkpoint(request: pytest.FixtureRequest, checkpoint_of: Callable[[str], Path]) -> Path:
    """Each of the checkpoints that the tests run on."""
    return checkpoint_of(request.param)


@pytest.fixture(scope="session")
def gpt2_checkpoint(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Path:
    """A tiny random model with the vocabulary and the context length of GPT-2."""
    return gpt2_tokenizer_checkpoint(tmp_path_factory.mktemp("checkpoints") / "gpt2", shared_data)


@dataclass(frozen=True)
class Run:
    """A result of ours, and its records in the order of the data file."""

    result: Any
    records: list[dict[str, Any]]

    def value(self, metric: str) -> float:
        """The value of a metric."""
        return self.result.metrics[metric].value

    def responses(self) -> list[dict[str, Any]]:
        """The only response of each sample."""
        return [response for record in self.records for response in record["responses"]]

    def logprobs(self) -> list[float]:
        """Summed log-probability of each sample."""
        return [sum(response["logprobs"]) for response in self.responses()]


def contexts(response: dict[str, Any]) -> list[int]:
    """Tokens each scored token was conditioned on; kept as [first, how many] of rising runs."""
    return [first + step for first, count in response["context"] for step in range(count)]


@pytest.fixture(scope="session")
def evaluate(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Run]:
    """Run one task of gpt2eval; the same arguments run once."""
    output = tmp_path_factory.mktemp("results")
    done: dict[Any, Run] = {}

    def evaluate(model: Path, task: str, data: Path, batch_size: int = 4, **options: Any) -> Run:
        key = (model, task, data, batch_size, *sorted(options.items()))
        if key not in done:
            (result,) = gpt2eval.run(
                models=[str(model)],
                tasks=task,
                data=str(data),
                # A directory of its own, or a second batch size would find the first one's result.
                output=str(output / str(len(done))),
                device="cpu",
                dtype="float32",
                batch_size=batch_size,
                seed=0,
                **options,
            )
            assert result.name == task
            lines = (Path(result.path) / "records.jsonl").read_text("utf-8").split("\n")
            records = [json.loads(line) for line in lines if line]
            assert not [record["error"] for record in records if record["error"]]
            done[key] = Run(result, sorted(records, key=lambda record: natural(record["id"])))
        return done[key]

    return evaluate


def natural(text: str) -> list[Any]:
    """A sort key that puts "2" before "10"."""
    parts = re.split(r"(\d+)", text)
    return [int(part) if part.isdigit() else part for part in parts]
