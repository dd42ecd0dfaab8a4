#!/usr/bin/env bash
# Installs deploy/locks/serving.txt, and nothing else, into a throwaway environment and imports the service there.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=$(mktemp -d)
trap 'rm -rf "$venv"' EXIT
.venv/bin/uv venv --quiet --clear --python .venv/bin/python "$venv"
.venv/bin/uv pip sync --quiet --python "$venv/bin/python" --require-hashes deploy/locks/serving.txt
"$venv/bin/python" - <<'PYTHON'
import importlib.util
import sys

import serving.app

uninvited = [name for name in ("pyspark", "delta", "dagster", "pandas") if importlib.util.find_spec(name)]
loaded = sorted({name.split(".")[0] for name in sys.modules} & {"assets", "jobs"})
if uninvited or loaded:
    sys.exit(f"The serving lock installs {uninvited}; the service loads {loaded}.")
print(f"{serving.app.__name__} imports with the serving lock alone")
PYTHON
