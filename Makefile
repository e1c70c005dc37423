# fedpriv: every target sets up what it needs. `make demo` is where to start.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
# Where the CPU build of torch comes from when pip's own index does not have it.
TORCH_INDEX_URL ?= https://download.pytorch.org/whl/cpu
BIN := .venv/bin
SERVICES := common server client metrics-api

.PHONY: help setup demo up audit test test-privacy test-rounds test-api test-page lighthouse test-containers test-faults fuzz sbom lint \
	format lock bench-api bench-rounds bench-utility bench-ledger bench-accounting bench-planner bench-audit clean

help: ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

setup: .venv/.ready .venv-emulator/.ready dashboard/dist/index.html ## everything the demo and the tests need

.venv/.ready: requirements/dev.txt $(foreach service,$(SERVICES),services/$(service)/pyproject.toml)
	@scripts/setup-python $(PYTHON) .venv "$(TORCH_INDEX_URL)" requirements/dev.txt $(foreach service,$(SERVICES),services/$(service))
	@touch $@

# The AWS emulator pins its own botocore, so it lives apart from the product.
.venv-emulator/.ready: requirements/emulator.txt
	@scripts/setup-python $(PYTHON) .venv-emulator "" requirements/emulator.txt
	@touch $@

# What the metrics API is measured against; nothing of the product needs it.
.venv-mlflow/.ready: requirements/mlflow.txt
	@scripts/setup-python $(PYTHON) .venv-mlflow "" requirements/mlflow.txt
	@touch $@

dashboard/node_modules/.ready: dashboard/package-lock.json
	@scripts/require-node
	@cd dashboard && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

dashboard/dist/index.html: dashboard/node_modules/.ready $(shell find dashboard/src dashboard/public dashboard/index.html -type f 2>/dev/null)
	@cd dashboard && npm run --silent build

demo: setup ## three sites train under differential privacy on this machine (ONCE=1: exit when the run has ended)
	@$(BIN)/python -m scripts.demo $(if $(ONCE),--once)

up: ## the same as containers: build them, start them, follow the first run (Ctrl-C stops; ledgers and records stay)
	@scripts/require-docker
	@docker compose up --build

audit: .venv/.ready ## does the code keep its claim? Noise, clipping, canaries, neighbours, and seeded defects that must be found
	@$(BIN)/fedpriv audit --out var/results/audit.json

test: setup ## every test that needs no Docker
	@scripts/require-chromium
	@$(BIN)/pytest -n 2 --dist loadscope
	@cd dashboard && npm test --silent

test-privacy: setup ## the slow proofs: accountants against each other, kills, rollbacks, neighbours, noise, the planner's word
	@$(BIN)/pytest tests/privacy -n 2 --dist loadscope --timeout 600

test-rounds: setup ## the slow proofs of rounds: kills and restarts of server and sites, cut and slow networks, robust strategies
	@$(BIN)/pytest tests/rounds -n 2 --dist loadscope --timeout 600

test-api: setup ## the slow proofs of the metrics API: every route attacked, 500 viewers, kills, segments, keys
	@$(BIN)/pytest tests/api -n 2 --dist loadscope --timeout 600 --ignore tests/api/test_operations.py
	@# Alone: its tests have one name for all operations, of which two workers would run the first only.
	@$(BIN)/pytest tests/api/test_operations.py --timeout 600

test-page: setup ## the dashboard in a real Chromium: journeys, every state for axe, pictures
	@scripts/require-chromium
	@$(BIN)/pytest tests/page -n 2 --dist loadscope --timeout 600

dashboard/tools/lighthouse/node_modules/.ready: dashboard/tools/lighthouse/package-lock.json
	@cd dashboard/tools/lighthouse && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

lighthouse: setup dashboard/tools/lighthouse/node_modules/.ready ## every view by Lighthouse: at least 95 in each of its four categories
	@scripts/require-chromium
	@$(BIN)/python -m tests.page.lighthouse

fuzz: setup ## 100,000 hostile inputs: the gate, every public route, every decoder (FUZZ_EXAMPLES: how many)
	@$(BIN)/pytest tests/fuzz -n 2 --timeout 1500

test-containers: .venv/.ready ## the product as containers, on a real engine: faults, scaling, hardening
	@scripts/require-docker
	@scripts/require-chromium
	@docker compose --progress quiet build
	@$(BIN)/pytest tests/containers
	@$(MAKE) --no-print-directory sbom

test-faults: .venv/.ready ## pairwise faults at chosen moments of a run, on real containers (FEW=1: a handful of them)
	@scripts/require-docker
	@docker compose --progress quiet build
	@$(BIN)/python -m tests.faults $(if $(FEW),--few)

# The images by the names that docker-compose.yml gives them.
SBOM_IMAGES ?= server=fedpriv/server client=fedpriv/client metrics-api=fedpriv/metrics-api dashboard=fedpriv/dashboard

sbom: .venv/.ready ## what the images hold, as CycloneDX, and under which licences (var/sbom)
	@$(BIN)/python -m scripts.sbom $(SBOM_IMAGES)

lint: .venv/.ready dashboard/node_modules/.ready ## style and types, Python and TypeScript
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy services/*/src scripts
	@cd dashboard && npm run --silent lint

format: .venv/.ready ## rewrite the code in the project's style
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

lock: ## solve requirements/*.txt again
	@PATH="$(CURDIR)/$(BIN):$$PATH" requirements/lock.sh

bench-api: setup .venv-mlflow/.ready ## the metrics API against MLflow's over 100,000 records, its viewers, its memory (QUICK=1: a minute)
	@$(BIN)/python -m tests.bench.api $(if $(QUICK),--quick)

bench-rounds: setup ## a round against the stock stack's, growth to 200 sites, 200 rounds of memory (QUICK=1: a minute)
	@$(BIN)/python -m tests.bench.rounds $(if $(QUICK),--quick)

bench-utility: .venv/.ready ## accuracy against epsilon over 100 seeds (public data, benchmark generator, not private)
	@$(BIN)/python -m tests.bench.utility

bench-ledger: .venv/.ready .venv-emulator/.ready ## what a ledger costs a round at ten and at ten thousand entries, disk and S3
	@$(BIN)/python -m tests.bench.ledger

bench-accounting: .venv/.ready ## admission's accounting against plain composition, over growing histories
	@$(BIN)/python -m tests.bench.accounting

bench-planner: .venv/.ready ## forecast against trained accuracy over a grid of epsilon, sites and records
	@$(BIN)/python -m tests.bench.planner

bench-audit: .venv/.ready ## twenty audits: bounds against the claim, and which defects were found
	@$(BIN)/python -m tests.bench.audit --repeat 20

clean: ## remove everything that was built; ledgers and records under var/ stay
	@rm -rf .venv .venv-emulator .venv-mlflow dashboard/node_modules dashboard/dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
