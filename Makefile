# make up      a running gateway with a model in the box
# make test    every test, lint and types; what CI runs
# make help    the rest

PYTHON ?= python3
BIN = .venv/bin
export PYTHON

.DEFAULT_GOAL := help
.PHONY: help up test check docs fidelity lock bench bench-peers chaos fuzz dev clients python-clients node-clients coding-tools families bench-own bench-route bench-scan bench-cache test-noninterference test-noninterference-mutants render

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

up: ## make the environment, start the gateway, print how to use it
	@scripts/environment requirements.lock
	@exec $(BIN)/freehold up

dev: ## make the environment that tests need
	@scripts/environment requirements-dev.lock

test: dev clients ## every test, lint and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	scripts/test

check: dev ## lint and types only
	$(BIN)/ruff check && $(BIN)/ruff format --check && $(BIN)/mypy

docs: dev ## write the generated pages again
	$(BIN)/python -m freehold.config.reference > docs/configuration.md
	$(BIN)/python -m freehold.cli.reference > docs/cli.md
	$(BIN)/python -m freehold.labels.policies_page > docs/providers-policies.md
	$(BIN)/freehold conformance --markdown > docs/conformance.md
	$(BIN)/python tests/support/owned_page.py

fidelity: dev ## replay every recorded exchange through the gateway; prints what equals and what is left out
	$(BIN)/python tests/support/fidelity.py
	FREEHOLD_FIDELITY=all $(BIN)/python -m pytest -q tests/conformance tests/serve/test_recorded.py tests/serve/test_recorded_requests.py

lock: ## resolve the lock files again, versions at least seven days old (needs uv)
	uv pip compile pyproject.toml --extra own --generate-hashes --no-emit-index-url --no-header -q -o requirements.lock --exclude-newer "$$(date -d '7 days ago' +%F)"
	uv pip compile pyproject.toml --extra own --extra vertex --group dev --override scripts/without-torch.txt -c requirements.lock --generate-hashes --no-emit-index-url --no-header -q -o requirements-dev.lock --exclude-newer "$$(date -d '7 days ago' +%F)"

bench: dev ## CPU per request against nginx in the same run; prints a table and one line of JSON
	$(BIN)/python -m bench

bench-peers: dev ## the same load on LiteLLM and the Portkey gateway
	$(BIN)/python -m bench.peers

chaos: dev ## kill -9 workers and steward at 200 moments under load, compare ledger and provider
	$(BIN)/python -m pytest tests/chaos -o addopts= -o faulthandler_timeout=1500 --kills 200

test-noninterference: dev ## canaries of every label through every endpoint with all faults on; no sink may have one it is not cleared for
	$(BIN)/python tests/noninterference/run.py
	$(BIN)/python tests/noninterference/run.py --short --strict
	@$(MAKE) --no-print-directory test-noninterference-mutants

test-noninterference-mutants: dev ## Freehold broken on purpose, one way at a time (MUTANTS="flow cores"): each must be noticed
	@set -e; for mutant in $(or $(MUTANTS),$$($(BIN)/python tests/noninterference/run.py --list-mutants)); do \
	$(BIN)/python tests/noninterference/run.py --mutant $$mutant >/dev/null || { echo "the mutant $$mutant was not noticed"; exit 1; }; \
	echo "the mutant $$mutant was noticed"; done

clients: python-clients ## what tests/clients needs beside the environment
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory node-clients; \
	else echo "npm is not installed: the Node clients will not be tested" >&2; fi

APART = tests/clients/apart
python-clients: dev ## the Python clients that need an environment of their own
	@cmp -s $(APART)/requirements.lock $(APART)/.venv/installed || { $(BIN)/python -m venv --clear $(APART)/.venv && \
	$(APART)/.venv/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r $(APART)/requirements.lock && \
	cp $(APART)/requirements.lock $(APART)/.venv/installed; }

NODE = tests/clients/node
node-clients: ## the Node clients (needs npm)
	@cmp -s $(NODE)/package-lock.json $(NODE)/node_modules/installed || { \
	npm ci --prefix $(NODE) --ignore-scripts --no-audit --no-fund --loglevel=error && \
	cp $(NODE)/package-lock.json $(NODE)/node_modules/installed; }

coding-tools: dev ## claude, codex and opencode against the fake provider; prints what worked (needs npm and the network)
	@$(BIN)/python scripts/coding-tools

families: dev ## every model family from a hub to an answer, a few minutes; writes docs/families.md
	FREEHOLD_FAMILIES=all $(BIN)/python -m pytest -q tests/own/test_served_families.py
	@cat docs/families.md

bench-own: dev ## owned models: against bare llama.cpp, 1,000 swaps, 100 killed engines; prints tables
	$(BIN)/python -m bench.own

bench-route: dev ## routing on ../shared/data/routing: baselines, floors, new models, robustness, capacity; ten minutes
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m bench.route

bench-scan: dev ## detectors: MB/s, precision and recall, false alarms; beside presidio-analyzer (installed into build/, 500 MB)
	$(BIN)/python -m bench.scan

bench-cache: dev ## the semantic cache on ../shared/data: thresholds, coverage, false hits, what a look-up costs; five minutes
	$(BIN)/python -m bench.cache

RENDER = tests/own/render/apart
render: dev ## what freehold render writes against the engines' own schemas, and Ray Serve started here (1 GB of packages)
	@cmp -s $(RENDER)/requirements.lock $(RENDER)/.venv/installed || { $(BIN)/python -m venv --clear $(RENDER)/.venv && \
	$(RENDER)/.venv/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r $(RENDER)/requirements.lock && \
	$(RENDER)/.venv/bin/python -m pip install -q --disable-pip-version-check --no-deps --require-hashes -r $(RENDER)/no-deps.lock && \
	cp $(RENDER)/requirements.lock $(RENDER)/.venv/installed; }
	$(BIN)/python -m pytest -v tests/own/render/test_apart.py

fuzz: dev ## every parser on broken input, 20 s each; with atheris where it is installed
	scripts/fuzz
