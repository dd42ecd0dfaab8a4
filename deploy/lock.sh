#!/usr/bin/env bash
# Renews the hash-pinned requirement files in deploy/locks from pyproject.toml. Give `--upgrade` for the newest versions.
set -euo pipefail
cd "$(dirname "$0")/.."

locks=deploy/locks
uv=.venv/bin/uv
uv_pin="uv==0.13.9"
ministack_pin="ministack==1.5.33"
peers_pins=$'splink==5.0.0\nduckdb<2'
lint_pins=$'checkov==3.3.30\nhadolint-bin'

compile() {
    local output=$1
    shift
    "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --custom-compile-command "make lock" \
        --no-emit-index-url --no-emit-find-links --output-file "$locks/$output" "$@"
}

compile uv.txt "$@" - <<<"$uv_pin"
compile all.txt "$@" pyproject.toml --extra pipeline --extra index --extra serving --extra dev
# The service alone gets the versions that everything is tested with.
compile serving.txt "$@" pyproject.toml --extra serving --constraint "$locks/all.txt"
compile ministack.txt "$@" - <<<"$ministack_pin"
compile peers.txt "$@" - <<<"$peers_pins" # DuckDB 2 fails some of Splink's queries
compile lint.txt "$@" - <<<"$lint_pins"
