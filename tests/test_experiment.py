"""Experiment files: what they may say, what is said of mistakes, what the command line beats."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt2eval.errors import Gpt2EvalError, UsageError
from gpt2eval.evaluation import run as run_all
from gpt2eval.experiment import FIELDS, LIMIT, Experiment, described, of_options, read_experiment
from gpt2eval.options import RunOptions
from gpt2eval.outlook import outlook
from gpt2eval.preparing import prepare_all
from tests.checkpoints import make_checkpoint


def written(tmp_path: Path, text: str, **given: object) -> Experiment:
    file = tmp_path / "experiment.yaml"
    file.write_text(text, encoding="utf-8")
    return read_experiment(file, given)


WHOLE = """
models:
  - gpt2
  - {path: demo-base, name: base-1, variant: base, seed: 1, step: 0, dtype: bf16, batch-size: 4}
  - path: runs/x/checkpoint-7
tasks:
  - wikitext2
  - {name: "lambada@*", limit: 100, num_fewshot: 0}
limit_first: 20
max_failed: 1%
seed: 3
data: bench
output: ../results
variants:
  tuned: {1: a, 2: b}
"""


def test_a_file_is_options_models_and_tasks(tmp_path: Path) -> None:
    found = written(tmp_path, WHOLE)
    assert [entry.what for entry in found.models][:2] == ["gpt2", "demo-base"]
    second = found.models[1]
    assert (second.name, second.about) == ("base-1", {"variant": "base", "seed": "1", "step": 0})
    assert (found.own(second).dtype, found.own(second).batch_size) == ("bfloat16", 4)
    assert found.own(found.models[0]).dtype == "float32"
    whole, lambada = (found.own(entry) for entry in found.tasks)
    assert (whole.limit, whole.limit_first) == (None, 20)
    assert (lambada.limit, lambada.limit_first, lambada.num_fewshot) == (100, None, 0)
    assert found.options.max_failed == "1%"
    assert found.options.seed == lambada.seed == 3
    assert found.variants == {"tuned": {"1": "a", "2": "b"}, "base": {"1": "base-1"}}


def test_paths_are_seen_from_the_file(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    found = written(
        tmp_path,
        "models: [mine, ./other, 'runs/*', a/b/c, gpt2, org/name, /abs/path/x]\n"
        "data: hub\noutput: out\nreport: /abs/report\nscorer: mine\n",
    )
    beside = [str(tmp_path / name) for name in ("mine", "other", "runs/*", "a/b/c")]
    expected = [*beside, "gpt2", "org/name", "/abs/path/x"]
    assert [entry.what for entry in found.models] == expected
    options = found.options
    assert (options.data, options.output) == ("hub", str(tmp_path / "out"))
    assert (options.report, options.scorer) == ("/abs/report", str(tmp_path / "mine"))
    assert options.tasks_dir is None


def test_the_command_line_replaces_what_the_file_says(tmp_path: Path) -> None:
    found = written(tmp_path, WHOLE, limit=5, dtype="float16", models=("x",), output="here")
    assert [entry.what for entry in found.models] == ["x"]
    assert found.own(found.models[0]).dtype == "float16"
    for entry in found.tasks:
        own = found.own(entry)
        assert (own.limit, own.limit_first) == (5, None), "in every entry, and what it excludes"
    assert found.own(found.tasks[1]).num_fewshot == 0
    assert found.options.output == "here"
    assert [entry.what for entry in written(tmp_path, WHOLE, tasks="a,b").tasks] == ["a,b"]


def test_every_option_of_a_run_is_a_key(tmp_path: Path) -> None:
    """The schema is the dataclass: a new field is a new key, with its default."""
    defaults = RunOptions()
    assert set(FIELDS) == {item.name for item in fields(RunOptions)}
    content = {name: getattr(defaults, name) for name in FIELDS if name not in ("models", "tasks")}
    found = written(tmp_path, json.dumps(content))
    for name in set(FIELDS) - {"models", "tasks", "output", "report"}:
        assert getattr(found.options, name) == getattr(defaults, name), name
    assert found.tasks[0].what == defaults.tasks
    assert of_options(defaults).tasks == written(tmp_path, "").tasks


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model: gpt2", "line 1: unknown key 'model'; did you mean 'models'?"),
        ("models: [gpt2]\nlimit: x", "line 2: limit: 'x'; expected a whole number"),
        ("seed: 1.5", "line 1: seed: 1.5; expected a whole number"),
        ("offline: 1", "line 1: offline: 1; expected true or false"),
        (
            "\ndata: 2024",
            "line 2: data: 2024; expected a text; in quotation marks if that is meant",
        ),
        ("limit: 0", "line 1: --limit 0: expected a whole number of at least 1"),
        ("seed: 1\nlimit: 2\nlimit_first: 3", "line 2: --limit 2 and --limit-first 3 exclude"),
        ("models:\n- path: a\n  dtyp: x", "line 3: unknown key 'dtyp'; did you mean 'dtype'?"),
        ("models:\n- path: a\n  dtype: int8", "line 3: --dtype 'int8': expected one of float32"),
        ("models:\n- path: a\n  limit: 3", "line 3: unknown key 'limit'; expected one of path"),
        ("models:\n- name: a", "line 2: has no path; expected path: ..."),
        ("models:\n- {path: a, seed: 1}", "line 2: has seed but no name"),
        ("models:\n- {path: a, name: b c}", "line 2: models.name: 'b c'; expected a name such as"),
        (
            "models:\n- {path: a, name: x}\n- {path: b, name: x}",
            "line 3: models.name: 'x'; expected",
        ),
        (
            "models:\n- {path: a, name: x, variant: v, seed: 1}\n"
            "- {path: a, name: y, variant: v, seed: 1}",
            "line 3: models.seed: '1'; expected a seed that 'v' has once",
        ),
        ("models: {a: b}", "line 1: models: {'a': 'b'}; expected a list of models"),
        ("tasks: []", "expected a list of tasks"),
        ("tasks:\n- {name: lambada, limt: 3}", "line 2: unknown key 'limt'; did you mean 'limit'?"),
        ("tasks:\n- {name: lambada, limit: 0}", "line 2: --limit 0: expected a whole number"),
        ("variants:\n  base: [a]", "line 2: variants.base: ['a']; expected keys with values"),
        ("variants: {base: {1: 2}}", "line 1: variants.base.1: 2; expected a text"),
        ("limit: 1\nlimit: 2", "line 2: limit: 'limit'; expected each key once"),
        (
            "batch-size: 1\nbatch_size: 2",
            "line 2: batch_size: 'batch_size'; expected each key once",
        ),
        ("- gpt2", "line 1: ['gpt2']; expected keys such as models, tokenizer, tasks"),
        ("a: [1", "line 1: not YAML: expected ',' or ']'"),
        ("a:\tb: c", "not YAML"),
        ("limit: !!python/object:os.system 3", "line 1: not YAML: could not determine a"),
        ("limit: &x 3\nseed: *x", "line 2: *x is an alias; write out what it stands for"),
        ("[" * 5000, "line 1: nested more than 20 deep"),
        ("data: 2020-13-45", "not YAML: month must be in 1..12"),
        ("? [a]\n: b", "line 1: a key is no text"),
    ],
)
def test_mistakes_are_named_with_their_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UsageError, match=re.escape(words)):
        written(tmp_path, text)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot be read .*No such file"):
        read_experiment(tmp_path / "no.yaml")
    with pytest.raises(UsageError, match="cannot be read"):
        read_experiment(tmp_path)
    file = tmp_path / "e.yaml"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="is not UTF-8"):
        read_experiment(file)
    file.write_bytes(b" " * (LIMIT + 1))
    with pytest.raises(UsageError, match=f"has {LIMIT + 1} bytes"):
        read_experiment(file)
    file.write_text("\ufefflimit: 3")
    assert read_experiment(file).options.limit == 3


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.floats(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from([*FIELDS, "variants", "path", "name", "step"]), inner, max_size=4
            )
        ),
        max_leaves=12,
    )
)
def test_anything_else_is_one_of_our_errors(
    tmp_path_factory: pytest.TempPathFactory, content: object
) -> None:
    file = tmp_path_factory.mktemp("e") / "e.json"
    file.write_text(json.dumps(content))
    try:
        read_experiment(file)
    except UsageError:
        return


# ---- with checkpoints ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("sweep")
    for number, name in enumerate(("a/checkpoint-500", "a/checkpoint-1000", "b/checkpoint-500")):
        make_checkpoint(place / "runs" / name, seed=number)
    return place


SWEEP = """
models:
  - runs/*/checkpoint-*
  - {path: runs/a/checkpoint-500, name: again, variant: x, step: 3, dtype: bfloat16}
tasks:
  - {name: lambada, limit: 2}
  - {name: lambada, limit: 3}
  - lambada@openai
  - {name: lambada, limit: 10000}
data: bundled
output: results
"""


def test_only_what_is_missing_is_computed(runs: Path) -> None:
    file = runs / "experiment.yaml"
    file.write_text(SWEEP)
    before = outlook(read_experiment(file))
    assert not any(one.finished or one.done for one in before)
    names = ["a-checkpoint-500", "a-checkpoint-1000", "b-checkpoint-500", "again"]
    assert list(dict.fromkeys(one.checkpoint for one in before)) == names
    # The whole, asked for twice, is one run.
    sizes = [one.samples for one in before if one.checkpoint == "again"]
    assert sizes[:2] == [2, 3]
    assert len(sizes) == 3
    results = run_all(experiment=file, models=str(runs / "runs/a/checkpoint-500"), limit=2)
    assert [result.data["selected"] for result in results] == [2]
    after = outlook(read_experiment(file))
    assert [(one.checkpoint, one.samples) for one in after if one.finished] == [
        ("a-checkpoint-500", 2)
    ]
    run_all(experiment=file, tasks="lambada", limit=3)
    stamps = {path: path.stat().st_mtime_ns for path in runs.glob("results/*/*/*/*.json*")}
    assert len(stamps) == 3 * 5
    whole = run_all(experiment=file)
    assert len(whole) == 12
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert all(one.finished for one in outlook(read_experiment(file)))
    kept = [result for result in whole if result.checkpoint["name"] == "again"]
    assert {(r.run["dtype"], r.checkpoint["step"], r.checkpoint["variant"]) for r in kept} == {
        ("bfloat16", 3, "x")
    }
    assert {r.run["dtype"] for r in whole if r not in kept} == {"float32"}
    stored = json.loads((kept[0].path / "result.json").read_text())  # type: ignore[operator]
    assert "step" not in stored["checkpoint"], "the file may be corrected later"
    assert described(kept, of_options(RunOptions())) == kept


def test_workers_are_not_told_what_is_an_entrys_own(runs: Path) -> None:
    file = runs / "own.yaml"
    file.write_text("models: [{path: runs/b/checkpoint-500, name: x}]\ntasks: lambada\n")
    with pytest.raises(UsageError, match="--workers: the experiment file has models or tasks"):
        run_all(experiment=file, workers=2)


def test_half_a_run_is_told(runs: Path) -> None:
    file = runs / "half.yaml"
    file.write_text(
        "models: [runs/b/checkpoint-500]\ntasks: lambada\ndata: bundled\noutput: half\n"
    )
    (result,) = run_all(experiment=file)
    assert result.path is not None
    records = (result.path / "records.jsonl").read_text().splitlines(keepends=True)
    (result.path / "records.jsonl").write_text("".join(records[:3]))
    (result.path / "result.json").unlink()
    (one,) = outlook(read_experiment(file))
    assert (one.samples, one.done, one.finished) == (len(records), 3, False)


def test_a_glob_says_what_it_matched_in_vain(runs: Path) -> None:
    (runs / "runs" / "b" / "checkpoint-900").mkdir(exist_ok=True)
    file = runs / "bad.yaml"
    file.write_text("models: [runs/b/checkpoint-*]\ndata: bundled\ntasks: lambada\n")
    try:
        with pytest.raises(Gpt2EvalError, match=r"matches 2 paths, of which 1 cannot be scored"):
            prepare_all(read_experiment(file))
    finally:
        (runs / "runs" / "b" / "checkpoint-900").rmdir()
    file.write_text("models: [none/*]\ndata: bundled\n")
    with pytest.raises(Gpt2EvalError, match="matches nothing here"):
        prepare_all(read_experiment(file))
    file.write_text("models: [{path: runs/a/*, name: x}]\ndata: bundled\n")
    with pytest.raises(Gpt2EvalError, match="is 2 checkpoints, which cannot all be called 'x'"):
        prepare_all(read_experiment(file))
