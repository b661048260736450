# Two commands for users, five for developers. Every one creates .venv and installs what it needs.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
PYTHON ?= python3
# Address of PyTorch's CPU wheel index; needed on Linux where the default torch wheel is a CUDA build (see README).
TORCH_INDEX ?=
VENV := .venv
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check
CONSTRAINTS := deploy/constraints.txt

# Tests open thousands of small databases with full syncs; in memory, where there is such a file system, that costs nothing.
export TMPDIR := $(shell [ -w /dev/shm ] && echo /dev/shm || echo $${TMPDIR:-/tmp})

.PHONY: demo test check check-all bench fuzz proto clean
.DELETE_ON_ERROR:

demo: $(VENV)/.runtime
	@$(VENV)/bin/python -m deploy.demo

test: $(VENV)/.dev
	$(VENV)/bin/python -m pytest -m "not slow" -n 2 --dist loadfile tests

check: $(VENV)/.dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

check-all: check
	$(VENV)/bin/python -m pytest -m "slow or not slow" -n 2 --dist loadfile tests

bench: $(VENV)/.bench
	$(VENV)/bin/python -m tests.bench

# Ten minutes of coverage-guided fuzzing of everything that reads bytes; MINUTES=1 for less.
fuzz: $(VENV)/.fuzz
	$(VENV)/bin/python -m tests.fuzz --minutes $(or $(MINUTES),10)

proto: $(VENV)/.dev
	$(VENV)/bin/python -m grpc_tools.protoc -I secagg/wire --python_out=secagg/wire --pyi_out=secagg/wire secagg/wire/wardround.proto

$(VENV)/bin/python:
	@$(PYTHON) deploy/install.py venv $(VENV)

$(VENV)/.runtime: pyproject.toml $(CONSTRAINTS) | $(VENV)/bin/python
	@$(VENV)/bin/python deploy/install.py extras study --torch-index "$(TORCH_INDEX)"
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime
	@$(VENV)/bin/python deploy/install.py extras dev --torch-index "$(TORCH_INDEX)"
	@touch $@

$(VENV)/.bench: $(VENV)/.dev
	@$(VENV)/bin/python deploy/install.py extras bench --torch-index "$(TORCH_INDEX)"
	@touch $@

$(VENV)/.fuzz: $(VENV)/.dev
	@$(VENV)/bin/python deploy/install.py extras fuzz --torch-index "$(TORCH_INDEX)"
	@touch $@

clean:
	rm -rf $(VENV) out .mypy_cache .ruff_cache .pytest_cache .hypothesis
