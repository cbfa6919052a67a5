# maskline: every target sets up what it needs in .venv; `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help

# The first Python on this machine that the packages support (3.11 or 3.12); override with `make PYTHON=...`.
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))
PYTHON ?= $(shell for p in python3 python3.11 python3.12; do $$p -c '$(SUPPORTED)' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
OUT ?= out/demo

.PHONY: help env demo test lint type pytest format bench-train bench-serve clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

env: $(READY) ## create .venv with everything that runs without a GPU (about 5 GB)

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11 or 3.12 found; install one, or name it: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@echo "Setting up $(VENV) with $$($(PYTHON) --version); the first time downloads about 3 GB"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[all]'
	@touch $@

demo: $(READY) ## train, export, serve and evaluate on this machine; writes out/demo/report.html
	@$(BIN)/python demo/run_demo.py --out $(OUT)

test: lint type pytest ## everything that CI runs

lint: $(READY) ## ruff: rules and format
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

type: $(READY) ## mypy, strict
	@$(BIN)/mypy

# Two workers with one thread each: two threads on the tiny models of the tests spin more than they compute.
pytest: $(READY) ## the tests, the real Triton server included
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --durations=15

format: $(READY) ## let ruff rewrite what it can
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

bench-train: $(READY) ## a training step of ResNet-50-FPN, ours and torchvision's in turn
	@$(BIN)/python bench/train_step.py

bench-serve: $(READY) ## JPEG in, RLE out: ours through Triton and torchvision eager in turn
	@$(BIN)/python bench/serve.py

clean: ## remove what the targets made, the environment excepted
	@rm -rf out build dist .mypy_cache .pytest_cache .ruff_cache
