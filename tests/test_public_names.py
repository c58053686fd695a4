"""The public names of gpt2eval: each resolves, lives where the table says, and is documented."""

import inspect
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

import gpt2eval

NAMES = list(gpt2eval._HOME_OF)
ROOMS = list(gpt2eval._ROOMS)
ALIASES = {"Request", "Response"}  # unions of classes: no name, no signature
CALLABLE = [name for name in NAMES if name not in ALIASES]


def test_all_is_complete():
    assert {"Task", "Protocol", "Metric", "Sample", "Score", "run", "write_report"} <= set(NAMES)
    assert sorted(gpt2eval.__all__) == sorted(["__version__", *ROOMS, *NAMES])
    assert len(set(gpt2eval.__all__)) == len(gpt2eval.__all__)
    assert dir(gpt2eval) == sorted(gpt2eval.__all__)


@pytest.mark.parametrize("name", NAMES)
def test_name_is_the_thing_its_home_defines(name):
    home = import_module(gpt2eval._HOME_OF[name])
    # Asked after its home has been imported: that must not change the answer.
    assert getattr(gpt2eval, name) is getattr(home, name)
    assert name in ALIASES or getattr(home, name).__name__ == name


@pytest.mark.parametrize("name", ROOMS)
def test_room_is_a_module(name):
    assert isinstance(getattr(gpt2eval, name), ModuleType)
    assert getattr(gpt2eval, name).__doc__


def test_no_module_takes_the_name_of_a_public_thing():
    """Importing gpt2eval.x binds gpt2eval.x to the module, over whatever else has that name."""
    package = Path(gpt2eval.__file__).parent
    taken = {path.stem for path in package.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert taken.isdisjoint(NAMES)


@pytest.mark.parametrize("name", CALLABLE)
def test_name_is_documented(name):
    doc = inspect.getdoc(getattr(gpt2eval, name))
    # A dataclass without a docstring is given its signature for one.
    assert doc
    assert not doc.startswith(f"{name}(")


@pytest.mark.parametrize("name", CALLABLE)
def test_every_parameter_is_typed(name):
    thing = getattr(gpt2eval, name)
    if inspect.isclass(thing) and issubclass(thing, BaseException):
        return
    signature = inspect.signature(thing)
    untyped = [p.name for p in signature.parameters.values() if p.annotation is p.empty]
    assert not untyped
    if inspect.isroutine(thing):
        assert signature.return_annotation is not signature.empty


@pytest.mark.parametrize("name", CALLABLE)
def test_options_of_functions_are_named(name):
    """A call reads without the signature beside it: what has a default is passed by name."""
    thing = getattr(gpt2eval, name)
    if inspect.isroutine(thing):
        for parameter in inspect.signature(thing).parameters.values():
            optional = parameter.default is not parameter.empty
            assert not optional or parameter.kind is parameter.KEYWORD_ONLY, parameter


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Tusk'"):
        gpt2eval.Tusk  # noqa: B018  the access is what is tested
