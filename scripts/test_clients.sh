#!/usr/bin/env bash
# Client SDKs for tests/integration/test_clients.py, from their lock files. Idempotent.
set -euo pipefail
cd "$(dirname "$0")/../tests/clients"
stamp=node_modules/.afterclick-stamp
wanted=$(cat package-lock.json python.lock | sha256sum)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then exit 0; fi
npm ci --ignore-scripts --no-audit --no-fund --silent
../../.venv/bin/python -m uv venv --quiet --clear .venv
../../.venv/bin/python -m uv pip install --quiet --python .venv/bin/python --require-hashes -r python.lock
printf '%s' "$wanted" >"$stamp"
