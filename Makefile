# Every developer verb. `make` alone lists them.

BIN := .venv/bin
COMPILE := $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes \
	--no-annotate --no-header --no-emit-index-url --no-emit-find-links -q $(if $(UPGRADE),--upgrade)

.DEFAULT_GOAL := help
.PHONY: help setup demo test quick bench lint types schema lock

help: ## List the verbs
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

setup: ## Make .venv from the lock files (the verbs below do it first)
	@deploy/demo/setup.sh

demo: setup ## Run everything on this machine: gate, console, Traefik, store, two models (DEMO_PORT, DEMO_DIR)
	@exec $(BIN)/python -m deploy.demo.run

# On SQLite all of them; on PostgreSQL those that touch a database.
test: setup ## Run all tests; they start what they need themselves (AUTHSVC_TEST_POSTGRES_URL: on PostgreSQL too)
	$(BIN)/pytest || { echo "Once more, those that failed: many bound a time, and the machine may have been busy."; \
	  $(BIN)/pytest --last-failed --last-failed-no-failures none; }
	@if [ -n "$$AUTHSVC_TEST_POSTGRES_URL" ]; then \
	  echo "Once more on PostgreSQL:"; \
	  AUTHSVC_TEST_DATABASE_URL="$$AUTHSVC_TEST_POSTGRES_URL" $(BIN)/pytest tests/accounts tests/quotas tests/gate tests/load || \
	  AUTHSVC_TEST_DATABASE_URL="$$AUTHSVC_TEST_POSTGRES_URL" $(BIN)/pytest --last-failed --last-failed-no-failures none; \
	else \
	  echo "PostgreSQL: SKIPPED. Set AUTHSVC_TEST_POSTGRES_URL=postgres://USER@HOST/postgres to run the tests there too."; \
	fi

quick: setup ## Run the quick tests: under two minutes
	$(BIN)/pytest -m "not slow and not stack"

bench: setup ## Measure the gate against an empty answer (needs wrk)
	$(BIN)/python -m bench.gate

lint: setup ## Check style and format
	$(BIN)/ruff format --check
	$(BIN)/ruff check

types: setup ## Check types
	$(BIN)/mypy

schema: setup ## Write docs/openapi.yaml from the code
	DJANGO_SETTINGS_MODULE=tests.settings $(BIN)/python manage.py spectacular --validate --fail-on-warn --file docs/openapi.yaml

lock: setup ## Write requirements/ from pyproject.toml (UPGRADE=1 takes the newest versions)
	$(COMPILE) pyproject.toml -o requirements/service.txt
	$(COMPILE) --group demo -c requirements/service.txt -o requirements/demo.txt
	$(COMPILE) --group dev -c requirements/service.txt -c requirements/demo.txt -o requirements/dev.txt
