# Thin targets; `make help` lists them. `make demo` and `make test` need nothing but make and Python 3.11+.
.DEFAULT_GOAL := help
PY := .venv/bin/python
PYTEST := $(PY) -m pytest
IN_TWO := --numprocesses 2 --dist loadfile --no-loadscope-reorder
EXCLUDE_NEWER := 2026-11-01
COMPILE := $(PY) -m uv pip compile setup.py --quiet --extra dev --generate-hashes --python-version 3.11 --no-header --exclude-newer $(EXCLUDE_NEWER)

AIRFLOW_LOCK := $(PY) -m uv pip compile requirements/airflow.in --quiet --generate-hashes --python-version 3.11 --no-header --exclude-newer $(EXCLUDE_NEWER)

.PHONY: audit nightly help setup setup-airflow demo test check unit contract integration e2e faults golden lock bench quality validate-deploy

help: ## list the targets
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: ## virtual environment from the lock file, Java, jars (a second run needs no network)
	@scripts/setup.sh

setup-airflow: setup ## Airflow in .venv-airflow from its own lock file
	@scripts/setup_airflow.sh

demo: setup ## real events turning into changing recommendations; ARGS="--events 20000 --json"
	@.venv/bin/afterclick demo $(ARGS)

test: setup setup-airflow check unit contract integration e2e ## everything that must pass

check: setup ## lint, types, import rules, spelling, shell scripts, lock file
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy lib jobs tests scripts
	.venv/bin/lint-imports
	.venv/bin/codespell
	.venv/bin/shellcheck scripts/setup.sh scripts/setup_airflow.sh scripts/audit.sh scripts/test_clients.sh spark-submit.sh .ci/run
	@cp requirements/dev.lock .venv/dev.lock.fresh && $(COMPILE) -o .venv/dev.lock.fresh >/dev/null && \
	  diff -q requirements/dev.lock .venv/dev.lock.fresh || { echo "requirements/dev.lock is stale: run make lock"; exit 1; }
	@cp requirements/airflow.lock .venv/airflow.lock.fresh && $(AIRFLOW_LOCK) -o .venv/airflow.lock.fresh >/dev/null && \
	  diff -q requirements/airflow.lock .venv/airflow.lock.fresh || { echo "requirements/airflow.lock is stale: run make lock"; exit 1; }

unit: setup ## rules and transforms, in two processes: each has its own Spark
	$(PYTEST) tests/unit $(IN_TWO) $(ARGS)

contract: setup ## schemas, settings, layouts, golden files
	$(PYTEST) tests/contract $(ARGS)

integration: setup ## real Kafka, Valkey, Delta, MLflow, Great Expectations; in two processes: each has its own servers
	$(PYTEST) tests/integration $(IN_TWO) $(ARGS)

e2e: setup ## from an HTTP post to the API's answer
	$(PYTEST) tests/e2e $(ARGS)

faults: setup ## 20,000 events, every crash point once, five kills of each target; all counts must be 0
	.venv/bin/afterclick faults run --events 20000 --kills 5 --json $(ARGS)

golden: setup ## rewrite tests/contract/golden; review the difference as code
	AFTERCLICK_GOLDEN=1 $(PYTEST) tests/contract

lock: setup ## compile requirements/*.lock
	$(COMPILE) --upgrade -o requirements/dev.lock
	$(AIRFLOW_LOCK) --upgrade -o requirements/airflow.lock

audit: setup ## known vulnerabilities of the locked packages, and the list of jars; for a nightly run
	@scripts/audit.sh

# Longer than CI's 40 minutes allow; AFTERCLICK_SCHEMATHESIS_EXAMPLES=1300 for 10,000 cases.
NIGHTLY := hostile_clients openapi_fuzzed erasure build_sessions airflow nightly_retrain promotion serving_properties notebooks killed_night poisoned_topic nights
NIGHTLY_E2E := faults cluster alerts newcomer quick_benchmarks

nightly: setup setup-airflow validate-deploy ## hostile clients, fuzzed documents, erasure killed at every step, Airflow's scheduler, a replayed week, a small fault run, a cluster that loses a worker, each alert by its fault, a newcomer's path, every benchmark quickly
	AFTERCLICK_NIGHTLY=1 $(PYTEST) $(NIGHTLY:%=tests/integration/test_%.py) $(NIGHTLY_E2E:%=tests/e2e/test_%.py) \
	  tests/unit/test_rollback.py tests/unit/test_recent_events.py $(ARGS)
	@scripts/audit.sh

validate-deploy: setup ## bundle and Kubernetes manifests by the vendors' own schemas, which are too many files for the lock
	$(PY) -m uv pip install --quiet --no-deps --target .venv/deploy kubernetes-validate==1.37.0 importlib-resources==7.1.0 databricks-bundles==1.22.1
	PYTHONPATH=.venv/deploy $(PYTEST) tests/contract/test_deploy.py $(ARGS)

bench: setup ## all benchmarks, into benchmarks/last.json and the table of benchmarks/README.md; NAME=freshness for one
	.venv/bin/afterclick bench $(or $(NAME),all --into benchmarks) --json $(ARGS)

quality: setup ## docs/quality.md anew; DATA=folder with the public data sets
	.venv/bin/python scripts/quality_report.py $(DATA)
