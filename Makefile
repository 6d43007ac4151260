# Everything happens in .venv and .cache of this folder; the first target that needs them makes them.

SHELL := /bin/sh
VENV := .venv
PY := $(VENV)/bin/python
POLICIES ?= examples/policies.toml
SOURCES := pyproject.toml setup.py $(wildcard engine/core/*.pyx engine/core/*.pxd engine/core/*.h)

export XDG_CACHE_HOME := $(CURDIR)/.cache
export PIP_CACHE_DIR := $(CURDIR)/.cache/pip
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export MPLCONFIGDIR := $(CURDIR)/.cache/matplotlib
export npm_config_cache := $(CURDIR)/.cache/npm

.PHONY: help serve test soak sanitize lint format demo bench curves mutants clean

help:
	@echo "make serve    build, and start the admission service on $(POLICIES)"
	@echo "make test     build, and run every test"
	@echo "make soak     the long form of the storm, the crash sweep, the fuzzers and the models (an hour or so)"
	@echo "make sanitize the core under AddressSanitizer, UndefinedBehaviorSanitizer and ThreadSanitizer"
	@echo "make lint     ruff, mypy, buf"
	@echo "make demo     five workers, one breaker, one outage: examples/storefront"
	@echo "make bench    speed against the floor and against other libraries"
	@echo "make curves   what a decision costs against rules, keys and processes: docs/performance.md"
	@echo "make mutants  plant each known bug and see a test catch it"
	@echo "make clean    remove what was built"

serve: $(VENV)/.server
	@exec $(VENV)/bin/admittance serve --policies $(POLICIES)

test: $(VENV)/.dev
	$(PY) -m pytest

soak: $(VENV)/.dev
	ADMITTANCE_SOAK=1 $(PY) -m pytest -s tests/processes/test_storm.py tests/crash tests/fuzz tests/property tests/unit/test_keys.py

sanitize: $(VENV)/.dev
	$(PY) tests/sanitizers/run.py

lint: $(VENV)/.dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/buf lint

format: $(VENV)/.dev
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

demo: $(VENV)/.server
	$(PY) examples/storefront/demo.py

bench: $(VENV)/.bench
	$(PY) benchmarks/inprocess.py

curves: $(VENV)/.bench
	$(PY) benchmarks/curves.py

mutants: $(VENV)/.dev
	$(PY) tests/mutants/run.py

# The build requirements stand in pyproject.toml; installing them first spares an isolated build its downloads.
$(VENV)/.made: pyproject.toml tools/preflight.sh
	@python=$$(tools/preflight.sh) && "$$python" -m venv $(VENV)
	@$(PY) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' > $(VENV)/build.txt
	@echo "installing the build tools"
	@$(PY) -m pip install --quiet --requirement $(VENV)/build.txt
	@touch $@

$(VENV)/.%: $(VENV)/.made $(SOURCES)
	@echo "building admittance[$*] (about a minute)"
	@$(PY) -m pip install --quiet --no-build-isolation --editable ".[$*]"
	@touch $@

clean:
	rm -rf $(VENV) .cache build dist *.egg-info engine/core/*.so .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -rf examples/storefront/node/node_modules
