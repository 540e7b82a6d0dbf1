# One environment, .venv, made from pyproject.toml and constraints.txt; every target sets up what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SCENARIO ?= healthy
SECONDS ?= 60

.PHONY: demo test check lint types tests faults fuzz mutants bench peers soak screens wheel clean help

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(STAMP)

demo: $(STAMP)  ## a tiny real critic trains, and the monitor watches it
	$(BIN)/critictui demo --scenario $(SCENARIO)

test: check  ## everything that must hold: lint, types, tests

check: lint types tests

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache

types: $(STAMP)
	$(BIN)/mypy

tests: $(STAMP)
	$(BIN)/pytest -n 2 --dist loadgroup -q tests

faults: $(STAMP)  ## the long form of the fault tests: every N-th failing call, more sizes, more seeds
	CRITICTUI_LONG=1 $(BIN)/pytest -q tests/survival

fuzz: $(STAMP)  ## every door for foreign bytes under atheris, SECONDS each
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[fuzz]'
	PYTHONPATH=tests $(BIN)/python -m fuzz --seconds $(SECONDS)

mutants: $(STAMP)  ## broken variants of the product, each of which a test must find
	PYTHONPATH=tests $(BIN)/python -m mutants

bench: $(STAMP)  ## ratios against peers, each in one run
	$(BIN)/python -m benchmarks

peers:  ## W&B LEET and RewardBench for `make bench`, in an environment of their own (1.6 GB)
	$(PYTHON) -m venv .peers
	.peers/bin/pip install --quiet --disable-pip-version-check -r benchmarks/peers.txt
	.peers/bin/pip install --quiet --disable-pip-version-check --no-deps rewardbench==0.1.4 trl==0.17.0

soak: $(STAMP)  ## days of watching in minutes: does what the screen holds level off?
	$(BIN)/python -m benchmarks.soak

screens: $(STAMP)  ## pictures of the screens, from a real terminal, into docs/screens
	$(BIN)/python -m docs.make_screens

wheel: $(STAMP)
	$(BIN)/python -m build --wheel --outdir dist .

clean:
	rm -rf $(VENV) .peers dist build .mypy_cache .ruff_cache .pytest_cache
