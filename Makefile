# Everything a newcomer or CI runs. Each target does the set-up it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check

# For what is marked `torch`. Of the versions that pyproject.toml admits one, so that figures can be compared; here and
# not there, since a machine with a GPU wants another build: make test-all TORCH=torch==2.13.0+cu130.
TORCH ?= torch==2.13.0

# The tests start a hundred processes: without byte code each compiles two thousand modules, for five seconds.
export PYTHONDONTWRITEBYTECODE :=
# One thread for linear algebra in each process: several wait for each other by spinning, on cores that others need.
export OPENBLAS_NUM_THREADS := 1
export OMP_NUM_THREADS := 1

.DEFAULT_GOAL := help
.PHONY: help install demo test test-all lint types contracts collected suite advisories audit system-packages format clean

help: ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: $(VENV)/.installed ## make .venv with .venv/bin/isthmus

demo: $(VENV)/.installed ## a study goes in, findings come out (under a minute)
	$(BIN)/isthmus demo

test: ## everything CI runs
	$(MAKE) --jobs=2 $(VENV)/.installed-dev system-packages
	$(MAKE) --jobs=2 lint contracts advisories types suite

test-all: test ## also what takes long
	tools/test-system-packages all
	$(PIP) '$(TORCH)' --editable '.[torch]'
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m slow
	tools/test-other-stores
	for database in sqlite postgresql; do \
		for benchmark in unit_of_work fhir_door dicomweb_door metadata_cache pullers; do \
			$(BIN)/python tests/benchmarks/$$benchmark.py --database $$database || exit 1; \
		done; \
	done
	$(BIN)/python tests/benchmarks/backup.py
	$(BIN)/python tests/load/peak_hour.py --minutes 60 --database postgresql

lint: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

# To collect once before the three workers do compiles test modules and libraries once, not thrice. What cannot be
# collected the suite names.
collected: $(VENV)/.installed-dev
	-@$(BIN)/pytest --collect-only --quiet >/dev/null

suite: collected
	$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder -m "not slow"

types: $(VENV)/.installed-dev
	$(BIN)/mypy

contracts: $(VENV)/.installed-dev
	$(BIN)/lint-imports

advisories: $(VENV)/.installed-dev
	$(BIN)/python tools/audit-dependencies

audit: $(VENV)/.installed-dev ## known holes of what is installed; asks the network too, where there is one
	$(BIN)/python -m venv $(VENV)/audit
	-$(VENV)/audit/bin/pip install --quiet --disable-pip-version-check pip-audit
	$(BIN)/python tools/audit-dependencies --online

system-packages:
	tools/test-system-packages

format: $(VENV)/.installed-dev ## put the code into its form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Isthmus needs Python 3.11 or newer; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml
	$(PIP) --editable '.[demo]'
	@touch $@

# No byte code: of fifteen thousand modules the tests import a tenth, and Python compiles those by itself; but
# not in children that are shut in, for which it is done here. No torch, which is a gigabyte: `make test-all`.
$(VENV)/.installed-dev: $(VENV)/bin/python pyproject.toml
	$(PIP) --no-compile --editable '.[dev,postgres,cloud,redis,otel]'
	$(BIN)/python -c 'import imagecodecs, jpeg_ls, scipy.ndimage'
	@touch $@ $(VENV)/.installed

clean: ## remove what the targets made
	rm -rf $(VENV) .demo build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
