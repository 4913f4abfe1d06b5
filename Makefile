# `make run` supervises the example workspace, `make test` passes the tests. Both set up all they
# need in .venv; a machine needs Python 3.11 or newer and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKSPACE ?= examples/workspace.yaml

.PHONY: run test test-all lint format types bench soak screenshots clean

$(VENV)/.ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $(PYTHON) is older than 3.11" >&2; \
	    echo "hint: name a newer one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

run: $(VENV)/.ready
	$(BIN)/supervise -w $(WORKSPACE)

test: $(VENV)/.ready
	$(BIN)/python -m pytest -n 2

test-all: $(VENV)/.ready
	$(BIN)/python -m pytest -n 2 -m ''

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/.ready
	$(BIN)/mypy

# Faults for an hour: make soak SOAK='--minutes 5 --kills 500 --seed 7' for less, or again.
SOAK ?=
soak: $(VENV)/.ready
	$(BIN)/python tests/faults/soak.py $(SOAK)

bench: $(VENV)/.ready
	$(BIN)/python -m benchmarks

# The pictures of docs/web.md and docs/dagster.md; needs the system's chromium.
screenshots: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[web-dev]'
	$(BIN)/python docs/take_screenshots.py
	$(BIN)/python docs/take_dagster_screenshots.py

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache examples/.supervise
