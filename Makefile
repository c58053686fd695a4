# gpt2eval: `make help` lists the targets. Only the installation of packages uses the network.
PYTHON ?= python3
WORKERS ?= 2
ARGS ?=
VENV := .venv
# Relative, so that the checkout may lie in a directory with spaces in its name.
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# The build backend is pinned in the lock like everything else.
PROJECT := $(PIP) install --no-deps --no-build-isolation --editable .
# Set for tests: nothing may go to a hub, and two workers share the cores instead of fighting.
OFFLINE := HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 HF_EVALUATE_OFFLINE=1 TRANSFORMERS_OFFLINE=1 \
	TOKENIZERS_PARALLELISM=false OMP_NUM_THREADS=1 MPLBACKEND=agg

.DELETE_ON_ERROR:
.PHONY: help run test lint format bench wheel docs lock clean

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 10

run: $(VENV)/.run  ## score the bundled checkpoints on the bundled samples; ARGS="..." is passed on
	$(BIN)/gpt2eval run $(ARGS)

test: lint  ## lint, types and tests; WORKERS=n, ARGS="-k lambada -m 'not slow'"
	$(OFFLINE) $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup $(ARGS)

lint: $(VENV)/.test  ## ruff and mypy
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

format: $(VENV)/.test  ## let ruff repair what it can
	$(BIN)/python -m ruff check --fix .
	$(BIN)/python -m ruff format .

bench: $(VENV)/.bench  ## speed and memory beside the peers (hours); see benchmarks/README.md; ARGS="..."
	$(BIN)/python -m benchmarks $(ARGS)

wheel: $(VENV)/.test  ## dist/: the source distribution, and the wheel that is built from it
	rm -rf dist
	$(BIN)/python -m build --no-isolation --outdir dist .

docs: $(VENV)/.docs  ## site/: the documentation, for a browser
	$(BIN)/python -m mkdocs build --strict --quiet

# The files that stand for an installed environment; a second `make run` has nothing to install.
$(VENV)/.run: requirements.lock pyproject.toml setup.py
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --requirement requirements.lock
	$(PROJECT)
	touch $@

$(VENV)/.test: requirements-test.lock $(VENV)/.run
	$(PIP) install --requirement requirements-test.lock
	touch $@

# The peers are not in the locks: what counts is what they are today.
$(VENV)/.bench: $(VENV)/.run
	$(PIP) install --constraint requirements.lock '.[bench]'
	$(PROJECT)
	touch $@

# Nor are the site's.
$(VENV)/.docs: $(VENV)/.run
	$(PIP) install --constraint requirements.lock '.[docs]'
	$(PROJECT)
	touch $@

# Resolves the ranges of pyproject.toml anew, both locks at once, so that they agree. torch is held
# at the version whose CPU build the locks are for, without its local part ("+cpu"), so that the
# same lines install everywhere.
LOCK := $(VENV)-lock
LOCKED := torch==2.13.0 setuptools
# The lines of the full list that `make run` needs, as patterns: name==version.
NAMES := import json, sys; \
	found = [item["metadata"] for item in json.load(sys.stdin)["install"]]; \
	print(*(one["name"] + "==.*" for one in found), sep="\n")

lock:  ## resolve the dependencies again: requirements.lock and requirements-test.lock
	rm -rf $(LOCK)
	$(PYTHON) -m venv $(LOCK)
	$(LOCK)/bin/python -m pip install --quiet $(LOCKED) '.[test]'
	$(LOCK)/bin/python -m pip freeze --all --exclude gpt2eval --exclude pip \
		| sed 's/+cpu$$//' > $(LOCK)/all
	$(LOCK)/bin/python -m pip install --quiet --dry-run --ignore-installed \
		--constraint $(LOCK)/all --report $(LOCK)/run.json $(LOCKED) .
	$(LOCK)/bin/python -c '$(NAMES)' < $(LOCK)/run.json > $(LOCK)/run
	{ echo '# What `make run` installs; for Python 3.11 or newer. Written by `make lock`.'; \
	  grep --ignore-case --line-regexp --file $(LOCK)/run $(LOCK)/all; } > requirements.lock
	{ echo '# What `make test` installs besides. Written by `make lock`.'; \
	  echo '--requirement requirements.lock'; \
	  grep --ignore-case --line-regexp --invert-match --file $(LOCK)/run $(LOCK)/all; \
	} > requirements-test.lock
	rm -rf $(LOCK)

clean:  ## remove what was built and installed; results and reports stay
	rm -rf $(VENV) $(VENV)-lock build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find gpt2eval tasks tests -name __pycache__ -type d -prune -exec rm -rf {} +
