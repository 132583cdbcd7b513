# Milepost. `make help` lists what there is; everything happens in .venv, nothing is installed elsewhere.
SHELL := /bin/bash
.DEFAULT_GOAL := help
# A distribution's own Python comes first: it is built with profile-guided optimisation, which a Python that was
# compiled by hand often is not, and that is worth a third of the speed. `make run PYTHON=…` takes another.
PYTHON ?= $(shell for p in /usr/bin/python3 python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
CONSOLE := src/milepost/web/console
N ?= 200
SEED ?=

.PHONY: help run test proof crash screenshots bench lint fmt lock clean

help: ## Show what each target does
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | while IFS=$$'\t' read -r target text; do printf '  %-8s %s\n' "$$target" "$$text"; done

run: $(VENV)/.run $(VENV)/.assets ## Install, start hub and sandbox, play a seeded scenario, stay up
	@$(BIN)/milepost demo

test: $(VENV)/.dev $(VENV)/.assets ## Run every check and every test (under ten minutes)
	@tests/run

proof: $(VENV)/.dev $(VENV)/.assets ## The long proof: kills, fuzzing, soak (under twenty minutes)
	@tests/run --proof

crash: $(VENV)/.dev ## Kill the hub N times under load: make crash N=1000
	@MILEPOST_CRASHES=$(N) $(BIN)/pytest -m "proof or not proof" -x -s --timeout 0 tests/simulation/test_crash.py

screenshots: $(VENV)/.dev $(VENV)/.assets ## Take the README's pictures anew, of a demo of their own
	@$(BIN)/python -m tests.screenshots

bench: $(VENV)/.bench ## Measure ingest, parsing, projector, rebuild, search, publishing, receiving, telling, exporting and pages
	@$(BIN)/python -m tests.benchmarks

lint: $(VENV)/.dev ## ruff, mypy --strict, the floors
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

fmt: $(VENV)/.dev ## Format the code and mend what ruff can mend
	@$(BIN)/ruff check --fix -q . ; $(BIN)/ruff format .

lock: $(VENV)/.dev ## Pin requirements/*.in anew, by hash
	@for name in build run dev bench; do $(BIN)/uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --no-header --custom-compile-command "make lock" requirements/$$name.in -o requirements/$$name.txt; done

clean: ## Remove what was built and what the demo kept (databases of your own stay)
	@rm -rf $(VENV) run dist frontend/node_modules $(CONSOLE)/static/built .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(VENV)/.python: requirements/build.txt
	@test -n "$(PYTHON)" || { echo "Milepost needs Python 3.11 or newer with venv (Debian: apt-get install python3-venv), or make run PYTHON=…" >&2; exit 1; }
	@echo "Creating $(VENV) …"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/build.txt
	@touch $@

$(VENV)/.run: $(VENV)/.python requirements/run.txt pyproject.toml
	@echo "Installing what Milepost runs on …"
	@UV_PYTHON_DOWNLOADS=never $(BIN)/uv pip install -q --compile-bytecode --python $(BIN)/python --require-hashes -r requirements/run.txt
	@UV_PYTHON_DOWNLOADS=never $(BIN)/uv pip install -q --compile-bytecode --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

# The console's htmx, icons and font, from npm by the hashes of the lock, which names no registry.
$(VENV)/.npm: $(VENV)/.python frontend/package-lock.json
	@echo "Fetching what the console's pages load …"
	@cd frontend && ../$(BIN)/npm ci --ignore-scripts --no-audit --no-fund --loglevel error --cache ../.cache/npm >/dev/null
	@touch $@

$(VENV)/.assets: $(VENV)/.npm frontend/build.py $(wildcard $(CONSOLE)/*.py $(CONSOLE)/templates/*.html) | $(VENV)/.run
	@$(BIN)/python frontend/build.py
	@touch $@

$(VENV)/.dev: $(VENV)/.run requirements/dev.txt
	@echo "Installing what the tests need …"
	@UV_PYTHON_DOWNLOADS=never $(BIN)/uv pip install -q --compile-bytecode --python $(BIN)/python --require-hashes -r requirements/dev.txt
	@touch $@

$(VENV)/.bench: $(VENV)/.dev requirements/bench.txt
	@echo "Installing the peers of the benchmark …"
	@UV_PYTHON_DOWNLOADS=never $(BIN)/uv pip install -q --compile-bytecode --python $(BIN)/python --require-hashes -r requirements/bench.txt
	@touch $@
