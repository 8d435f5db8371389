# Everything a fresh clone needs: Python 3.11 or newer and a package index. Nothing is installed outside this folder.
SHELL := /bin/sh
.DEFAULT_GOAL := help
PYTHON ?= python3
UV_VERSION := 0.13.8
UV := .tools/bin/uv
SYNCED := .venv/.synced
# Of the test suite. Half of its time is spent waiting for leases and processes: four keep two cores busy.
WORKERS ?= 4
export UV_PROJECT_ENVIRONMENT := .venv
# A person's own uv settings must not change what the lock file resolves to.
export UV_NO_PROGRESS := 1
# Tests start hundreds of processes, and each would compile everything it imports.
unexport PYTHONDONTWRITEBYTECODE
# A user without a home of their own keeps what uv fetched in the clone.
ifeq ($(shell test -w "$$HOME" && echo writable),)
export UV_CACHE_DIR := .tools/cache
endif

.PHONY: help setup run test check types dist bench lock clean

help: ## List the targets
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(UV):
	@echo "setup: uv $(UV_VERSION) into .tools/"
	@$(PYTHON) -m venv .tools
	@.tools/bin/python -m pip install --quiet --disable-pip-version-check "uv==$(UV_VERSION)"

$(SYNCED): $(UV) pyproject.toml uv.lock
	@echo "setup: the locked packages into .venv/"
	@$(UV) sync --quiet --frozen --no-python-downloads --python "$(PYTHON)"
	@touch $(SYNCED)

setup: $(SYNCED) ## Make a working .venv/bin/copperplate

run: $(SYNCED) ## Start a local server; ends with a URL that shows a picture
	@.venv/bin/copperplate dev

test: $(SYNCED) ## Run every test; what cannot run here is listed at the end
	@.venv/bin/python scripts/npm.py
	@.venv/bin/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

# Parts that do not need each other: `make -j2 check` takes half the time.
CHECKS := check-types check-sql check-style check-layers check-migrations check-lock check-typescript check-packages
.PHONY: $(CHECKS)

check: $(CHECKS) ## Format, lint, types, layers, SQL style, lock file, known vulnerabilities

check-types: $(SYNCED)
	@.venv/bin/mypy

check-sql: $(SYNCED)
	@.venv/bin/sqlfluff lint supabase sql src

check-style: $(SYNCED)
	@.venv/bin/ruff format --check . && .venv/bin/ruff check .

check-layers: $(SYNCED)
	@.venv/bin/lint-imports

check-migrations: $(SYNCED)
	@.venv/bin/squawk supabase/migrations/*.sql

check-lock: $(SYNCED)
	@$(UV) lock --check --quiet

check-typescript: $(SYNCED)
	@.venv/bin/python -m scripts.typescript

check-packages: $(SYNCED)
	@.venv/bin/python -m scripts.audit

dist: $(SYNCED) ## Build wheel and sdist into dist/, and check what a package index would
	@rm -rf dist
	@$(UV) build --quiet --out-dir dist
	@.venv/bin/twine check --strict dist/*

types: $(SYNCED) ## Write what is made from the migrations: supabase/types/database.ts, and what doctor compares with
	@.venv/bin/python -m scripts.database_types
	@.venv/bin/python -m scripts.expected_schema

bench: $(SYNCED) ## Measure (ONLY="hits followers": just those); writes bench/results.json and the tables made from it
	@.venv/bin/python -m bench $(ONLY)

lock: $(UV) ## Resolve the dependencies anew
	@$(UV) lock

clean: ## Remove what make built (keeps .copperplate, where pictures live)
	@rm -rf .venv .tools dist .pytest_cache .mypy_cache .ruff_cache
