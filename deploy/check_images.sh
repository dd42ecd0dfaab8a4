#!/usr/bin/env bash
# Lints images and manifests with deploy/locks/lint.txt in a throwaway environment. Nothing is built, nothing is sent.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=$(mktemp -d)
trap 'rm -rf "$venv"' EXIT
.venv/bin/uv venv --quiet --clear --python .venv/bin/python "$venv"
.venv/bin/uv pip sync --quiet --python "$venv/bin/python" --require-hashes deploy/locks/lint.txt
"$venv/bin/hadolint" deploy/images/*.Dockerfile
"$venv/bin/checkov" --directory deploy --config-file deploy/.checkov.yaml
