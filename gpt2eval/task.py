"""What a benchmark is, and how benchmarks are found.

A Task is data and two functions: `samples` turns the rows of a data set into Samples, `requests`
turns a Sample into what the model is asked. A Protocol holds the two, the metrics, and the choices
that make two published numbers differ.
"""

from __future__ import annotations

import pkgutil
import re
import runpy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from fnmatch import fnmatchcase
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from gpt2eval.errors import Gpt2EvalError, TaskError, UsageError
from gpt2eval.types import Request, Response, Sample

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gpt2eval.data import Dataset

    Baseline = Callable[[Sample, np.random.Generator], str | float | Sequence[int]]


@dataclass(frozen=True, slots=True)
class Metric:
    """Statistics per sample, and a function of their sum.

    stats     (sample, responses) -> the sample's statistics, always the same number of floats
    value     sums [..., k] -> values [...]; must accept leading axes, since intervals resample
    unit      of the value: "perplexity", "bits", "fraction", "points"
    per       what the denominator counts: "words", "tokens", "bytes", "passages"
    higher_is_better  None where neither direction is: nothing is then marked as best
    count     index of the statistic that is the denominator; None: the number of samples
    interval  "bootstrap", "wilson" for a share of samples that are right (statistics: right, 1),
              "share" for another mean of numbers from 0 to 1 (statistics: number * weight, weight),
              "none" where a resample is not like a sample: a text drawn twice repeats itself, or
              "seeds" where besides the value depends on a seed: `value` gives one for each of
              some, the estimate is their mean, and its method says how far they spread
    signature everything in the metric that can change the number (sacrebleu's, say)
    part      name of the part of the samples that the metric is over; empty: all of them
    member    whether a sample belongs to that part; None: every sample does
    corpus    for what no sum can say, an order or a set: `value` takes the list of the samples'
              statistics, [samples] of [any length], and gives one number; `count` is not read
    confident the metric reads what only a model gives: log-probabilities of what was written, or
              vectors. Baselines have no value of it
    enough    samples below which the value says little; it then has a note
    needs     packages without which there is no value: name of the module -> what installs it
    """

    name: str
    stats: Callable[[Sample, Sequence[Response]], Sequence[float]]
    value: Callable[[Any], NDArray[np.float64]]
    unit: str
    per: str
    higher_is_better: bool | None
    count: int | None = -1
    interval: str = "bootstrap"
    signature: str = ""
    part: str = ""
    member: Callable[[Sample], bool] | None = None
    corpus: bool = False
    confident: bool = False
    enough: int = 0
    needs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fewshot:
    """Examples that may stand before a question, drawn anew for each seed by `--num-fewshot N`.

    dataset    where they come from: rows that are never scored
    render     row -> an example as it stands in the prompt, its answer included
    count      how many there are when nobody asks
    separator  what follows each of them
    """

    dataset: Dataset
    render: Callable[[Mapping[str, Any]], str]
    count: int = 0
    separator: str = "\n\n"


@dataclass(frozen=True, slots=True)
class Protocol:
    """One exact way to get a number out of a task.

    name       what stands behind the "@"
    summary    one line for tables and lists
    detail     what is scored and divided by what, and why it differs from its siblings
    dataset    where the rows come from
    samples    rows -> Samples
    requests   Sample -> Requests; identical requests are computed once, whoever asks
    followup   the sample and the responses to `requests` -> what the scorer is asked about them;
               its responses come after the others. The scorer is the model itself, or the
               checkpoint that the run names
    metrics    what is computed from the responses
    extract    generated text -> the part that is scored
    baselines  model-free systems: name -> (sample, random generator) -> a text; or the indices of
               the choices it picks from, each as often as the others; or, where all metrics are of
               the likelihood per unit of the data, what the sample costs it in nats, a float
    fewshot    examples before the question; a run puts them, rendered and joined, into
               `sample.fields["examples"]`, and `requests` begins its prompts with them
    options    every choice that can change the number, recorded in the result and its signature
    references published numbers of a task of one's own: {"model", "metric", "value", "source"}, and
               "tolerance", relative, where they can be judged; those of the built-in tasks are in
               `reference_numbers.json`
    lm_eval    the task of lm-evaluation-harness that asks the same, for `import` and `export`; also
               a name that `--tasks` takes
    """

    name: str
    summary: str
    dataset: Dataset
    samples: Callable[[Iterable[Mapping[str, Any]]], Iterable[Sample]]
    requests: Callable[[Sample], Sequence[Request]]
    metrics: tuple[Metric, ...]
    detail: str = ""
    extract: Callable[[str], str] = str.strip
    baselines: Mapping[str, Baseline] = field(default_factory=dict)
    fewshot: Fewshot | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    references: tuple[Mapping[str, Any], ...] = ()
    followup: Callable[[Sample, Sequence[Response]], Sequence[Request]] | None = None
    lm_eval: str = ""


@dataclass(frozen=True, slots=True)
class Task:
    """A benchmark: a name, a version, and its protocols; the first one is the default.

    version   raised whenever a change can move a number
    kind      "likelihood" or "generation", for the layout of reports
    groups    names under which the task is found besides its own ("core")
    source    where the benchmark comes from: paper and address
    story     why the numbers that are published of one model differ; empty: nothing to tell
    bibtex    the same as BibTeX entries, for the references of a report
    """

    name: str
    version: int
    summary: str
    protocols: tuple[Protocol, ...]
    groups: tuple[str, ...] = ()
    source: str = ""
    story: str = ""
    bibtex: str = ""


# ---- discovery ----------------------------------------------------------------------------------


def discover(directory: str | Path | None = None) -> dict[str, Task]:
    """All tasks by name: installed plug-ins, and those of a directory of task files.

    Plug-ins announce themselves in the entry-point group `gpt2eval.tasks` by a module or a package;
    every Task at the top level of it, or of a module in it, counts. `directory` defaults to
    `./tasks`, of which only files that import gpt2eval are run. Raises TaskError for a plug-in that
    cannot be loaded and for two tasks of one name.
    """
    found: dict[str, tuple[Task, str]] = {}
    for entry in sorted(entry_points(group="gpt2eval.tasks"), key=lambda entry: entry.name):
        for module in _modules(entry.value):
            _collect(vars(module), str(module.__file__), found)
    for path in _task_files(directory):
        _collect(_execute(path), str(path), found)
    return {name: task for name, (task, _) in sorted(found.items())}


def _modules(name: str) -> Iterator[ModuleType]:
    try:
        module = import_module(name)
        yield module
        for info in pkgutil.iter_modules(getattr(module, "__path__", [])):
            yield import_module(f"{name}.{info.name}")
    except Gpt2EvalError:
        raise
    except Exception as error:  # a stranger's module may raise anything
        raise TaskError(f"task plug-in {name!r} cannot be loaded: {error!r}") from error


def _task_files(directory: str | Path | None) -> list[Path]:
    if directory is None:
        folder = Path("tasks")
    else:
        folder = Path(directory).expanduser()
        if not folder.is_dir():
            raise UsageError(f"--tasks-dir {str(directory)!r} is not a directory")
    return [
        path
        for path in sorted(folder.glob("*.py"))
        if re.search(r"^\s*(from|import)\s+gpt2eval\b", path.read_text("utf-8", "replace"), re.M)
    ]


def _execute(path: Path) -> dict[str, Any]:
    try:
        return runpy.run_path(str(path), run_name=f"gpt2eval_task_{path.stem}")
    except Exception as error:  # a user's file may raise anything
        raise TaskError(f"task file {path} cannot be loaded: {error!r}") from error


def _collect(names: Mapping[str, Any], origin: str, found: dict[str, tuple[Task, str]]) -> None:
    """Add the tasks of one file. The same file may come twice: installed, and as ./tasks."""
    here: dict[str, Task] = {}
    for task in names.values():
        if not isinstance(task, Task):
            continue
        twice = here.setdefault(task.name, task) is not task
        known = found.setdefault(task.name, (task, origin))
        if known[0] is task:
            continue
        # A clone of the repository holds the very files that are installed.
        if twice or Path(known[1]).read_bytes() != Path(origin).read_bytes():
            raise TaskError(
                f"task {task.name!r} is defined in {known[1]} and in {origin}; rename one of them"
            )


def select(text: str, tasks: Mapping[str, Task]) -> list[tuple[Task, Protocol]]:
    """`wikitext2,lambada@*,core` -> tasks with protocols, in the order asked, none twice.

    A name is a task, a group or a glob over both; `@protocol` may be a glob too. Of several tasks,
    those that have the protocol are meant. A name that only lm-evaluation-harness has, such as
    lambada_openai, is the protocol that asks the same. Raises UsageError that suggests the nearest
    name.
    """
    chosen: dict[str, tuple[Task, Protocol]] = {}
    for part in _parts(text):
        name, _, protocol = part.partition("@")
        matching = _matching_tasks(name, tasks)
        if matching:
            found = [(task, x) for task in matching for x in _matching_protocols(task, protocol)]
        else:
            found = _matching_twins(name, protocol, tasks)
            matching = [task for task, _ in found]
        if not matching:
            raise UsageError(_unknown(name, protocol, tasks))
        if not found:
            raise UsageError(_no_protocol(matching, protocol, part))
        for task, one in found:
            chosen.setdefault(f"{task.name}@{one.name}", (task, one))
    if not chosen:
        raise UsageError(f"--tasks {text!r} names no task; see: gpt2eval tasks")
    return list(chosen.values())


def _parts(text: str) -> Iterator[str]:
    return filter(None, (piece.strip() for piece in text.split(",")))


def twins(tasks: Mapping[str, Task]) -> dict[str, tuple[Task, Protocol]]:
    """lm-evaluation-harness's name of a task -> the protocol of ours that asks the same."""
    return {
        protocol.lm_eval: (task, protocol)
        for task in tasks.values()
        for protocol in task.protocols
        if protocol.lm_eval
    }


def other_meanings(text: str, tasks: Mapping[str, Task]) -> list[str]:
    """What there is to say of names in `--tasks` by which lm-eval means another protocol."""
    theirs = twins(tasks)
    found = []
    for name in _parts(text):
        if name in tasks and name in theirs and theirs[name][1] is not tasks[name].protocols[0]:
            ours = f"{name}@{tasks[name].protocols[0].name}"
            found.append(
                f"{name} is {ours} here; what lm-eval calls {name} is"
                f" {theirs[name][0].name}@{theirs[name][1].name}"
            )
    return found


def _matching_tasks(name: str, tasks: Mapping[str, Task]) -> list[Task]:
    return [
        task
        for task in tasks.values()
        if any(fnmatchcase(n, name) for n in (task.name, *task.groups))
    ]


def _matching_twins(
    name: str, protocol: str, tasks: Mapping[str, Task]
) -> list[tuple[Task, Protocol]]:
    """The protocols that lm-eval has under a name; one that is given has to be that."""
    return [
        (task, one)
        for theirs, (task, one) in twins(tasks).items()
        if fnmatchcase(theirs, name) and fnmatchcase(one.name, protocol or "*")
    ]


def _unknown(name: str, protocol: str, tasks: Mapping[str, Task]) -> str:
    """What to say of a name that nothing has."""
    theirs = twins(tasks)
    if name in theirs:
        task, one = theirs[name]
        return (
            f"{name!r} is lm-eval's name of {task.name}@{one.name} and has no protocol"
            f" {protocol!r}; give one of the two names alone"
        )
    groups = {group for task in tasks.values() for group in task.groups}
    # Whole names too: wikitext_hf is nearest to wikitext2@hf-docs-512.
    whole = {f"{task.name}@{one.name}" for task in tasks.values() for one in task.protocols}
    names = [*sorted({*tasks, *groups}), *sorted({*whole, *theirs})]
    return f"unknown task {name!r}{_nearest(name, names)}; see: gpt2eval tasks"


def _matching_protocols(task: Task, name: str) -> list[Protocol]:
    if not name:
        return [task.protocols[0]]
    return [protocol for protocol in task.protocols if fnmatchcase(protocol.name, name)]


def _no_protocol(tasks: Sequence[Task], name: str, part: str) -> str:
    names = list(dict.fromkeys(protocol.name for task in tasks for protocol in task.protocols))
    who, they = f"task {tasks[0].name!r} has", "it has"
    if len(tasks) > 1:
        who, they = f"{', '.join(task.name for task in tasks)} have", "they have"
    return (
        f"{who} no protocol {name!r} (in {part!r}){_nearest(name, names)};"
        f" {they}: {', '.join(names)}"
    )


def _nearest(name: str, names: Sequence[str]) -> str:
    near = get_close_matches(name.lower(), names, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""
