#!/usr/bin/env bash
# Renews the hash-pinned requirement files in deploy/locks from pyproject.toml. Give `--upgrade` for the newest versions.
set -euo pipefail
cd "$(dirname "$0")/.."

locks=deploy/locks
uv=.venv/bin/uv
uv_pin="uv==0.13.9"
ministack_pin="ministack==1.5.33"
peers_pins=$'splink==5.0.0\nduckdb<2\npyspark==4.2.0'
search_peers_pins=$'zvec==0.8.0\nqdrant-edge-py==0.9.0\nlancedb==0.40.0\npixeltable-pgserver==0.6.0\nmilvus-lite==3.2.2\nduckdb==2.0.0\nfaiss-cpu==1.15.1'
search_peers_pins+=$'\npsycopg[binary]\nnumpy>=2.2,<3\npyarrow>=25,<27\npsutil>=7'
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
compile search-peers.txt "$@" - <<<"$search_peers_pins"
compile lint.txt "$@" - <<<"$lint_pins"
