# Every developer command. `make` alone lists them.

BIN := .venv/bin
COMPILE := $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes \
	--no-annotate --no-header --no-emit-index-url --no-emit-find-links -q $(if $(UPGRADE),--upgrade)

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all stack stack-swarm stack-check bench bench-parts mutants lint types schema messages docs lock

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

setup: ## Make .venv from the lock files (the commands below do this first)
	@deploy/demo/setup.sh

demo: setup ## Run everything on this machine: gate, console, Traefik, store, two models (DEMO_PORT, DEMO_DIR)
	@exec $(BIN)/python -m deploy.demo.run

CERTAIN := not slow and not timed

test: setup ## Run the tests that pass on any machine, on all cores (6 minutes on two)
	$(BIN)/pytest -n auto --dist loadfile -m "$(CERTAIN)"

# Timed tests, and those that start many processes, have the machine to themselves.
test-all: test ## Run the slow and the timed tests too, and those with a database on PostgreSQL (AUTHSVC_TEST_POSTGRES_URL)
	$(BIN)/pytest -m "not ($(CERTAIN))"
	@if [ -n "$$AUTHSVC_TEST_POSTGRES_URL" ]; then \
	  export AUTHSVC_TEST_DATABASE_URL="$$AUTHSVC_TEST_POSTGRES_URL"; set -ex; \
	  $(BIN)/pytest -n auto --dist loadfile -m "$(CERTAIN)" $(ON_POSTGRES); \
	  $(BIN)/pytest -m "not ($(CERTAIN))" $(ON_POSTGRES); \
	else \
	  echo "PostgreSQL: SKIPPED. Set AUTHSVC_TEST_POSTGRES_URL=postgres://USER@HOST/postgres to run the tests there too."; \
	fi
# None of these depends on the database: what a browser shows, what the script computes, how Redis is found.
APART := test_accessibility.py test_browser.py test_readers.py quotas/test_exact.py load/test_redis_as_run.py load/test_topologies.py
ON_POSTGRES := $(addprefix tests/,accounts api console gate load quotas) $(APART:%=--ignore-glob=*/%)

# The first run builds images and downloads their contents; later ones take a few minutes.
stack: setup ## Build, start, test and remove the compose stack, on 127.0.0.1 (needs a Docker engine)
	@if why=$$($(BIN)/python -m tests.compose.engine); then \
	  timeout 1500 $(BIN)/pytest -m compose tests/compose; \
	else \
	  echo; echo "  ##### make stack: SKIPPED, nothing of the compose stack was tested: $$why #####"; echo; \
	fi

# If this machine is in no swarm, it becomes one for the run. Takes 17 minutes on two cores.
stack-swarm: setup ## Deploy the stacks to a one-node Swarm, test updates under load, remove them (needs a Docker engine)
	@if why=$$($(BIN)/python -m tests.swarm.engine); then \
	  timeout 5400 $(BIN)/pytest -m swarm tests/swarm; \
	else \
	  echo; echo "  ##### make stack-swarm: SKIPPED, nothing of the Swarm was tested: $$why #####"; echo; \
	fi

bench: setup ## Measure the gate by turns with others (PART="empty traefik", BENCH_ROUNDS, BENCH_SECONDS; bench-parts lists them)
	@$(BIN)/python -m bench $(PART)

bench-parts: setup ## List the parts of the benchmark, what each needs and how long it takes
	@$(BIN)/python -m bench --list

mutants: setup ## Plant known faults one at a time; the tests have to notice nine of ten (MUTANTS="gate keys/no-cap"; 2 hours)
	$(BIN)/python -m tests.mutants $(MUTANTS)

lint: setup ## Check style and format
	$(BIN)/ruff format --check
	$(BIN)/ruff check

types: setup ## Check types
	$(BIN)/mypy

schema: setup ## Write docs/openapi.yaml and the table in docs/access.md from the code
	DJANGO_SETTINGS_MODULE=tests.settings $(BIN)/python -m api.openapi docs

messages: setup ## Collect the strings to translate into console/locale, and compile the translations
	$(BIN)/python -m tests.messages

docs: .venv-docs/installed.txt ## Build the docs as a site in site/, offline and strictly
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict
	@echo "To read it: python3 -m http.server --bind 127.0.0.1 --directory site"

# A separate environment: neither the service nor its tests need any of it.
.venv-docs/installed.txt: requirements/docs.txt | setup
	$(BIN)/python -m venv --clear .venv-docs
	.venv-docs/bin/python -m pip install -q --no-deps --require-hashes --no-input --disable-pip-version-check -r $<
	@cp $< $@

lock: setup ## Write requirements/ from pyproject.toml (UPGRADE=1 for the newest versions)
	$(COMPILE) pyproject.toml -o requirements/service.txt
	$(COMPILE) --group otel -c requirements/service.txt -o requirements/otel.txt
	$(COMPILE) --group demo -c requirements/service.txt -o requirements/demo.txt
	$(COMPILE) --group model -c requirements/service.txt -c requirements/demo.txt -o requirements/model.txt
	$(COMPILE) --group docs -o requirements/docs.txt
	$(COMPILE) --group dev -c requirements/service.txt -c requirements/demo.txt -c requirements/otel.txt -o requirements/dev.txt

# In the stack it signs in as `discover` does; for another Traefik add options in TRAEFIK_OPTIONS.
stack-check: ## Check the running compose stack, or the Traefik at TRAEFIK_URL
	@if [ -n "$$TRAEFIK_URL" ]; then \
	  $(BIN)/python manage.py check_stack --traefik-url "$$TRAEFIK_URL" $(TRAEFIK_OPTIONS); \
	else \
	  docker compose exec -T discover \
	    python manage.py check_stack --traefik-url "http://dashboard.$${DOMAIN:-localhost}" --gate-url https://127.0.0.1:8900 \
	    --traefik-user operator --traefik-password-file /secrets/operator/DASHBOARD_PASSWORD; \
	fi
