#!/usr/bin/env bash
# Start one job: ./spark-submit.sh JOB [--dry-run] [job arguments]
# The library travels as a zip, connector jars come from the cache (local) or by --packages (elsewhere).
# `./spark-submit.sh pack` only writes dist/: the library and Spark's properties, for Airflow.
# Environment: AFTERCLICK_ENVIRONMENT (local), AFTERCLICK_MASTER (from conf/<environment>.yaml), SPARK_SUBMIT.
set -euo pipefail
for name in AFTERCLICK_CONF_DIR AFTERCLICK_STATE_DIR; do  # relative ones are so to where the caller stands
  case ${!name:-/} in /*) ;; *) export "$name=$PWD/${!name}" ;; esac
done
cd "$(dirname "$0")"
jobs=$(cd jobs && printf '%s\n' [a-z]*.py | sed 's/\.py$//')
python=${PYTHON:-.venv/bin/python}
[ -x "$python" ] || python=python3

usage() {
  printf 'usage: ./spark-submit.sh JOB [--dry-run] [job arguments]\n\njobs:\n%s\n\nexample: ./spark-submit.sh ingest_events --dry-run\n' \
    "$(printf '%s\n' "$jobs" | sed 's/^/  /')" >&2
}

job=${1:-}
if [ -z "$job" ] || [ "$job" = "-h" ] || [ "$job" = "--help" ]; then
  usage
  if [ -n "$job" ]; then exit 0; else exit 2; fi
fi
if [ "$job" != pack ] && ! grep -qx -- "$job" <<<"$jobs"; then  # a pipe would fail now and then: grep stops reading
  echo "there is no job '$job'" >&2
  usage
  exit 2
fi
shift
exec "$python" scripts/spark_submit.py "$job" "$@"
