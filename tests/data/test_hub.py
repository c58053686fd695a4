"""Rows of the hub, without a network."""

from __future__ import annotations

from typing import Any

import pytest

from gpt2eval import data
from gpt2eval.data import Hub
from gpt2eval.errors import DataError
from tests.data.writing import dataset


def test_no_hub() -> None:
    with pytest.raises(DataError, match=r"set/a\.txt is not on the hub.*--data"):
        data.load(dataset(), "hub")


def test_hub_without_network() -> None:
    with pytest.raises(DataError, match=r"no-such/set.*\n.*hf download.*\n.*--data DIR") as caught:
        data.load(dataset(hub=Hub("no-such/set", "plain")), "hub", offline=True)
    assert "no-such/set (plain), split test" in str(caught.value)


def test_hub_reads_as_text() -> None:
    assert str(data.Hub("o/n")) == "o/n"
    assert str(data.Hub("o/n", "c")) == "o/n (c)"
    assert str(data.Hub("o/n", ("c", "d", "e"))) == "o/n (c and 2 more)"
    assert data.Hub("o/n").configs == (None,)


def test_hub_rows_of_several_configurations(monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other, each converted, the bad one named."""
    import datasets

    asked = []

    def load_dataset(id: str, name: str, **options: Any) -> Any:
        asked.append((id, name, options["split"]))
        return datasets.Dataset.from_list([{"n": f"{name}1"}, {"n": f"{name}2"}])

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    hub = Hub("o/n", ("a", "b"), "train", lambda row: {"N": row["n"].upper()})
    loaded = data.load(dataset(hub=hub), "hub", offline=True)
    assert asked == [("o/n", "a", "train"), ("o/n", "b", "train")]
    assert [row["N"] for row in loaded.rows] == ["A1", "A2", "B1", "B2"]
    assert loaded.provenance["config"] == ("a", "b")
    bad = Hub("o/n", "a", "train", lambda row: {"N": data.gold(row["n"][1], 2)})
    with pytest.raises(DataError, match=r"data set o/n \(a\), split train, row 2: gold label '2'"):
        data.load(dataset(hub=bad), "hub", offline=True)


def test_branch_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """The branch is what is asked for, and the commit it stands at is what is recorded."""
    import datasets
    import huggingface_hub

    asked: dict[str, Any] = {}

    class Info:
        sha = "c0ffee"

    class Api:
        def dataset_info(self, name: str, *, revision: str | None, timeout: int) -> Info:
            asked["info"] = (name, revision)
            return Info()

    def load_dataset(name: str, config: str | None, *, revision: str, **_: Any) -> list[Any]:
        asked["rows"] = (name, config, revision)
        return [{"sentence": "a b"}]

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    hub = Hub("some/set", "plain", branch="refs/convert/parquet")
    loaded = data.load(dataset(hub=hub), "hub")
    assert asked["info"] == ("some/set", "refs/convert/parquet")
    assert asked["rows"] == ("some/set", "plain", "c0ffee")
    assert loaded.provenance["revision"] == "c0ffee"
    data.load(dataset(hub=hub), "hub", offline=True)
    assert asked["rows"] == ("some/set", "plain", "refs/convert/parquet")
