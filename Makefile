# The commands of this project. `make run` and `make test` each work alone on a fresh machine; see `make help`.
# User input (INPUT, LAKE, ...) reaches the recipes through the environment, so spaces and quotes in it are harmless.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory
BENCHMARKS := pipeline faults ingest identity search
# Written with [.] so that this line does not find itself.
INDEX_HOSTS := pypi[.]org|pythonhosted[.]org|repo1?[.]maven|maven[.]org|maven[.]google|registry[.]npmjs|npmjs[.]org|crates[.]io|proxy[.]golang|deb[.]debian|download[.]pytorch

export INPUT LAKE PORT SERVE PART SIZES PEERS SIZES_PEERS QUERIES REPEATS CLIENT_SECONDS PEER_SECONDS

.PHONY: help setup setup-test run dev test test-fast test-proof test-faults check check-hosts check-serving check-images bench docs lock clean

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z%-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

setup: ## Install everything `make run` needs (.venv and Spark's jars)
	@deploy/bootstrap.sh run

setup-test:
	@deploy/bootstrap.sh test

run: setup ## Raw files to a served search: [INPUT=folder] [LAKE=uri] [PORT=8000] [SERVE=0 to stop after publishing]
	@set --; \
	if [ -n "$$INPUT" ]; then set -- "$$@" --input "$$INPUT"; fi; \
	if [ -n "$$LAKE" ]; then set -- "$$@" --lake "$$LAKE"; fi; \
	if [ -n "$$PORT" ]; then set -- "$$@" --port "$$PORT"; fi; \
	if [ "$$SERVE" = 0 ]; then set -- "$$@" --no-serve; fi; \
	exec .venv/bin/creatorlake run "$$@"

dev: setup ## Dagster's web interface over the same lake, by default that of the last run: [INPUT=folder] [LAKE=uri] [PORT=3000]
	@set --; \
	if [ -n "$$INPUT" ]; then set -- "$$@" --input "$$INPUT"; fi; \
	if [ -n "$$LAKE" ]; then set -- "$$@" --lake "$$LAKE"; fi; \
	if [ -n "$$PORT" ]; then set -- "$$@" --port "$$PORT"; fi; \
	exec .venv/bin/creatorlake dev "$$@"

test: setup-test check ## Linters, types, import rules and every test
	@.venv/bin/python -m pytest tests -m "not proof and not faults" -n auto --no-loadscope-reorder --durations=25

test-proof: setup-test ## The long proofs: a run after one new file, runs that ask platforms, histories of identity in Spark, facts about real files
	@.venv/bin/python -m pytest tests -m proof

test-faults: setup-test ## Kills at every point, storms, races, Dagster under faults: hours, not for every change
	@.venv/bin/python -m pytest tests -m faults

test-fast: setup ## Unit, property and contract tests: no JVM, no server
	@.venv/bin/python -m pytest tests/unit tests/properties tests/contracts -m "not spark and not integration and not e2e"

check: setup check-hosts ## Linters, formatting, types and import rules
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports

check-hosts:
	@git rev-parse --git-dir >/dev/null 2>&1 || { echo "no git checkout: index hosts are not looked for"; exit 0; }; \
	status=0; git grep --untracked -nIE '$(INDEX_HOSTS)' || status=$$?; \
	if [ $$status = 0 ]; then echo "index hosts are configuration of a machine, not of this repository" >&2; exit 1; fi; \
	[ $$status = 1 ]

check-serving: setup ## Prove that the serving lock alone imports the service
	@deploy/check_serving.sh

check-images: setup ## Lint the images and the Kubernetes manifests (installs hadolint and checkov beside)
	@deploy/check_images.sh

bench: $(addprefix bench-,$(BENCHMARKS)) ## Every benchmark, one after the other

bench-identity: setup-test .venv-peers/synced ## Identity resolution beside Splink, on the files of CREATORLAKE_TEST_DATA
	@.venv/bin/python -m benchmarks.identity

bench-search: setup-test .venv-search-peers/synced ## Filtered search beside six other engines: [PART=peers] [SIZES=1000000]
	@.venv/bin/python -m benchmarks.search

.venv-search-peers/synced: deploy/locks/search-peers.txt
	@.venv/bin/uv venv --quiet --clear --python .venv/bin/python .venv-search-peers
	@.venv/bin/uv pip sync --quiet --python .venv-search-peers/bin/python --require-hashes deploy/locks/search-peers.txt
	@touch $@

.venv-peers/synced: deploy/locks/peers.txt
	@.venv/bin/uv venv --quiet --clear --python .venv/bin/python .venv-peers
	@.venv/bin/uv pip sync --quiet --python .venv-peers/bin/python --require-hashes deploy/locks/peers.txt
	@touch $@

bench-%: setup-test ## One benchmark; `make bench-pipeline INPUT=folder` takes real files
	@.venv/bin/python -m benchmarks.$*

docs: setup ## Render docs/data_dictionary.md, docs/settings.md and docs/faults.md
	@.venv/bin/python -m lakehouse.contracts.docs
	@.venv/bin/python -m serving.settings_docs
	@.venv/bin/python -m benchmarks.faults_page

lock: setup ## Renew deploy/locks from pyproject.toml: [UPGRADE=1 for the newest versions]
	@deploy/lock.sh $(if $(UPGRADE),--upgrade)

clean: ## Remove the environments and the tools' caches, never a lake
	@rm -rf .venv .venv-ministack .venv-peers .venv-search-peers .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
