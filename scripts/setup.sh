#!/usr/bin/env bash
# Virtual environment, Java and jars. Idempotent; a second run only compares a stamp and looks whether the jars are there.
set -euo pipefail
cd "$(dirname "$0")/.."

stamp=.venv/.afterclick-stamp
wanted=$(cat requirements/dev.lock setup.py lib/afterclick/local/jars.sha256 "$0" | sha256sum)
jars=${AFTERCLICK_CACHE_DIR:-~/.cache/afterclick}/jars
has_jars() {
  local name
  while read -r _ name; do
    [ -f "$jars/$name" ] || return 1
  done <lib/afterclick/local/jars.sha256
}
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then
  has_jars || .venv/bin/python -m afterclick.local.jars
  exit 0
fi

python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' ||
  { echo "Python 3.11-3.13 is needed, found $("$python" --version): set PYTHON=/path/to/python3.11" >&2; exit 1; }
# uv comes by Python's own pip: a pip inside the environment costs three seconds and is not used again.
if ! .venv/bin/python -m uv --version >/dev/null 2>&1; then
  install=(install --quiet --disable-pip-version-check uv==0.13.9)
  if "$python" -m pip --version >/dev/null 2>&1; then
    "$python" -m venv --without-pip .venv
    "$python" -m pip --python .venv/bin/python "${install[@]}"
  else
    "$python" -m venv .venv
    .venv/bin/python -m pip "${install[@]}"
  fi
fi
echo "installing packages from requirements/dev.lock" >&2
# The lock file is complete: without --no-deps uv builds pyspark once more to read what it needs (20 s).
.venv/bin/python -m uv pip install --quiet --python .venv/bin/python --no-deps --require-hashes -r requirements/dev.lock
.venv/bin/python -m uv pip install --quiet --python .venv/bin/python --no-deps --editable .
.venv/bin/python -m afterclick.local.jars
printf '%s' "$wanted" >"$stamp"
