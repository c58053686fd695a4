"""Imports point one way, and light things stay light."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ENGINE = ROOT / "gpt2eval"
TASKS = ROOT / "tasks"

# A room is a module or a package directly in gpt2eval/. A room may import itself and what stands
# behind it here, nothing else of the house.
NOUNS = {"errors", "types", "digests", "naming", "alphabet"}
FILES = NOUNS | {"data", "task", "metrics", "stats", "results", "published", "labels"}
MAY_IMPORT = {
    "errors": set(),
    "types": set(),
    "digests": set(),
    "naming": set(),
    "alphabet": set(),
    "archive": NOUNS,
    "manifest": NOUNS,
    "pickled": NOUNS | {"archive"},
    "lineage": NOUNS,
    "data": NOUNS | {"archive", "manifest"},
    "published": NOUNS | {"data"},
    "task": NOUNS | {"data"},
    "stats": NOUNS | {"task"},
    "metrics": NOUNS | {"task", "stats"},
    "recipes": NOUNS | {"data", "task", "metrics"},
    "shapes": set(),
    "results": NOUNS | {"shapes", "task", "metrics", "stats"},
    "labels": {"types", "naming"},
    "options": {"errors"},
    "experiment": NOUNS | {"options"},
    "significance": {"stats"},
    "winner": {"stats"},
    "beside": {"errors"},
    "compare": FILES | {"beside", "significance", "winner", "experiment"},
    "report": FILES | {"beside"},
    "check": FILES | {"compare", "report"},
    "formats": NOUNS | {"pickled"},
    "checkpoint": NOUNS | {"formats", "lineage"},
    "room": NOUNS | {"checkpoint", "formats"},
    "model": NOUNS | {"checkpoint", "formats", "room"},
    "runner": NOUNS | {"checkpoint", "model", "room"},
    "demo": set(),
}
# Rooms that are not in the table (run, and whatever a new command needs) stand above all that are:
# they may import everything but the door, and only they and the door may import them.
DOOR = {"cli", "__main__"}

# Only model/ knows transformers, and finetuning/, which only the command line imports; the script
# that trained the bundled checkpoints is no part of the engine. Rooms above the table may use
# torch.
MAY_USE_TRANSFORMERS = {"model", "demo", "finetuning"}
MAY_NOT_USE_TORCH = set(MAY_IMPORT) - {"model", "runner", "demo"} | DOOR

# What `import gpt2eval` and `gpt2eval --help` must not load.
HEAVY = ("torch", "transformers", "datasets", "numpy", "pandas", "matplotlib", "scipy", "pydantic")
# Rooms that work on files, without the engine's weight.
WEIGHTLESS = ["types", "errors", "task", "data", "metrics", "stats", "results", "report"]
WEIGHTLESS += ["labels", "significance", "compare", "check"]
WEIGHTLESS += ["reporting", "peers", "experiment", "winner", "overlap", "overlap.split", "beside"]


def imported(path: Path, package: str) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of every import in a file, those inside functions included.

    `from a.b import c` gives "a.b.c": c may be a module.
    """
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: 1 - node.level or None] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def engine_imports() -> list[tuple[str, str, str]]:
    """(where, room, imported name) of every import of the engine but those in __init__.py."""
    found = []
    for path in sorted(ENGINE.rglob("*.py")):
        parts = path.relative_to(ENGINE).with_suffix("").parts
        if parts == ("__init__",):
            continue
        package = ".".join(["gpt2eval", *parts[:-1]])
        for line, name in imported(path, package):
            found.append((f"{path.relative_to(ROOT)}:{line}", parts[0], name))
    assert found, f"no imports found in {ENGINE}: the laws below would hold of nothing"
    return found


def room_of(name: str) -> str | None:
    """The room an imported name belongs to; None for other packages and for the public names."""
    package, _, rest = name.partition(".")
    room = rest.split(".")[0]
    if package != "gpt2eval" or not room:
        return None
    return room if (ENGINE / room).is_dir() or (ENGINE / f"{room}.py").is_file() else None


def test_imports_point_one_way():
    wrong = []
    for where, room, name in engine_imports():
        target = room_of(name)
        if target is None or target == room:
            continue
        if room in MAY_IMPORT:
            allowed = target in MAY_IMPORT[room]
        else:
            allowed = target not in DOOR or room == "__main__"
        if not allowed:
            wrong.append(f"{where}: {room} imports {name}")
    assert not wrong, "\n".join(wrong)


def in_circles(below: dict[str, set[str]]) -> dict[str, set[str]]:
    """The rooms that are left once those that import none of the others are taken away."""
    left = below
    while free := {room for room, targets in left.items() if not targets & left.keys()}:
        left = {room: targets for room, targets in left.items() if room not in free}
    return left


def test_the_table_has_no_circle():
    assert not in_circles(MAY_IMPORT), "each of these rooms may import another of them"


def test_rooms_do_not_import_each_other_in_circles():
    """Those above the table neither."""
    below: dict[str, set[str]] = {}
    for _, room, name in engine_imports():
        below.setdefault(room, set())
        if (target := room_of(name)) and target != room:
            below[room].add(target)
    assert in_circles({"a": {"b"}, "b": {"a"}, "c": {"a"}}).keys() == {"a", "b", "c"}
    assert not in_circles(below), "each of these rooms imports another of them"


def test_engine_does_not_import_its_own_public_names():
    """`from gpt2eval import Task` inside the engine hides where Task lives."""
    wrong = [
        f"{where}: {name}"
        for where, _, name in engine_imports()
        if name.startswith("gpt2eval.") and room_of(name) is None and name != "gpt2eval.__version__"
    ]
    assert not wrong, "\n".join(wrong)


def test_only_the_model_knows_transformers():
    wrong = [
        f"{where}: {name}"
        for where, room, name in engine_imports()
        if name.split(".")[0] == "transformers" and room not in MAY_USE_TRANSFORMERS
    ]
    assert not wrong, "\n".join(wrong)


def test_training_is_a_room_of_its_own():
    """The command line parses for it and shows what it made; nothing else knows it."""
    wrong = [
        f"{where}: {name}"
        for where, room, name in engine_imports()
        if room_of(name) == "finetuning" and room not in {"finetuning", "cli", "terminal"}
    ]
    assert not wrong, "\n".join(wrong)


def test_rooms_that_work_on_files_do_not_mention_torch():
    wrong = [
        f"{where}: {name}"
        for where, room, name in engine_imports()
        if name.split(".")[0] == "torch" and room in MAY_NOT_USE_TORCH
    ]
    assert not wrong, "\n".join(wrong)


def test_engine_names_no_oracle_and_no_plug_in():
    """lm-eval is compared with, never used; tasks reach the engine by their entry point."""
    wrong = [
        f"{where}: {name}"
        for where, _, name in engine_imports()
        if name.split(".")[0] in {"lm_eval", "gpt2eval_tasks", "tasks"}
    ]
    assert not wrong, "\n".join(wrong)


def test_tasks_import_public_names_and_the_standard_library_only():
    import gpt2eval

    public = {f"gpt2eval.{name}" for name in gpt2eval.__all__}
    wrong = []
    files = sorted(TASKS.rglob("*.py"))
    assert [path for path in files if path.name != "__init__.py"], f"no tasks in {TASKS}"
    for path in files:
        for line, name in imported(path, "tasks"):
            top = name.split(".")[0]
            if name not in public and top != "numpy" and top not in sys.stdlib_module_names:
                wrong.append(f"{path.relative_to(ROOT)}:{line}: {name}")
    assert not wrong, "\n".join(wrong)


def loaded_by(*command: str) -> set[str]:
    """Names of the heavy packages that a fresh interpreter has loaded after a command."""
    watch = (
        "import atexit, sys; atexit.register(lambda: print('LOADED', *sorted("
        f"set({HEAVY!r}) & set(sys.modules))))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", watch + "\n".join(command)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("LOADED")]
    return set(line.split()[1:])


def test_the_watch_sees_what_is_loaded():
    assert loaded_by("import gpt2eval, numpy") == {"numpy"}


def test_import_gpt2eval_is_light():
    assert loaded_by("import gpt2eval; dir(gpt2eval)") == set()


def test_help_is_light():
    command = (
        "import runpy, sys",
        "sys.argv = ['gpt2eval', '--help']",
        "runpy.run_module('gpt2eval', run_name='__main__')",
    )
    assert loaded_by(*command) == set()


@pytest.mark.parametrize("room", WEIGHTLESS)
def test_rooms_that_work_on_files_load_neither_torch_nor_transformers(room):
    assert not loaded_by(f"import gpt2eval.{room}") & {"torch", "transformers", "datasets"}


@pytest.mark.parametrize("room", ["types", "errors", "task", "data"])
def test_the_nouns_load_nothing_heavy(room):
    """Listing and explaining tasks must be quick, so that naming a task costs no numpy."""
    assert loaded_by(f"import gpt2eval.{room}") == set()
