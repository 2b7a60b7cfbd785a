# Every target installs what it needs first; a second run finds it in place.
SHELL := /bin/bash
PYTHON := .venv/bin/python
.DEFAULT_GOAL := help
.PHONY: help setup demo test capture check histories mutants bench clients clean distclean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install Debian packages, .venv and Azurite, as far as they are missing
	@scripts/setup

demo: setup ## a home joins a simulated Azure over a real tunnel, loses its address and comes back
	@$(PYTHON) -m lab.demo

test: setup ## all tests, each run in a sandbox of its own
	@scripts/test

capture: setup ## make the evidence in tests/captures anew, on the real daemons (ONLY=name for one)
	@scripts/capture $(ONLY)

check: setup ## style, types and import contracts
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m mypy
	@.venv/bin/lint-imports

# histories: seeds SEED to SEED+N-1; JOBS processes; LEDGER=1 writes down what passed; SWEEP=3 kills instead, at the first
# three times of every call of every scenario.
SEED ?= 0
JOBS ?= $(shell nproc)
histories: N ?= 1000
histories: setup ## N=1000 SEED=0 JOBS=2 LEDGER= SWEEP=: seeded years of bad luck in the model world (docs/model.md)
ifdef SWEEP
	@$(PYTHON) -m lab.model sweep --most $(SWEEP) --processes $(JOBS)
else
	@$(PYTHON) -m lab.model run --seed $(SEED) --count $(N) --processes $(JOBS) $(if $(LEDGER),--ledger)
endif

mutants: N ?= 100
mutants: setup ## N=100 SEED=0 JOBS=2: which seeds catch each of the deliberate defects
	@$(PYTHON) -m lab.model mutants --seed $(SEED) --count $(N) --processes $(JOBS)

bench: setup ## PART=repair: a thousand changed addresses under Azure alone, a script, and Homelink; PART=outage: planned changes
	@$(PYTHON) -m lab.bench $(or $(PART),repair)

clients: setup ## install az CLI and Ansible under build/, for the tests that drive the simulated Azure with them (2.7 GB)
	@scripts/clients

clean: ## remove what runs leave behind
	@rm -rf build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -not -path './.venv/*' -not -path './node_modules/*' -prune -exec rm -rf {} +

distclean: clean ## also remove .venv and node_modules
	@rm -rf .venv node_modules
