PYTHON ?= python3
VENV := .venv
INSTALLED := $(VENV)/.installed
INSTALLED_DEV := $(VENV)/.installed-dev

.PHONY: quickstart install dev check test slow clean

quickstart: $(INSTALLED)  ## cross-entropy beside EAC on synthetic faces with 30 % wrong labels
	$(VENV)/bin/eac compare -c quickstart

install: $(INSTALLED)
dev: $(INSTALLED_DEV)

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "eac-lightning needs Python 3.11 or newer: make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV) || (rm -rf $(VENV); exit 1)  # half an environment would be taken for a whole one

$(INSTALLED): pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install -e .
	touch $@

$(INSTALLED_DEV): pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install -e '.[dev]'
	touch $@ $(INSTALLED)

check: $(INSTALLED_DEV)  ## style, format, types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

test: $(INSTALLED_DEV)  ## every test but the slow ones, with coverage; one thread a process, or they wait for one another
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n 2 -m "not slow" --cov --cov-report=term

slow: $(INSTALLED_DEV)  ## the tests that take minutes
	$(VENV)/bin/python -m pytest -m slow

clean:
	rm -rf $(VENV) runs
