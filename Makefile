# Every developer verb. `make` alone lists them.

BIN := .venv/bin
COMPILE := $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes \
	--no-annotate --no-header --no-emit-index-url --no-emit-find-links -q $(if $(UPGRADE),--upgrade)

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint types lock

help: ## List the verbs
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

setup: ## Make .venv from the lock files (the verbs below do it first)
	@deploy/demo/setup.sh

demo: setup ## Run everything on this machine: gate, console, Traefik, store, two models (DEMO_PORT, DEMO_DIR)
	@exec $(BIN)/python -m deploy.demo.run

test: setup ## Run all tests; they start what they need themselves
	$(BIN)/pytest

lint: setup ## Check style and format
	$(BIN)/ruff format --check
	$(BIN)/ruff check

types: setup ## Check types
	$(BIN)/mypy

lock: setup ## Write requirements/ from pyproject.toml (UPGRADE=1 takes the newest versions)
	$(COMPILE) pyproject.toml -o requirements/service.txt
	$(COMPILE) --group demo -c requirements/service.txt -o requirements/demo.txt
	$(COMPILE) --group dev -c requirements/service.txt -c requirements/demo.txt -o requirements/dev.txt
