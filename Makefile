# `make` says what there is. Each target sets up all it needs in .venv; a machine needs Python 3.11 or
# newer with its venv module, and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKSPACE ?= examples/workspace.yaml

.PHONY: help run test test-all lint format types docs bench soak screenshots clean
.DEFAULT_GOAL := help

help:
	@echo "make run           supervises examples/workspace.yaml (WORKSPACE=FILE: another)"
	@echo "make test          runs the tests that take less than five minutes"
	@echo "make test-all      runs all tests, also those that take minutes each"
	@echo "make lint types    checks the style and the types"
	@echo "make format        formats the code"
	@echo "make docs          writes the API reference into docs/api"
	@echo "make bench         measures; make soak injects faults for an hour"
	@echo "make screenshots   takes the pictures of the docs (needs chromium)"
	@echo "make clean         removes what the others made"
	@echo "All need Python 3.11 or newer: make PYTHON=python3.12 run chooses one."

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

# The public names, as HTML; a warning is an error.
docs: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	$(BIN)/python -W error -m pdoc --output-directory docs/api --docformat google \
	  supervisor supervisor.errors envs

bench: $(VENV)/.ready
	$(BIN)/python -m benchmarks

# The pictures of docs/web.md and docs/dagster.md; needs the system's chromium.
screenshots: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[web-dev]'
	$(BIN)/python docs/take_screenshots.py
	$(BIN)/python docs/take_dagster_screenshots.py

clean:
	rm -rf $(VENV) docs/api .mypy_cache .ruff_cache .pytest_cache examples/.supervise
