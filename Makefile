# make up      a running gateway with a model in the box
# make test    every test, lint and types; what CI runs
# make help    the rest

PYTHON ?= python3
BIN = .venv/bin
export PYTHON

.DEFAULT_GOAL := help
.PHONY: help up test check docs lock bench bench-peers chaos dev

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

up: ## make the environment, start the gateway, print how to use it
	@scripts/environment requirements.lock
	@exec $(BIN)/freehold up

dev: ## make the environment that tests need
	@scripts/environment requirements-dev.lock

test: dev ## every test, lint and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m pytest

check: dev ## lint and types only
	$(BIN)/ruff check && $(BIN)/ruff format --check && $(BIN)/mypy

docs: dev ## write the generated pages again
	$(BIN)/python -m freehold.config.reference > docs/configuration.md
	$(BIN)/python -m freehold.cli.reference > docs/cli.md

lock: ## resolve the lock files again, versions at least seven days old (needs uv)
	uv pip compile pyproject.toml --extra own --generate-hashes --no-emit-index-url --no-header -q -o requirements.lock --exclude-newer "$$(date -d '7 days ago' +%F)"
	uv pip compile pyproject.toml --extra own --group dev -c requirements.lock --generate-hashes --no-emit-index-url --no-header -q -o requirements-dev.lock --exclude-newer "$$(date -d '7 days ago' +%F)"

bench: dev ## CPU per request against nginx in the same run; prints a table and one line of JSON
	$(BIN)/python -m bench

bench-peers: dev ## the same load on LiteLLM and the Portkey gateway
	$(BIN)/python -m bench.peers

chaos: dev ## kill -9 workers and steward at 200 moments under load, compare ledger and provider
	$(BIN)/python -m pytest tests/chaos -o addopts= --kills 200
