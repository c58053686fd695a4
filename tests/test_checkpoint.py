"""Checkpoints on disk: what is accepted under which name, and what a bad one is told."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from gpt2eval.checkpoint import (
    Checkpoint,
    open_checkpoint,
    open_checkpoints,
    read_safetensors_header,
    safe_name,
)
from gpt2eval.digests import digest_files
from gpt2eval.errors import CheckpointError
from gpt2eval.formats import FORMATS
from gpt2eval.model import load_model
from tests.checkpoints import make_checkpoint

# What a file system may call a directory; undecodable bytes arrive as lone surrogates.
NAMES = st.text(
    st.characters(codec="utf-8") | st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF)
)


@pytest.fixture
def copy(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    """A checkpoint of the test's own, to be damaged."""
    return Path(shutil.copytree(tiny_checkpoint, tmp_path / "copy"))


def set_config(directory: Path, **changes: Any) -> None:
    """Change entries of config.json; None removes one."""
    path = directory / "config.json"
    config = {**json.loads(path.read_text("utf-8")), **changes}
    path.write_text(json.dumps({k: v for k, v in config.items() if v is not None}), "utf-8")


def load(directory: Path) -> Any:
    """As far as a run goes before the first token."""
    return load_model(open_checkpoint(directory), "cpu")


# ---- names --------------------------------------------------------------------------------------


@given(NAMES, st.integers(10, 100))
def test_safe_name(text: str, limit: int) -> None:
    name = safe_name(text, limit)
    assert re.fullmatch(r"[A-Za-z0-9._-]+", name)
    assert 1 <= len(name) <= limit
    assert name not in (".", "..")
    assert not name.startswith((".", "-"))
    assert safe_name(name, limit) == name or name.endswith("-")


def test_safe_names() -> None:
    assert safe_name("openai-community/gpt2") == "openai-community-gpt2"
    assert safe_name("checkpoint-500") == "checkpoint-500"
    assert safe_name("../..") == "checkpoint"
    assert safe_name("") == "checkpoint"
    assert safe_name("a" * 200) != safe_name("a" * 201)


def test_names_differ(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """checkpoint-500 of two runs is told apart by the runs; the rest by numbers."""
    places = [tmp_path / run / "checkpoint-500" for run in ("run-a", "run-b")]
    for place in places:
        shutil.copytree(tiny_checkpoint, place)
    names = [c.name for c in open_checkpoints([*places, tiny_checkpoint])]
    assert names == ["run-a-checkpoint-500", "run-b-checkpoint-500", "tiny"]
    thrice = [c.name for c in open_checkpoints([places[0]] * 3)]
    assert len(set(thrice)) == 3
    assert open_checkpoints([places[0]])[0].name == "run-a-checkpoint-500", "alone as well"


def test_trailing_dot_and_slash_do_not_matter(copy: Path) -> None:
    for text in (f"{copy}", f"{copy}/", f"{copy}/.", f"{copy}/../copy"):
        assert open_checkpoint(text).name == "copy"


# ---- digests ------------------------------------------------------------------------------------


def test_digest_is_of_the_content(copy: Path, tiny_checkpoint: Path) -> None:
    one, other = open_checkpoint(copy), open_checkpoint(tiny_checkpoint)
    assert (one.sha256, one.tokenizer_sha256) == (other.sha256, other.tokenizer_sha256)
    content = bytearray((copy / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (copy / "model.safetensors").write_bytes(content)
    (copy / "merges.txt").write_text("#version: 0.2\n", "utf-8")
    changed = open_checkpoint(copy)
    assert changed.sha256 != one.sha256
    assert changed.tokenizer_sha256 != one.tokenizer_sha256


def test_digest_of_one_file_is_sha256sum(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert digest_files([path]) == expected


def test_digest_of_many_files(tmp_path: Path) -> None:
    """In any order; files of one name in two directories both count."""
    paths = []
    for folder, name, content in (("x", "a", "1"), ("x", "b", "2"), ("y", "a", "3")):
        path = tmp_path / folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
        paths.append(path)
    before = digest_files(paths)
    assert digest_files(paths[::-1]) == before
    paths[0].write_text("4")
    assert digest_files(paths) != before


# ---- forms --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "form",
    [
        {"shards": 3},
        {"prefix": False},
        {"form": "bin"},
        {"form": "bin", "shards": 2},
        {"form": "bin", "prefix": False},
        {"shards": 2, "prefix": False},
    ],
)
def test_every_form_is_the_same_model(
    tiny_model: Any, tmp_path: Path, form: dict[str, Any]
) -> None:
    directory = make_checkpoint(tmp_path / "form", **form)
    checkpoint = open_checkpoint(directory)
    assert checkpoint.kind == ("pytorch" if form.get("form") == "bin" else "safetensors")
    assert len(checkpoint.weights) == form.get("shards", 1)
    model = load_model(checkpoint, "cpu")
    assert model.parameters == tiny_model.parameters
    ids = [[1, 2, 3, 4]]
    assert torch.equal(model.hidden(ids), tiny_model.hidden(ids))


@pytest.mark.parametrize(
    "names",
    [
        {"n_positions": "n_ctx"},
        {
            "n_positions": "max_position_embeddings",
            "n_embd": "hidden_size",
            "n_layer": "num_hidden_layers",
            "n_head": "num_attention_heads",
        },
    ],
)
def test_other_names_of_sizes(names: dict[str, str], tiny_model: Any, copy: Path) -> None:
    """Those that transformers reads, and the n_ctx of the first releases."""
    sizes = json.loads((copy / "config.json").read_text("utf-8"))
    set_config(copy, n_ctx=None)
    set_config(copy, **{new: sizes[old] for old, new in names.items()})
    set_config(copy, **dict.fromkeys(names))
    model = load(copy)
    assert model.n_ctx == tiny_model.n_ctx
    assert torch.equal(model.hidden([[1, 2, 3]]), tiny_model.hidden([[1, 2, 3]]))


def test_header(tiny_checkpoint: Path) -> None:
    path = tiny_checkpoint / "model.safetensors"
    expected = {name: list(tensor.shape) for name, tensor in load_file(path).items()}
    assert read_safetensors_header(path) == expected


def test_sizes(tiny_checkpoint: Path) -> None:
    checkpoint = open_checkpoint(tiny_checkpoint)
    assert [checkpoint.size(k) for k in ("vocab_size", "n_positions", "n_embd")] == [384, 64, 32]
    bare = Checkpoint("n", Path(), {}, (), "", "", "safetensors", "n")
    assert bare.size("n_embd") == 768


# ---- bad checkpoints ----------------------------------------------------------------------------


def truncated_index(directory: Path) -> None:
    (directory / "model.safetensors").rename(directory / "model-00001-of-00002.safetensors")
    table = {
        "wte.weight": "model-00001-of-00002.safetensors",
        "b": "model-00002-of-00002.safetensors",
    }
    (directory / "model.safetensors.index.json").write_text(json.dumps({"weight_map": table}))


def outside_index(directory: Path) -> None:
    (directory / "model.safetensors").unlink()
    table = {"wte.weight": "../../secret.safetensors"}
    (directory / "model.safetensors.index.json").write_text(json.dumps({"weight_map": table}))


def not_a_number(directory: Path) -> None:
    weights = load_file(directory / "model.safetensors")
    weights["transformer.h.1.mlp.c_fc.weight"][3, 5] = torch.nan
    weights["transformer.h.1.mlp.c_fc.weight"][0, 0] = torch.inf
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})


def larger_vocabulary(directory: Path) -> None:
    path = directory / "tokenizer.json"
    content = json.loads(path.read_text("utf-8"))
    content["model"]["vocab"]["surplus"] = 1000
    path.write_text(json.dumps(content), "utf-8")


def header_of(length: int, content: bytes = b"") -> Callable[[Path], None]:
    def damage(directory: Path) -> None:
        (directory / "model.safetensors").write_bytes(struct.pack("<Q", length) + content)

    return damage


def header(content: str) -> Callable[[Path], None]:
    return header_of(len(content), content.encode())


def of_integers(directory: Path) -> None:
    weights = load_file(directory / "model.safetensors")
    weights["transformer.wte.weight"] = weights["transformer.wte.weight"].to(torch.int8)
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})


def remove(*names: str) -> Callable[[Path], None]:
    def damage(directory: Path) -> None:
        for name in names:
            (directory / name).unlink()

    return damage


def config(**changes: Any) -> Callable[[Path], None]:
    return lambda directory: set_config(directory, **changes)


def text(name: str, content: str | bytes) -> Callable[[Path], None]:
    data = content.encode() if isinstance(content, str) else content
    return lambda directory: (directory / name).write_bytes(data) and None


TOKENIZER = ("tokenizer.json", "vocab.json", "merges.txt")

BAD: dict[str, tuple[Callable[[Path], None], str]] = {
    "config not JSON": (text("config.json", "{'n': 1}"), r"config\.json is not valid JSON"),
    "config cut": (text("config.json", '{"n_embd": '), r"config\.json is not valid JSON"),
    "config not UTF-8": (text("config.json", b'{"a": "\xff"}'), r"config\.json is not valid JSON"),
    "config deep": (text("config.json", "[" * 100_000), r"config\.json is not valid JSON"),
    "config a list": (text("config.json", "[1]"), r"holds a list; expected a JSON object"),
    "config huge": (text("config.json", " " * 10_000_001), r"10000001 bytes; expected less than"),
    "bert": (config(model_type="bert"), r"model_type 'bert'; gpt2eval scores 'gpt2' only"),
    "llama": (config(model_type="llama"), r"model_type 'llama'; gpt2eval scores 'gpt2' only"),
    "no type": (config(model_type=None), r"no model_type; expected \"model_type\": \"gpt2\""),
    "negative": (config(vocab_size=-1), r"vocab_size = -1; expected a positive integer"),
    "zero": (config(n_head=0), r"n_head = 0; expected a positive integer"),
    "fraction": (config(n_embd=32.5), r"n_embd = 32\.5; expected a positive integer"),
    "boolean": (config(n_layer=True), r"n_layer = True; expected a positive integer"),
    "string": (config(n_positions="64"), r"n_positions = '64'; expected a positive integer"),
    "huge": (config(vocab_size=10**12), r"vocab_size = 1000000000000; expected"),
    "heads": (config(n_head=3), r"n_embd = 32, which n_head = 3 does not divide"),
    "fewer rows": (config(vocab_size=383), r"'wte\.weight' has shape \(384, 32\).*\(383, 32\)"),
    "more positions": (config(n_positions=65), r"'wpe\.weight' has shape \(64, 32\).*\(65, 32\)"),
    "wider": (config(n_embd=64), r"'wte\.weight' has shape \(384, 32\).*promises \(384, 64\)"),
    "inner negative": (config(n_inner=-7), r"n_inner = -7; expected a positive integer"),
    "inner": (config(n_inner=7), r"'h\.0\.mlp\.c_fc\.weight' has shape \(32, 128\).*\(32, 7\)"),
    "more layers": (config(n_layer=3), r"lack 'h\.2\.ln_1\.weight', which config\.json promises"),
    "fewer layers": (config(n_layer=1), r"hold 'h\.1\..*promises n_layer = 1"),
    "no weights": (
        remove("model.safetensors"),
        r"no weights \(found: config\.json, .*\); expected model\.safetensors",
    ),
    "shard missing": (truncated_index, r"'model-00002-of-00002\.safetensors', which is missing"),
    "shard outside": (outside_index, r"names the shard '\.\./\.\./secret.*plain file name"),
    "empty weights": (text("model.safetensors", b""), r"not a safetensors file: 0 bytes"),
    "absurd header": (header_of(2**63), r"a header of 9223372036854775808 announced"),
    "header too long": (header_of(3, b"{}"), r"a header of 3 announced"),
    "header not JSON": (header("{nope}"), r"damaged safetensors header"),
    "header a list": (header("[1, 2]"), r"damaged safetensors header"),
    "header of numbers": (header('{"wte.weight": 3}'), r"damaged safetensors header"),
    "header infinite": (
        header('{"wte.weight": {"shape": [Infinity], "data_offsets": [0, 0]}}'),
        r"damaged safetensors header",
    ),
    "header no offsets": (
        header('{"wte.weight": {"shape": [1], "data_offsets": []}}'),
        r"damaged safetensors header",
    ),
    "integers": (of_integers, r"'transformer\.wte\.weight' has dtype I8; expected F64, F32"),
    "pointer": (
        text("model.safetensors", "version https://git-lfs.github.com/spec/v1\nsize 1\n"),
        r"not a safetensors file: .* Git LFS pointer.*git lfs pull",
    ),
    "header empty": (header("{}"), r"the weights lack 'wte\.weight'"),
    "nan": (not_a_number, r"c_fc\.weight' holds 2 values that are NaN or infinite"),
    "no tokenizer": (remove(*TOKENIZER), r"no tokenizer; expected tokenizer\.json, or vocab\.json"),
    "vocabulary alone": (remove("tokenizer.json", "merges.txt"), r"no tokenizer"),
    "tokenizer not JSON": (text("tokenizer.json", "nope"), r"tokenizer of .* cannot be loaded"),
    "tokenizer too large": (larger_vocabulary, r"ids up to 1000, but the embedding has 384 rows"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_checkpoint(name: str, copy: Path) -> None:
    damage, message = BAD[name]
    load(copy)
    damage(copy)
    with pytest.raises(CheckpointError, match=message) as caught:
        load(copy)
    assert str(copy) in str(caught.value)
    assert "\n" not in str(caught.value).strip()


def test_missing_directory(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nowhere' does not exist; expected a directory"):
        open_checkpoint(tmp_path / "nowhere")


def test_empty_directory(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no config\.json \(found: nothing\); expected"):
        open_checkpoint(tmp_path)


def test_no_config(copy: Path) -> None:
    """Everything that would be accepted is listed."""
    (copy / "config.json").unlink()
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(copy)
    said = str(caught.value)
    assert "no config.json (found: merges.txt, model.safetensors" in said
    for form in FORMATS:
        assert form.ACCEPTS in said


def test_directory_of_checkpoints(tiny_checkpoint: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_checkpoint, tmp_path / "checkpoint-5")
    with pytest.raises(CheckpointError, match=r"There is one in .*checkpoint-5"):
        open_checkpoint(tmp_path)


def test_a_file_that_is_no_checkpoint(tiny_checkpoint: Path) -> None:
    with pytest.raises(CheckpointError, match=r"a file in no format .* expected one of:\n"):
        open_checkpoint(tiny_checkpoint / "config.json")


@pytest.mark.parametrize(
    "name", ["no-such/model", "gpt2 with spaces", "a" * 300, "x\0y", "./a" * 2000]
)
def test_neither_directory_nor_hub(name: str) -> None:
    with pytest.raises(CheckpointError, match=r"checkpoint .* (is neither|is not|does not|cannot)"):
        open_checkpoint(name, offline=True)


@pytest.mark.parametrize("form", ["safetensors", "bin"])
@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (10**6, r"n_layer = 1000000; expected at most 10000"),
        (10**4, r"config\.json promises"),
    ],
)
def test_a_million_layers_are_refused_fast(
    form: Any, layers: int, message: str, tmp_path: Path
) -> None:
    directory = make_checkpoint(tmp_path / "tall", form=form)
    set_config(directory, n_layer=layers)
    begin = time.perf_counter()
    with pytest.raises(CheckpointError, match=message):
        load(directory)
    assert time.perf_counter() - begin < 2


def test_weights_that_cannot_be_read(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Path.open

    def refuse(self: Path, *arguments: Any, **options: Any) -> Any:
        if self.name == "model.safetensors":
            raise PermissionError(13, "Permission denied", str(self))
        return original(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(CheckpointError, match=r"model\.safetensors.*cannot be read.*Permission"):
        load(copy)


class Bomb:
    """Unpickled, it would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (os.mkdir, (str(self.path),))


@pytest.mark.parametrize("form", ["zip", "legacy", "pickle"])
def test_pickle_that_would_run_code(form: str, tmp_path: Path) -> None:
    directory = make_checkpoint(tmp_path / "bomb", form="bin")
    fuse, path = tmp_path / "fuse", directory / "pytorch_model.bin"
    weights = torch.load(path, weights_only=True)
    content = {**weights, "bomb": Bomb(fuse)}
    if form == "pickle":
        path.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load(directory)
    assert not fuse.exists()


def test_pickle_of_more_layers(tmp_path: Path) -> None:
    directory = make_checkpoint(tmp_path / "more", form="bin")
    set_config(directory, n_layer=1)
    with pytest.raises(CheckpointError, match=r"'h\.1\..*not in a model of 1 layers"):
        load(directory)


@pytest.mark.parametrize("form", ["bin", "safetensors"])
@pytest.mark.parametrize("same", [True, False])
def test_a_head_that_is_said_to_be_tied(
    form: Literal["bin", "safetensors"], same: bool, tmp_path: Path
) -> None:
    """A copy of the embedding is fine; another head would silently not be used."""
    directory = make_checkpoint(tmp_path / "head", form=form)
    path = directory / ("pytorch_model.bin" if form == "bin" else "model.safetensors")
    weights = torch.load(path, weights_only=True) if form == "bin" else load_file(path)
    head = weights["transformer.wte.weight"].clone()
    weights["lm_head.weight"] = head if same else head + 1
    if form == "bin":
        torch.save(weights, path)
    else:
        save_file(weights, path)
    if same:
        assert load(directory).parameters == sum(t.numel() for t in weights.values()) - head.numel()
    else:
        with pytest.raises(CheckpointError, match=r"lm_head\.weight of its own.*false"):
            load(directory)


def test_end_of_text_outside_the_embedding(tmp_path: Path) -> None:
    directory = make_checkpoint(tmp_path / "ids")
    content = json.loads((directory / "tokenizer_config.json").read_text("utf-8"))
    for key in ("eos_token", "bos_token", "unk_token"):
        content.pop(key, None)
    (directory / "tokenizer_config.json").write_text(
        json.dumps({**content, "tokenizer_class": "PreTrainedTokenizerFast"}), "utf-8"
    )
    (directory / "special_tokens_map.json").unlink(missing_ok=True)
    set_config(directory, eos_token_id=50256, bos_token_id=50256)
    with pytest.raises(CheckpointError, match="names 50256 as eos_token_id; the embedding has"):
        load(directory)


def test_damaged_pickle(tmp_path: Path) -> None:
    directory = make_checkpoint(tmp_path / "damaged", form="bin")
    path = directory / "pytorch_model.bin"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load(directory)


def test_pickle_of_other_shapes(tmp_path: Path) -> None:
    directory = make_checkpoint(tmp_path / "shapes", form="bin")
    set_config(directory, n_positions=32)
    with pytest.raises(CheckpointError, match="weights of"):
        load(directory)


@given(st.data())
@settings(max_examples=60)
def test_truncated_anywhere(tiny_checkpoint: Path, tmp_path_factory: Any, data: Any) -> None:
    content = (tiny_checkpoint / "model.safetensors").read_bytes()
    length = 8 + int.from_bytes(content[:8], "little")
    places = st.integers(0, len(content) - 1) | st.integers(0, 16) | st.integers(length - 3, length)
    path = tmp_path_factory.mktemp("cut") / "model.safetensors"
    path.write_bytes(content[: data.draw(places)])
    with pytest.raises(CheckpointError, match=r"not a safetensors file|truncated or damaged"):
        read_safetensors_header(path)


@given(st.data())
@settings(max_examples=200)
def test_any_damage_to_the_header(tiny_checkpoint: Path, tmp_path_factory: Any, data: Any) -> None:
    """Shapes or a CheckpointError, never anything else."""
    content = bytearray((tiny_checkpoint / "model.safetensors").read_bytes())
    length = 8 + int.from_bytes(content[:8], "little")
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, length - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.safetensors"
    path.write_bytes(content)
    try:
        shapes = read_safetensors_header(path)
    except CheckpointError:
        return
    assert all(isinstance(n, int) for shape in shapes.values() for n in shape)


@given(st.binary(max_size=200))
def test_any_bytes_are_no_header(tmp_path_factory: Any, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "random.safetensors"
    path.write_bytes(content)
    try:
        assert isinstance(read_safetensors_header(path), dict)
    except CheckpointError:
        return


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(
    st.dictionaries(
        st.sampled_from(["n_embd", "n_head", "n_layer", "n_inner", "vocab_size", "n_positions"]),
        JSON,
    )
)
def test_any_config(tiny_checkpoint: Path, tmp_path_factory: Any, changes: dict[str, Any]) -> None:
    """It opens or raises CheckpointError, never anything else."""
    directory = tmp_path_factory.getbasetemp() / "any-config"
    if not directory.exists():
        shutil.copytree(tiny_checkpoint, directory)
    shutil.copyfile(tiny_checkpoint / "config.json", directory / "config.json")
    path = directory / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **changes}), "utf-8")
    with suppress(CheckpointError):
        open_checkpoint(directory)


# ---- globs and names ----------------------------------------------------------------------------


def test_a_glob_is_in_the_order_of_steps(tiny_checkpoint: Path, tmp_path: Path) -> None:
    names = ("b10/checkpoint-500", "b2/checkpoint-20000", "b2/checkpoint-3000", "b2/step20k")
    for name in names:
        shutil.copytree(tiny_checkpoint, tmp_path / name)
    found = [c.name for c in open_checkpoints([f"{tmp_path}/b*/*"])]
    assert found == [
        "b2-checkpoint-3000",
        "b2-checkpoint-20000",
        "b2-step20k",
        "b10-checkpoint-500",
    ]
    found = [c.name for c in open_checkpoints([f"{tmp_path}/b*/checkpoint-500", tiny_checkpoint])]
    assert found == ["b10-checkpoint-500", "tiny"]


def test_names_grow_until_they_differ(tiny_checkpoint: Path, tmp_path: Path) -> None:
    places = [tmp_path / x / "seed1" / "checkpoint-5" for x in ("x", "y")]
    for place in [*places, tmp_path / "z" / "final", tmp_path / "w" / "final"]:
        shutil.copytree(tiny_checkpoint, place)
    assert [c.name for c in open_checkpoints([places[0]])] == ["seed1-checkpoint-5"]
    found = [c.name for c in open_checkpoints([*places, f"{tmp_path}/?/final"])]
    assert found == ["x-seed1-checkpoint-5", "y-seed1-checkpoint-5", "w-final", "z-final"]


def test_a_directory_with_brackets_is_no_glob(tiny_checkpoint: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_checkpoint, tmp_path / "run[1]")
    assert open_checkpoints([tmp_path / "run[1]"])[0].name == "run-1"
    with pytest.raises(CheckpointError, match="matches nothing here"):
        open_checkpoints([tmp_path / "run[2-9]"])
