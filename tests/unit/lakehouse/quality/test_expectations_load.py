"""Great Expectations loads where the main module has no file: in the workers that Dagster's daemon starts."""

from __future__ import annotations

import subprocess
import sys

from tests.support import REPO

CODE = """
from lakehouse.quality.expectations import SUITES, metrics_of, validate
table = sorted(SUITES)[0]
outcome = validate(table, dict.fromkeys(metrics_of(table), 1.0) | {"rows": 1.0})
print("validated", outcome.table == table)
"""


def test_it_loads_without_a_main_file():
    done = subprocess.run([sys.executable, "-c", CODE], cwd=REPO, capture_output=True, text=True, check=False)
    assert done.stdout.strip().endswith("validated True"), done.stdout + done.stderr
