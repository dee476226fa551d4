#!/usr/bin/env bash
# Airflow in a virtual environment of its own: its Spark provider brings a pyspark-client that must not meet our pyspark.
# Idempotent; a second run only compares a stamp.
set -euo pipefail
cd "$(dirname "$0")/.."

stamp=.venv-airflow/.afterclick-stamp
wanted=$(cat requirements/airflow.lock "$0" | sha256sum)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then exit 0; fi

echo "installing Airflow from requirements/airflow.lock" >&2
.venv/bin/python -m uv venv --quiet --clear --python .venv/bin/python .venv-airflow
.venv/bin/python -m uv pip install --quiet --python .venv-airflow/bin/python --no-deps --require-hashes -r requirements/airflow.lock
printf '%s' "$wanted" >"$stamp"
