"""Discovery and selection of tasks, and laws that every built-in task obeys."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpt2eval.data import bundled_directory, load
from gpt2eval.errors import TaskError, UsageError
from gpt2eval.task import Protocol, Task, discover, other_meanings, select, twins
from gpt2eval.types import Embed, Generate, Rolling, Score

pytestmark = pytest.mark.usefixtures("empty_directory")

PLUGIN = """
from gpt2eval import Dataset, Protocol, Sample, Score, Task, data, metrics


def protocol(name):
    return Protocol(
        name=name,
        summary="s",
        dataset=Dataset(files=(("a.txt",),), read=data.read_lines),
        samples=lambda rows: [Sample(id=row["text"], fields={}) for row in rows],
        requests=lambda sample: [Score("a", " b")],
        metrics=(metrics.accuracy(),),
    )


%s
"""
MINE = 'MINE = Task(name="mine", version=1, summary="s", protocols=(protocol("p"),))'


def plug_in(path: Path, code: str = MINE, plugin: bool = True) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(PLUGIN % code if plugin else code, "utf-8")
    return path


# ---- discovery ----------------------------------------------------------------------------------


def test_built_in_tasks() -> None:
    found = discover()
    assert {"wikitext2", "lambada", "cnn_dailymail", "wmt14_fr_en"} <= set(found)
    assert list(found) == sorted(found)
    assert all(task.name == name for name, task in found.items())


def test_directory(tmp_path: Path) -> None:
    plug_in(tmp_path / "my tasks/mine.py")
    assert set(discover(tmp_path / "my tasks")) == {*discover(), "mine"}


def test_tasks_of_the_working_directory(tmp_path: Path) -> None:
    plug_in(tmp_path / "tasks/mine.py")
    assert "mine" in discover()
    (tmp_path / "elsewhere").mkdir()
    assert "mine" not in discover(tmp_path / "elsewhere")


@pytest.mark.parametrize(
    "code",
    [
        "import sys\nraise RuntimeError('run')",
        "# import gpt2eval\nraise RuntimeError('run')",
        "import gpt2evaluation\n",
        "import gpt2eval_tasks_of_others\n",
    ],
)
def test_files_of_other_programs_are_not_run(tmp_path: Path, code: str) -> None:
    plug_in(tmp_path / "tasks/other.py", code, plugin=False)
    assert discover()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import gpt2eval\n1 / 0\n", r"broken\.py cannot be loaded: ZeroDivisionError"),
        ("import gpt2eval\ndef\n", r"broken\.py cannot be loaded: SyntaxError"),
        ("from gpt2eval import nothing\n", r"broken\.py cannot be loaded: ImportError"),
        ("import gpt2eval\ngpt2eval.Task(name='x')\n", r"broken\.py cannot be loaded: TypeError"),
    ],
)
def test_broken_file_is_named(tmp_path: Path, code: str, message: str) -> None:
    plug_in(tmp_path / "tasks/broken.py", code, plugin=False)
    with pytest.raises(TaskError, match=message):
        discover()


def test_missing_directory(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--tasks-dir '.*nowhere' is not a directory"):
        discover(tmp_path / "nowhere")


def test_two_files_with_one_name(tmp_path: Path) -> None:
    plug_in(tmp_path / "tasks/a.py")
    plug_in(tmp_path / "tasks/b.py", MINE + "  # another")
    with pytest.raises(TaskError, match=r"'mine' is defined in .*a\.py and in .*b\.py; rename"):
        discover()


def test_one_file_with_a_name_twice(tmp_path: Path) -> None:
    """A task that was copied to be changed, and whose name was not."""
    plug_in(tmp_path / "tasks/a.py", f"{MINE}\n{MINE.replace('MINE', 'YOURS')}")
    with pytest.raises(TaskError, match=r"'mine' is defined in .*a\.py and in .*a\.py; rename"):
        discover()


def test_one_task_with_two_names(tmp_path: Path) -> None:
    plug_in(tmp_path / "tasks/a.py", f"{MINE}\nALIAS = MINE")
    assert "mine" in discover()


def test_name_of_a_built_in_task(tmp_path: Path) -> None:
    plug_in(tmp_path / "tasks/a.py", MINE.replace("mine", "lambada"))
    with pytest.raises(TaskError, match=r"'lambada' is defined in .*lambada\.py and in .*a\.py"):
        discover()


def test_clone_of_the_repository(tmp_path: Path) -> None:
    """The very files that are installed, in ./tasks."""
    import gpt2eval_tasks

    (tmp_path / "tasks").mkdir()
    for path in Path(str(gpt2eval_tasks.__file__)).parent.glob("*.py"):
        (tmp_path / "tasks" / path.name).write_bytes(path.read_bytes())
    discover()


def test_installed_files_as_a_directory() -> None:
    """An editable install: the directory of the built-in tasks is the plug-in itself."""
    import gpt2eval_tasks

    assert list(discover(Path(str(gpt2eval_tasks.__file__)).parent)) == list(discover())


def test_built_in_task_imported_by_a_file(tmp_path: Path) -> None:
    plug_in(
        tmp_path / "tasks/a.py",
        "import gpt2eval\nfrom gpt2eval_tasks.lambada import LAMBADA\n",
        plugin=False,
    )
    assert "lambada" in discover()


# ---- selection ----------------------------------------------------------------------------------


def task(
    name: str, *protocols: str, groups: tuple[str, ...] = (), lm_eval: dict[str, str] | None = None
) -> Task:
    theirs = lm_eval or {}

    def protocol(of: str) -> Protocol:
        lm_eval = theirs.get(of, "")
        return Protocol(of, "s", None, list, list, (), lm_eval=lm_eval)  # type: ignore[arg-type]

    return Task(name, 1, "s", tuple(map(protocol, protocols)), groups)


TASKS = {
    one.name: one
    for one in (
        task(
            "lambada",
            "openai",
            "openai-last-token",
            "standard",
            groups=("core",),
            lm_eval={"openai": "lambada_openai", "standard": "lambada_standard"},
        ),
        task("wikitext2", "lm-eval", "hf-docs-512", "paper", groups=("core", "language")),
        task("wikitext103", "lm-eval", "paper", groups=("language",)),
        task("xsum", "tldr"),
        task("coqa", "turns", "lm-eval", lm_eval={"lm-eval": "coqa"}),
    )
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("xsum", "xsum@tldr"),
        ("lambada", "lambada@openai"),
        ("wikitext2@paper", "wikitext2@paper"),
        ("lambada@openai*", "lambada@openai lambada@openai-last-token"),
        ("wikitext*", "wikitext2@lm-eval wikitext103@lm-eval"),
        ("wikitext*@paper", "wikitext2@paper wikitext103@paper"),
        ("core", "lambada@openai wikitext2@lm-eval"),
        ("lang*", "wikitext2@lm-eval wikitext103@lm-eval"),
        ("xsum,core", "xsum@tldr lambada@openai wikitext2@lm-eval"),
        (" xsum , ,lambada@standard ", "xsum@tldr lambada@standard"),
        (
            "core,lambada,lambada@*",
            "lambada@openai wikitext2@lm-eval lambada@openai-last-token lambada@standard",
        ),
        ("wikitext10[0-9]", "wikitext103@lm-eval"),
        ("*@paper", "wikitext2@paper wikitext103@paper"),
        ("core@openai*", "lambada@openai lambada@openai-last-token"),
        ("lambada_standard", "lambada@standard"),
        ("lambada_openai,lambada", "lambada@openai"),
        ("lambada_*", "lambada@openai lambada@standard"),
        ("lambada_openai@*", "lambada@openai"),
        ("lambada*", "lambada@openai"),  # a name of ours is meant first
        ("coqa", "coqa@turns"),
    ],
)
def test_select(text: str, expected: str) -> None:
    found = select(text, TASKS)
    assert [f"{one.name}@{protocol.name}" for one, protocol in found] == expected.split()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lambda", r"unknown task 'lambda'; did you mean 'lambada'\?; see: gpt2eval tasks"),
        ("cores", r"unknown task 'cores'; did you mean 'core'\?"),
        ("LAMBADA", r"did you mean 'lambada'\?"),
        ("lambada_opnai", r"unknown task 'lambada_opnai'; did you mean 'lambada_openai'\?"),
        ("lambada_openai@x", r"lm-eval's name of lambada@openai and has no protocol 'x'; give one"),
        ("wikitext", r"did you mean 'wikitext2'\?"),
        ("core@papr", r"lambada, wikitext2 have no protocol 'papr'.*mean 'paper'\?; they have: op"),
        ("zzzzzz", r"unknown task 'zzzzzz'; see"),
        ("Lambada", r"unknown task 'Lambada'; did you mean 'lambada'"),
        ("lambada@opnai", r"no protocol 'opnai' \(in 'lambada@opnai'\); did you mean 'openai'\?"),
        ("lambada@zzz", r"no protocol 'zzz'.*it has: openai, openai-last-token, standard"),
        ("xsum,nope@*", r"unknown task 'nope'"),
        ("", r"--tasks '' names no task; see: gpt2eval tasks"),
        (" , ", r"--tasks ' , ' names no task"),
    ],
)
def test_select_nothing(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        select(text, TASKS)


def test_where_a_name_means_another_protocol_to_lm_eval_it_is_said() -> None:
    words = "coqa is coqa@turns here; what lm-eval calls coqa is coqa@lm-eval"
    assert other_meanings("lambada, coqa,xsum", TASKS) == [words]
    assert other_meanings("coqa@turns,lambada_openai", TASKS) == []


# ---- laws over the built-in tasks ---------------------------------------------------------------

BUILT_IN = discover(bundled_directory())  # a directory without task files
PROTOCOLS = {
    f"{task.name}@{protocol.name}": (task, protocol)
    for task in BUILT_IN.values()
    for protocol in task.protocols
}
EXTRAS = {
    name
    for name, (_, protocol) in PROTOCOLS.items()
    if any(find_spec(module) is None for metric in protocol.metrics for module in metric.needs)
}
BUNDLED = [
    name
    for name, (_, protocol) in PROTOCOLS.items()
    if name not in EXTRAS
    and any(
        all((bundled_directory() / f).is_file() for f in files) for files in protocol.dataset.files
    )
]


def test_all_but_the_tokens_files_are_bundled() -> None:
    missing = set(PROTOCOLS) - set(BUNDLED) - EXTRAS
    assert all("paper" in name and name.startswith("wikitext") for name in missing)
    assert len(BUNDLED) > 10


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_samples(name: str) -> None:
    _, protocol = PROTOCOLS[name]
    rows = load(protocol.dataset, "bundled").rows
    samples = list(protocol.samples(rows))
    assert len(samples) >= 2
    ids = [sample.id for sample in samples]
    assert len(set(ids)) == len(ids)
    assert all(ids)
    again = list(protocol.samples(rows))
    assert ids == [sample.id for sample in again]
    for sample, other in zip(samples, again, strict=True):
        asked = protocol.requests(sample)
        assert asked
        assert list(asked) == list(protocol.requests(other))
        assert all(isinstance(request, (Score, Rolling, Generate, Embed)) for request in asked)
        assert len({*asked}) <= len(asked)  # hashable
        if any(isinstance(request, Generate) for request in asked):
            assert sample.references
            assert all(reference.strip() for reference in sample.references)


@pytest.mark.parametrize("name", BUNDLED)
def test_baselines(name: str) -> None:
    """Model-free systems give a text for each sample, or choices; the same from the same seed."""
    _, protocol = PROTOCOLS[name]
    samples = list(protocol.samples(load(protocol.dataset, "bundled").rows))
    for system in protocol.baselines.values():
        answers, again = (
            [system(sample, random) for sample in samples]
            for random in (np.random.default_rng(1), np.random.default_rng(1))
        )
        assert answers == again
        for sample, answer in zip(samples, answers, strict=True):
            if isinstance(answer, str):
                assert answer.strip()
            elif isinstance(answer, float):
                assert answer > 0
            else:
                assert answer
                assert set(answer) <= set(range(len(sample.fields["choices"])))


@pytest.mark.parametrize("name", PROTOCOLS)
def test_protocol(name: str) -> None:
    task, protocol = PROTOCOLS[name]
    assert task.summary
    assert task.source
    assert task.version >= 1
    assert protocol.summary
    assert protocol.detail.endswith((".", "%"))
    names = [metric.name for metric in protocol.metrics]
    assert names
    assert len(set(names)) == len(names)
    assert json.loads(json.dumps(protocol.options, allow_nan=False)) == protocol.options
    assert not protocol.references  # they are in reference_numbers.json


@pytest.mark.parametrize("task", BUILT_IN.values(), ids=BUILT_IN.keys())
def test_names(task: Any) -> None:
    names = [protocol.name for protocol in task.protocols]
    assert len(set(names)) == len(names)
    for name in (task.name, *names, *task.groups):
        assert name.translate(dict.fromkeys(map(ord, "-_."))).isalnum()
        assert name == name.lower()


def test_lm_evals_names_are_ours_or_nobodys() -> None:
    """Each leads to one protocol, and where it is one of our names, to one of that task's."""
    named = [protocol.lm_eval for _, protocol in PROTOCOLS.values() if protocol.lm_eval]
    assert len(named) == len(set(named))
    assert {"lambada_openai", "wikitext", "wsc273", "nq_open", "wmt14-en-fr"} <= set(named)
    groups = {group for task in BUILT_IN.values() for group in task.groups}
    for name, (task, protocol) in twins(BUILT_IN).items():
        assert name not in groups
        if name in BUILT_IN:
            assert task.name == name
        else:
            assert select(name, BUILT_IN) == [(task, protocol)]


def test_no_group_has_the_name_of_a_task() -> None:
    groups = {group for task in BUILT_IN.values() for group in task.groups}
    assert groups.isdisjoint(BUILT_IN)
    assert "core" in groups
