#!/usr/bin/env bash
# Writes requirements/*.txt: every package a service or the test suite needs, pinned exactly.
# dev.txt is solved first and constrains the others, so that one environment can hold them all.
set -euo pipefail
cd "$(dirname "$0")/.."
wheels=$(mktemp -d)
trap 'rm -rf "$wheels"' EXIT
python -m pip wheel --quiet --no-deps --wheel-dir "$wheels" services/common

compile() { # compile OUTPUT SOURCE...
  local output=$1; shift
  CUSTOM_COMPILE_COMMAND="make lock" python -m piptools compile --quiet --strip-extras --no-annotate \
    --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --find-links "$wheels" \
    --unsafe-package fedpriv-common --unsafe-package pip --output-file "requirements/$output.txt" "$@"
}
compile dev requirements/dev.in services/*/pyproject.toml
for service in server client metrics-api; do
  compile "$service" --constraint requirements/dev.txt services/common/pyproject.toml "services/$service/pyproject.toml"
done
compile emulator requirements/emulator.in
compile mlflow requirements/mlflow.in
