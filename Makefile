# make demo   fastq at work on this machine's own files; installs into .venv first, if need be
# make test   the whole test suite         make lint   style and types         make bench   measure this machine
#
# Arguments: make demo ARGS="--files 500"   make test ARGS="tests/unit -x"   Another environment: make VENV=/tmp/venv demo

VENV ?= .venv
ARGS ?=
EXTRAS ?= dev
BIN := $(VENV)/bin
PYTHONS := python3.13 python3.12 python3.11 python3
INSTALLED := $(VENV)/.installed

.PHONY: demo test lint bench chaos model mutants
.DEFAULT_GOAL := demo

demo: $(INSTALLED)
	@$(BIN)/fastq demo $(ARGS)

test: $(INSTALLED)
	@$(BIN)/python -m pytest $(ARGS)

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python tests/typing

bench: $(INSTALLED)
	@$(BIN)/fastq bench $(ARGS)

# Kills everything at random and proves that nothing is lost: make chaos ARGS="mix --seed 7" (docs/chaos.md)
chaos: $(INSTALLED)
	@PYTHONPATH=tests $(BIN)/python -m chaos.run $(ARGS)

# Checks the lease protocol in every interleaving, with SPIN: make model ARGS="--quick" (docs/model.md)
model: $(INSTALLED)
	@$(BIN)/python tests/model/model.py $(ARGS)

# Breaks the code on purpose and sees a fast test notice: make mutants ARGS="claim" (tests/mutants)
mutants: $(INSTALLED)
	@$(BIN)/python -m tests.mutants.run $(ARGS)

$(INSTALLED): pyproject.toml
	@set -e; \
	for python in $(PYTHONS) none; do \
	  if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then break; fi; \
	done; \
	if [ "$$python" = none ]; then \
	  echo "fastq needs Python 3.11 or newer, and none of $(PYTHONS) is that: install one" >&2; exit 1; \
	fi; \
	if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then \
	  echo "$$python cannot make a virtual environment: install it (Debian, Ubuntu: apt install python3-venv)" >&2; exit 1; \
	fi; \
	echo "installing fastq into $(VENV), once" >&2; \
	[ -x $(BIN)/pip ] || "$$python" -m venv $(VENV); \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$(EXTRAS)]'; \
	touch $@
