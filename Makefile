# Two commands: `make demo` sets up and trains on real images, `make test` sets up and checks all.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO_DIR ?= runs/demo
SOLO ?= ../solo-learn
SOLO_VENV ?= .venv-solo
SOLO_PYTHON := $(SOLO_VENV)/bin/python
DATA ?=
PARTS ?=
TESTS ?=

.PHONY: help setup demo shell test test-solo test-slurm test-docs tables gpu lint format clean

help:
	@echo "make demo   set up .venv, pretrain SimCLR + MixMask on scanned digits, show the result"
	@echo "make test   set up .venv, lint, type-check, run the tests"
	@echo "make test-solo SOLO=FOLDER  the same beside a checkout of solo-learn 1.0.6, and its own tests"
	@echo "make test-slurm  jobs on a Slurm that it starts here (packages slurm-wlm and munge, as root)"
	@echo "make test-docs   README and docs, followed to the letter (some minutes)"
	@echo "make shell  a shell in which the commands are found"
	@echo "make gpu DATA=FOLDER  what only a GPU can tell (docs/gpu.md); PARTS='sync knn' for some of it"
	@echo "make tables  write scripts/tables into scripts/README.md"
	@echo "make lint   ruff and mypy alone;  make format  let ruff rewrite"

# One stamp an install: setup.cfg or pyproject.toml newer than it means install again.
$(VENV)/.installed: setup.cfg pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -qq --upgrade pip
	@echo "installing PyTorch and the rest into $(VENV): some minutes the first time"
	$(BIN)/python -m pip install -q --editable '.[dev]'
	touch $@

setup: $(VENV)/.installed

demo: setup
	$(BIN)/python -m mixmask_solo.cli.demo --out $(DEMO_DIR)

shell: setup
	@PATH='$(abspath $(BIN))':"$$PATH" $${SHELL:-sh}

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

# solo-learn 1.0.6 wants older releases than we do, hence an environment of its own. It is not
# installed: its scripts and tests are only in the checkout.
$(SOLO_VENV)/.installed: setup.cfg pyproject.toml
	test -x $(SOLO_PYTHON) || $(PYTHON) -m venv $(SOLO_VENV)
	$(SOLO_PYTHON) -m pip install -qq --upgrade pip
	$(SOLO_PYTHON) -m pip install -qq --editable '.[dev]' \
		'lightning==2.1.2' 'torchmetrics<0.12' 'setuptools<81' einops wandb
	touch $@

# Left out of its tests: test_auto_umap.py, which needs its optional extra umap.
test-solo:
	@test -f '$(SOLO)/main_pretrain.py' || { echo "make test-solo SOLO=FOLDER:" \
		"'$(SOLO)' is no checkout of solo-learn (it has no main_pretrain.py)"; exit 2; }
	$(MAKE) $(SOLO_VENV)/.installed
	PYTHONPATH='$(abspath $(SOLO))' OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} \
		$(SOLO_PYTHON) -m pytest -n 2 --dist loadfile tests/contract tests/plugin tests/methods
	PYTHONPATH='$(abspath $(SOLO))' OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} WANDB_MODE=disabled \
		$(SOLO_PYTHON) -W ignore tests/plugin/run_solo_tests.py '$(abspath $(SOLO))' -q \
		tests/methods tests/utils --ignore tests/utils/test_auto_umap.py

# A controller and four node daemons on loopback, in a temporary folder; minutes of Slurm's clocks.
test-slurm: setup
	MIXMASK_SLURM=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/slurm -v -rs $(TESTS)

# Every code block of README and docs that this machine can follow, trainings cut short.
test-docs: setup
	MIXMASK_DOCS=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/docs -v -rs $(TESTS)

# The tables of scripts/README.md, from scripts/tables.
tables: setup
	$(BIN)/python -m mixmask_solo.tables.sections

# DATA holds imagenet-sample/ and cifar10/; parts that need images are left out without it.
gpu: setup
	$(BIN)/python benchmarks/gpu.py $(PARTS) $(if $(DATA),--data '$(DATA)')

clean:
	rm -rf $(VENV) $(SOLO_VENV) build dist *.egg-info .ruff_cache .mypy_cache
