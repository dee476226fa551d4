#!/usr/bin/env bash
# Virtual environment, Java and jars. Idempotent; a second run only compares a stamp.
set -euo pipefail
cd "$(dirname "$0")/.."

stamp=.venv/.afterclick-stamp
wanted=$(cat requirements/dev.lock setup.py lib/afterclick/local/jars.sha256 "$0" | sha256sum)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then exit 0; fi

python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' ||
  { echo "Python 3.11-3.13 is needed, found $("$python" --version): set PYTHON=/path/to/python3.11" >&2; exit 1; }
[ -x .venv/bin/python ] || "$python" -m venv .venv
.venv/bin/python -m uv --version >/dev/null 2>&1 || .venv/bin/python -m pip install --quiet --disable-pip-version-check uv==0.13.9
echo "installing packages from requirements/dev.lock" >&2
.venv/bin/python -m uv pip install --quiet --python .venv/bin/python --require-hashes -r requirements/dev.lock
.venv/bin/python -m uv pip install --quiet --python .venv/bin/python --no-deps --editable .
.venv/bin/python -m afterclick.local.jars
printf '%s' "$wanted" >"$stamp"
