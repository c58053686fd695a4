"""The list of packages; everything else is in pyproject.toml.

It is here because pyproject.toml can either search for packages or rename one, not both: the
rooms of the engine are searched, and the top-level directory `tasks` is installed as
`gpt2eval_tasks`, a name that clashes with nobody's `tasks`.
"""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["gpt2eval", "gpt2eval.*"]), "gpt2eval_tasks"],
    package_dir={"gpt2eval_tasks": "tasks"},
)
