.DEFAULT_GOAL := help
SHELL := /bin/sh

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
MANIFEST := dbt_project/target/manifest.json
REPLAYED := --file tests/recordings/chaos_g8_job.jsonl --like example --try within=1m
DBT_FILES := $(shell find dbt_project -type f \( -name '*.sql' -o -name '*.yml' -o -name '*.csv' \) -not -path '*/target/*')

.PHONY: help setup demo dev test slow check docs comparison fuzz mutants graphs compat stranger chaos \
	benchmarks load million audit ui pictures distributed lock clean

help: ## Print this list.
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sort | sed -E 's/^([a-z]+):.*## /make \1	/' | expand -t 18

setup: $(INSTALLED) $(MANIFEST) ## Make the virtual environment and the dbt manifest, once.

demo: setup ## Run the main job in a real Dagster and print what happened.
	@$(BIN)/python -m project.local.demo

dev: setup ## Start the Dagster UI with everything running.
	@$(BIN)/python -m project.local.dev

test: setup ## Run the tests.
	@$(BIN)/python -m pytest

slow: setup ## Run the tests that take longer: a live Dagster, dbt's builds, every mutant.
	@$(BIN)/python -m pytest -m slow

check: setup ## Lint, check the format, the imports, the types, the pages, and that the definitions load.
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-cache --no-logo
	@$(BIN)/mypy
	@$(BIN)/mypy --config-file= --python-version 3.11 --check-untyped-defs project
	@$(BIN)/pyright --pythonpath $(BIN)/python
	@VIRTUAL_ENV="$(CURDIR)/.venv" PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/dg check defs
	@$(MAKE) --no-print-directory docs

docs: setup ## Build the site of docs/ into site/, and check its links.
	@$(BIN)/sphinx-build -q -E -W --keep-going docs site

comparison: setup ## Play what docs/comparison.md lacks, and write the tables; COMPARISON=--all plays all.
	@$(BIN)/python -m tests.support.comparison $(COMPARISON)
	@$(BIN)/python -m tests.support.features
	@$(BIN)/python -m tests.support.peers
	@$(BIN)/python -m tests.support.crash_points

fuzz: setup ## Play generated timelines; FUZZ="--minutes 30 --seed 7" runs longer.
	@$(BIN)/python -m tests.support.fuzz $(FUZZ)

mutants: setup ## Show which timeline catches which small wrong rule; MUTANTS="--all window" plays all.
	@$(BIN)/python -m tests.support.mutants $(MUTANTS)

graphs: setup ## Play a whole day of each real graph; GRAPHS="shop schools" takes minutes.
	@$(BIN)/python -m tests.graphs.days $(GRAPHS)

compat: setup ## Play the wheel on Dagster 1.12 to the newest; COMPAT="--releases 1.12.0 newest".
	@$(BIN)/python -m tests.compat $(COMPAT)

stranger: setup ## Install the wheel in someone else's scaffolded projects, and run each form there.
	@$(BIN)/python -m tests.stranger $(STRANGER)

ui: setup ## Check the UI in Chromium, which it installs if it can.
	@$(BIN)/python -m pytest -n 0 -m browser tests/example/test_ui.py

pictures: setup ## Take the pictures that the pages show, of the UI and of a replay.
	@$(BIN)/python -m pytest -n 0 -m browser tests/example/test_ui.py --pictures docs/ui
	@$(BIN)/python -m project.fan_in.cli replay $(REPLAYED) --plot docs/replay.svg; test $$? -eq 1

distributed: setup ## The demo on Postgres, Redis and two Celery workers, one of which is killed.
	@$(BIN)/python -m project.local.distributed

chaos: setup ## Kill a live Dagster at random, judge its history; CHAOS="--storage Postgres --seed 7".
	@$(BIN)/python -m tests.chaos $(CHAOS)

benchmarks: setup ## Measure a tick of every mechanism; BENCHMARKS="--quick" takes seconds.
	@$(BIN)/python -m benchmarks $(BENCHMARKS)

load: setup ## Measure a tick after bursts, after a stop and with many keys; LOAD="--scale 50" is quick.
	@$(BIN)/python -m benchmarks.load $(LOAD)

audit: setup ## Look up known vulnerabilities of the locked packages in the OSV database.
	@$(PYTHON) -m venv .venv/audit
	@.venv/audit/bin/pip install --quiet --disable-pip-version-check pip-audit
	@.venv/audit/bin/pip-audit --strict --vulnerability-service osv --progress-spinner off \
		--disable-pip --require-hashes --requirement requirements.lock

million: setup ## Replay a million completions, and print the seconds and the memory.
	@$(BIN)/python -m benchmarks.replay

lock: setup ## Resolve pyproject.toml anew into requirements.lock.
	@$(BIN)/pip install --quiet uv
	@$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --upgrade \
		--generate-hashes --no-strip-extras --no-header --no-annotate \
		--no-emit-index-url --no-emit-find-links --quiet --output-file requirements.lock

clean: ## Remove all landed data, builds and logs here; the virtual environment stays.
	@rm -rf site .data .dagster_home dbt_project/target dbt_project/logs .pytest_cache .ruff_cache .mypy_cache .hypothesis

$(INSTALLED): requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11, 3.12 or 3.13 is needed, this is %s; name another: make PYTHON=python3.12" % sys.version.split()[0] if not (3, 11) <= sys.version_info[:2] <= (3, 13) else 0)'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing the locked packages into .venv (a few minutes, once) ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

$(MANIFEST): $(INSTALLED) $(DBT_FILES)
	@echo "Parsing the dbt project ..."
	@mkdir -p .data
	@FAN_IN_DATA="$(CURDIR)/.data" $(BIN)/dbt parse --quiet --project-dir dbt_project --profiles-dir dbt_project
	@touch $@
