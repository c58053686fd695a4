"""An experiment file: models x tasks x options in YAML, read and checked before anything is run.

    models:
      - runs/*/checkpoint-*
      - {path: gpt2, dtype: bfloat16}
      - {path: runs/b/final, name: tuned-1, variant: tuned, seed: 1, step: 2000}
    tasks:
      - wikitext2
      - {name: "lambada@*", limit: 1000}
    data: benchmarks

Every other key is a field of `RunOptions`. Relative paths are relative to the file. It is read as
plain data, whatever tags it has, and bounded in size and depth.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from glob import has_magic
from pathlib import Path
from typing import Any

from gpt2eval.errors import UsageError
from gpt2eval.naming import safe_name
from gpt2eval.options import RunOptions, flag
from gpt2eval.types import Result

LIMIT = 1_000_000  # bytes of a file
DEPTH = 20
ENDINGS = (".yaml", ".yml", ".json")  # JSON is YAML
FIELDS = {item.name: item for item in fields(RunOptions)}
# Of two options that exclude each other, the one that is nearer replaces the one further off.
RIVALS = {"limit": "limit_first", "limit_first": "limit"}
_KINDS = {"str": "a text", "int": "a whole number", "bool": "true or false", "None": "nothing"}
_TYPES = {"str": str, "int": int, "bool": bool, "None": type(None)}
At = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """One of the models or tasks of an experiment, and what is its own.

    what     a checkpoint or a glob over checkpoints; or names of tasks
    options  fields of RunOptions that are other than those of the experiment
    name     what a checkpoint is called in the store; "": as its path says
    about    "variant", "seed", "step" of a checkpoint that has a name, where the file says them
    """

    what: str
    options: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Experiment:
    """What to score, on what, and how.

    options   of all; its `models` and `tasks` are those of the entries
    variants  variant -> seed -> name of the checkpoint, for --group-by
    """

    options: RunOptions
    models: Sequence[Entry]
    tasks: Sequence[Entry]
    variants: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def particular(self) -> bool:
        """Whether an entry has a name or options that the options of all do not say."""
        return any(entry.name or entry.options for entry in (*self.models, *self.tasks))

    def own(self, entry: Entry) -> RunOptions:
        """The options of one entry."""
        return replace(self.options, **_over({}, entry.options))


def of_options(options: RunOptions) -> Experiment:
    """The experiment that a command line without a file is."""
    models = [Entry(source) for source in options.models]
    return Experiment(options, models, [Entry(options.tasks)])


def read_experiment(path: str | Path, given: Mapping[str, Any] | None = None) -> Experiment:
    """An experiment file; UsageError that names the line for what cannot be meant.

    given  options that replace those of the file, in every entry too: those of the command line
    """
    return _Reader(Path(path)).experiment(dict(given or {}))


def is_file(text: str) -> bool:
    """Whether a --group-by is the name of an experiment file; anything else is a pattern."""
    return text.endswith(ENDINGS)


def described(results: Sequence[Result], experiment: Experiment) -> list[Result]:
    """Results whose checkpoints have variant, seed and step as the file says them.

    What a run has stored stays as it was: a file may be corrected without computing anything anew.
    """
    about = {entry.name: entry.about for entry in experiment.models if entry.about}
    return [
        replace(result, checkpoint={**result.checkpoint, **about[result.checkpoint["name"]]})
        if result.checkpoint["name"] in about
        else result
        for result in results
    ]


def _over(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Options with others laid over them; what excludes one of these goes."""
    gone = {RIVALS[name]: None for name, value in own.items() if name in RIVALS and value}
    return {**base, **gone, **own}


class _Reader:
    """One file: its content as plain data, and the line of everything in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: dict[At, int] = {}
        self.content = self._load()

    def experiment(self, given: dict[str, Any]) -> Experiment:
        """The whole, with the options of the command line laid over it."""
        top = self._table(self.content, (), (*FIELDS, "variants"))
        options = {
            name: self._option(name, value, (name,))
            for name, value in top.items()
            if name not in ("models", "tasks", "variants") and value is not None
        }
        models = self._models(top) if "models" not in given else map(Entry, given["models"])
        tasks = self._tasks(top) if "tasks" not in given else [Entry(given["tasks"])]
        entries = [
            [replace(entry, options=_without(entry.options, given)) for entry in part]
            for part in (models, tasks)
        ]
        named = {
            "models": tuple(entry.what for entry in entries[0]),
            "tasks": ",".join(entry.what for entry in entries[1]),
        }
        whole = self._checked((), _over(options, given) | named)
        for at, part in (("models", entries[0]), ("tasks", entries[1])):
            for number, entry in enumerate(part):
                self._checked((at, number), _over(vars_of(whole), entry.options))
        return Experiment(whole, entries[0], entries[1], self._variants(top, entries[0]))

    def _checked(self, at: At, values: Mapping[str, Any]) -> RunOptions:
        try:
            return RunOptions(**values)
        except UsageError as error:
            named = [name for name in values if str(error).startswith(f"{flag(name)} ")]
            raise UsageError(f"{self._place((*at, *named[:1]))}: {error}") from error

    # ---- entries

    def _models(self, top: Mapping[str, Any]) -> list[Entry]:
        per = _per("model")
        entries = []
        names: dict[str, int] = {}
        for number, item in enumerate(self._list(top, "models")):
            at = ("models", number)
            if isinstance(item, str):
                item = {"path": item}
            row = self._table(item, at, ("path", "name", "variant", "seed", "step", *per))
            source = self._beside(self._needed(row, "path", at), "checkpoint")
            about = {}
            for key in ("variant", "seed"):
                if row.get(key) is not None:
                    kinds = "str | int" if key == "seed" else "str"
                    about[key] = str(self._typed(row[key], kinds, (*at, key)))
            if row.get("step") is not None:
                about["step"] = self._typed(row["step"], "int", (*at, "step"))
            name = self._typed(row.get("name", ""), "str", (*at, "name"))
            if name and name != safe_name(name):
                raise self._wrong((*at, "name"), name, f"a name such as {safe_name(name)!r}")
            if about and not name:
                raise UsageError(
                    f"{self._place(at)}: has {' and '.join(about)} but no name; expected the name"
                    " of the checkpoint, by which its results are found. What a glob matches is"
                    " listed under variants instead"
                )
            if names.setdefault(name, number) != number and name:
                raise self._wrong((*at, "name"), name, "a name that no other model has")
            own = {key: self._option(key, row[key], (*at, key)) for key in per if key in row}
            entries.append(Entry(source, own, name, about))
        return entries

    def _tasks(self, top: Mapping[str, Any]) -> list[Entry]:
        if "tasks" not in top:
            return [Entry(str(FIELDS["tasks"].default))]
        per = _per("task")
        entries = []
        for number, item in enumerate(self._list(top, "tasks")):
            at = ("tasks", number)
            if isinstance(item, str):
                item = {"name": item}
            row = self._table(item, at, ("name", *per))
            own = {key: self._option(key, row[key], (*at, key)) for key in per if key in row}
            entries.append(Entry(self._needed(row, "name", at), own))
        return entries

    def _variants(
        self, top: Mapping[str, Any], models: Sequence[Entry]
    ) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = {}
        listed = top.get("variants") or {}
        for variant, seeds in self._table(listed, ("variants",)).items():
            for seed, name in self._table(seeds, ("variants", variant)).items():
                name = self._typed(name, "str", ("variants", variant, seed))
                found.setdefault(variant, {})[seed] = name
        for number, entry in enumerate(models):
            if "variant" in entry.about:
                variant, seed = entry.about["variant"], entry.about.get("seed", entry.name)
                if found.setdefault(variant, {}).setdefault(seed, entry.name) != entry.name:
                    raise self._wrong(
                        ("models", number, "seed"), seed, f"a seed that {variant!r} has once"
                    )
        return found

    # ---- values

    def _option(self, name: str, value: Any, at: At) -> Any:
        """A value for a field of RunOptions."""
        item = FIELDS[name]
        if item.metadata.get("auto") and value == "auto":
            return None
        kinds = f"{item.type} | int" if item.metadata.get("number") else str(item.type)
        self._typed(value, kinds, at)
        place = item.metadata.get("place")
        return self._beside(value, place) if place and isinstance(value, str) else value

    def _beside(self, text: str, place: str) -> str:
        """A path as seen from the file; words that are no path stay."""
        if place == "directory" and text in ("bundled", "hub"):
            return text
        path = Path(text).expanduser()
        beside = self.path.parent / path
        no_hub_id = has_magic(text) or text.startswith((".", "~")) or text.count("/") > 1
        if place == "directory" or no_hub_id or beside.exists():
            return str(beside)
        return text  # a hub id, or the name of a bundled checkpoint

    def _typed(self, value: Any, kinds: str, at: At) -> Any:
        meant = [kind.strip() for kind in kinds.split("|")]
        if type(value) not in [_TYPES[kind] for kind in meant]:
            words = " or ".join(_KINDS[kind] for kind in meant if kind != "None")
            quoted = f"; in quotation marks if that is meant: {str(value)!r}"
            scalar = "str" in meant and not isinstance(value, (str, list, dict))
            raise self._wrong(at, value, words + (quoted if scalar else ""))
        return value

    def _needed(self, row: Mapping[str, Any], key: str, at: At) -> str:
        if not row.get(key):
            raise UsageError(f"{self._place(at)}: has no {key}; expected {key}: ...")
        return str(self._typed(row[key], "str", (*at, key)))

    def _list(self, top: Mapping[str, Any], key: str) -> list[Any]:
        value = top.get(key)
        if value is None:
            return []
        if isinstance(value, str):
            self.lines[key, 0] = self.lines[key,]
            return [value]
        if not isinstance(value, list) or not value:
            raise self._wrong((key,), value, f"a list of {key}, one a line after a dash")
        return value

    def _table(self, value: Any, at: At, known: Sequence[str] | None = None) -> dict[str, Any]:
        """A mapping of keys that are known, written with dashes or underscores."""
        if not isinstance(value, dict):
            what = f"keys such as {', '.join(known[:3])}" if known else "keys with values"
            raise self._wrong(at, value, what)
        row = {}
        for key, item in value.items():
            name = key.replace("-", "_") if known else key
            if known is not None and name not in known:
                near = get_close_matches(name, known, n=1, cutoff=0.5)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise UsageError(
                    f"{self._place((*at, key))}: unknown key {key!r}{hint}; expected one of"
                    f" {', '.join(known)}"
                )
            if name in row:
                raise self._wrong((*at, key), key, "each key once")
            self.lines.setdefault((*at, name), self.lines.get((*at, key), 0))
            row[name] = item
        return row

    # ---- the file

    def _load(self) -> Any:
        import yaml  # a run without a file needs none

        try:
            size = self.path.stat().st_size
            if size > LIMIT:
                raise UsageError(
                    f"{self.path} has {size} bytes; expected an experiment file of at most {LIMIT}"
                )
            text = self.path.read_text(encoding="utf-8-sig")
        except OSError as error:
            raise UsageError(
                f"experiment file {str(self.path)!r} cannot be read ({error.strerror}); expected a"
                " YAML file with models and tasks; a checkpoint is given by --model"
            ) from error
        except UnicodeDecodeError as error:
            raise UsageError(f"{self.path} is not UTF-8 ({error}); save it as UTF-8") from error
        loader = yaml.SafeLoader("")
        try:
            self._check_events(yaml.parse(text, yaml.SafeLoader))
            loader = yaml.SafeLoader(text)
            node = loader.get_single_node()
            return {} if node is None else self._plain(node, (), loader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = f", line {mark.line + 1}" if mark else ""
            raise UsageError(f"{self.path}{line}: not YAML: {error.problem}") from error
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            words = " ".join(str(error).split())[:200]
            raise UsageError(f"{self.path}: not YAML: {words}") from error
        finally:
            loader.dispose()

    def _check_events(self, events: Iterable[Any]) -> None:
        """Refuse what a small file could fill memory or the stack with."""
        import yaml

        depth = 0
        for event in events:
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            line = event.start_mark.line + 1
            if isinstance(event, yaml.AliasEvent):
                raise UsageError(
                    f"{self.path}, line {line}: *{event.anchor} is an alias; write out what it"
                    " stands for"
                )
            if depth > DEPTH:
                raise UsageError(
                    f"{self.path}, line {line}: nested more than {DEPTH} deep; expected models,"
                    " tasks and options"
                )

    def _plain(self, node: Any, at: At, loader: Any) -> Any:
        """A node as plain data."""
        import yaml

        twice, self.lines[at] = at in self.lines, node.start_mark.line + 1
        if twice:
            raise self._wrong(at, at[-1], "each key once")
        if isinstance(node, yaml.SequenceNode):
            items = enumerate(node.value)
            return [self._plain(item, (*at, number), loader) for number, item in items]
        if not isinstance(node, yaml.MappingNode):
            return loader.construct_object(node)
        found = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise UsageError(f"{self._place(at)}: a key is no text; expected key: value")
            found[key.value] = self._plain(value, (*at, key.value), loader)
            self.lines[(*at, key.value)] = key.start_mark.line + 1
        return found

    def _place(self, at: At) -> str:
        """The line of something, or of what it is in."""
        while at and at not in self.lines:
            at = at[:-1]
        return f"{self.path}, line {self.lines[at]}" if at in self.lines else str(self.path)

    def _wrong(self, at: At, value: Any, expected: str) -> UsageError:
        keys = ".".join(str(key) for key in at if isinstance(key, str))
        what = f"{keys}: " if keys else ""
        return UsageError(f"{self._place(at)}: {what}{value!r:.80}; expected {expected}")


def vars_of(options: RunOptions) -> dict[str, Any]:
    """The options as keyword arguments."""
    return {name: getattr(options, name) for name in FIELDS}


def _per(kind: str) -> tuple[str, ...]:
    """The options that each model, or each task, may have a value of its own for."""
    return tuple(name for name, item in FIELDS.items() if item.metadata.get("per") == kind)


def _without(own: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """What is left of an entry's own options beside those of the command line."""
    beaten = {*given, *(RIVALS[name] for name in given if name in RIVALS and given[name])}
    return {name: value for name, value in own.items() if name not in beaten}
