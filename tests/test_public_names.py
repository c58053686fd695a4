"""The public names of gpt2eval: each resolves, lives where the table says, and is documented."""

import inspect
from importlib import import_module

import pytest

import gpt2eval

NAMES = [name for name in gpt2eval.__all__ if name != "__version__"]


def test_there_are_public_names():
    assert {"Task", "Protocol", "Metric", "Sample", "Score", "run", "write_report"} <= set(NAMES)
    assert len(set(gpt2eval.__all__)) == len(gpt2eval.__all__)
    assert dir(gpt2eval) == sorted(gpt2eval.__all__)


@pytest.mark.parametrize("name", NAMES)
def test_name_is_the_thing_its_home_defines(name):
    thing = getattr(gpt2eval, name)
    home = import_module(gpt2eval._HOME_OF[name])
    assert thing is getattr(home, name)
    assert inspect.isclass(thing) or inspect.isroutine(thing)
    assert thing.__name__ == name


@pytest.mark.parametrize("name", NAMES)
def test_name_is_documented(name):
    thing = getattr(gpt2eval, name)
    doc = inspect.getdoc(thing)
    # A dataclass without a docstring is given its signature for one.
    assert doc
    assert not doc.startswith(f"{name}(")


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_is_typed(name):
    thing = getattr(gpt2eval, name)
    if inspect.isclass(thing) and issubclass(thing, BaseException):
        return
    signature = inspect.signature(thing)
    untyped = [p.name for p in signature.parameters.values() if p.annotation is p.empty]
    assert not untyped
    if inspect.isroutine(thing):
        assert signature.return_annotation is not signature.empty


def test_options_of_functions_are_named():
    """A call reads without the signature beside it: what has a default is passed by name."""
    for name in NAMES:
        thing = getattr(gpt2eval, name)
        if inspect.isroutine(thing):
            for parameter in inspect.signature(thing).parameters.values():
                optional = parameter.default is not parameter.empty
                assert not optional or parameter.kind is parameter.KEYWORD_ONLY, (name, parameter)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Tusk'"):
        gpt2eval.Tusk  # noqa: B018  the access is what is tested
