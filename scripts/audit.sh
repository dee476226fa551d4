#!/usr/bin/env bash
# Known vulnerabilities of the locked packages (pip-audit), with dated waivers, and the list of jars. For a nightly run: needs PyPI.
# Usage: scripts/audit.sh [LOCK]
set -euo pipefail
cd "$(dirname "$0")/.."
lock=${1:-requirements/dev.lock}
waivers=()
while read -r id until _; do
  case $id in '' | '#'*) continue ;; esac
  [[ $until > $(date -u +%F) ]] || { echo "waiver of $id ended on $until: upgrade, or decide anew in requirements/audit-waivers.txt" >&2; exit 1; }
  waivers+=(--ignore-vuln "$id")
done <requirements/audit-waivers.txt
audit=(.venv/bin/python -m uv tool run --quiet pip-audit==2.10.1 --requirement "$lock" --disable-pip --require-hashes)
"${audit[@]}" --strict "${waivers[@]}" || {  # strict: a package that could not be looked up is not "no known vulnerabilities"
  echo "audit failed: vulnerabilities (upgrade, or a dated waiver in requirements/audit-waivers.txt), or an index that does not" >&2
  echo "say what is vulnerable: many mirrors answer 404 at https://pypi.org/pypi/NAME/VERSION/json; run it where that answers" >&2
  exit 1
}
echo "jars that we add (SHA-256 pinned):"
sed 's/^/  /' lib/afterclick/local/jars.sha256
echo "jars of pyspark:"
(cd .venv/lib/python3*/site-packages/pyspark/jars && printf '  %s\n' ./*.jar)
