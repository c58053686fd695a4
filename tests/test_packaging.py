"""What is in the source distribution and the wheel, and that a wheel works anywhere."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import gpt2eval
from gpt2eval.results import load_results
from tests.test_docs import blocks

ROOT = Path(__file__).parents[1]
MEGABYTE = 1_000_000
NOT_SOURCE = (".git", ".venv*", "*.egg-info", "__pycache__", ".*_cache", ".hypothesis", "build")

# One build for all tests of this file: they run on one worker.
pytestmark = pytest.mark.xdist_group("packaging")


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    """Paths of the sdist, and of the wheel that is built from that sdist and not from the tree."""
    work = tmp_path_factory.mktemp("build")
    source = work / "source with a space"
    # A copy: building writes into the tree it builds from.
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(*NOT_SOURCE, "dist"), symlinks=True)
    # What a used checkout holds must not be shipped.
    (source / "results" / "gpt2").mkdir()
    (source / "results" / "gpt2" / "result.json").write_text("{}")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(work / "dist"), "."]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    (sdist,) = (work / "dist").glob("*.tar.gz")
    (wheel,) = (work / "dist").glob("*.whl")
    return sdist, wheel


@pytest.fixture(scope="module")
def in_wheel(distributions):
    """Name -> size in bytes of every file in the wheel."""
    with zipfile.ZipFile(distributions[1]) as archive:
        return {item.filename: item.file_size for item in archive.infolist()}


@pytest.fixture(scope="module")
def in_sdist(distributions):
    with tarfile.open(distributions[0]) as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


@pytest.fixture(scope="module")
def installed(distributions, tmp_path_factory):
    """A directory with nothing but the installed wheel."""
    target = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    command += ["--target", str(target), str(distributions[1])]
    subprocess.run(command, check=True)
    return target


def files_below(directory: Path) -> set[str]:
    return {
        path.relative_to(ROOT).as_posix()
        for path in directory.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.mark.parametrize("room", ["samples", "demo", "report"])
def test_wheel_has_every_data_file(in_wheel, room):
    expected = {name for name in files_below(ROOT / "gpt2eval" / room) if not name.endswith(".py")}
    assert expected <= in_wheel.keys()
    # The report may be all code; samples and checkpoints without data would be nothing.
    assert expected or room == "report"


def test_wheel_has_the_published_numbers(in_wheel):
    assert in_wheel["gpt2eval/reference_numbers.json"] > 10_000


def test_wheel_has_every_module(in_wheel):
    engine = {name for name in files_below(ROOT / "gpt2eval") if name.endswith(".py")}
    tasks = {
        name.replace("tasks/", "gpt2eval_tasks/", 1)
        for name in files_below(ROOT / "tasks")
        if name.endswith(".py")
    }
    assert len(tasks) > 1, "no tasks"
    assert engine | tasks | {"gpt2eval/py.typed"} <= in_wheel.keys()


def test_wheel_has_nothing_else(in_wheel):
    tops = {name.split("/")[0] for name in in_wheel}
    assert tops == {"gpt2eval", "gpt2eval_tasks", f"gpt2eval-{gpt2eval.__version__}.dist-info"}
    assert not [name for name in in_wheel if "__pycache__" in name or name.endswith(".pyc")]


def test_wheel_is_small(distributions):
    assert distributions[1].stat().st_size < 25 * MEGABYTE


def test_bundled_checkpoints_are_whole_and_small():
    demo = ROOT / "gpt2eval" / "demo"
    checkpoints = sorted(path.parent for path in demo.rglob("*.safetensors"))
    assert len(checkpoints) >= 2, "a comparison needs two checkpoints"
    for checkpoint in checkpoints:
        assert (checkpoint / "config.json").is_file(), checkpoint
        assert (checkpoint / "tokenizer.json").is_file() or (checkpoint / "vocab.json").is_file()
        size = sum(path.stat().st_size for path in checkpoint.rglob("*") if path.is_file())
        assert size <= 8 * MEGABYTE, f"{checkpoint.name}: {size:,} bytes"


def test_sdist_has_what_tests_and_builds_need(in_sdist):
    expected = {
        ".dockerignore",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "Dockerfile",
        "LICENSE",
        "Makefile",
        "README.md",
        "RELEASING.md",
        ".ci/run",
        ".ci/versions",
        "mkdocs.yml",
        "pyproject.toml",
        "reports/README.md",
        "requirements-test.lock",
        "requirements.lock",
        "results/README.md",
        "setup.py",
    }
    for room in ("docs", "gpt2eval", "tasks", "tests"):
        expected |= files_below(ROOT / room)
    assert expected <= in_sdist
    assert not [name for name in in_sdist if name.startswith("results/gpt2")]


def test_names_of_files_are_portable(in_sdist, in_wheel):
    # Windows has no ":" or "|" in names, and some installers refuse an archive that has them.
    assert not [name for name in in_sdist | in_wheel.keys() if not re.fullmatch(r"[\w.+/-]*", name)]


def test_metadata(distributions):
    with zipfile.ZipFile(distributions[1]) as archive:
        info = f"gpt2eval-{gpt2eval.__version__}.dist-info"
        metadata = archive.read(f"{info}/METADATA").decode()
        entry_points = archive.read(f"{info}/entry_points.txt").decode()
        assert f"{info}/licenses/LICENSE" in archive.namelist()
    assert f"\nVersion: {gpt2eval.__version__}\n" in metadata
    assert "\nLicense-Expression: Apache-2.0\n" in metadata
    named = re.findall(r"^Classifier: Programming Language :: Python :: (3\.\d+)$", metadata, re.M)
    assert named == [f"3.{minor}" for minor in range(10, 10 + len(named))]
    assert f"\nRequires-Python: >={named[0]}\n" in metadata
    assert "gpt2eval = gpt2eval.cli:main" in entry_points
    assert "[gpt2eval.tasks]\nbuiltin = gpt2eval_tasks" in entry_points


def test_wheel_works_in_an_empty_directory(installed, tmp_path):
    code = (
        "import gpt2eval, gpt2eval_tasks; from importlib.metadata import entry_points\n"
        "from importlib.resources import files\n"
        "(tasks,) = entry_points(group='gpt2eval.tasks', name='builtin')\n"
        "assert tasks.load() is gpt2eval_tasks\n"
        "assert files('gpt2eval').joinpath('samples').is_dir()\n"
        "print(gpt2eval.__file__, gpt2eval_tasks.__file__, sep='\\n')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for path in done.stdout.split("\n")[:2]:
        assert Path(path).is_relative_to(installed)


@pytest.fixture(scope="module")
def with_plugin(distributions, tmp_path_factory):
    """The `gpt2eval` of an environment that has nothing but ours and the package of CONTRIBUTING.

    What both depend on comes from the environment that runs the tests, whose own gpt2eval stands
    behind the installed one.
    """
    work = tmp_path_factory.mktemp("plugin")
    source, venv = work / "source", work / "venv"
    source.mkdir()
    for language, name in (("python", "gpt2eval_capitals.py"), ("toml", "pyproject.toml")):
        (block,) = blocks("CONTRIBUTING.md", language)
        (source / name).write_text(block, encoding="utf-8")
    build = ["build", "--wheel", "--no-isolation", "--outdir", str(work), str(source)]
    done = subprocess.run([sys.executable, "-m", *build], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    (wheel,) = work.glob("gpt2eval_capitals-*.whl")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    python = next(path for path in venv.glob("*/python*") if path.is_file())
    pip = ["pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([sys.executable, "-m", *pip, str(distributions[1]), str(wheel)], check=True)
    (packages,) = venv.glob("**/site-packages")
    borrowed = [path for path in sys.path if Path(path).name == "site-packages"]
    (packages / "borrowed.pth").write_text("\n".join(borrowed))
    return python.parent / "gpt2eval"


def test_the_package_of_contributing_works_beside_ours(with_plugin, tmp_path):
    rows = '{"country": "France", "capital": "Paris"}\n{"country": "Peru", "capital": "Lima"}\n'
    (tmp_path / "data" / "capitals").mkdir(parents=True)
    (tmp_path / "data" / "capitals" / "test.jsonl").write_text(rows)

    def called(*arguments):
        done = subprocess.run(
            arguments,
            cwd=tmp_path,
            env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    python = with_plugin.with_name("python")
    where = called(python, "-c", "import gpt2eval, gpt2eval_capitals; print(gpt2eval.__file__)")
    assert Path(where).is_relative_to(python.parents[1])
    listed = called(with_plugin, "tasks")
    assert "capitals@greedy" in listed
    assert "lambada@openai" in listed
    asked = ["--tasks", "capitals", "--model", "demo-base", "--data", "data"]
    shown = called(with_plugin, "run", *asked)
    assert "capitals@greedy" in shown
    (result,) = load_results(tmp_path / "results")
    assert result.metrics["accuracy"].denominator == "2 countries"
    assert result.data["selected"] == 2


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-test.lock"])
def test_lock_has_pinned_names_only(name):
    lines = (ROOT / name).read_text().splitlines()
    pins = [line for line in lines if not line.startswith(("#", "--requirement requirements"))]
    assert pins
    # No hosts, no paths, no local builds ("+cpu"), and torch without its CUDA packages.
    assert not [line for line in pins if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9a-z.]+", line)]
    assert not [line for line in pins if line.startswith(("nvidia", "triton", "cuda"))]


def test_locks_name_each_package_once():
    pins = [
        re.sub(r"[-_.]+", "-", line.partition("==")[0]).lower()
        for name in ("requirements.lock", "requirements-test.lock")
        for line in (ROOT / name).read_text().splitlines()
        if "==" in line
    ]
    assert len(pins) == len(set(pins))
    assert "torch" in pins
