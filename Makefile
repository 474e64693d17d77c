# Two commands: `make demo` sets up and trains on real images, `make test` sets up and checks all.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO_DIR ?= runs/demo

.PHONY: help setup demo test lint format clean

help:
	@echo "make demo   set up .venv, pretrain SimCLR + MixMask on scanned digits, show the result"
	@echo "make test   set up .venv, lint, type-check, run the tests"
	@echo "make lint   ruff and mypy alone;  make format  let ruff rewrite"

# One stamp an install: setup.cfg or pyproject.toml newer than it means install again.
$(VENV)/.installed: setup.cfg pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -qq --upgrade pip
	$(BIN)/python -m pip install -qq --editable '.[dev]'
	touch $@

setup: $(VENV)/.installed

demo: setup
	$(BIN)/python -m mixmask_solo.cli.demo --out $(DEMO_DIR)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Two processes of one thread each: torch's threads would only wait for each other.
test: lint
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python -m pytest -n 2 --dist worksteal

clean:
	rm -rf $(VENV) build dist *.egg-info .ruff_cache .mypy_cache
